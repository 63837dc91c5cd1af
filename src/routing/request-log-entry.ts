/** One request as the log keeps it: plain data, bounded in size, never a word of prompt or answer. Times are epoch milliseconds, cost micro-dollars. */
import { z } from "zod";
import { failureClasses, type Outcome, type Refusal, type Ticket } from "./model.js";
import { refusalError } from "./refusal.js";
import type { EndCharge, PickTrace, PoolSurvey, RefusalTrace, RequestTrace } from "./request-trace.js";

/** How a request can end. `lost`: nobody ever said how. */
export const logResults = ["ok", "caller_fault", "failed", "departed", "lost", "refused"] as const;
export type LogResult = (typeof logResults)[number];

/** A pool has more fallbacks than this in nobody's log. */
const maxPools = 8;
const maxPicks = 10;
/** Instances that one entry names as candidates or left out. More are counted only: so an entry stays below some 30 KB, whatever the pools. */
const maxNames = 128;

const LoggedPool = z.object({
  pool_id: z.string(),
  candidates: z.array(z.object({ id: z.string(), alias: z.string(), weight: z.number() })),
  excluded: z.array(z.object({ id: z.string(), alias: z.string(), reason: z.string(), until: z.number().nullable() })),
  /** Further ones that are not named. */
  more: z.number(),
});

/** One pick as it is kept. */
export const LoggedPick = z.object({
  attempt: z.number(),
  at: z.number(),
  cause: z.string(),
  instance_id: z.string(),
  pools: z.array(LoggedPool),
});
export type LoggedPick = z.infer<typeof LoggedPick>;

const LoggedInstance = z.object({
  id: z.string(),
  alias: z.string(),
  provider_name: z.string(),
  model: z.string(),
  credential_id: z.string(),
});

const LoggedAttempt = z.object({
  attempt: z.number(),
  instance: LoggedInstance,
  at: z.number(),
  probe: z.boolean(),
  /** Null where it succeeded, or its end is not known. */
  failure: z
    .object({
      class: z.enum(failureClasses),
      status: z.number().nullable(),
      code: z.string().nullable(),
      timed_out: z.boolean(),
      ours: z.boolean(),
    })
    .nullable(),
  took_ms: z.number().nullable(),
});

export const LogEntry = z.object({
  id: z.string(),
  kind: z.enum(["model", "tool"]),
  at: z.number(),
  ended_at: z.number(),
  key_id: z.string().nullable(),
  member_id: z.string().nullable(),
  endpoint: z.string().nullable(),
  model: z.string().nullable(),
  pool_id: z.string().nullable(),
  stream: z.boolean(),
  result: z.enum(logResults),
  /** What the caller was answered; null when the gateway did not say. */
  status: z.number().nullable(),
  /** Why it failed or was refused. */
  code: z.string().nullable(),
  instance: LoggedInstance.nullable(),
  attempts: z.array(LoggedAttempt),
  picks: z.array(LoggedPick),
  usage: z
    .object({
      prompt_tokens: z.number(),
      completion_tokens: z.number(),
      cached_tokens: z.number(),
      cache_write_tokens: z.number(),
    })
    .nullable(),
  /** Null when nobody knows the price, or no instance was called. */
  cost_micro_usd: z.number().nullable(),
  /** The cost rests on an estimate. */
  estimated: z.boolean(),
  route_ms: z.number().nullable(),
  first_byte_ms: z.number().nullable(),
  duration_ms: z.number().nullable(),
});
export type LogEntry = z.infer<typeof LogEntry>;

/** A request that has ended: what is known of it, and how it ended; null when nobody said. */
export interface EndedRequest {
  readonly request_id: string;
  readonly tickets: readonly Ticket[];
  readonly trace: RequestTrace;
  readonly outcome: Outcome | null;
  /** What it was charged; null where nothing was. */
  readonly charge: EndCharge | null;
  readonly at: number;
}

/** A tool's invocation, told when it was over. */
export interface ToolUse {
  /** Names the invocation; a repeat counts once. */
  readonly call_id: string;
  /** The request that it came with. */
  readonly request_id: string;
  /** Null for a person. */
  readonly key_id: string | null;
  /** The member who called, or who made the key; null when it is not known. */
  readonly member_id: string | null;
  readonly provider: string;
  readonly tool: string;
  /** `refused`: it was let in but never run, for what was asked. */
  readonly result: "ok" | "failed" | "refused";
  readonly status: number | null;
  readonly code: string | null;
  readonly duration_ms: number;
}

/** The endpoint under which tools stand. */
export const toolEndpoint = "tool";

/** A model's call as an entry. */
export function entryOfCall({ at, charge, outcome, request_id: id, tickets, trace }: EndedRequest): LogEntry {
  const last = outcome?.ticket ?? tickets.at(-1);
  const failure = outcome?.failure ?? trace.failures.at(-1)?.failure ?? null;
  const result = outcome?.result ?? "lost";
  const isFailed = result === "failed" || result === "caller_fault";
  return {
    id,
    kind: "model",
    at: Math.min(trace.at, at),
    ended_at: at,
    key_id: last?.key_id ?? null,
    member_id: null,
    endpoint: trace.endpoint ?? last?.endpoint ?? "chat/completions",
    model: trace.model,
    pool_id: last?.pool_id ?? null,
    stream: last?.stream ?? false,
    result,
    status: outcome?.status ?? null,
    code: isFailed ? (failure?.code ?? failure?.class ?? null) : null,
    instance: last === undefined ? null : nameInstance(last),
    attempts: listAttempts(tickets.length === 0 && last !== undefined ? [last] : tickets, trace, outcome, at),
    picks: writePicks(trace),
    usage: describeUsage(outcome),
    cost_micro_usd: last?.price === undefined ? null : (charge?.cost ?? 0),
    estimated: outcome?.usage?.estimated === true || charge?.estimated === true,
    route_ms: outcome?.route_ms ?? null,
    first_byte_ms: outcome?.first_byte_ms ?? null,
    duration_ms: outcome?.duration_ms ?? null,
  };
}

/** A refused call as an entry. */
export function entryOfRefusal(refused: RefusalTrace): LogEntry {
  const { at, request_id: id, surveys } = refused;
  const pick = { attempt: 1, at, cause: "none", instance_id: "", pools: writeSurveys(surveys, { left: maxNames }) };
  return {
    ...blankEntry(id, at, at),
    kind: refused.endpoint === toolEndpoint ? "tool" : "model",
    key_id: refused.key_id,
    endpoint: refused.endpoint ?? "chat/completions",
    model: refused.model,
    pool_id: refused.pool_id,
    stream: refused.stream,
    result: "refused",
    status: statusOf(refused.refusal),
    code: refused.refusal.code,
    picks: surveys.length === 0 ? [] : [pick],
  };
}

/** A tool's invocation as an entry: `provider/tool` is its model, and no instance served it. */
export function entryOfTool(use: ToolUse, at: number): LogEntry {
  return {
    ...blankEntry(use.request_id, at - Math.max(0, use.duration_ms), at),
    kind: "tool",
    key_id: use.key_id,
    member_id: use.key_id === null ? use.member_id : null,
    endpoint: toolEndpoint,
    model: `${use.provider}/${use.tool}`,
    result: use.result,
    status: use.status,
    code: use.code,
    duration_ms: use.duration_ms,
  };
}

/** The first picks of a trace as plain data. */
export function writePicks({ picks }: Pick<RequestTrace, "picks">): LoggedPick[] {
  const names = { left: maxNames };
  return picks.slice(0, maxPicks).map((pick) => writePick(pick, names));
}

/** How many more instances an entry may name. */
interface Names {
  left: number;
}

function writePick({ at, attempt, cause, instance_id: id, surveys }: PickTrace, names: Names): LoggedPick {
  return { attempt, at, cause, instance_id: id, pools: writeSurveys(surveys, names) };
}

function blankEntry(id: string, at: number, endedAt: number): LogEntry {
  return {
    id,
    kind: "model",
    at: Math.min(at, endedAt),
    ended_at: endedAt,
    key_id: null,
    member_id: null,
    endpoint: null,
    model: null,
    pool_id: null,
    stream: false,
    result: "lost",
    status: null,
    code: null,
    instance: null,
    attempts: [],
    picks: [],
    usage: null,
    cost_micro_usd: null,
    estimated: false,
    route_ms: null,
    first_byte_ms: null,
    duration_ms: null,
  };
}

function nameInstance({ instance }: Ticket): z.infer<typeof LoggedInstance> {
  const { alias, credential_id, id, model, provider_name } = instance;
  return { id, alias, provider_name, model, credential_id };
}

function listAttempts(
  tickets: readonly Ticket[],
  trace: RequestTrace,
  outcome: Outcome | null,
  endedAt: number,
): LogEntry["attempts"] {
  // A ticket above the settled one was given, but its answer never reached the gateway: that call was never made.
  const made = outcome === null ? tickets : tickets.filter(({ attempt }) => attempt <= outcome.ticket.attempt);
  return made.map((ticket) => {
    const failed = trace.failures.find(({ attempt }) => attempt === ticket.attempt);
    const isLast = ticket.attempt === outcome?.ticket.attempt;
    const failure = failed?.failure ?? (isLast ? outcome.failure : null);
    return {
      attempt: ticket.attempt,
      instance: nameInstance(ticket),
      at: ticket.issued_at,
      probe: ticket.probe,
      failure:
        failure === null
          ? null
          : {
              class: failure.class,
              status: failure.status,
              code: failure.code,
              timed_out: failure.timed_out,
              ours: failure.ours ?? false,
            },
      took_ms: tookMs(ticket, failed?.at ?? (isLast ? endedAt : null), isLast ? outcome : null),
    };
  });
}

/** The Router hears of an end a moment late, ends being told together; of an attempt that answered, the gateway says how long it took. */
function tookMs(ticket: Ticket, heardAt: number | null, outcome: Outcome | null): number | null {
  if (outcome?.route_ms !== undefined) {
    return Math.max(0, outcome.duration_ms - outcome.route_ms);
  }
  return heardAt === null ? null : Math.max(0, heardAt - ticket.issued_at);
}

function describeUsage(outcome: Outcome | null): LogEntry["usage"] {
  const usage = outcome?.usage ?? null;
  return usage === null
    ? null
    : {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        cached_tokens: usage.cached_tokens ?? 0,
        cache_write_tokens: usage.cache_write_tokens ?? 0,
      };
}

function writeSurveys(surveys: readonly PoolSurvey[], names: Names): LoggedPick["pools"] {
  // A pool is looked at twice where a first look was for who is no probe: the later one counts.
  const latest = surveys.length < 2 ? surveys : [...new Map(surveys.map((one) => [one.pool_id, one])).values()];
  return latest.slice(0, maxPools).map(({ candidates, excluded, pool_id: poolId }) => {
    const ready = takeNames(candidates, names);
    const out = takeNames(excluded, names);
    return {
      pool_id: poolId,
      candidates: ready.map(({ row, weight }) => ({ id: row.id, alias: row.alias, weight })),
      excluded: out.map(({ instance: { row }, reason, until }) => ({ id: row.id, alias: row.alias, reason, until })),
      more: candidates.length - ready.length + excluded.length - out.length,
    };
  });
}

function takeNames<T>(list: readonly T[], names: Names): readonly T[] {
  const taken = list.length > names.left ? list.slice(0, names.left) : list;
  names.left -= taken.length;
  return taken;
}

function statusOf(refusal: Refusal): number {
  return refusalError(refusal).status;
}
