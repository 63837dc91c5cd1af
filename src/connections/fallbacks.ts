/** Pools that stand in for others: named by pools of the same workspace, never in a circle. */
import { and, eq, ne, sql } from "drizzle-orm";
import { z } from "zod";
import { guardThat, hideSql, type Database, type Statement } from "../base/database.js";
import { AppError, type FieldError } from "../base/errors.js";
import { pools } from "./model.js";

const Names = z.array(z.string());

/**
 * Checks the fallbacks of a pool that is to be stored; `poolId` null for one that is made. Throws `validation_failed`, pointing at each name
 * that is no pool or leads back to this one. Two changes at once can still close a circle: routing tries each pool once and does not mind.
 */
export async function checkFallbacks(
  db: Database,
  workspaceId: string,
  poolId: string | null,
  name: string,
  fallbacks: readonly string[],
): Promise<void> {
  if (fallbacks.length === 0) {
    return;
  }
  const isOther = and(eq(pools.workspaceId, workspaceId), poolId === null ? undefined : ne(pools.id, poolId));
  const rows = await hideSql(
    db.select({ name: pools.name, fallbacks: pools.fallbacks }).from(pools).where(isOther).all(),
  );
  const others = new Map(rows.map((row) => [row.name, Names.parse(JSON.parse(row.fallbacks))]));
  const errors = fallbacks.flatMap((fallback, index): FieldError[] => {
    const detail = problemOf(others, name, fallback);
    return detail === null ? [] : [{ pointer: `/fallbacks/${index}`, detail, code: "bad_fallback" }];
  });
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
}

/** Throws `in_use`, naming the pools that have this one as a fallback. `poolName` is the name that is about to go. */
export async function requireNoFallback(db: Database, workspaceId: string, poolName: string): Promise<void> {
  const isNamed = sql`EXISTS (SELECT 1 FROM json_each(${pools.fallbacks}) WHERE value = ${poolName})`;
  const query = db
    .select({ id: pools.id, name: pools.name })
    .from(pools)
    .where(and(eq(pools.workspaceId, workspaceId), isNamed));
  const using = await hideSql(query.orderBy(pools.name).all());
  if (using.length > 0) {
    throw new AppError("in_use", { extra: { pools: using } });
  }
}

/** Refuses a change with `conflict` when a pool that it falls back on went after `checkFallbacks` had seen it. */
export function guardFallbacks(db: Database, workspaceId: string, fallbacks: readonly string[]): readonly Statement[] {
  const names = JSON.stringify(fallbacks);
  const isGone = sql`NOT EXISTS (SELECT 1 FROM ${pools} WHERE ${pools.workspaceId} = ${workspaceId} AND ${pools.name} = named.value)`;
  const allStand = sql`NOT EXISTS (SELECT 1 FROM json_each(${names}) AS named WHERE ${isGone})`;
  return fallbacks.length === 0 ? [] : [guardThat(db, allStand, "conflict")];
}

/** Refuses a change with `conflict` when a pool took this name as a fallback after `requireNoFallback` had looked. */
export function guardNoFallback(db: Database, workspaceId: string, poolName: string): Statement {
  const isNamed = sql`EXISTS (SELECT 1 FROM json_each(${pools.fallbacks}) AS named WHERE named.value = ${poolName})`;
  const nobody = sql`NOT EXISTS (SELECT 1 FROM ${pools} WHERE ${pools.workspaceId} = ${workspaceId} AND ${isNamed})`;
  return guardThat(db, nobody, "conflict");
}

function problemOf(others: ReadonlyMap<string, readonly string[]>, name: string, fallback: string): string | null {
  if (fallback === name) {
    return "A pool cannot stand in for itself.";
  }
  if (!others.has(fallback)) {
    return "This workspace has no such pool.";
  }
  const reached = new Set([fallback]);
  // A Set gives what is added while it is walked.
  for (const one of reached) {
    for (const further of others.get(one) ?? []) {
      reached.add(further);
    }
  }
  return reached.has(name) ? "This pool falls back on the one you are saving: that would be a circle." : null;
}
