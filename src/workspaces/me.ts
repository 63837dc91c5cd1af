/** The caller's own account with its memberships; it stands here because memberships lie above identity. */
import { and, desc, eq, isNull, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { sha256Hex } from "../base/bytes.js";
import { guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { users } from "../identity/model.js";
import { members, workspaces } from "../tenancy/model.js";
import type { Me, UpdateMe } from "./me-schema.js";

type UserRow = typeof users.$inferSelect;

/** An account row beside what it is part of. */
export interface SeenMe {
  readonly row: UserRow;
  readonly memberships: Me["memberships"];
}

/** The account of a signed-in person. Throws `unauthenticated` when it is gone meanwhile. */
export async function findMe(db: Database, accountId: string): Promise<SeenMe> {
  const [row] = await hideSql(db.select().from(users).where(eq(users.id, accountId)).all());
  if (row === undefined) {
    throw new AppError("unauthenticated");
  }
  const rows = await hideSql(
    db
      .select({ member: members, workspace: workspaces })
      .from(members)
      .innerJoin(workspaces, eq(workspaces.id, members.workspaceId))
      .where(and(eq(members.userId, accountId), isNull(members.removedAt), isNull(workspaces.deletedAt)))
      .orderBy(desc(members.createdAt), desc(members.id))
      .all(),
  );
  const memberships = rows.map(({ member, workspace }) => ({
    member_id: member.id,
    role: workspace.ownerMemberId === member.id ? ("OWNER" as const) : member.role,
    workspace: { id: workspace.id, name: workspace.name, slug: workspace.slug },
    joined_at: new Date(member.createdAt).toISOString(),
  }));
  return { row, memberships };
}

/** The answer's view. */
export function toMe({ row, memberships }: SeenMe): Me {
  return {
    id: row.id,
    email: row.email,
    name: row.name,
    email_verified: row.emailVerified,
    locale: row.locale,
    timezone: row.timezone,
    created_at: row.createdAt,
    updated_at: row.updatedAt,
    memberships,
  };
}

/** When the account changed last, in epoch milliseconds: the part of the ETag that `If-Match` holds a change to. */
export function revisionOf(row: Pick<UserRow, "updatedAt">): number {
  return Date.parse(row.updatedAt);
}

/** What else moves the answer: memberships, as a short digest. */
export async function digestMemberships(seen: SeenMe): Promise<string> {
  return (await sha256Hex(JSON.stringify(seen.memberships))).slice(0, 16);
}

/** Plans a change of one's own account; what stays the same writes nothing. `conflict` or `precondition_failed` when it moved since it was read. */
export function planUpdateMe(
  db: Database,
  seen: SeenMe,
  actor: Actor,
  input: UpdateMe,
  ifMatch: number | null,
): Change<SeenMe> {
  const { row } = seen;
  if (ifMatch !== null && ifMatch !== revisionOf(row)) {
    throw new AppError("precondition_failed");
  }
  const before = { name: row.name, locale: row.locale, timezone: row.timezone };
  const after = {
    name: input.name ?? before.name,
    locale: input.locale === undefined ? before.locale : input.locale,
    timezone: input.timezone === undefined ? before.timezone : input.timezone,
  };
  // Two changes in one millisecond must not share an ETag.
  const updatedAt = new Date(Math.max(actor.at, revisionOf(row) + 1)).toISOString();
  const isSame = sql`${users.name} IS ${after.name} AND ${users.locale} IS ${after.locale} AND ${users.timezone} IS ${after.timezone}`;
  const stands = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${row.id} AND ${users.updatedAt} = ${row.updatedAt})`;
  const isChanged = JSON.stringify(before) !== JSON.stringify(after);
  return {
    statements: [
      guardThat(db, stands, ifMatch === null ? "conflict" : "precondition_failed"),
      db
        .update(users)
        .set({ ...after, updatedAt })
        .where(and(eq(users.id, row.id), sql`NOT (${isSame})`)),
      auditIfChanged(db, actor, {
        workspaceId: null,
        action: "account.updated",
        targets: [{ type: "account", id: row.id }],
        before,
        after,
      }),
    ],
    value: { ...seen, row: isChanged ? { ...row, ...after, updatedAt } : row },
  };
}
