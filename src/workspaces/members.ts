/** Who belongs to a workspace: listed in the order they joined, found by the beginning of a name or address, at one cost in teams of ten and of ten thousand. */
import { and, asc, eq, isNull, ne, sql, type SQL } from "drizzle-orm";
import type { SQLiteColumn } from "drizzle-orm/sqlite-core";
import type { Role } from "../access/permissions.js";
import { hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import type { Position } from "../http/page.js";
import { users } from "../identity/model.js";
import { members, workspaces } from "../tenancy/model.js";
import type { Member } from "./member-schema.js";

type MemberRow = typeof members.$inferSelect;

/** A membership as its answer needs it. */
export interface MemberRecord {
  readonly row: MemberRow;
  readonly account: { readonly id: string; readonly name: string; readonly email: string; readonly updatedAt: string };
  readonly ownerMemberId: string;
}

/** What a list is narrowed to. */
export interface MemberFilter {
  readonly role: Role | undefined;
  readonly search: string | undefined;
}

/** A page: up to `limit + 1` members, the last one telling that there are more. */
export interface MemberPage {
  readonly limit: number;
  readonly after: Position | null;
}

/** A listed member with the place in its list. */
export interface ListedMember {
  readonly position: Position;
  readonly record: MemberRecord;
}

const accountColumns = { id: users.id, name: users.name, email: users.email, updatedAt: users.updatedAt };

/** Members, first joined first; with `search`, those whose name begins so by name, then those whose address does. */
export async function listMembers(
  db: Database,
  workspaceId: string,
  filter: MemberFilter,
  page: MemberPage,
): Promise<readonly ListedMember[]> {
  const search = filter.search ?? "";
  if (search !== "") {
    return await searchMembers(db, workspaceId, filter.role, search, page);
  }
  const { after } = page;
  const isAfter =
    after === null ? undefined : sql`(${members.createdAt}, ${members.id}) > (${after.time}, ${after.id})`;
  const where = and(isLiving(workspaceId), hasRole(filter.role), isAfter);
  const records = await readMembers(db, where, [asc(members.createdAt), asc(members.id)], page.limit + 1);
  return records.map((record) => ({ position: { time: record.row.createdAt, id: record.row.id }, record }));
}

/** A member of the workspace, one who was removed too. Throws `not_found` for an unknown one and for a neighbour's alike. */
export async function findMember(db: Database, workspaceId: string, memberId: string): Promise<MemberRecord> {
  const isThis = and(eq(members.workspaceId, workspaceId), eq(members.id, memberId));
  const [record] = await readMembers(db, isThis, [], 1);
  if (record === undefined) {
    throw new AppError("not_found");
  }
  return record;
}

/** The answer's view of a member. */
export function toMember({ row, account, ownerMemberId }: MemberRecord): Member {
  return {
    id: row.id,
    account: { id: account.id, name: account.name, email: account.email },
    role: row.id === ownerMemberId ? "OWNER" : row.role,
    joined_at: new Date(row.createdAt).toISOString(),
    last_active_at: row.lastActiveAt === null ? null : new Date(row.lastActiveAt).toISOString(),
  };
}

/**
 * Two walks along two indexes, one after the other. Whoever is found by name is passed over by address: on a first page
 * those are fewer than the page is long. A position's `time` is the walk.
 */
async function searchMembers(
  db: Database,
  workspaceId: string,
  role: Role | undefined,
  search: string,
  page: MemberPage,
): Promise<readonly ListedMember[]> {
  const prefix = search.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
  const walks = [
    { by: members.searchName, isNew: undefined },
    { by: members.searchEmail, isNew: sql`NOT (${startsWith(members.searchName, prefix)})` },
  ];
  const listed: ListedMember[] = [];
  for (const [walk, { by, isNew }] of walks.entries()) {
    const { after } = page;
    const left = page.limit + 1 - listed.length;
    if (left > 0 && (after === null || after.time <= walk)) {
      const isAfter = after?.time === walk ? isBehind(by, workspaceId, after.id) : undefined;
      const where = and(isLiving(workspaceId), startsWith(by, prefix), hasRole(role), isNew, isAfter);
      const records = await readMembers(db, where, [asc(by), asc(members.id)], left);
      listed.push(...records.map((record) => ({ position: { time: walk, id: record.row.id }, record })));
    }
  }
  return listed;
}

async function readMembers(
  db: Database,
  where: SQL | undefined,
  order: readonly SQL[],
  limit: number,
): Promise<MemberRecord[]> {
  return await hideSql(
    db
      .select({ row: members, account: accountColumns, ownerMemberId: workspaces.ownerMemberId })
      .from(members)
      .innerJoin(users, eq(users.id, members.userId))
      .innerJoin(workspaces, eq(workspaces.id, members.workspaceId))
      .where(where)
      .orderBy(...order)
      .limit(limit)
      .all(),
  );
}

function isLiving(workspaceId: string): SQL | undefined {
  return and(eq(members.workspaceId, workspaceId), isNull(members.removedAt));
}

/** As a range, which an index serves. */
function startsWith(column: SQLiteColumn, prefix: string): SQL {
  return sql`(${column} >= ${prefix} AND ${column} < ${`${prefix}\u{10ffff}`})`;
}

/** A removed member's row stays, so a cursor that names it keeps its place. */
function isBehind(column: SQLiteColumn, workspaceId: string, memberId: string): SQL {
  const there = sql`(SELECT ${sql.identifier(column.name)} FROM members AS m WHERE m.workspace_id = ${workspaceId} AND m.id = ${memberId})`;
  return sql`(${column}, ${members.id}) > (${there}, ${memberId})`;
}

function hasRole(role: Role | undefined): SQL | undefined {
  if (role === undefined || role === "OWNER") {
    return role && eq(workspaces.ownerMemberId, members.id);
  }
  return and(eq(members.role, role), ne(workspaces.ownerMemberId, members.id));
}
