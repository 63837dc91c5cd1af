/** Usage sums: what a workspace's calls came to, hour by hour, as its Routers told it. */
import { foreignKey, index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { workspaces } from "../tenancy/model.js";

/** What is summed. The column of each bears its name; times in milliseconds, cost in micro-dollars. */
export const usageSums = [
  /** Calls that were admitted and have ended. */
  "requests",
  /** Of them: no answer, or one that broke off. */
  "errors",
  /** Of them: refused by the upstream for what the caller sent. */
  "caller_faults",
  /** Of them: the caller left before the end. */
  "departures",
  /** Calls that were refused before any upstream was asked; not among `requests`. */
  "refusals",
  /** Attempts that failed, also where another instance then answered. */
  "failed_attempts",
  "prompt_tokens",
  "completion_tokens",
  "cached_tokens",
  "cost_micro_usd",
  /** Requests whose tokens nobody knows the price of. */
  "unpriced",
  /** Requests whose tokens were estimated. */
  "estimated",
  "duration_ms",
] as const;
export type UsageSum = (typeof usageSums)[number];

/** One row for each hour and combination, of one shard: absolute sums, so that telling them twice changes nothing. An empty text stands for none. */
export const usageHours = sqliteTable(
  "usage_hours",
  {
    workspaceId: text("workspace_id").notNull(),
    /** The hour's start in UTC, epoch milliseconds. */
    hour: integer("hour").notNull(),
    /** Which of the workspace's Routers tells it. */
    shard: text("shard").notNull(),
    keyId: text("key_id").notNull(),
    /** Who called without a key: a tool, signed in. */
    memberId: text("member_id").notNull(),
    poolId: text("pool_id").notNull(),
    instanceId: text("instance_id").notNull(),
    providerName: text("provider_name").notNull(),
    model: text("model").notNull(),
    endpoint: text("endpoint").notNull(),
    requests: integer("requests").notNull(),
    errors: integer("errors").notNull(),
    callerFaults: integer("caller_faults").notNull(),
    departures: integer("departures").notNull(),
    refusals: integer("refusals").notNull(),
    failedAttempts: integer("failed_attempts").notNull(),
    promptTokens: integer("prompt_tokens").notNull(),
    completionTokens: integer("completion_tokens").notNull(),
    cachedTokens: integer("cached_tokens").notNull(),
    costMicroUsd: integer("cost_micro_usd").notNull(),
    unpriced: integer("unpriced").notNull(),
    estimated: integer("estimated").notNull(),
    durationMs: integer("duration_ms").notNull(),
    /** The shard counts its changes of the row; an older telling that comes late changes nothing. */
    revision: integer("revision").notNull(),
    /** When the shard told it, epoch milliseconds. */
    toldAt: integer("told_at").notNull(),
  },
  (table) => [
    primaryKey({
      columns: [
        table.workspaceId,
        table.hour,
        table.shard,
        table.keyId,
        table.memberId,
        table.poolId,
        table.instanceId,
        table.providerName,
        table.model,
        table.endpoint,
      ],
    }),
    /** For the sweep of what is old. */
    index("usage_hours_by_age").on(table.hour),
    foreignKey({ name: "usage_hours_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
  ],
);

/** The dimensions of a row, as a Router names them. */
export interface UsagePlace {
  /** The hour's start in UTC, epoch milliseconds. */
  readonly hour: number;
  readonly key_id: string;
  readonly member_id: string;
  readonly pool_id: string;
  readonly instance_id: string;
  readonly provider_name: string;
  readonly model: string;
  readonly endpoint: string;
}

/** The places' names, in the order of the row. */
export const usagePlaces = [
  "hour",
  "key_id",
  "member_id",
  "pool_id",
  "instance_id",
  "provider_name",
  "model",
  "endpoint",
] as const satisfies readonly (keyof UsagePlace)[];

/** One row as a Router tells it. */
export interface UsageRow extends UsagePlace, Readonly<Record<UsageSum, number>> {
  readonly revision: number;
}
