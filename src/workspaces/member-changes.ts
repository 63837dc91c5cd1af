/** Changing and ending memberships. Whoever goes takes along, in the same moment, their keys, the invites they sent and what they were offered. */
import { and, eq, gt, isNull, ne, or, sql } from "drizzle-orm";
import { scopes, roleHas, type Role } from "../access/permissions.js";
import type { Actor, Principal } from "../access/principal.js";
import { auditEach, auditIfChanged } from "../audit/audit.js";
import { guardThat, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { apiKeys } from "../keys/model.js";
import { invites, members, workspaces } from "../tenancy/model.js";
import { mayInvite } from "./invites.js";
import type { Member } from "./member-schema.js";
import { toMember, type MemberRecord } from "./members.js";
import { ownershipTransfers } from "./model.js";

/** `members:manage` gives the role MEMBER, as the contract says; a key or token gives ADMIN only with every scope of an admin. Throws `role_too_high`. */
export function refuseHighRole(principal: Principal | null, role: Exclude<Role, "OWNER">): void {
  const own = principal?.kind === "key" || principal?.kind === "token" ? principal.scopes : scopes;
  const needed = role === "ADMIN" ? scopes.filter((scope) => roleHas(role, scope)) : [];
  const missing = needed.filter((scope) => !own.includes(scope));
  if (missing.length > 0) {
    throw new AppError("role_too_high", {
      detail: `A key or token makes an admin only with every scope of one, and this one lacks ${missing.join(", ")}.`,
    });
  }
}

/** What let the caller in was read before this batch: `forbidden` when they lost it meanwhile. */
export function guardManager(db: Database, workspaceId: string, actor: Actor, memberId: string): Statement {
  const stands = mayInvite(workspaceId, memberId);
  const keyStands = sql`EXISTS (SELECT 1 FROM ${apiKeys}
    WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.id} = ${actor.id} AND ${apiKeys.revokedAt} IS NULL)`;
  return guardThat(db, actor.type === "key" ? sql`${stands} AND ${keyStands}` : stands, "forbidden");
}

/**
 * Plans a change of role by the member `managerId`. One to what already stands writes nothing. Who is no admin any more
 * may not invite, so the invites they sent go too. `owner_role` for the owner; `not_found`, `precondition_failed`.
 */
export function planSetRole(
  db: Database,
  workspaceId: string,
  actor: Actor,
  managerId: string,
  found: MemberRecord,
  role: "ADMIN" | "MEMBER",
  ifMatch: number | null,
): Change<{ readonly member: Member; readonly record: MemberRecord }> {
  const { row } = found;
  const isThis = and(eq(members.workspaceId, workspaceId), eq(members.id, row.id), isNull(members.removedAt));
  const isOwner = sql`EXISTS (SELECT 1 FROM ${workspaces} WHERE ${workspaces.id} = ${workspaceId} AND ${workspaces.ownerMemberId} = ${row.id})`;
  const stands = sql`EXISTS (SELECT 1 FROM ${members} WHERE ${isThis})`;
  const isSeen = sql`EXISTS (SELECT 1 FROM ${members} WHERE ${and(isThis, eq(members.revision, ifMatch ?? row.revision))})`;
  const statements = [
    guardManager(db, workspaceId, actor, managerId),
    guardThat(db, stands, "not_found"),
    guardThat(db, sql`NOT ${isOwner}`, "owner_role"),
    ...(ifMatch === null ? [] : [guardThat(db, isSeen, "precondition_failed")]),
    db
      .update(members)
      .set({ role, revision: sql`${members.revision} + 1` })
      .where(and(isThis, sql`${members.role} IS NOT ${role}`)),
    auditIfChanged(db, actor, {
      workspaceId,
      action: "member.role_changed",
      targets: [{ type: "member", id: row.id }],
      before: { role: row.role },
      after: { role },
    }),
    ...(role === "MEMBER" ? revokeInvitesOf(db, workspaceId, actor, row.id) : []),
  ];
  const revision = row.role === role ? row.revision : row.revision + 1;
  const record = { ...found, row: { ...row, role, revision } };
  return { statements, value: { member: toMember(record), record } };
}

/**
 * Plans the end of a membership: by the member `managerId`, or by the person themselves (null). Planned again it changes
 * nothing and writes nothing, whatever `ifMatch` says then. `last_owner` for the owner, `precondition_failed`.
 */
export function planRemoveMember(
  db: Database,
  workspaceId: string,
  actor: Actor,
  managerId: string | null,
  found: MemberRecord,
  ifMatch: number | null,
): Change<undefined> {
  const { row, account } = found;
  const isThis = and(eq(members.workspaceId, workspaceId), eq(members.id, row.id), isNull(members.removedAt));
  const isSeen = sql`NOT EXISTS (SELECT 1 FROM ${members} WHERE ${and(isThis, ne(members.revision, ifMatch ?? row.revision))})`;
  const statements = [
    ...(managerId === null ? [] : [guardManager(db, workspaceId, actor, managerId)]),
    ...(ifMatch === null ? [] : [guardThat(db, isSeen, "precondition_failed")]),
    db
      .update(members)
      .set({ removedAt: actor.at, revision: sql`${members.revision} + 1` })
      .where(isThis),
    auditIfChanged(db, actor, {
      workspaceId,
      action: managerId === null ? "member.left" : "member.removed",
      targets: [{ type: "member", id: row.id }],
      before: { email: account.email, role: row.role },
    }),
    ...revokeKeysOf(db, workspaceId, actor, row.id),
    ...revokeInvitesOf(db, workspaceId, actor, row.id),
    ...cancelOffersTo(db, workspaceId, actor, row.id),
  ];
  return { statements, value: undefined };
}

/** Those they made, and those of others whose secret, or the one before it while it still works, was shown to them by a rotation. */
function revokeKeysOf(db: Database, workspaceId: string, actor: Actor, memberId: string): Statement[] {
  const holdsPrevious = and(eq(apiKeys.previousShownTo, memberId), gt(apiKeys.previousUntil, actor.at));
  const isTheirs = or(eq(apiKeys.madeBy, memberId), eq(apiKeys.shownTo, memberId), holdsPrevious);
  const theirs = and(eq(apiKeys.workspaceId, workspaceId), isTheirs, isNull(apiKeys.revokedAt));
  const told = {
    workspaceId,
    action: "api_key.revoked",
    target: { type: "api_key", id: sql`${apiKeys.id}` },
    before: sql`json_object('name', ${apiKeys.name}, 'prefix', ${apiKeys.prefix}, 'last_four', ${apiKeys.lastFour}, 'made_by', ${apiKeys.madeBy})`,
  };
  return [
    auditEach(db, actor, told, sql`${apiKeys} WHERE ${theirs}`),
    db
      .update(apiKeys)
      .set({ revokedAt: actor.at, revision: sql`${apiKeys.revision} + 1` })
      .where(theirs),
  ];
}

/** Open ones only: an expired one shows as that, and opens nothing. */
function revokeInvitesOf(db: Database, workspaceId: string, actor: Actor, memberId: string): Statement[] {
  const theirs = and(
    eq(invites.workspaceId, workspaceId),
    eq(invites.invitedBy, memberId),
    sql`${invites.state} = 'pending'`,
    gt(invites.expiresAt, actor.at),
  );
  const told = {
    workspaceId,
    action: "invite.revoked",
    target: { type: "invite", id: sql`${invites.id}` },
    before: sql`json_object('state', 'pending', 'email', ${invites.email})`,
    after: sql`json_object('state', 'revoked', 'email', ${invites.email})`,
  };
  return [
    auditEach(db, actor, told, sql`${invites} WHERE ${theirs}`),
    db.update(invites).set({ state: "revoked", closedAt: actor.at }).where(theirs),
  ];
}

function cancelOffersTo(db: Database, workspaceId: string, actor: Actor, memberId: string): Statement[] {
  const theirs = and(
    eq(ownershipTransfers.workspaceId, workspaceId),
    eq(ownershipTransfers.toMemberId, memberId),
    sql`${ownershipTransfers.state} = 'pending'`,
    gt(ownershipTransfers.expiresAt, actor.at),
  );
  const told = {
    workspaceId,
    action: "ownership.offer_cancelled",
    target: { type: "ownership_transfer", id: sql`${ownershipTransfers.id}` },
    before: sql`json_object('to', ${ownershipTransfers.toMemberId})`,
  };
  return [
    auditEach(db, actor, told, sql`${ownershipTransfers} WHERE ${theirs}`),
    db.update(ownershipTransfers).set({ state: "cancelled", closedAt: actor.at }).where(theirs),
  ];
}
