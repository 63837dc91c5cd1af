/** Membership as a fact: who stands where in which workspace. A stranger and an absent workspace look the same. */
import { and, desc, eq, isNotNull, isNull, or, sql, type SQL } from "drizzle-orm";
import type { KeyPrincipal, Principal, WorkspaceAccess } from "../access/principal.js";
import { hideSql, type Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { currentWorkspaces, members, workspaces } from "./model.js";

const alive = and(isNull(workspaces.deletedAt), isNull(members.removedAt));
const ownDeleted = and(isNotNull(workspaces.deletedAt), eq(workspaces.ownerMemberId, members.id));

const accessColumns = {
  id: workspaces.id,
  slug: workspaces.slug,
  ownerMemberId: workspaces.ownerMemberId,
  memberId: members.id,
  role: members.role,
  lastActiveAt: members.lastActiveAt,
};

/**
 * The caller's place in a workspace named by id, slug or `current`; null when there is none. `chosen` is what the caller
 * chose as current (`X-Workspace`); without it, the workspace switched to last, else the one joined last.
 */
export async function findAccess(
  db: Database,
  principal: Principal,
  reference: string,
  chosen: string | null,
): Promise<WorkspaceAccess | null> {
  return principal.kind === "key"
    ? await findKeyAccess(db, principal, reference)
    : await findMemberAccess(db, principal, reference === "current" ? chosen : reference, alive);
}

/** The place of a signed-in owner in a deleted workspace of theirs, named by id or slug; null for everybody else. */
export async function findDeletedAccess(
  db: Database,
  principal: Principal,
  reference: string,
): Promise<WorkspaceAccess | null> {
  return principal.kind === "session" ? await findMemberAccess(db, principal, reference, ownDeleted) : null;
}

/**
 * The place that a signed-in person had in a living workspace until their membership ended, without any role: enough to
 * hear that this is in force. Named like a present one; `member` is that membership's id, or `me`. Null for everybody else.
 */
export async function findDepartedAccess(
  db: Database,
  principal: Principal,
  reference: string,
  chosen: string | null,
  member: string,
): Promise<WorkspaceAccess | null> {
  if (principal.kind !== "session") {
    return null;
  }
  const isThis = member === "me" ? undefined : eq(members.id, member);
  const state = and(isNull(workspaces.deletedAt), isNotNull(members.removedAt), isThis);
  const found = await findMemberAccess(db, principal, reference === "current" ? chosen : reference, state);
  return found === null ? null : { ...found, role: null };
}

async function findMemberAccess(
  db: Database,
  person: Exclude<Principal, KeyPrincipal>,
  reference: string | null,
  state: SQL | undefined,
): Promise<WorkspaceAccess | null> {
  const named = reference === null ? undefined : or(eq(workspaces.id, reference), eq(workspaces.slug, reference));
  const switchedTo = db
    .select({ id: currentWorkspaces.workspaceId })
    .from(currentWorkspaces)
    .where(eq(currentWorkspaces.userId, person.accountId));
  const [row] = await hideSql(
    db
      .select(accessColumns)
      .from(members)
      .innerJoin(workspaces, eq(workspaces.id, members.workspaceId))
      .where(and(eq(members.userId, person.accountId), state, named))
      .orderBy(
        sql`${workspaces.id} IS ${switchedTo} DESC`,
        desc(members.removedAt),
        desc(members.createdAt),
        desc(members.id),
      )
      .limit(1)
      .all(),
  );
  return row === undefined ? null : { ...row, role: row.memberId === row.ownerMemberId ? "OWNER" : row.role };
}

async function findKeyAccess(db: Database, key: KeyPrincipal, reference: string): Promise<WorkspaceAccess | null> {
  const [row] = await hideSql(
    db
      .select({ id: workspaces.id, slug: workspaces.slug, ownerMemberId: workspaces.ownerMemberId })
      .from(workspaces)
      .where(and(eq(workspaces.id, key.workspaceId), isNull(workspaces.deletedAt)))
      .all(),
  );
  const isNamed = row !== undefined && ["current", row.id, row.slug].includes(reference);
  return isNamed ? { ...row, role: null, memberId: key.memberId, lastActiveAt: null } : null;
}

/** `last_active_at` moves at most this often. */
const activeStepMs = 5 * 60_000;

/** Notes that a member was here, when that is not noted already. Off the request's path: a failure costs a time in a list. */
export async function noteActivity(db: Database, access: WorkspaceAccess, now: number): Promise<void> {
  const { lastActiveAt } = access;
  if (lastActiveAt !== null && lastActiveAt > now - activeStepMs) {
    return;
  }
  const isThis = and(eq(members.workspaceId, access.id), eq(members.id, access.memberId), isNull(members.removedAt));
  try {
    await hideSql(db.update(members).set({ lastActiveAt: now }).where(isThis).run());
  } catch (error) {
    log("warn", "activity_not_noted", { member_id: access.memberId, cause: describeError(error) });
  }
}
