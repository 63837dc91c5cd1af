/** One instance of a pool taken out of service by hand, and back. */
import { and, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { poolInstances, pools } from "./model.js";
import type { PoolInstanceRow, PoolRows } from "./pool-schema.js";

/** An instance of a pool by id or alias. Throws `not_found`. */
export function findInstance({ instances }: PoolRows, idOrAlias: string): PoolInstanceRow {
  const found = instances.find(({ id }) => id === idOrAlias) ?? instances.find(({ alias }) => alias === idOrAlias);
  if (found === undefined) {
    throw new AppError("not_found");
  }
  return found;
}

/**
 * Plans draining (`enabled` false: no further calls, those under way go on) or resuming. One that is so already changes nothing. Refused
 * with `precondition_failed` (with `ifMatch`) or `conflict` when the pool changed since `before`.
 */
export function planInstanceSwitch(
  db: Database,
  workspaceId: string,
  actor: Actor,
  before: PoolRows,
  instance: PoolInstanceRow,
  enabled: boolean,
  ifMatch: number | null,
): Change<PoolRows> {
  const { pool } = before;
  if (ifMatch !== null && ifMatch !== pool.revision) {
    throw new AppError("precondition_failed");
  }
  if (instance.enabled === enabled) {
    return { statements: [], value: before };
  }
  const isSame = and(eq(pools.workspaceId, workspaceId), eq(pools.id, pool.id), eq(pools.revision, pool.revision));
  const isThis = and(eq(poolInstances.workspaceId, workspaceId), eq(poolInstances.id, instance.id));
  const after = { ...instance, enabled };
  return {
    statements: [
      db
        .update(pools)
        .set({ updatedAt: actor.at, revision: sql`${pools.revision} + 1` })
        .where(isSame),
      guardChanged(db, ifMatch === null ? "conflict" : "precondition_failed"),
      db.update(poolInstances).set({ enabled }).where(isThis),
      auditRow(db, actor, {
        workspaceId,
        action: enabled ? "pool.instance_resumed" : "pool.instance_drained",
        targets: [
          { type: "pool", id: pool.id },
          { type: "instance", id: instance.id },
        ],
        before: { alias: instance.alias, enabled: instance.enabled },
        after: { alias: instance.alias, enabled },
      }),
    ],
    value: {
      pool: { ...pool, updatedAt: actor.at, revision: pool.revision + 1 },
      instances: before.instances.map((one) => (one.id === instance.id ? after : one)),
    },
  };
}
