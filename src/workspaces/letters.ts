/** What our letters say. Each is written from the record alone, so a redelivery says the same and holds the same link. */
import { and, eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { requireSettings } from "../base/settings.js";
import { writeSignInCode } from "../identity/letters.js";
import { users } from "../identity/model.js";
import { escapeHtml, type Letter, type LetterSubject, type LetterWriters, type WrittenLetter } from "../mail/letter.js";
import { invites, members, workspaces } from "../tenancy/model.js";
import { writeInviteToken } from "./invite-token.js";
import { mayInvite } from "./invites.js";

/** Every kind of letter with its writer, for the mail consumer and /dev/outbox. */
export const letterWriters: LetterWriters = { invite: writeInviteLetter, sign_in_code: writeSignInCode };

interface InviteFacts {
  readonly to: string;
  readonly inviter: string;
  readonly workspace: string;
  readonly role: "ADMIN" | "MEMBER";
  readonly link: string;
  readonly expiresAt: number;
}

/** The letter of an invite at the version it was asked for. Not current once the invite was answered, revoked, resent or expired, or its inviter or workspace is gone. */
async function writeInviteLetter(env: Env, db: Database, subject: LetterSubject): Promise<WrittenLetter | null> {
  const [found] = await hideSql(
    db
      .select({
        invite: invites,
        workspace: workspaces.name,
        inviter: users.name,
        inviterStands: mayInvite(invites.workspaceId, invites.invitedBy),
      })
      .from(invites)
      .innerJoin(workspaces, eq(workspaces.id, invites.workspaceId))
      .innerJoin(members, and(eq(members.workspaceId, invites.workspaceId), eq(members.id, invites.invitedBy)))
      .innerJoin(users, eq(users.id, members.userId))
      .where(and(eq(invites.workspaceId, subject.workspaceId ?? ""), eq(invites.id, subject.subjectId)))
      .all(),
  );
  if (found === undefined) {
    return null;
  }
  const { invite, workspace, inviter } = found;
  const settings = requireSettings(env);
  const token = await writeInviteToken(settings.mailSecret, invite.id, subject.version);
  const link = `${settings.publicUrl}/invites/${token.reveal()}`;
  const facts = { to: subject.recipient, inviter, workspace, role: invite.role, link, expiresAt: invite.expiresAt };
  const isOpen = invite.state === "pending" && invite.version === subject.version && invite.expiresAt > Date.now();
  return { letter: writeInvite(facts), isCurrent: isOpen && found.inviterStands === 1 };
}

function writeInvite(facts: InviteFacts): Letter {
  const until = new Intl.DateTimeFormat("en-US", {
    dateStyle: "long",
    timeStyle: "short",
    hourCycle: "h23",
    timeZone: "UTC",
  });
  const as = facts.role === "ADMIN" ? "an admin" : "a member";
  const invitation = `${facts.inviter} invited you to join the workspace ${facts.workspace} as ${as}.`;
  const terms = `The link works once, until ${until.format(facts.expiresAt)} UTC, and only for ${facts.to}.`;
  const doubt = "If you did not expect this letter, do nothing: nobody joins without the link.";
  const link = escapeHtml(facts.link);
  return {
    to: facts.to,
    subject: `${facts.inviter} invited you to ${facts.workspace}`,
    text: `${invitation}\n\nAccept or decline here:\n\n${facts.link}\n\n${terms}\n${doubt}\n`,
    html: `<!doctype html>
<html lang="en-US">
<body style="font: 16px/1.5 sans-serif; color: #1c1c1c">
<p>${escapeHtml(invitation)}</p>
<p><a href="${link}" rel="noreferrer">Accept or decline the invite</a></p>
<p>Or open this address:<br>${link}</p>
<p>${escapeHtml(terms)}<br>${escapeHtml(doubt)}</p>
</body>
</html>
`,
  };
}
