/** Reading and renaming workspaces. */
import { and, desc, eq, isNull, lt, lte, or, sql } from "drizzle-orm";
import type { Actor, WorkspaceAccess } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import type { Position } from "../http/page.js";
import { members, readSettingsOf, restoreMs, toWorkspace, workspaces } from "../tenancy/model.js";
import type { Workspace, WorkspaceRow } from "../tenancy/model.js";
import { nameKey } from "./create.js";
import type { WorkspacesQuery } from "./life-schema.js";
import { guardManager } from "./member-changes.js";
import { mergeSettings } from "./settings.js";
import type { UpdateWorkspace } from "./model.js";

/** A workspace as its answer needs it. */
export interface SeenWorkspace {
  readonly row: WorkspaceRow;
  readonly answer: Workspace;
}

/** The caller's workspace. Throws `not_found` when it has just gone. */
export async function findWorkspace(db: Database, access: WorkspaceAccess): Promise<SeenWorkspace> {
  const [found] = await hideSql(
    db
      .select({ row: workspaces, count: workspaces.livingMembers })
      .from(workspaces)
      .where(and(eq(workspaces.id, access.id), isNull(workspaces.deletedAt)))
      .all(),
  );
  if (found === undefined) {
    throw new AppError("not_found");
  }
  return { row: found.row, answer: toWorkspace(found.row, access.role, found.count) };
}

/** Those that live; or those that the person owns and deleted, until backups can't hold them any more. */
function isShown(state: WorkspacesQuery["state"], now: number) {
  if (state === "active") {
    return isNull(workspaces.deletedAt);
  }
  const isFinal = and(eq(workspaces.purgeState, "purged"), lte(workspaces.purgeStateAt, now - restoreMs));
  return sql`${workspaces.deletedAt} IS NOT NULL AND ${workspaces.ownerMemberId} = ${members.id} AND NOT coalesce(${isFinal}, 0)`;
}

/** A person's workspaces in a state, newest membership first, `limit + 1` of them from a position on. `now` is epoch milliseconds. */
export async function listWorkspaces(
  db: Database,
  accountId: string,
  state: WorkspacesQuery["state"],
  from: Position | null,
  limit: number,
  now: number,
) {
  const after =
    from === null
      ? undefined
      : or(lt(members.createdAt, from.time), and(eq(members.createdAt, from.time), lt(members.id, from.id)));
  const rows = await hideSql(
    db
      .select({
        row: workspaces,
        count: workspaces.livingMembers,
        memberId: members.id,
        role: members.role,
        joinedAt: members.createdAt,
      })
      .from(members)
      .innerJoin(workspaces, eq(workspaces.id, members.workspaceId))
      .where(and(eq(members.userId, accountId), isNull(members.removedAt), isShown(state, now), after))
      .orderBy(desc(members.createdAt), desc(members.id))
      .limit(limit + 1)
      .all(),
  );
  return rows.map((found) => {
    const role = found.memberId === found.row.ownerMemberId ? "OWNER" : found.role;
    return {
      position: { time: found.joinedAt, id: found.memberId },
      answer: toWorkspace(found.row, role, found.count),
    };
  });
}

/**
 * Plans a change of name, slug or settings. What is given replaces what is there; an update to what already stands
 * writes nothing. `seats_taken` for a seat limit below the
 * people who are there; `forbidden` when the member `managerId`, for whom or whose key it is done, is no admin any
 * more; `precondition_failed` when `ifMatch` (or the row read here) is no longer the row's revision.
 */
export function planUpdateWorkspace(
  db: Database,
  seen: SeenWorkspace,
  actor: Actor,
  managerId: string,
  input: UpdateWorkspace,
  ifMatch: number | null,
): Change<SeenWorkspace> {
  const { row } = seen;
  const next = merge(row, input);
  const isSame = sql`${workspaces.name} IS ${next.name} AND ${workspaces.slug} IS ${next.slug} AND ${workspaces.settings} IS ${next.settings}
    AND ${workspaces.seatLimit} IS ${next.seatLimit}`;
  const expected = ifMatch ?? row.revision;
  const holds = sql`EXISTS (SELECT 1 FROM ${workspaces} WHERE ${workspaces.id} = ${row.id} AND ${workspaces.revision} = ${expected})`;
  const isChanged =
    next.name !== row.name ||
    next.slug !== row.slug ||
    next.settings !== row.settings ||
    next.seatLimit !== row.seatLimit;
  const updated = { ...row, ...next, ...(isChanged ? { revision: expected + 1, updatedAt: actor.at } : {}) };
  const statements = [
    guardManager(db, row.id, actor, managerId),
    guardThat(db, holds, ifMatch === null ? "conflict" : "precondition_failed"),
    db
      .update(workspaces)
      .set({ ...next, revision: sql`${workspaces.revision} + 1`, updatedAt: actor.at })
      .where(and(eq(workspaces.id, row.id), sql`NOT (${isSame})`)),
    auditIfChanged(db, actor, {
      workspaceId: row.id,
      action: "workspace.updated",
      targets: [{ type: "workspace", id: row.id }],
      before: toPublic(row),
      after: toPublic(next),
    }),
  ];
  const conflicts = { "workspaces.slug": "workspace_exists" } as const;
  const answer = toWorkspace(updated, seen.answer.role, seen.answer.members);
  return { statements, value: { row: updated, answer }, conflicts };
}

function merge(row: WorkspaceRow, input: UpdateWorkspace) {
  const name = input.name ?? row.name;
  const { seat_limit, ...settings } = mergeSettings(readSettingsOf(row), input.settings ?? {});
  return {
    name,
    nameKey: nameKey(name),
    slug: input.slug ?? row.slug,
    settings: JSON.stringify(settings),
    seatLimit: seat_limit,
    region: settings.region,
  };
}

function toPublic(row: Pick<WorkspaceRow, "name" | "slug" | "settings" | "seatLimit">) {
  return { name: row.name, slug: row.slug, settings: readSettingsOf(row) };
}
