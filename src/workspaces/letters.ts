/** What our letters say. Each is written from the record alone, so a redelivery says the same and holds the same link. */
import { and, eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { requireSettings } from "../base/settings.js";
import { writeCredentialExpiring, writeCredentialState } from "../connections/credential-letters.js";
import { writeSignInCode } from "../identity/letters.js";
import { users } from "../identity/model.js";
import { writeBudgetLetter } from "../keys/budget-letters.js";
import { writeAuditCheckpoint } from "../ledger/letters.js";
import { writeKeyExpiring } from "../keys/letters.js";
import { languageOf, layOut, type LetterLanguage, type LetterTexts, writeTime } from "../mail/layout.js";
import type { LetterSubject, LetterWriters, WrittenLetter } from "../mail/letter.js";
import { invites, members, workspaces } from "../tenancy/model.js";
import { writeInviteToken } from "./invite-token.js";
import { writeWebhookDisabled } from "../webhooks/disable.js";
import { mayInvite } from "./invites.js";
import { writeTransferCode } from "./transfer-letter.js";

/** Every kind of letter with its writer, for the mail consumer and /dev/outbox. */
export const letterWriters: LetterWriters = {
  invite: writeInviteLetter,
  sign_in_code: writeSignInCode,
  ownership_transfer: writeTransferCode,
  key_expiring: writeKeyExpiring,
  credential_state: writeCredentialState,
  credential_expiring: writeCredentialExpiring,
  audit_checkpoint: writeAuditCheckpoint,
  budget: writeBudgetLetter,
  webhook_disabled: writeWebhookDisabled,
};

interface InviteFacts {
  readonly to: string;
  readonly language: LetterLanguage;
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
  const { role, locale, expiresAt } = invite;
  const facts = { to: subject.recipient, language: languageOf(locale), inviter, workspace, role, link, expiresAt };
  const isOpen = invite.state === "pending" && invite.version === subject.version && invite.expiresAt > Date.now();
  return {
    letter: layOut(facts.to, inviteTexts[facts.language](facts)),
    isCurrent: isOpen && found.inviterStands === 1,
  };
}

const inviteTexts: Readonly<Record<LetterLanguage, (facts: InviteFacts) => LetterTexts>> = {
  "en-US": ({ to, language, inviter, workspace, role, link, expiresAt }) => ({
    language,
    subject: `${inviter} invited you to ${workspace}`,
    lead: `${inviter} invited you to join the workspace ${workspace} as ${role === "ADMIN" ? "an admin" : "a member"}.`,
    action: { kind: "link", label: "Accept or decline", url: link },
    notes: [
      `The link works once, until ${writeTime(expiresAt, language)}, and only for ${to}.`,
      "If you did not expect this letter, do nothing: nobody joins without the link.",
    ],
  }),
  "zh-CN": ({ to, language, inviter, workspace, role, link, expiresAt }) => ({
    language,
    subject: `${inviter} 邀请您加入 ${workspace}`,
    lead: `${inviter} 邀请您以${role === "ADMIN" ? "管理员" : "成员"}身份加入工作区 ${workspace}。`,
    action: { kind: "link", label: "接受或拒绝邀请", url: link },
    notes: [
      `此链接只能使用一次，在 ${writeTime(expiresAt, language)} 之前有效，且仅限 ${to} 使用。`,
      "如果您不清楚为何收到此邮件，请忽略它：没有此链接，任何人都无法加入。",
    ],
  }),
};
