/** Answering an invite: its link opens once, for the address it was sent to, while inviter and workspace still stand. */
import { and, eq, gt } from "drizzle-orm";
import { alias } from "drizzle-orm/sqlite-core";
import type { Actor, Principal } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import type { Secret } from "../base/secret.js";
import { toAccount, users } from "../identity/model.js";
import { planSession } from "../identity/sessions.js";
import { invites, members, toWorkspace, workspaces } from "../tenancy/model.js";
import type { WorkspaceRow } from "../tenancy/model.js";
import type { AcceptedInvite, InviteOffer } from "./invite-schema.js";
import { isTokenOf, readInviteToken } from "./invite-token.js";
import { mayInvite } from "./invites.js";

type InviteRow = typeof invites.$inferSelect;
type AccountRow = Pick<typeof users.$inferSelect, "id" | "email" | "name" | "createdAt">;

/** An open invite as its link's bearer meets it. */
export interface OpenInvite {
  readonly invite: InviteRow;
  readonly workspace: WorkspaceRow;
  readonly inviter: string;
  /** The account that has the invited address, if there is one. */
  readonly account: AccountRow | null;
}

/** Who joins: an account that is signed in, or one to be made. */
export interface Invitee {
  readonly account: AccountRow;
  readonly isNew: boolean;
  /** Whether joining also signs them in. */
  readonly getsSession: boolean;
}

const signInFirst = "An account with this address exists. Sign in with it, then accept the invite.";

/** The open invite of a link. Throws `not_found` alike for a token that is unknown, used, revoked, expired, or whose inviter or workspace is gone. */
export async function findInviteByToken(
  db: Database,
  mailSecret: Keyring,
  text: string,
  now: number,
): Promise<OpenInvite> {
  const token = readInviteToken(text);
  const found = token === null ? undefined : await readOpenInvite(db, token.inviteId, now);
  if (token === null || found === undefined || !(await isTokenOf(mailSecret, token, found.invite.version))) {
    throw new AppError("not_found");
  }
  return found;
}

/** What the bearer of the link may read. */
export function toOffer({ invite, workspace, inviter, account }: OpenInvite): InviteOffer {
  return {
    workspace: { name: workspace.name },
    invited_by: { name: inviter },
    email: invite.email,
    role: invite.role,
    has_account: account !== null,
    expires_at: new Date(invite.expiresAt).toISOString(),
  };
}

/**
 * Who the caller joins as. Throws `wrong_account` for another account than the invited address's, `unauthenticated` when
 * nobody is signed in although that address has an account, `forbidden` for anything but a session.
 */
export function chooseInvitee(
  open: OpenInvite,
  principal: Principal | null,
  name: string | undefined,
  now: number,
): Invitee {
  refuseStranger(open, principal);
  if (open.account !== null) {
    if (principal === null) {
      throw new AppError("unauthenticated", { detail: signInFirst });
    }
    return { account: open.account, isNew: false, getsSession: false };
  }
  return newInvitee(open, name, now);
}

/** Who joins by an address that has no account yet. */
export function newInvitee(open: OpenInvite, name: string | undefined, now: number): Invitee {
  const { email } = open.invite;
  const fallback = email.slice(0, email.indexOf("@"));
  const account = { id: newId("account"), email, name: name ?? fallback, createdAt: new Date(now).toISOString() };
  return { account, isNew: true, getsSession: true };
}

/** Throws `forbidden` for anything but a session and `wrong_account` for a person signed in under another address. */
export function refuseStranger(open: OpenInvite, principal: Principal | null): void {
  if (principal !== null && principal.kind !== "session") {
    throw new AppError("forbidden", { detail: "Only a signed-in person may answer an invite." });
  }
  if (principal !== null && principal.accountId !== open.account?.id) {
    throw new AppError("wrong_account");
  }
}

/** Plans joining, with a new account and its session where there is none. `not_found` when the invite closed in between, `already_member`. */
export async function planAcceptance(
  db: Database,
  authSecret: Keyring,
  open: OpenInvite,
  invitee: Invitee,
  actor: Actor,
  userAgent: string | null,
): Promise<Change<{ readonly result: Omit<AcceptedInvite, "session_token">; readonly token: Secret | null }>> {
  const { invite, workspace } = open;
  const { account, isNew, getsSession } = invitee;
  const by: Actor = { ...actor, type: "account", id: account.id, name: account.name };
  const memberId = newId("member");
  const from = { ip: actor.ip, userAgent, requestId: actor.requestId };
  const session = getsSession ? await planSession(authSecret, db, account.id, from, actor.at) : null;
  const member = {
    id: memberId,
    workspaceId: workspace.id,
    userId: account.id,
    role: invite.role,
    createdAt: actor.at,
  };
  const joined = { email: account.email, role: invite.role };
  const statements: Statement[] = [
    ...closeInvite(db, invite, { state: "accepted", acceptedBy: memberId, closedAt: actor.at }),
    ...(isNew ? insertAccount(db, by, workspace.id, account) : []),
    db.insert(members).values(member),
    auditInvite(db, by, invite, "accepted"),
    auditRow(db, by, {
      workspaceId: workspace.id,
      action: "member.joined",
      targets: [{ type: "member", id: memberId }],
      after: joined,
    }),
    ...(session === null ? [] : [session.statement]),
  ];
  const result = {
    workspace: toWorkspace(workspace, invite.role, workspace.livingMembers + 1),
    member: {
      id: memberId,
      account: { id: account.id, name: account.name, email: account.email },
      role: invite.role,
      joined_at: new Date(actor.at).toISOString(),
      last_active_at: null,
    },
    account: toAccount(account),
  };
  const conflicts = { "members.workspace_id": "already_member", "user.email": "unauthenticated" } as const;
  return { statements, value: { result, token: session?.token ?? null }, conflicts };
}

/** Plans a refusal by the link's bearer. `not_found` when the invite closed in between. */
export function planDecline(
  db: Database,
  open: OpenInvite,
  principal: Principal | null,
  actor: Actor,
): Change<undefined> {
  const by = principal === null ? { ...actor, name: open.invite.email } : actor;
  const statements = [
    ...closeInvite(db, open.invite, { state: "declined", closedAt: actor.at }),
    auditInvite(db, by, open.invite, "declined"),
  ];
  return { statements, value: undefined };
}

async function readOpenInvite(db: Database, inviteId: string, now: number): Promise<OpenInvite | undefined> {
  const invitees = alias(users, "invitee");
  const account = { id: invitees.id, email: invitees.email, name: invitees.name, createdAt: invitees.createdAt };
  const [found] = await hideSql(
    db
      .select({ invite: invites, workspace: workspaces, inviter: users.name, account })
      .from(invites)
      .innerJoin(workspaces, eq(workspaces.id, invites.workspaceId))
      .innerJoin(members, and(eq(members.workspaceId, invites.workspaceId), eq(members.id, invites.invitedBy)))
      .innerJoin(users, eq(users.id, members.userId))
      .leftJoin(invitees, eq(invitees.email, invites.email))
      .where(and(eq(invites.id, inviteId), isOpen(now)))
      .all(),
  );
  return found;
}

/** Also that the workspace lives: no inviter stands in a deleted one. */
function isOpen(now: number) {
  return and(
    eq(invites.state, "pending"),
    gt(invites.expiresAt, now),
    mayInvite(invites.workspaceId, invites.invitedBy),
  );
}

/** Single use: the first answer wins, and only while the invite is what the link named. */
function closeInvite(
  db: Database,
  invite: InviteRow,
  end: Pick<InviteRow, "state" | "closedAt"> & { readonly acceptedBy?: string; readonly closedAt: number },
): Statement[] {
  const isThis = and(
    eq(invites.workspaceId, invite.workspaceId),
    eq(invites.id, invite.id),
    eq(invites.version, invite.version),
    isOpen(end.closedAt),
  );
  return [db.update(invites).set(end).where(isThis), guardChanged(db, "not_found")];
}

/** The link came by mail to this address, so the address is verified. */
function insertAccount(db: Database, actor: Actor, workspaceId: string, account: AccountRow): Statement[] {
  return [
    db.insert(users).values({ ...account, emailVerified: true, updatedAt: account.createdAt }),
    auditRow(db, actor, {
      workspaceId,
      action: "account.created",
      targets: [{ type: "account", id: account.id }],
      after: { email: account.email, name: account.name },
    }),
  ];
}

function auditInvite(db: Database, actor: Actor, invite: InviteRow, end: "accepted" | "declined"): Statement {
  return auditRow(db, actor, {
    workspaceId: invite.workspaceId,
    action: `invite.${end}`,
    targets: [{ type: "invite", id: invite.id }],
    before: { state: "pending", email: invite.email },
    after: { state: end, email: invite.email },
  });
}
