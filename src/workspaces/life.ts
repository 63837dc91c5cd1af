/** The end of a workspace and the way back: deleted at once, kept 30 days, then the purge's. */
import { and, eq, isNull, sql } from "drizzle-orm";
import type { Actor, WorkspaceAccess } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, hideSql, type Change, type Database } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { restoreMs, toDeletion, toWorkspace, workspaces } from "../tenancy/model.js";
import type { WorkspaceDeletion, WorkspaceRow } from "../tenancy/model.js";
import { guardOwnName } from "./create.js";
import type { SeenWorkspace } from "./workspaces.js";

/**
 * Plans the deletion of a workspace by its owner, who repeats its slug. Planned again it changes nothing and answers the
 * same. Throws `validation_failed` at /slug, `gone` once the purge has begun; may fail with `conflict` (or
 * `precondition_failed`) when it changed meanwhile.
 */
export async function planDeleteWorkspace(
  db: Database,
  workspaceId: string,
  actor: Actor,
  owner: Pick<WorkspaceAccess, "memberId">,
  slug: string,
  ifMatch: number | null,
): Promise<Change<WorkspaceDeletion>> {
  const row = await readRow(db, workspaceId);
  if (row.purgeState !== null) {
    throw new AppError("gone");
  }
  if (row.slug !== slug) {
    throw invalidField("/slug", "Repeat the workspace's slug to delete it.");
  }
  if (row.deletedAt !== null) {
    return { statements: [], value: toDeletion(row, row.deletedAt) };
  }
  const value = toDeletion(row, actor.at);
  const isThis = and(
    eq(workspaces.id, workspaceId),
    eq(workspaces.slug, slug),
    eq(workspaces.ownerMemberId, owner.memberId),
    isNull(workspaces.deletedAt),
    ifMatch === null ? undefined : eq(workspaces.revision, ifMatch),
  );
  return {
    statements: [
      db
        .update(workspaces)
        .set({ deletedAt: actor.at, updatedAt: actor.at, revision: sql`${workspaces.revision} + 1` })
        .where(isThis),
      guardChanged(db, ifMatch === null ? "conflict" : "precondition_failed"),
      auditRow(db, actor, {
        workspaceId,
        action: "workspace.deleted",
        targets: [{ type: "workspace", id: workspaceId }],
        before: { name: row.name, slug: row.slug },
        after: { deleted_at: value.deleted_at, restore_until: value.restore_until },
      }),
    ],
    value,
  };
}

/**
 * Plans that a deleted workspace lives again, with its keys; for one that lives it changes nothing. Throws `gone` after 30
 * days; may fail with `workspace_exists` when its owner has another of that name by now, or `conflict`.
 */
export async function planRestoreWorkspace(
  db: Database,
  workspaceId: string,
  actor: Actor,
  owner: Pick<WorkspaceAccess, "memberId"> & { readonly accountId: string },
): Promise<Change<SeenWorkspace>> {
  const row = await readRow(db, workspaceId);
  if (row.deletedAt === null) {
    return { statements: [], value: see(row) };
  }
  if (row.purgeState !== null || actor.at >= row.deletedAt + restoreMs) {
    throw new AppError("gone", { detail: "The 30 days in which it could be restored are over." });
  }
  const isThis = and(
    eq(workspaces.id, workspaceId),
    eq(workspaces.ownerMemberId, owner.memberId),
    eq(workspaces.revision, row.revision),
    isNull(workspaces.purgeState),
  );
  const living = { ...row, deletedAt: null, updatedAt: actor.at, revision: row.revision + 1 };
  return {
    statements: [
      guardOwnName(db, owner.accountId, row.nameKey),
      db
        .update(workspaces)
        .set({ deletedAt: null, updatedAt: living.updatedAt, revision: living.revision })
        .where(isThis),
      guardChanged(db, "conflict"),
      auditRow(db, actor, {
        workspaceId,
        action: "workspace.restored",
        targets: [{ type: "workspace", id: workspaceId }],
        before: { deleted_at: new Date(row.deletedAt).toISOString() },
        after: { deleted_at: null },
      }),
    ],
    value: see(living),
  };
}

/** As its owner sees it. */
function see(row: WorkspaceRow): SeenWorkspace {
  return { row, answer: toWorkspace(row, "OWNER", row.livingMembers) };
}

async function readRow(db: Database, workspaceId: string): Promise<WorkspaceRow> {
  const [row] = await hideSql(db.select().from(workspaces).where(eq(workspaces.id, workspaceId)).all());
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return row;
}
