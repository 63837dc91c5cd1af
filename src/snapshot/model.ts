/** What the hot path may know of a workspace: the Router's rows (no secret at all) and the KV snapshot (sealed secrets only). */
import { z } from "zod";

/** Moves when the snapshot's shape changes; stands in every address, so two releases never read each other's. */
export const snapshotFormat = 1;

/** Names one immutable snapshot: `config/{format}/{workspace}/{epoch}.{version}.{digest}`. Higher (epoch, version) wins. */
export const ConfigAddress = z.object({
  epoch: z.number().int().nonnegative(),
  version: z.number().int().nonnegative(),
  /** SHA-256 of the snapshot's JSON, hex. */
  digest: z.string(),
});
export type ConfigAddress = z.infer<typeof ConfigAddress>;

/** How a pool treats time and failure; filled with defaults before it gets here. Times in milliseconds. */
export const PoolPolicy = z.object({
  /** Attempts on different instances for one request, at most. */
  max_attempts: z.number().int().min(1).max(10),
  /** From the request's start to its last byte. */
  total_timeout_ms: z.number().int().min(1000).max(3_600_000),
  /** Streams only: from an upstream call's start to its first content event. */
  first_byte_timeout_ms: z.number().int().min(100).max(600_000),
  /** Longest silence of the upstream inside an answer that has begun. */
  idle_timeout_ms: z.number().int().min(100).max(600_000),
  /** Whose calls go to the same instance as long as it is healthy: those with the same `user` field, or the same `x-gatehouse-sticky` header. */
  sticky: z.enum(["none", "user", "header"]).optional(),
  /** The cap that is held and sent upstream where a call sets none and its tokens or money are limited. */
  default_max_tokens: z.number().int().min(1).max(1_000_000).optional(),
});
export type PoolPolicy = z.infer<typeof PoolPolicy>;

/** Budgets of a UTC day and month in micro-dollars; null means none. */
export const RouterBudget = z.object({
  day: z.number().int().nonnegative().nullable(),
  month: z.number().int().nonnegative().nullable(),
});
export type RouterBudget = z.infer<typeof RouterBudget>;

/** Limits of all calls of a workspace together; null means none. */
export const RouterLimits = z.object({
  /** Requests and tokens per sliding 60 s. */
  rpm: z.number().int().positive().nullable(),
  tpm: z.number().int().positive().nullable(),
  /** Requests in flight at once. */
  concurrent: z.number().int().positive().nullable(),
  budget: RouterBudget,
});
export type RouterLimits = z.infer<typeof RouterLimits>;

/** An API key as the Router holds it. */
export const RouterKey = z.object({
  id: z.string(),
  /** SHA-256 of the whole key, hex. */
  digest: z.string(),
  /** The secret before the last rotation: the same key until then, refused as expired after. Absent when there is none. */
  previous: z.object({ digest: z.string(), expires_at_ms: z.number() }).optional(),
  scopes: z.array(z.string()),
  /** Names of pools and models allowed; null means all. */
  models: z.array(z.string()).nullable(),
  /** Tools allowed, as `provider/tool` or `provider/*`; null or absent means all. */
  tools: z.array(z.string()).nullable().optional(),
  /** Requests per sliding 60 s; null means no limit. */
  rpm: z.number().int().positive().nullable(),
  /** Requests in flight at once; null means no limit. */
  concurrent: z.number().int().positive().nullable(),
  /** Tokens per sliding 60 s; null or absent means no limit. */
  tpm: z.number().int().positive().nullable().optional(),
  /** Absent means none. */
  budget: RouterBudget.optional(),
  expires_at_ms: z.number().nullable(),
  revoked: z.boolean(),
});
export type RouterKey = z.infer<typeof RouterKey>;

/** What a model's tokens cost, in micro-dollars for a million of them. */
export const RouterPrice = z.object({
  input: z.number().nonnegative(),
  output: z.number().nonnegative(),
  /** For input that the provider had cached; absent where nobody knows. */
  cached: z.number().nonnegative().optional(),
  /** For input that the provider puts into its cache; absent where nobody knows. */
  cache_write: z.number().nonnegative().optional(),
});
export type RouterPrice = z.infer<typeof RouterPrice>;

export const RouterInstance = z.object({
  id: z.string(),
  alias: z.string(),
  provider_name: z.string(),
  model: z.string(),
  credential_id: z.string(),
  /** Integer 0–10,000; 0 = drained. */
  weight: z.number().int().min(0).max(10_000),
  priority: z.number().int(),
  enabled: z.boolean(),
  /** What a mixed million tokens cost on it, in micro-dollars; absent when nobody knows. For the strategy `cost`. */
  price: z.number().nonnegative().optional(),
  /** What its tokens cost; absent when nobody knows. */
  prices: RouterPrice.optional(),
  /** Most tokens that one answer may have; absent when nobody knows. */
  max_output: z.number().int().positive().optional(),
});
export type RouterInstance = z.infer<typeof RouterInstance>;

export const RouterPool = z.object({
  id: z.string(),
  name: z.string(),
  strategy: z.enum(["weighted", "round_robin", "priority", "least_busy", "latency", "cost"]),
  policy: PoolPolicy,
  fallbacks: z.array(z.string()),
  instances: z.array(RouterInstance),
});
export type RouterPool = z.infer<typeof RouterPool>;

/**
 * Counts the known models' lists: raise it whenever a release changes which models the catalogue knows. A Router that was told an
 * older one is told anew when it meets a name it does not know. `test/snapshot/catalogue.test.ts` says when to.
 */
export const catalogueEdition = 2;

/** A provider whose models are called by their own names, without a pool. */
export const RouterProvider = z.object({
  /** The provider's name. */
  id: z.string(),
  /** Its enabled models that at least one of the credentials may call. */
  models: z.array(z.string()),
  /** Its credentials that are not disabled. */
  credentials: z.array(z.string()),
  /** Models that only some of the credentials have, by their places in `credentials`. */
  held: z.array(z.object({ model: z.string(), places: z.array(z.number().int()) })),
  /** What each of `models` costs, in their order: input, output and cached input as in `RouterPrice`, the last left out where nobody knows it; null for a model whose price nobody knows. */
  prices: z.array(z.array(z.number().nonnegative()).min(2).max(3).nullable()).optional(),
  /** Models of which it is known how many tokens one answer may have. */
  max_outputs: z.array(z.object({ model: z.string(), tokens: z.number().int().positive() })).optional(),
});
export type RouterProvider = z.infer<typeof RouterProvider>;

/** A default of the workspace: a pool, or a provider's model. */
export const RouterDefault = z.union([
  z.object({ type: z.string(), pool_id: z.string() }),
  z.object({ type: z.string(), provider_name: z.string(), model: z.string() }),
]);
export type RouterDefault = z.infer<typeof RouterDefault>;

/** What may be called without a pool. Compact: instances are made from it when a name is first asked for. */
export const RouterCatalogue = z.object({
  edition: z.number().int(),
  providers: z.array(RouterProvider),
  defaults: z.array(RouterDefault),
});
export type RouterCatalogue = z.infer<typeof RouterCatalogue>;

/** A workspace's shards, by region. */
export const RouterShards = z.object({
  /** The first key's region, for good: its shard grants probes and leases the workspace's limits. */
  first: z.string(),
  /** Every region that has a key which is not revoked, and the first. */
  all: z.array(z.string()),
});
export type RouterShards = z.infer<typeof RouterShards>;

/** What `router.apply` takes for one version of one workspace. */
export const RouterRows = z.object({
  workspace_id: z.string(),
  /** A workspace that is not active refuses every key. */
  active: z.boolean(),
  keys: z.array(RouterKey),
  pools: z.array(RouterPool),
  /** Credentials that may be used; an instance of any other is out. `validated_at_ms`, when it was last proved good or let try again, ends an older failure. */
  credentials: z.array(z.object({ id: z.string(), usable: z.boolean(), validated_at_ms: z.number().nullable() })),
  /** Of the workspace as a whole; absent where it has none. */
  limits: RouterLimits.optional(),
  /** Absent from what the release before told. */
  catalogue: RouterCatalogue.optional(),
  /** Absent before the first key is made, and from what the release before told. */
  shards: RouterShards.optional(),
});
export type RouterRows = z.infer<typeof RouterRows>;

/** A credential with its secret sealed. `secret_version` and `origin` are part of the seal's associated data. */
export const SnapshotCredential = z.object({
  id: z.string(),
  provider_name: z.string(),
  base_url: z.string(),
  /** Its other plain fields; the release before wrote none. */
  options: z.record(z.string(), z.string()).default({}),
  /** The origin the secret may be sent to. */
  origin: z.string(),
  sealed: z.string(),
  secret_version: z.number().int().positive(),
  data_key_id: z.string(),
});
export type SnapshotCredential = z.infer<typeof SnapshotCredential>;

export const SnapshotDataKey = z.object({ id: z.string(), wrapped: z.string() });
export type SnapshotDataKey = z.infer<typeof SnapshotDataKey>;

/** The KV value: what the gateway needs beside the ticket to call an upstream. */
export const ConfigSnapshot = z.object({
  format: z.literal(snapshotFormat),
  workspace_id: z.string(),
  epoch: z.number().int(),
  version: z.number().int(),
  data_keys: z.array(SnapshotDataKey),
  credentials: z.array(SnapshotCredential),
  instances: z.array(
    z.object({ id: z.string(), credential_id: z.string(), provider_name: z.string(), model: z.string() }),
  ),
});
export type ConfigSnapshot = z.infer<typeof ConfigSnapshot>;
