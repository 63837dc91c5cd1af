/** Switching: which of their workspaces a person means by `current`. */
import { and, eq, exists, isNull, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { guardThat, type Change, type Database } from "../base/database.js";
import { currentWorkspaces, members, workspaces } from "../tenancy/model.js";

/** Plans that a workspace is the person's current one; one that is already changes nothing. `not_found` when they no longer belong to it. */
export function planSwitch(db: Database, workspaceId: string, actor: Actor, accountId: string): Change<undefined> {
  const membership = db
    .select({ id: members.id })
    .from(members)
    .innerJoin(workspaces, and(eq(workspaces.id, members.workspaceId), isNull(workspaces.deletedAt)))
    .where(and(eq(members.workspaceId, workspaceId), eq(members.userId, accountId), isNull(members.removedAt)));
  const chosen = { workspaceId, chosenAt: actor.at };
  return {
    statements: [
      guardThat(db, exists(membership), "not_found"),
      db
        .insert(currentWorkspaces)
        .values({ userId: accountId, ...chosen })
        .onConflictDoUpdate({
          target: currentWorkspaces.userId,
          set: chosen,
          setWhere: sql`${currentWorkspaces.workspaceId} IS NOT ${workspaceId}`,
        }),
      // The person's own choice, so it stands outside the workspace's log.
      auditIfChanged(db, actor, {
        workspaceId: null,
        action: "workspace.switched",
        targets: [{ type: "workspace", id: workspaceId }],
      }),
    ],
    value: undefined,
  };
}
