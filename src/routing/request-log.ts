/** What the log is about to be told: noted as calls end, by reference, and written out a second later. Pure but for the log it is given; times are epoch milliseconds. */
import type { AdmitRequest, Failure, Outcome, Refusal, RefusalCode, Ticket } from "./model.js";
import {
  entryOfCall,
  entryOfRefusal,
  entryOfTool,
  type EndedRequest,
  type LogEntry,
  type ToolUse,
} from "./request-log-entry.js";
import { createTrace, type PickTrace, type PoolSurvey, type RefusalTrace, type RequestTrace } from "./request-trace.js";
import type { OpenRequest } from "./tickets.js";
import { addDelta, deltasOf, refusalDelta, type UsageDelta } from "./usage-sums.js";

/** Entries of one flush: 2,000 take some 30 ms to write out. What is over waits for the next. */
const maxPerFlush = 2_000;
/** Ended calls that wait. Beyond it a call is summed and leaves no entry: an object cannot have so many in a second. */
const maxWaiting = 10_000;
/** Refusals of one flush that get an entry; the rest is summed, so that a caller in a loop costs nothing. */
const maxRefusals = 100;
/** How long a call that `next` refused waits for the gateway's own words about it. */
const patienceMs = 30_000;

/** Invocations of tools that are remembered as told. */
const maxRecent = 2_000;

type Noted =
  | { readonly kind: "call"; readonly ended: EndedRequest }
  | { readonly kind: "refusal"; readonly refused: RefusalTrace }
  | { readonly kind: "tool"; readonly use: ToolUse; readonly at: number };

/** What waits for the disk. */
export interface RequestLog {
  /** In the order in which they ended. */
  readonly waiting: Noted[];
  refusals: number;
  /** Sums of what gets no entry, by their places. */
  readonly deltas: Map<string, UsageDelta>;
  /** Calls that `next` refused, by request: the gateway settles them in a moment. */
  readonly refused: Map<string, { readonly request: OpenRequest; readonly at: number }>;
  /** The newest end that was noted: a clock that steps back must not put an end before an older one. */
  last_at: number;
  /** Requests that ended lately, as the disk tells: one that is settled again after a restart is not counted again. */
  recent: ReadonlySet<string>;
  /** Invocations of tools that were told lately. */
  tools: Set<string>;
  /** What the pools of a call that is being refused had to offer. */
  surveys: { readonly request_id: string; readonly surveys: readonly PoolSurvey[] } | null;
}

/** A log with nothing to say. */
export function createRequestLog(): RequestLog {
  return {
    waiting: [],
    refusals: 0,
    deltas: new Map(),
    refused: new Map(),
    last_at: 0,
    recent: new Set(),
    tools: new Set(),
    surveys: null,
  };
}

/** Whether the disk is behind. */
export function hasEntries(log: RequestLog): boolean {
  return log.waiting.length > 0 || log.deltas.size > 0 || log.refused.size > 0;
}

/** Takes how a call ended; a repeat changes nothing. Null where nobody will ever say. */
export function logEnd(log: RequestLog, request: OpenRequest, outcome: Outcome | null, now: number): void {
  const { request_id: id, tickets } = request;
  const trace = traceOf(request, outcome, now);
  log.refused.delete(id);
  if (trace.is_ended || log.recent.has(id)) {
    return;
  }
  trace.is_ended = true;
  const charge = request.charge ?? null;
  put(log, {
    kind: "call",
    ended: { request_id: id, tickets: [...tickets], trace, outcome, charge, at: endOf(log, now) },
  });
}

/** Notes a pick: what there was to choose from, by reference. */
export function logPick(
  request: OpenRequest,
  ticket: Ticket,
  cause: PickTrace["cause"],
  surveys: PickTrace["surveys"],
): void {
  const { attempt, instance, issued_at: at } = ticket;
  traceOf(request, null, at).picks.push({ attempt, at, cause, instance_id: instance.id, surveys });
}

/** Notes what an attempt met. */
export function logFailure(request: OpenRequest, { attempt }: Ticket, failure: Failure, now: number): void {
  traceOf(request, null, now).failures.push({ attempt, failure, at: now });
}

/** Notes that a call will never be made, so that nothing of it is told. */
export function dropTrace(log: RequestLog, request: OpenRequest): void {
  log.refused.delete(request.request_id);
  traceOf(request, null, 0).is_ended = true;
}

/** Takes that `next` refused a call: it has ended, and the gateway is about to say how. */
export function awaitEnd(log: RequestLog, request: OpenRequest, now: number): void {
  log.refused.set(request.request_id, { request, at: now });
}

/** Notes what the pools had to offer to a call that gets nobody, for the refusal that follows. */
export function noteSurveys(log: RequestLog, requestId: string, surveys: readonly PoolSurvey[]): void {
  log.surveys = { request_id: requestId, surveys };
}

/** Refusals that are no call of a key: it may not be used at all, or the Router is not ready. */
const unlogged: ReadonlySet<RefusalCode> = new Set([
  "key_unknown",
  "key_revoked",
  "key_expired",
  "not_configured",
  "attempts_exhausted",
]);

/** Takes a refusal of a known key's call. */
export function logRefusal(
  log: RequestLog,
  call: Pick<AdmitRequest, "request_id" | "endpoint" | "model" | "stream"> & { readonly key_id: string },
  pools: ReadonlyMap<string, { readonly row: { readonly id: string } }>,
  refusal: Refusal,
  now: number,
): void {
  const { endpoint = null, key_id, model, request_id, stream = false } = call;
  const surveys = log.surveys?.request_id === request_id ? log.surveys.surveys : [];
  log.surveys = null;
  if (unlogged.has(refusal.code)) {
    return;
  }
  const pool_id = pools.get(model)?.row.id ?? null;
  const at = endOf(log, now);
  const refused: RefusalTrace = { request_id, key_id, model, endpoint, stream, pool_id, refusal, surveys, at };
  if (log.refusals >= maxRefusals) {
    addDelta(log.deltas, refusalDelta(refused));
    return;
  }
  log.refusals += 1;
  put(log, { kind: "refusal", refused });
}

/** Takes a tool's invocation; one that was told lately changes nothing. */
export function logTool(log: RequestLog, use: ToolUse, now: number): void {
  if (!log.tools.has(use.call_id)) {
    log.tools = log.tools.size > maxRecent ? new Set() : log.tools;
    log.tools.add(use.call_id);
    put(log, { kind: "tool", use, at: endOf(log, now) });
  }
}

/** What one flush writes: at most 2,000 entries with their sums, and what they leave. */
export interface LogBatch {
  readonly calls: readonly LogEntry[];
  readonly refusals: readonly LogEntry[];
  readonly deltas: readonly UsageDelta[];
  /** How many of the waiting ones it takes. */
  readonly taken: number;
}

/** Writes out what waits, as plain data. Moves nothing but that calls which `next` refused long ago are ended; `dropBatch` follows when the disk has it. */
export function takeBatch(log: RequestLog, now: number): LogBatch {
  for (const { at, request } of log.refused.values()) {
    if (now - at >= patienceMs) {
      logEnd(log, request, null, now);
    }
  }
  const taken = Math.min(log.waiting.length, maxPerFlush);
  const calls: LogEntry[] = [];
  const refusals: LogEntry[] = [];
  const deltas = new Map(Array.from(log.deltas, ([place, delta]) => [place, { ...delta }]));
  for (const noted of log.waiting.slice(0, taken)) {
    const entry = writeOut(noted);
    (noted.kind === "refusal" ? refusals : calls).push(entry);
    for (const delta of deltasOf(entry)) {
      addDelta(deltas, delta);
    }
  }
  return { calls, refusals, deltas: [...deltas.values()], taken };
}

/** Forgets what the disk has. */
export function dropBatch(log: RequestLog, { taken }: LogBatch): void {
  log.waiting.splice(0, taken);
  log.deltas.clear();
  log.refusals = 0;
}

function put(log: RequestLog, noted: Noted): void {
  if (log.waiting.length < maxWaiting) {
    log.waiting.push(noted);
    return;
  }
  for (const delta of deltasOf(writeOut(noted))) {
    addDelta(log.deltas, delta);
  }
}

function writeOut(noted: Noted): LogEntry {
  switch (noted.kind) {
    case "call":
      return entryOfCall(noted.ended);
    case "refusal":
      return entryOfRefusal(noted.refused);
    case "tool":
      return entryOfTool(noted.use, noted.at);
  }
}

function traceOf(request: OpenRequest, outcome: Outcome | null, now: number): RequestTrace {
  const at = request.tickets[0]?.issued_at ?? outcome?.ticket.issued_at ?? now;
  request.trace ??= createTrace(at, outcome?.ticket.endpoint ?? null, null);
  return request.trace;
}

function endOf(log: RequestLog, now: number): number {
  log.last_at = Math.max(log.last_at, now);
  return log.last_at;
}
