/** Usage in an export: every hour's sums, as the shards told them. */
import { and, asc, eq, sql } from "drizzle-orm";
import { z } from "zod";
import { hideSql, type Database } from "../base/database.js";
import { usageHours } from "../usage/model.js";

/** One row, with the place to go on from. */
interface UsageExportRow {
  readonly cursor: string;
  readonly data: object;
}

const Place = z.array(z.union([z.string(), z.number()])).length(9);

const order = [
  usageHours.hour,
  usageHours.shard,
  usageHours.keyId,
  usageHours.memberId,
  usageHours.poolId,
  usageHours.instanceId,
  usageHours.providerName,
  usageHours.model,
  usageHours.endpoint,
] as const;

/** Rows after a place, which is their key as JSON, `limit` of them. */
export async function readUsage(
  db: Database,
  workspaceId: string,
  after: string,
  limit: number,
): Promise<UsageExportRow[]> {
  const place = after === "" ? null : Place.parse(JSON.parse(after));
  const columns = sql.join(
    order.map((column) => sql`${column}`),
    sql`, `,
  );
  const seen = place?.map((value) => sql`${value}`);
  const isNext = seen === undefined ? undefined : sql`(${columns}) > (${sql.join(seen, sql`, `)})`;
  const query = db
    .select()
    .from(usageHours)
    .where(and(eq(usageHours.workspaceId, workspaceId), isNext))
    .orderBy(...order.map((column) => asc(column)));
  return (await hideSql(query.limit(limit).all())).map((row) => ({ cursor: cursorOf(row), data: toData(row) }));
}

type UsageHour = typeof usageHours.$inferSelect;

function cursorOf(row: UsageHour): string {
  const { endpoint, hour, instanceId, keyId, memberId, model, poolId, providerName, shard } = row;
  return JSON.stringify([hour, shard, keyId, memberId, poolId, instanceId, providerName, model, endpoint]);
}

function toData(row: UsageHour): object {
  return {
    hour: new Date(row.hour).toISOString(),
    shard: row.shard,
    key_id: row.keyId,
    member_id: row.memberId,
    pool_id: row.poolId,
    instance_id: row.instanceId,
    provider_name: row.providerName,
    model: row.model,
    endpoint: row.endpoint,
    requests: row.requests,
    errors: row.errors,
    caller_faults: row.callerFaults,
    departures: row.departures,
    refusals: row.refusals,
    failed_attempts: row.failedAttempts,
    prompt_tokens: row.promptTokens,
    completion_tokens: row.completionTokens,
    cached_tokens: row.cachedTokens,
    cost_usd: row.costMicroUsd / 1e6,
    unpriced: row.unpriced,
    estimated: row.estimated,
    duration_ms: row.durationMs,
    told_at: new Date(row.toldAt).toISOString(),
  };
}
