/** What may still be done to an invite that was sent: send it anew, which kills the old link, or revoke it. */
import { and, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged, auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import type { MailMessage } from "../mail/model.js";
import { planLetters } from "../mail/outbox.js";
import { invites, workspaces } from "../tenancy/model.js";
import { guardLetters, guardReopened, guardResends } from "./invite-limits.js";
import type { Invite } from "./invite-schema.js";
import { toInvite } from "./invites.js";
import { guardManager } from "./member-changes.js";

type InviteRow = typeof invites.$inferSelect;

const dayMs = 24 * 3_600_000;

/** An invite as a change of it needs it. */
export interface FoundInvite {
  readonly row: InviteRow;
  /** How long invites of this workspace can be accepted. */
  readonly expiryDays: number;
  /** The name of the member who is about to change it. */
  readonly manager: string;
}

/** An invite of the workspace, and who is about to change it. Throws `not_found` for an unknown one and for a neighbour's alike. */
export async function findInvite(
  db: Database,
  workspaceId: string,
  managerId: string,
  inviteId: string,
): Promise<FoundInvite> {
  const manager = sql<string | null>`(SELECT u.name FROM members AS m JOIN user AS u ON u.id = m.user_id
    WHERE m.workspace_id = ${workspaceId} AND m.id = ${managerId})`;
  const expiryDays = sql<number>`coalesce(${workspaces.settings} ->> '$.invite_policy.expiry_days', 7)`;
  const [found] = await hideSql(
    db
      .select({ row: invites, expiryDays, manager })
      .from(invites)
      .innerJoin(workspaces, eq(workspaces.id, invites.workspaceId))
      .where(and(eq(invites.workspaceId, workspaceId), eq(invites.id, inviteId)))
      .all(),
  );
  if (found === undefined) {
    throw new AppError("not_found");
  }
  return { ...found, manager: found.manager ?? "" };
}

/**
 * Plans a new letter with a new link, good for the whole time again, by the member `managerId`, who vouches for it from
 * now on. An expired invite is opened anew by this, if there is a seat. Throws `invite_closed`; the change may fail with
 * `rate_limited` (three an hour, four letters to its address), `already_member`, `seat_limit_reached`, or `conflict` when another resend was faster.
 */
export function planResend(
  db: Database,
  workspaceId: string,
  actor: Actor,
  managerId: string,
  { row, expiryDays, manager }: FoundInvite,
): Change<{ readonly invite: Invite; readonly messages: readonly MailMessage[] }> {
  if (row.state !== "pending") {
    throw new AppError("invite_closed");
  }
  const next = { version: row.version + 1, expiresAt: actor.at + expiryDays * dayMs, invitedBy: managerId };
  const isSame = and(eq(invites.state, "pending"), eq(invites.version, row.version));
  const joined = sql`EXISTS (SELECT 1 FROM members AS m JOIN user AS u ON u.id = m.user_id
    WHERE m.workspace_id = ${workspaceId} AND m.removed_at IS NULL AND u.email = ${row.email})`;
  const order = {
    kind: "invite",
    workspaceId,
    subjectId: row.id,
    version: next.version,
    recipient: row.email,
  } as const;
  const letters = planLetters(db, [order], actor.at);
  const statements = [
    guardManager(db, workspaceId, actor, managerId),
    guardResends(db, row.id, actor.at),
    guardThat(db, sql`NOT ${joined}`, "already_member"),
    db
      .update(invites)
      .set(next)
      .where(and(eq(invites.workspaceId, workspaceId), eq(invites.id, row.id), isSame)),
    guardChanged(db, "conflict"),
    ...(row.expiresAt <= actor.at ? guardReopened(db, workspaceId, actor.at) : []),
    letters.statement,
    guardLetters(db, workspaceId, [row.email], actor.at, "rate_limited"),
    auditRow(db, actor, {
      workspaceId,
      action: "invite.resent",
      targets: [{ type: "invite", id: row.id }],
      after: { email: row.email, role: row.role },
    }),
  ];
  const invite = toInvite({ ...row, ...next }, manager, null, actor.at);
  return { statements, value: { invite, messages: letters.messages } };
}

/** Plans a revocation: the link is dead from the answer on. Planned again it changes and writes nothing. Throws `invite_closed` for one that was answered. */
export function planRevokeInvite(
  db: Database,
  workspaceId: string,
  actor: Actor,
  managerId: string,
  { row }: FoundInvite,
): Change<undefined> {
  if (row.state === "accepted" || row.state === "declined") {
    throw new AppError("invite_closed");
  }
  const isThis = and(eq(invites.workspaceId, workspaceId), eq(invites.id, row.id));
  const isOver = sql`EXISTS (SELECT 1 FROM ${invites} WHERE ${isThis} AND ${invites.state} IN ('revoked', 'expired'))`;
  const statements = [
    guardManager(db, workspaceId, actor, managerId),
    db
      .update(invites)
      .set({ state: "revoked", closedAt: actor.at })
      .where(and(isThis, eq(invites.state, "pending"))),
    auditIfChanged(db, actor, {
      workspaceId,
      action: "invite.revoked",
      targets: [{ type: "invite", id: row.id }],
      before: { state: "pending", email: row.email },
      after: { state: "revoked", email: row.email },
    }),
    guardThat(db, isOver, "invite_closed"),
  ];
  return { statements, value: undefined };
}
