/** Pools on the wire: what a pool may be, its defaults, and how it answers. Holds no table; those stand in `model.ts`. */
import { z } from "@hono/zod-openapi";
import { isId } from "../base/ids.js";
import { ProviderName, poolStrategies, type poolInstances, type pools } from "./model.js";

const maxInstances = 100;
const maxWeight = 10_000;
const maxFallbacks = 10;

export type PoolRow = typeof pools.$inferSelect;
export type PoolInstanceRow = typeof poolInstances.$inferSelect;

/** A pool with its instances in order. */
export interface PoolRows {
  readonly pool: PoolRow;
  readonly instances: readonly PoolInstanceRow[];
}

/** The model name that clients ask for. Not of the form of a pool id, nor a path step, so that it can stand for the pool in a path. */
const PoolName = z
  .string()
  .regex(/^[A-Za-z0-9._:/-]{1,128}$/, "Use 1 to 128 of A–Z, a–z, 0–9 and . _ : / -.")
  .refine((name) => !isId("pool", name) && name !== "." && name !== "..", "This name is reserved. Choose another.");

/** Stands in the header `x-gatehouse-instance`. */
const Alias = z.string().regex(/^[A-Za-z0-9._:/@-]{1,160}$/, "Use 1 to 160 of A–Z, a–z, 0–9 and . _ : / @ -.");

const ModelName = z
  .string()
  .regex(/^[\x21-\x7e]{1,256}$/, "Give the provider's model name: visible ASCII characters, no spaces.");

const Strategy = z
  .enum(poolStrategies)
  .default("weighted")
  .describe(
    "`weighted`: by weight, exactly. `round_robin`: the same share for each. `priority`: the lowest `priority` that has somebody, by weight inside it. " +
      "`least_busy`: fewest calls under way for its weight. `latency`: faster ones get more. `cost`: the cheapest that is healthy.",
  );

const Fallbacks = z
  .array(PoolName)
  .max(maxFallbacks, `At most ${maxFallbacks} fallback pools.`)
  .refine((names) => new Set(names).size === names.length, "Name each pool once.")
  .default([])
  .describe("Pools, by name, that stand in while this one has nobody, in order.");

/** How a pool treats time and failure; what is left out is filled in. Times in milliseconds. */
export const PoolPolicyInput = z
  .strictObject({
    max_attempts: z
      .number()
      .int()
      .min(1)
      .max(10)
      .default(3)
      .describe("Attempts on different instances for one request."),
    total_timeout_ms: z
      .number()
      .int()
      .min(1000)
      .max(3_600_000)
      .default(600_000)
      .describe("From a request's start to its last byte."),
    first_byte_timeout_ms: z
      .number()
      .int()
      .min(100)
      .max(600_000)
      .default(120_000)
      .describe(
        "Streams only: from a call's start to its first content event. A model that reasons unseen sends none for a while. A call that is not streamed has the total time-out alone.",
      ),
    idle_timeout_ms: z
      .number()
      .int()
      .min(100)
      .max(600_000)
      .default(60_000)
      .describe("Longest silence inside a stream, or inside a JSON answer that has begun."),
    default_max_tokens: z
      .number()
      .int()
      .min(1)
      .max(1_000_000)
      .default(4_096)
      .describe(
        "The longest answer, in tokens, that is held and sent upstream for a call that sets no cap itself, where its tokens or money are limited. A model's own longest answer counts where it is less.",
      ),
    sticky: z
      .enum(["none", "user", "header"])
      .default("none")
      .describe(
        "Whose calls go to the same instance as long as it is healthy: those with the same `user` field, or with the same `x-gatehouse-sticky` header.",
      ),
  })
  .openapi("PoolPolicy");
export type PoolPolicyInput = z.infer<typeof PoolPolicyInput>;

const CreateInstance = z
  .strictObject({
    alias: Alias.optional().describe("Named to callers; provider, model and a number when left out."),
    provider_name: ProviderName,
    model: ModelName,
    credential_id: z.string().max(64),
    weight: z
      .number()
      .int()
      .min(0)
      .max(maxWeight)
      .default(1)
      .describe("Its share of the calls: weight over the sum of weights. 0 drains it."),
    priority: z
      .number()
      .int()
      .min(0)
      .max(1000)
      .default(0)
      .describe("For the strategy `priority`: lower is served first."),
    enabled: z.boolean().default(true),
  })
  .openapi("CreatePoolInstance");

const ReplaceInstance = CreateInstance.extend({
  id: z
    .string()
    .max(64)
    .optional()
    .describe("Keeps this instance, with its counts and cool-downs. The same alias keeps it too."),
}).openapi("ReplacePoolInstance");

function instancesOf<T extends z.ZodType<{ alias?: string | undefined; weight: number }>>(instance: T) {
  return z
    .array(instance)
    .min(1, "Give at least one instance.")
    .max(maxInstances, `At most ${maxInstances} instances.`)
    .superRefine(checkInstances);
}

const common = {
  name: PoolName.describe("The model name that clients ask for."),
  strategy: Strategy,
  policy: PoolPolicyInput.prefault({}),
  fallbacks: Fallbacks,
};

export const CreatePool = z.strictObject({ ...common, instances: instancesOf(CreateInstance) }).openapi("CreatePool");
export const ReplacePool = z
  .strictObject({ ...common, instances: instancesOf(ReplaceInstance) })
  .openapi("ReplacePool");
/** What both doors give the verbs. */
export type PoolInput = z.infer<typeof ReplacePool>;
export type InstanceInput = PoolInput["instances"][number];

const PoolInstance = z
  .object({
    id: z.string(),
    alias: z.string(),
    provider_name: z.string(),
    model: z.string(),
    credential_id: z.string(),
    weight: z.number().int(),
    priority: z.number().int(),
    enabled: z.boolean(),
  })
  .openapi("PoolInstance");
export type PoolInstance = z.infer<typeof PoolInstance>;

export const Pool = z
  .object({
    id: z.string(),
    name: z.string(),
    strategy: z.enum(poolStrategies),
    policy: z.object(PoolPolicyInput.shape),
    fallbacks: z.array(z.string()),
    instances: z.array(PoolInstance),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi("Pool");
export type Pool = z.infer<typeof Pool>;

/** The answer's view of a pool. */
export function toPool({ pool, instances }: PoolRows): Pool {
  return {
    id: pool.id,
    name: pool.name,
    strategy: pool.strategy,
    policy: PoolPolicyInput.parse(JSON.parse(pool.policy)),
    fallbacks: z.array(z.string()).parse(JSON.parse(pool.fallbacks)),
    instances: instances.map(toPoolInstance),
    created_at: new Date(pool.createdAt).toISOString(),
    updated_at: new Date(pool.updatedAt).toISOString(),
  };
}

function toPoolInstance(row: PoolInstanceRow): PoolInstance {
  return {
    id: row.id,
    alias: row.alias,
    provider_name: row.providerName,
    model: row.model,
    credential_id: row.credentialId,
    weight: row.weight,
    priority: row.priority,
    enabled: row.enabled,
  };
}

function checkInstances(
  instances: readonly { readonly alias?: string | undefined; readonly weight: number }[],
  context: z.core.$RefinementCtx,
): void {
  if (instances.every(({ weight }) => weight === 0)) {
    context.addIssue({ code: "custom", path: [], message: "At least one instance needs a weight above 0." });
  }
  const seen = new Set<string>();
  for (const [index, { alias }] of instances.entries()) {
    if (alias !== undefined && seen.has(alias)) {
      context.addIssue({ code: "custom", path: [index, "alias"], message: "Another instance has this alias." });
    }
    seen.add(alias ?? "");
  }
}
