/** The wire form of usage. */
import { z } from "@hono/zod-openapi";
import { groupFields, usageGroups, type UsageGroup, type UsageLine } from "./usage-query.js";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Steps by name, in milliseconds. Days are UTC's. */
export const stepMs = { hour: hourMs, day: dayMs } as const;

/** The longest stretch that one question may ask of, in steps: a month of hours, over a year of days. */
export const maxSteps = { hour: 31 * 24, day: 400 } as const;

const Sums = z.object({
  requests: z.number().int().describe("Calls that were admitted and have ended."),
  errors: z.number().int().describe("Of them: no answer, or one that broke off."),
  caller_faults: z.number().int().describe("Of them: refused by the provider for what was sent."),
  departures: z.number().int().describe("Of them: the caller left before the end."),
  refusals: z.number().int().describe("Calls refused before any instance was called; not among `requests`."),
  failed_attempts: z
    .number()
    .int()
    .describe(
      "Attempts that failed, also where another instance then answered. They stand with the instance that failed.",
    ),
  prompt_tokens: z.number().int().describe("Cached ones included."),
  completion_tokens: z.number().int(),
  cached_tokens: z.number().int(),
  cost_usd: z.number().describe("By the models' prices; calls whose price nobody knows count 0 and are `unpriced`."),
  unpriced: z.number().int(),
  estimated: z.number().int().describe("Calls whose tokens or cost rest on an estimate."),
  duration_ms: z.number().int().describe("Together."),
});

const UsageRow = Sums.extend({
  start: z.iso.datetime().describe("The hour's or day's start, UTC."),
  key_id: z.string().nullable().optional(),
  key_name: z.string().nullable().optional(),
  pool_id: z.string().nullable().optional(),
  pool_name: z.string().nullable().optional(),
  instance_id: z.string().nullable().optional(),
  model: z.string().nullable().optional().describe("The provider's own name, or `provider/tool`."),
  provider_name: z.string().nullable().optional(),
  member_id: z.string().nullable().optional().describe("Who made the key, or called without one."),
  endpoint: z.string().nullable().optional(),
}).openapi("UsageRow");

/** The answer. */
export const UsageReport = z
  .object({
    from: z.iso.datetime(),
    to: z.iso.datetime(),
    interval: z.enum(["hour", "day"]),
    as_of: z.iso
      .datetime()
      .nullable()
      .describe(
        "Every call whose end a shard had heard of by then is counted; that takes a moment. Where a shard could not be asked it is when the newest figures came, null where there are none; its calls of the last minutes may be missing.",
      ),
    complete: z.boolean().describe("Every shard was asked."),
    totals: Sums.describe("Over the whole time and all pages."),
    data: z.array(UsageRow).describe("By time, then by the groups. Hours and days without calls are left out."),
    next_cursor: z.string().nullable(),
  })
  .openapi("UsageReport");
export type UsageReport = z.infer<typeof UsageReport>;

/** What a usage question may say. */
export const UsageQuery = z.object({
  from: z.iso
    .datetime({ offset: true })
    .optional()
    .describe("Rounded down to a whole step. A day before `to` for hours, 30 days for days when left out."),
  to: z.iso.datetime({ offset: true }).optional().describe("Rounded up to a whole step; now when left out."),
  interval: z.enum(["hour", "day"]).default("day").describe("Steps of the rows, in UTC."),
  group_by: z
    .string()
    .max(100)
    .optional()
    .transform((text) => (text === undefined || text === "" ? [] : text.split(",").map((word) => word.trim())))
    .pipe(z.array(z.enum(usageGroups)).max(usageGroups.length))
    .describe(`Any of ${usageGroups.join(", ")}, with commas between.`),
  key: z.string().max(300).optional().describe("Only calls with this key, by id."),
  pool: z.string().max(300).optional().describe("Only calls of this pool, by id."),
  instance: z.string().max(300).optional().describe("Only calls that this instance answered, by id."),
  model: z.string().max(300).optional().describe("Only calls of this model, by the provider's own name."),
  provider: z.string().max(300).optional().describe("Only calls that this provider answered, by name."),
  member: z.string().max(300).optional().describe("Only calls of this member: with keys they made, or without one."),
  endpoint: z.string().max(300).optional().describe("Only calls of this endpoint, such as `chat/completions`."),
  limit: z.coerce.number().int().min(1).max(200).default(50).describe("Rows a page, 1 to 200."),
  cursor: z.string().max(4_000).optional().describe("The `next_cursor` of the page before, with the same question."),
});

/** Sums as they are told. */
export function toSums({ cost_micro_usd: cost, ...rest }: UsageLine["sums"]): z.infer<typeof Sums> {
  return { ...rest, cost_usd: cost / 1e6 };
}

/** A row as it is told: only the fields that it is grouped by. */
export function toUsageRow({ groups, key_name, pool_name, start, sums }: UsageLine): z.infer<typeof UsageRow> {
  const fields = usageGroups.flatMap((group: UsageGroup) => {
    const value = groups[group];
    return value === undefined ? [] : [[groupFields[group], value === "" ? null : value] as const];
  });
  return {
    start: new Date(start).toISOString(),
    ...Object.fromEntries(fields),
    ...(groups.key === undefined ? {} : { key_name }),
    ...(groups.pool === undefined ? {} : { pool_name }),
    ...toSums(sums),
  };
}
