/**
 * What the log is about to be told: noted as calls end, by reference, turned into text a few at a time, and on disk a second later. Pure but for
 * the log it is given; times are epoch milliseconds.
 */
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
import { addEntry, addRefusal, createSums, type Sums } from "./usage-sums.js";

/** Ends that wait to become text. Few, so that nobody waits long for it, and what they refer to is let go while it is young. */
const step = 16;
/** A page of the log: its text stays far below a row's 2 MB. */
const pageEntries = 200;
const pageChars = 300_000;
/** Pages that one flush writes; what is over waits for the next. */
const maxPages = 12;
/** Text that waits for the disk at most. Beyond it a call is summed and leaves no entry. */
const maxChars = 16_000_000;
/** Refusals of one flush that get an entry; the rest is summed, so that a caller in a loop costs nothing. */
const maxRefusals = 100;
/** Lost calls of one flush that are corrected, each by reading and writing its page. */
const maxLate = 8;
/** Lost calls that wait to be corrected. Beyond it only the sums are. */
const maxLateWaiting = 500;
/** How long a call that `next` refused waits for the gateway's own words about it. */
const patienceMs = 30_000;
/** Invocations of tools that are remembered as told. */
const maxRecent = 2_000;

type Noted =
  | { readonly kind: "call"; readonly ended: EndedRequest }
  | { readonly kind: "refusal"; readonly refused: RefusalTrace }
  | { readonly kind: "tool"; readonly use: ToolUse; readonly at: number };

/** Entries as text, in the order in which they ended. */
export interface LogPage {
  readonly first_at: number;
  readonly last_at: number;
  readonly count: number;
  /** Entries in JSON with commas between. */
  readonly text: string;
}

/** A call that was lost and is settled after all. */
export interface LateEnd {
  /** As it was counted, as far as memory knows; the disk may know better. */
  readonly before: LogEntry;
  readonly after: LogEntry;
  /** It ended then or later. */
  readonly since: number;
}

/** What waits for the disk. */
export interface RequestLog {
  /** Ends that are no text yet, in their order. */
  readonly waiting: Noted[];
  readonly calls: LogPage[];
  readonly refusals: LogPage[];
  /** Characters in the pages. */
  chars: number;
  /** Refusals since the last flush. */
  refused_count: number;
  /** What all of these add to the sums, and what got no entry. */
  readonly sums: Sums;
  readonly late: LateEnd[];
  /** Calls that `next` refused, by request: the gateway settles them in a moment. */
  readonly refused: Map<string, { readonly request: OpenRequest; readonly at: number }>;
  /** The newest end that was noted: a clock that steps back must not put an end before an older one. */
  last_at: number;
  /** Requests that ended lately, as the disk tells, and whether they were lost: one that is settled again after a restart is not counted again. */
  recent: ReadonlyMap<string, boolean>;
  /** Invocations of tools that were told lately. */
  tools: Set<string>;
  /** What the pools of a call that is being refused had to offer. */
  surveys: { readonly request_id: string; readonly surveys: readonly PoolSurvey[] } | null;
}

/** A log with nothing to say. */
export function createRequestLog(): RequestLog {
  return {
    waiting: [],
    calls: [],
    refusals: [],
    chars: 0,
    refused_count: 0,
    sums: createSums(),
    late: [],
    refused: new Map(),
    last_at: 0,
    recent: new Map(),
    tools: new Set(),
    surveys: null,
  };
}

/** Whether the disk is behind. */
export function hasEntries(log: RequestLog): boolean {
  return (
    log.waiting.length + log.calls.length + log.refusals.length + log.late.length + log.sums.size > 0 ||
    log.refused.size > 0
  );
}

/** Takes how a call ended; null where nobody will ever say. A repeat changes nothing; an end that comes after the call was taken for lost corrects it. */
export function logEnd(log: RequestLog, request: OpenRequest, outcome: Outcome | null, now: number): void {
  const { request_id: id, tickets } = request;
  const trace = traceOf(request, outcome, now);
  const isForgotten = trace.picks.length === 0 && now >= request.deadline_at;
  const wasLost = trace.end?.is_lost ?? log.recent.get(id) ?? isForgotten;
  log.refused.delete(id);
  if (outcome !== null && wasLost) {
    logLate(log, request, trace, outcome);
  } else if (trace.end === null && !log.recent.has(id)) {
    const charge = request.charge ?? null;
    const at = endOf(log, now);
    trace.end = { at, is_lost: outcome === null, charge };
    put(log, { kind: "call", ended: { request_id: id, tickets: [...tickets], trace, outcome, charge, at } });
  }
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
  const trace = traceOf(request, null, now);
  if (trace.end === null) {
    trace.failures.push({ attempt, failure, at: now });
  }
}

/** Notes that a call will never be made, so that nothing of it is told. */
export function dropTrace(log: RequestLog, request: OpenRequest): void {
  log.refused.delete(request.request_id);
  traceOf(request, null, 0).end = { at: 0, is_lost: false, charge: null };
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
  call: Pick<AdmitRequest, "request_id" | "model" | "stream"> & {
    readonly endpoint?: string | undefined;
    readonly key_id: string;
    readonly pool_id: string | null;
  },
  refusal: Refusal,
  now: number,
): void {
  const { endpoint = null, key_id, model, pool_id, request_id, stream = false } = call;
  const surveys = log.surveys?.request_id === request_id ? log.surveys.surveys : [];
  log.surveys = null;
  if (!unlogged.has(refusal.code)) {
    const at = endOf(log, now);
    putRefusal(log, {
      kind: "refusal",
      refused: { request_id, key_id, model, endpoint, stream, pool_id, refusal, surveys, at },
    });
  }
}

/** Takes a tool's invocation; one that was told lately changes nothing. */
export function logTool(log: RequestLog, use: ToolUse, now: number): void {
  if (!log.tools.has(use.call_id)) {
    log.tools = log.tools.size > maxRecent ? new Set() : log.tools;
    log.tools.add(use.call_id);
    const noted: Noted = { kind: "tool", use, at: endOf(log, now) };
    if (use.result === "refused") {
      putRefusal(log, noted);
    } else {
      put(log, noted);
    }
  }
}

/** What one flush writes, and how much of what waits it takes. */
export interface LogBatch {
  readonly calls: readonly LogPage[];
  readonly refusals: readonly LogPage[];
  readonly late: readonly LateEnd[];
  readonly sums: Sums;
}

/** Makes text of all that waits and takes what one flush writes. `dropBatch` follows when the disk has it; until then it can be taken again. */
export function takeBatch(log: RequestLog, now: number): LogBatch {
  for (const { at, request } of log.refused.values()) {
    if (now - at >= patienceMs) {
      logEnd(log, request, null, now);
    }
  }
  writeOut(log);
  const calls = log.calls.slice(0, maxPages);
  const isAll = calls.length === log.calls.length;
  // A lost call is corrected where it stands, so it must be there.
  return { calls, refusals: log.refusals.slice(), late: isAll ? log.late.slice(0, maxLate) : [], sums: log.sums };
}

/** Forgets what the disk has. */
export function dropBatch(log: RequestLog, { calls, late, refusals }: LogBatch): void {
  log.calls.splice(0, calls.length);
  log.refusals.splice(0, refusals.length);
  log.late.splice(0, late.length);
  log.chars = log.calls.reduce((sum, { text }) => sum + text.length, 0);
  log.refused_count = 0;
  log.sums.clear();
}

function logLate(log: RequestLog, request: OpenRequest, trace: RequestTrace, outcome: Outcome): void {
  const { request_id, tickets } = request;
  const { ticket } = outcome;
  // What this Router has forgotten ended by its deadline, charged what it held.
  const since = trace.end?.at ?? trace.at;
  const held = ticket.hold === undefined ? null : { cost: ticket.hold.cost, estimated: true };
  const end = trace.end ?? { at: ticket.deadline_at, is_lost: true, charge: held };
  trace.end = { ...end, is_lost: false };
  const ended = { request_id, tickets: [...tickets], trace, at: end.at };
  const before = entryOfCall({ ...ended, outcome: null, charge: end.charge });
  const after = entryOfCall({ ...ended, outcome, charge: request.charge ?? null });
  if (log.late.length < maxLateWaiting) {
    log.late.push({ before, after, since });
  } else {
    addEntry(log.sums, before, -1);
    addEntry(log.sums, after, 1);
  }
}

function putRefusal(log: RequestLog, noted: Noted): void {
  log.refused_count += 1;
  if (log.refused_count <= maxRefusals) {
    put(log, noted);
  } else if (noted.kind === "refusal") {
    addRefusal(log.sums, noted.refused);
  } else {
    addEntry(log.sums, entryOf(noted), 1);
  }
}

function put(log: RequestLog, noted: Noted): void {
  log.waiting.push(noted);
  if (log.waiting.length >= step) {
    writeOut(log);
  }
}

/** Makes text of what waits, and adds it to the sums. */
function writeOut(log: RequestLog): void {
  const entries = log.waiting.map(entryOf);
  log.waiting.length = 0;
  for (const entry of entries) {
    addEntry(log.sums, entry, 1);
  }
  if (log.chars < maxChars) {
    log.chars += addText(log.refusals, entries.filter(isRefused));
    log.chars += addText(
      log.calls,
      entries.filter((entry) => !isRefused(entry)),
    );
  }
}

function isRefused({ result }: LogEntry): boolean {
  return result === "refused";
}

/** Adds entries to the last page, or to a new one where that is full; answers how many characters they take. */
function addText(pages: LogPage[], entries: readonly LogEntry[]): number {
  const [first] = entries;
  if (first === undefined) {
    return 0;
  }
  const text = JSON.stringify(entries).slice(1, -1);
  const page = pages.at(-1);
  const last_at = entries.at(-1)?.ended_at ?? first.ended_at;
  if (page !== undefined && page.count + entries.length <= pageEntries && page.text.length + text.length <= pageChars) {
    const count = page.count + entries.length;
    pages[pages.length - 1] = { first_at: page.first_at, last_at, count, text: `${page.text},${text}` };
  } else {
    pages.push({ first_at: first.ended_at, last_at, count: entries.length, text });
  }
  return text.length;
}

function entryOf(noted: Noted): LogEntry {
  switch (noted.kind) {
    case "call": {
      const { ended } = noted;
      const entry = entryOfCall(ended);
      if (ended.outcome !== null) {
        // The request is remembered for a while, what it met is in the entry.
        ended.trace.picks.length = 0;
        ended.trace.failures.length = 0;
      }
      return entry;
    }
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
