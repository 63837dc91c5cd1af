/** The request log's wire form. */
import { z } from "@hono/zod-openapi";
import { failureClasses } from "./model.js";
import { logResults, type LogEntry } from "./request-log-entry.js";

const Instance = z.object({
  id: z.string(),
  alias: z.string(),
  provider_name: z.string(),
  model: z.string(),
  credential_id: z.string(),
});

/** A request, in short. */
export const RequestLine = z
  .object({
    id: z.string().describe("The request's id, as `x-request-id` told it."),
    kind: z.enum(["model", "tool"]),
    started_at: z.iso.datetime(),
    ended_at: z.iso.datetime(),
    key_id: z.string().nullable().describe("Null where a member called a tool without a key."),
    member_id: z.string().nullable().describe("The member who called without a key."),
    endpoint: z.string().nullable().describe("What was called, such as `chat/completions`; `tool` for tools."),
    model: z
      .string()
      .nullable()
      .describe("The name that was asked for, or `provider/tool`; null where it is forgotten."),
    pool_id: z.string().nullable(),
    stream: z.boolean(),
    result: z
      .enum(logResults)
      .describe(
        "`ok`; `caller_fault`: the provider refused what was sent; `failed`: no answer or a broken one; `departed`: the caller left; `lost`: nobody said how it ended; `refused`: no instance was called.",
      ),
    status: z.number().int().nullable().describe("The answer's HTTP status; null where it is not known."),
    code: z.string().nullable().describe("Why it failed or was refused."),
    instance: Instance.nullable().describe("Who answered, or was tried last."),
    attempts: z.number().int().describe("How many instances were called."),
    usage: z
      .object({
        prompt_tokens: z.number().int(),
        completion_tokens: z.number().int(),
        cached_tokens: z.number().int(),
        cache_write_tokens: z.number().int(),
      })
      .nullable()
      .describe("Null where the provider did not say."),
    cost_usd: z.number().nullable().describe("Null where the price is not known, or nobody was called."),
    estimated: z.boolean().describe("Tokens or cost rest on an estimate."),
    route_ms: z
      .number()
      .nullable()
      .describe("From the request's start to the call that was answered, failed attempts included."),
    first_byte_ms: z.number().nullable().describe("From the last call of an instance to its first content."),
    duration_ms: z.number().nullable(),
  })
  .openapi("RequestLine");
export type RequestLine = z.infer<typeof RequestLine>;

const Attempt = z.object({
  attempt: z.number().int(),
  instance: Instance,
  started_at: z.iso.datetime(),
  probe: z.boolean().describe("The single try after a cool-down."),
  failure: z
    .object({
      class: z.enum(failureClasses),
      status: z.number().int().nullable(),
      code: z.string().nullable(),
      timed_out: z.boolean(),
      ours: z.boolean().describe("The trouble was the service's own, and the instance is not blamed."),
    })
    .nullable(),
  took_ms: z.number().nullable(),
});

const Pick = z.object({
  attempt: z.number().int(),
  at: z.iso.datetime(),
  cause: z.enum(["strategy", "sticky", "probe", "none"]).describe("What decided; `none` where nobody could be picked."),
  instance_id: z.string().nullable(),
  pools: z
    .array(
      z.object({
        pool_id: z.string(),
        candidates: z.array(z.object({ id: z.string(), alias: z.string(), weight: z.number() })),
        excluded: z.array(
          z.object({
            id: z.string(),
            alias: z.string(),
            reason: z
              .string()
              .describe("Such as `rate_limit`, `drained`, `tried`, `credential`, `endpoint_not_served`."),
            until: z.iso.datetime().nullable().describe("When its cool-down ends."),
          }),
        ),
        more: z.number().int().describe("Further instances that are not named."),
      }),
    )
    .describe("The pools that were looked at, the one that served last."),
});

/** A request with its decision trace. */
export const RequestTrace = RequestLine.omit({ attempts: true })
  .extend({ attempts: z.array(Attempt), picks: z.array(Pick) })
  .openapi("RequestTrace");
export type RequestTrace = z.infer<typeof RequestTrace>;

/** An entry as a line of a list. */
export function toRequestLine(entry: LogEntry): RequestLine {
  return { ...toCommon(entry), attempts: entry.attempts.length };
}

/** An entry with everything that is known of it. */
export function toRequestTrace(entry: LogEntry): RequestTrace {
  return {
    ...toCommon(entry),
    attempts: entry.attempts.map(({ at, ...attempt }) => ({ ...attempt, started_at: toIso(at) })),
    picks: entry.picks.map((pick) => ({
      attempt: pick.attempt,
      at: toIso(pick.at),
      cause: (["strategy", "sticky", "probe"] as const).find((word) => word === pick.cause) ?? "none",
      instance_id: pick.instance_id === "" ? null : pick.instance_id,
      pools: pick.pools.map((pool) => ({
        ...pool,
        excluded: pool.excluded.map((one) => ({ ...one, until: one.until === null ? null : toIso(one.until) })),
      })),
    })),
  };
}

function toCommon(entry: LogEntry): Omit<RequestLine, "attempts"> {
  const { at, attempts: _, cost_micro_usd: cost, ended_at: endedAt, picks: __, ...rest } = entry;
  return {
    ...rest,
    started_at: toIso(at),
    ended_at: toIso(endedAt),
    cost_usd: cost === null ? null : cost / 1e6,
  };
}

function toIso(time: number): string {
  return new Date(time).toISOString();
}
