/** Pools and their instances: made, replaced and deleted whole, each in one batch. An instance that stays keeps its id, and so its counts and cool-downs. */
import { and, asc, count, desc, eq, inArray, or, sql, type SQL } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow, type AuditEvent } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError, type FieldError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Position } from "../http/page.js";
import { checkFallbacks, guardFallbacks, guardNoFallback, requireNoFallback } from "./fallbacks.js";
import { credentials, poolInstances, pools } from "./model.js";
import {
  toPool,
  type InstanceInput,
  type PoolInput,
  type PoolInstanceRow,
  type PoolRow,
  type PoolRows,
} from "./pool-schema.js";

/** A workspace's pools, and their instances together: every change tells each Router all of them, and a snapshot holds all instances. */
const mostPools = 1000;
const mostInstances = 5000;

const nameConflict = { "pools.name": "name_taken", foreign_key: "conflict" } as const;

/** A pool by id or name. Throws `not_found`. */
export async function findPool(db: Database, workspaceId: string, idOrName: string): Promise<PoolRows> {
  const found = await tryFindPool(db, workspaceId, idOrName);
  if (found === null) {
    throw new AppError("not_found");
  }
  return found;
}

/** As `findPool`, with null for one that is not there. */
export async function tryFindPool(db: Database, workspaceId: string, idOrName: string): Promise<PoolRows | null> {
  const isThis = or(eq(pools.id, idOrName), eq(pools.name, idOrName));
  const [found] = await selectPools(db, workspaceId, and(eq(pools.workspaceId, workspaceId), isThis), 1);
  return found ?? null;
}

/** Pools with their instances, newest first: up to `limit` after a position. */
export async function listPools(
  db: Database,
  workspaceId: string,
  after: Position | null,
  limit: number,
): Promise<PoolRows[]> {
  const isAfter = after === null ? undefined : sql`(${pools.createdAt}, ${pools.id}) < (${after.time}, ${after.id})`;
  return selectPools(db, workspaceId, and(eq(pools.workspaceId, workspaceId), isAfter), limit);
}

/** Plans a pool. Throws `validation_failed` for credentials that are not the workspace's or another provider's, and for bad fallbacks. Conflicts: `name_taken`; `limit_reached`; `conflict` when a fallback goes meanwhile. */
export async function planPool(
  db: Database,
  workspaceId: string,
  actor: Actor,
  input: PoolInput,
): Promise<Change<PoolRows>> {
  await checkCredentials(db, workspaceId, input.instances);
  await checkFallbacks(db, workspaceId, null, input.name, input.fallbacks);
  const pool = toRow(input, { id: newId("pool"), workspaceId, createdAt: actor.at, updatedAt: actor.at, revision: 1 });
  const value = { pool, instances: placeInstances(pool, input.instances, []) };
  return {
    statements: [
      ...guardFallbacks(db, workspaceId, input.fallbacks),
      db.insert(pools).values(pool),
      insertInstances(db, value),
      ...guardLimits(db, workspaceId),
      auditRow(db, actor, { ...describeDeed(value, "pool.created"), after: publicFields(value) }),
    ],
    value,
    conflicts: nameConflict,
  };
}

/**
 * Plans a pool's new state; one that changes nothing has no statements. Throws `validation_failed` as `planPool`, and for instance
 * ids that are not the pool's, and `in_use` for another name while pools fall back on this one. Refused with `precondition_failed` (with `ifMatch`) or `conflict` when the pool changed since `before`.
 */
export async function planPoolReplacement(
  db: Database,
  workspaceId: string,
  actor: Actor,
  before: PoolRows,
  input: PoolInput,
  ifMatch: number | null,
): Promise<Change<PoolRows>> {
  requireRevision(before, ifMatch);
  checkIds(before, input.instances);
  await checkCredentials(db, workspaceId, input.instances);
  await checkFallbacks(db, workspaceId, before.pool.id, input.name, input.fallbacks);
  if (input.name !== before.pool.name) {
    await requireNoFallback(db, workspaceId, before.pool.name);
  }
  const { id, createdAt, revision } = before.pool;
  const pool = toRow(input, { id, workspaceId, createdAt, updatedAt: actor.at, revision: revision + 1 });
  const value = { pool, instances: placeInstances(pool, input.instances, before.instances) };
  if (JSON.stringify(publicFields(before)) === JSON.stringify(publicFields(value))) {
    return { statements: [], value: before };
  }
  const { name, strategy, policy, fallbacks, updatedAt } = pool;
  return {
    statements: [
      ...guardFallbacks(db, workspaceId, input.fallbacks),
      ...(name === before.pool.name ? [] : [guardNoFallback(db, workspaceId, before.pool.name)]),
      db
        .update(pools)
        .set({ name, strategy, policy, fallbacks, updatedAt, revision: pool.revision })
        .where(isAt(workspaceId, before.pool)),
      guardChanged(db, ifMatch === null ? "conflict" : "precondition_failed"),
      // Deleted and written anew: two instances that swap their aliases would break the unique index row by row.
      db.delete(poolInstances).where(and(eq(poolInstances.workspaceId, workspaceId), eq(poolInstances.poolId, id))),
      insertInstances(db, value),
      ...guardLimits(db, workspaceId),
      auditRow(db, actor, {
        ...describeDeed(value, "pool.updated"),
        before: publicFields(before),
        after: publicFields(value),
      }),
    ],
    value,
    conflicts: nameConflict,
  };
}

/** Plans the end of a pool and its instances. Refused as a replacement is. */
export function planPoolDeletion(
  db: Database,
  workspaceId: string,
  actor: Actor,
  before: PoolRows,
  ifMatch: number | null,
): Change<null> {
  requireRevision(before, ifMatch);
  return {
    statements: [
      guardNoFallback(db, workspaceId, before.pool.name),
      db.delete(pools).where(isAt(workspaceId, before.pool)),
      guardChanged(db, ifMatch === null ? "conflict" : "precondition_failed"),
      auditRow(db, actor, { ...describeDeed(before, "pool.deleted"), before: publicFields(before) }),
    ],
    value: null,
  };
}

/** Pool and instances of one moment: both reads are one batch. */
async function selectPools(
  db: Database,
  workspaceId: string,
  where: SQL | undefined,
  limit: number,
): Promise<PoolRows[]> {
  const order = [desc(pools.createdAt), desc(pools.id)] as const;
  const ids = db
    .select({ id: pools.id })
    .from(pools)
    .where(where)
    .orderBy(...order)
    .limit(limit);
  const [found, instances] = await hideSql(
    db.batch([
      db
        .select()
        .from(pools)
        .where(where)
        .orderBy(...order)
        .limit(limit),
      db
        .select()
        .from(poolInstances)
        .where(and(eq(poolInstances.workspaceId, workspaceId), inArray(poolInstances.poolId, ids)))
        .orderBy(asc(poolInstances.position)),
    ]),
  );
  const byPool = Map.groupBy(instances, (instance) => instance.poolId);
  return found.map((pool) => ({ pool, instances: byPool.get(pool.id) ?? [] }));
}

function toRow(
  input: PoolInput,
  place: Pick<PoolRow, "id" | "workspaceId" | "createdAt" | "updatedAt" | "revision">,
): PoolRow {
  const { name, strategy, policy, fallbacks } = input;
  return { ...place, name, strategy, policy: JSON.stringify(policy), fallbacks: JSON.stringify(fallbacks) };
}

/** Rows of the given instances. One that names an id, or else has the alias of an earlier one, is that one. */
function placeInstances(
  pool: PoolRow,
  given: readonly InstanceInput[],
  earlier: readonly PoolInstanceRow[],
): PoolInstanceRow[] {
  const aliases = chooseAliases(given, earlier);
  const named = new Set(given.map((instance) => instance.id));
  const byAlias = new Map(earlier.filter(({ id }) => !named.has(id)).map(({ alias, id }) => [alias, id]));
  return given.map((instance, position) => {
    const alias = aliases[position] ?? "";
    return {
      id: instance.id ?? byAlias.get(alias) ?? newId("instance"),
      workspaceId: pool.workspaceId,
      poolId: pool.id,
      position,
      alias,
      providerName: instance.provider_name,
      model: instance.model,
      credentialId: instance.credential_id,
      weight: instance.weight,
      priority: instance.priority,
      enabled: instance.enabled,
    };
  });
}

/** Aliases as given, or else the ones that kept instances have; the others are provider, model and the first number that is free. */
function chooseAliases(given: readonly InstanceInput[], earlier: readonly PoolInstanceRow[]): string[] {
  const explicit = new Set(given.map((instance) => instance.alias));
  const kept = new Map(earlier.filter(({ alias }) => !explicit.has(alias)).map(({ id, alias }) => [id, alias]));
  const known = given.map(({ id, alias }) => alias ?? (id === undefined ? undefined : kept.get(id)));
  const taken = new Set(known);
  return given.map((instance, index) => {
    const alias = known[index];
    if (alias !== undefined) {
      return alias;
    }
    const stem = `${instance.provider_name}-${instance.model.replaceAll(/[^A-Za-z0-9._:/@-]/g, "-")}`.slice(0, 150);
    let number = 1;
    while (taken.has(`${stem}-${number}`)) {
      number += 1;
    }
    taken.add(`${stem}-${number}`);
    return `${stem}-${number}`;
  });
}

/** All instances by one statement: their columns would be more than the 100 parameters that D1 allows. */
function insertInstances(db: Database, { pool, instances }: PoolRows): Statement {
  const rows = JSON.stringify(instances.map((row) => ({ ...row, enabled: row.enabled ? 1 : 0 })));
  return db.insert(poolInstances).select(
    sql`SELECT value ->> 'id', ${pool.workspaceId}, ${pool.id}, value ->> 'position', value ->> 'alias', value ->> 'providerName',
      value ->> 'model', value ->> 'credentialId', value ->> 'weight', value ->> 'priority', value ->> 'enabled'
      FROM json_each(${rows})`,
  );
}

/** Stands behind the writes: what they leave must be within the limits. */
function guardLimits(db: Database, workspaceId: string): readonly Statement[] {
  const owned = db.select({ number: count() }).from(pools).where(eq(pools.workspaceId, workspaceId));
  const held = db.select({ number: count() }).from(poolInstances).where(eq(poolInstances.workspaceId, workspaceId));
  return [
    guardThat(db, sql`(${owned}) <= ${mostPools}`, "limit_reached"),
    guardThat(db, sql`(${held}) <= ${mostInstances}`, "limit_reached"),
  ];
}

/** A credential never changes its provider, so what is read here still holds in the batch; that it still stands there is the foreign key's. */
async function checkCredentials(db: Database, workspaceId: string, given: readonly InstanceInput[]): Promise<void> {
  const ids = JSON.stringify([...new Set(given.map((instance) => instance.credential_id))]);
  const isNamed = sql`${credentials.id} IN (SELECT value FROM json_each(${ids}))`;
  const query = db
    .select({ id: credentials.id, providerName: credentials.providerName })
    .from(credentials)
    .where(and(eq(credentials.workspaceId, workspaceId), eq(credentials.providerType, "model"), isNamed));
  const providerOf = new Map((await hideSql(query.all())).map((row) => [row.id, row.providerName]));
  refuse(
    given.flatMap((instance, index) => {
      const provider = providerOf.get(instance.credential_id);
      if (provider === instance.provider_name) {
        return [];
      }
      const detail =
        provider === undefined ? "This workspace has no such credential." : `This credential is for ${provider}.`;
      return [{ pointer: `/instances/${index}/credential_id`, detail, code: "unknown_credential" }];
    }),
  );
}

function checkIds(before: PoolRows, given: readonly InstanceInput[]): void {
  const own = new Set(before.instances.map(({ id }) => id));
  const seen = new Set<string>();
  refuse(
    given.flatMap(({ id }, index) => {
      const isGood = id === undefined || (own.has(id) && !seen.has(id));
      seen.add(id ?? "");
      return isGood
        ? []
        : [{ pointer: `/instances/${index}/id`, detail: "The pool has no such instance, or it stands here twice." }];
    }),
  );
}

function refuse(errors: readonly FieldError[]): void {
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
}

function requireRevision(before: PoolRows, ifMatch: number | null): void {
  if (ifMatch !== null && ifMatch !== before.pool.revision) {
    throw new AppError("precondition_failed");
  }
}

function isAt(workspaceId: string, pool: PoolRow): SQL | undefined {
  return and(eq(pools.workspaceId, workspaceId), eq(pools.id, pool.id), eq(pools.revision, pool.revision));
}

function describeDeed({ pool }: PoolRows, action: string): Pick<AuditEvent, "workspaceId" | "action" | "targets"> {
  return { workspaceId: pool.workspaceId, action, targets: [{ type: "pool", id: pool.id }] };
}

/** What the audit log tells of a pool, and what makes two states of it the same. */
function publicFields(rows: PoolRows): Readonly<Record<string, unknown>> {
  const { name, strategy, policy, fallbacks, instances } = toPool(rows);
  return { name, strategy, policy, fallbacks, instances };
}
