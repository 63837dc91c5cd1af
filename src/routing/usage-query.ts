/** What a workspace's usage sums up to, from the record. Times are epoch milliseconds, cost micro-dollars. */
import { and, eq, gte, lt, sql, type SQL } from "drizzle-orm";
import type { SQLiteColumn } from "drizzle-orm/sqlite-core";
import { hideSql, type Database } from "../base/database.js";
import { pools } from "../connections/model.js";
import { apiKeys } from "../keys/model.js";
import { usageHours, type UsageSum } from "../usage/model.js";

/** By what sums can be told apart. A member's are their own calls without a key and those of the keys that they made. */
export const usageGroups = ["key", "pool", "instance", "model", "provider", "member", "endpoint"] as const;
export type UsageGroup = (typeof usageGroups)[number];

/** The field that a group has in an answer. */
export const groupFields = {
  key: "key_id",
  pool: "pool_id",
  instance: "instance_id",
  model: "model",
  provider: "provider_name",
  member: "member_id",
  endpoint: "endpoint",
} as const satisfies Record<UsageGroup, string>;

/** Which usage. `to` is not included. */
export interface UsageScope {
  readonly from: number;
  readonly to: number;
  /** Only this member's; null for everybody's. */
  readonly member: string | null;
  readonly filters: Readonly<Partial<Record<UsageGroup, string>>>;
}

/** A page of sums. */
export interface UsagePageQuery extends UsageScope {
  readonly stepMs: number;
  readonly groups: readonly UsageGroup[];
  readonly limit: number;
  /** The last row of the page before: its step's start, then its groups. */
  readonly after: readonly [number, ...string[]] | null;
}

/** One row: where it stands, and its sums. */
export interface UsageLine {
  readonly start: number;
  readonly groups: Readonly<Partial<Record<UsageGroup, string>>>;
  /** Names of the key and the pool as they are now; null where they are not asked for or gone. */
  readonly key_name: string | null;
  readonly pool_name: string | null;
  readonly sums: Readonly<Record<UsageSum, number>>;
}

const memberOf = sql<string>`coalesce(nullif(${usageHours.memberId}, ''), ${apiKeys.madeBy}, '')`;

const expressions: Readonly<Record<UsageGroup, SQL<string> | SQLiteColumn>> = {
  key: usageHours.keyId,
  pool: usageHours.poolId,
  instance: usageHours.instanceId,
  model: usageHours.model,
  provider: usageHours.providerName,
  member: memberOf,
  endpoint: usageHours.endpoint,
};

const sumColumns = {
  requests: total(usageHours.requests),
  errors: total(usageHours.errors),
  caller_faults: total(usageHours.callerFaults),
  departures: total(usageHours.departures),
  refusals: total(usageHours.refusals),
  failed_attempts: total(usageHours.failedAttempts),
  prompt_tokens: total(usageHours.promptTokens),
  completion_tokens: total(usageHours.completionTokens),
  cached_tokens: total(usageHours.cachedTokens),
  cost_micro_usd: total(usageHours.costMicroUsd),
  unpriced: total(usageHours.unpriced),
  estimated: total(usageHours.estimated),
  duration_ms: total(usageHours.durationMs),
} as const satisfies Record<UsageSum, SQL<number>>;

/** A page of sums in the order of time, then of the groups; one row more than `limit` where there are others. */
export async function listUsage(
  db: Database,
  workspaceId: string,
  query: UsagePageQuery,
): Promise<readonly UsageLine[]> {
  const { after, groups, limit, stepMs } = query;
  const start = sql<number>`${usageHours.hour} - ${usageHours.hour} % ${sql.raw(String(stepMs))}`;
  const parts = [start, ...groups.map((group) => sql`${expressions[group]}`)];
  const place = sql.join(parts, sql`, `);
  const seen =
    after === null
      ? null
      : sql.join(
          after.map((value) => sql`${value}`),
          sql`, `,
        );
  const named = Object.fromEntries(groups.map((group) => [`by_${group}`, sql<string>`${expressions[group]}`]));
  const rows = await hideSql(
    db
      .select({
        start,
        key_name: sql<string | null>`max(${apiKeys.name})`,
        pool_name: sql<string | null>`max(${pools.name})`,
        ...sumColumns,
        ...named,
      })
      .from(usageHours)
      .leftJoin(apiKeys, isKey)
      .leftJoin(pools, isPool)
      .where(isIn(workspaceId, query))
      .groupBy(...parts)
      .having(seen === null ? undefined : sql`(${place}) > (${seen})`)
      .orderBy(...parts)
      .limit(limit + 1)
      .all(),
  );
  return rows.map((row) => toLine(row, groups));
}

/** The sums over the whole of a scope. */
export async function totalUsage(
  db: Database,
  workspaceId: string,
  scope: UsageScope,
): Promise<Readonly<Record<UsageSum, number>>> {
  const query = db.select(sumColumns).from(usageHours).leftJoin(apiKeys, isKey).where(isIn(workspaceId, scope));
  const [row] = await hideSql(query.all());
  return pickSums(row ?? {});
}

/** When the scope's newest row was told; null where there is none. */
export async function lastTold(db: Database, workspaceId: string, { from, to }: UsageScope): Promise<number | null> {
  const isInTime = and(eq(usageHours.workspaceId, workspaceId), gte(usageHours.hour, from), lt(usageHours.hour, to));
  const query = db
    .select({ at: sql<number | null>`max(${usageHours.toldAt})` })
    .from(usageHours)
    .where(isInTime);
  const [row] = await hideSql(query.all());
  return row?.at ?? null;
}

const isKey = and(eq(apiKeys.workspaceId, usageHours.workspaceId), eq(apiKeys.id, usageHours.keyId));
const isPool = and(eq(pools.workspaceId, usageHours.workspaceId), eq(pools.id, usageHours.poolId));

function isIn(workspaceId: string, { filters, from, member, to }: UsageScope): SQL | undefined {
  const asked = usageGroups.flatMap((group) => {
    const value = filters[group];
    return value === undefined ? [] : [sql`${expressions[group]} = ${value}`];
  });
  return and(
    eq(usageHours.workspaceId, workspaceId),
    gte(usageHours.hour, from),
    lt(usageHours.hour, to),
    member === null ? undefined : sql`${memberOf} = ${member}`,
    ...asked,
  );
}

function total(column: SQLiteColumn): SQL<number> {
  return sql<number>`coalesce(sum(${column}), 0)`;
}

type Row = Readonly<Record<string, unknown>>;

function toLine(row: Row, groups: readonly UsageGroup[]): UsageLine {
  const told = groups.map((group) => [group, textOf(row[`by_${group}`])] as const);
  return {
    start: numberOf(row["start"]),
    groups: Object.fromEntries(told),
    key_name: groups.includes("key") ? nameOf(row["key_name"]) : null,
    pool_name: groups.includes("pool") ? nameOf(row["pool_name"]) : null,
    sums: pickSums(row),
  };
}

function pickSums(row: Row): Record<UsageSum, number> {
  return {
    requests: numberOf(row["requests"]),
    errors: numberOf(row["errors"]),
    caller_faults: numberOf(row["caller_faults"]),
    departures: numberOf(row["departures"]),
    refusals: numberOf(row["refusals"]),
    failed_attempts: numberOf(row["failed_attempts"]),
    prompt_tokens: numberOf(row["prompt_tokens"]),
    completion_tokens: numberOf(row["completion_tokens"]),
    cached_tokens: numberOf(row["cached_tokens"]),
    cost_micro_usd: numberOf(row["cost_micro_usd"]),
    unpriced: numberOf(row["unpriced"]),
    estimated: numberOf(row["estimated"]),
    duration_ms: numberOf(row["duration_ms"]),
  };
}

function numberOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function nameOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
