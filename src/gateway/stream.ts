/** Passes a committed stream on, whole events byte for byte at the caller's pace, and never lets a broken stream end like a whole one. */
import { utf8 } from "../base/bytes.js";
import { classifyInBand, transientFailure } from "../routing/classify.js";
import type { Failure, Usage } from "../routing/model.js";
import type { Meaning, WireError } from "./dialect.js";
import { toUpstreamWireError } from "./face.js";
import { type Ending, LeashCut } from "./leash.js";
import { answerCopies, type HeldStream, type StreamContext } from "./opening.js";
import { readEvent, type SseEvent } from "./sse.js";
import { countText, type Json, mergeUsage, readUsage, tellsOutput, type TextCount } from "./usage.js";

/** How a call ended that had been committed. */
export interface Report {
  readonly result: "ok" | "caller_fault" | "failed" | "departed";
  readonly failure: Failure | null;
  readonly usage: Usage | null;
}

type Controller = ReadableStreamDefaultController<Uint8Array>;
type Read = { readonly done: boolean; readonly value: Uint8Array | undefined } | "broken";

interface Relay {
  readonly held: HeldStream;
  readonly context: StreamContext;
  readonly end: (report: Report) => void;
  readonly controller: Controller;
  /** One read outlives several pulls when the upstream is silent. */
  reading: Promise<Read> | null;
  /** What the upstream has told of its use so far. */
  told: Json | null;
  /** What it has said, counted by us. */
  readonly text: TextCount;
  /** How many answers are complete. */
  finishes: number;
  /** The event sent last. */
  last: SseEvent | null;
  isEnded: boolean;
  /** Epoch milliseconds of the last bytes towards the caller. */
  sentAt: number;
}

/** One event beyond this size is no chunk of an answer; holding it whole would cost other streams their memory. */
const maxEventBytes = 4_194_304;
const blankLine = utf8("\n\n");

/**
 * The committed stream as the caller gets it. A line that says nothing goes out in every silence of `keepAliveMs`. A cut, a stall, a
 * time-out or an in-band error ends it with an error event and never with what its wire ends whole streams by. `end` is called exactly once, also when the caller leaves.
 */
export function relayStream(
  held: HeldStream,
  context: StreamContext,
  end: (report: Report) => void,
): ReadableStream<Uint8Array> {
  let relay: Relay | null = null;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const fresh = { reading: null, told: null, text: countText(), finishes: 0, last: null, isEnded: false };
        const begun: Relay = { held, context, end, controller, ...fresh, sentAt: Date.now() };
        relay = begun;
        context.leash.whenCut((ending) => cutOff(begun, ending));
        absorb(begun, held.events);
      },
      async pull() {
        if (relay !== null) {
          await pullOn(relay);
        }
      },
      cancel() {
        context.leash.cut("departed");
      },
    },
    // Nothing is read ahead of the caller: its pace is the upstream's.
    { highWaterMark: 0 },
  );
}

async function pullOn(relay: Relay): Promise<void> {
  while (!relay.isEnded) {
    const read = await nextRead(relay);
    if (relay.isEnded) {
      return;
    }
    if (read === "silence") {
      send(relay, [relay.held.dialect.keepAlive]);
      return;
    }
    if (read === "broken" || read.done || read.value === undefined) {
      endOfSource(relay);
      return;
    }
    const hasSent = absorb(relay, relay.held.splitter.push(read.value));
    holdRest(relay);
    if (hasSent) {
      return;
    }
  }
}

/** Counts what is held of an event that is not whole. One without end is broken off, and any that the isolate has no room for. */
function holdRest(relay: Relay): void {
  const bytes = relay.held.splitter.held();
  if (relay.isEnded) {
    return;
  }
  if (bytes > maxEventBytes) {
    breakOff(relay, transientFailure("event_too_large"), wire("stream_cut", "The provider sent an event without end."));
  } else if (!relay.context.hold.resize(bytes * answerCopies)) {
    const failure: Failure = { ...transientFailure("overloaded"), ours: true };
    breakOff(relay, failure, wire("overloaded", "The service is at its limit. Retry in a moment."));
  }
}

/** Sends what may go out of these events, and ends the stream where they end it. Says whether anything was sent. */
function absorb(relay: Relay, events: readonly SseEvent[]): boolean {
  const { context } = relay;
  const batch: Uint8Array[] = [];
  for (const event of events) {
    const meaning = take(relay, event);
    if (meaning.kind === "error") {
      send(relay, batch);
      const failure = classifyInBand(meaning.error, context.headers, Date.now()) ?? transientFailure("in_band_error");
      breakOff(relay, failure, toUpstreamWireError(meaning.error, context.secrets));
      return true;
    }
    if (meaning.kind === "done") {
      send(relay, relay.finishes > 0 ? [...batch, event.bytes] : batch);
      endAsTold(relay);
      return true;
    }
    if (!(context.hideUsage && meaning.isUsageOnly)) {
      batch.push(event.bytes);
      relay.last = event;
    }
  }
  send(relay, batch);
  return batch.length > 0;
}

/** Reads an event and notes what it tells of the answer's progress. */
function take(relay: Relay, event: SseEvent): Meaning {
  const meaning = relay.held.dialect.skimMeaning(event);
  relay.told = mergeUsage(relay.told, meaning.usage);
  relay.finishes += meaning.isFinish ? 1 : 0;
  if (meaning.kind === "content") {
    relay.text.add(event.data?.length ?? 0);
  }
  return meaning;
}

/** The upstream has closed. Only its own word makes that an end, which may stand there without its blank line; images end when all are there. */
function endOfSource(relay: Relay): void {
  const { dialect, splitter } = relay.held;
  const rest = readEvent(splitter.rest());
  const { kind, isFinish } = take(relay, rest);
  if (kind !== "done" && !(dialect.endsByClose && relay.finishes >= relay.context.choices)) {
    breakOff(relay, transientFailure("cut"), cutError);
    return;
  }
  if (relay.finishes > 0 && (kind === "done" || isFinish)) {
    send(relay, [rest.bytes, blankLine]);
  }
  endAsTold(relay);
}

/** The end was read. Without any finish before it, something between us and the model has covered up a cut. */
function endAsTold(relay: Relay): void {
  if (relay.finishes === 0) {
    breakOff(relay, transientFailure("no_finish"), cutError);
    return;
  }
  finish(relay, "ok", null);
  relay.controller.close();
}

function cutOff(relay: Relay, ending: Ending): void {
  if (relay.isEnded) {
    return;
  }
  if (ending === "departed" || ending === "done") {
    finish(relay, "departed", null);
    relay.controller.error(new LeashCut(ending));
  } else if (ending === "total") {
    breakOff(
      relay,
      transientFailure("total_timeout", true),
      wire("timeout", "The request took longer than its time limit."),
    );
  } else {
    breakOff(relay, transientFailure("idle_timeout", true), wire("stream_stalled", "The provider stopped sending."));
  }
}

function breakOff(relay: Relay, failure: Failure, error: WireError): void {
  finish(relay, failure.class === "caller_fault" ? "caller_fault" : "failed", failure);
  relay.controller.enqueue(relay.held.dialect.errorEvent(error, relay.last));
  relay.controller.close();
}

function finish(relay: Relay, result: Report["result"], failure: Failure | null): void {
  relay.isEnded = true;
  relay.context.leash.cut("done");
  relay.end({ result, failure, usage: usageOf(relay) });
}

/** What was told of the output; else what came of it, as far as it can be counted. */
function usageOf({ told, text, held, context }: Relay): Usage | null {
  const usage = readUsage(told);
  if ((usage !== null && tellsOutput(told)) || !held.dialect.isText) {
    return usage;
  }
  return { prompt_tokens: context.promptTokens, ...usage, completion_tokens: text.tokens(), estimated: true };
}

function send(relay: Relay, parts: readonly Uint8Array[]): void {
  for (const part of parts) {
    relay.controller.enqueue(part);
    relay.sentAt = Date.now();
  }
}

/** The next chunk, or `silence` when the caller has heard nothing for `keepAliveMs`. */
async function nextRead(relay: Relay): Promise<Read | "silence"> {
  relay.reading ??= startRead(relay);
  const silence = Promise.withResolvers<"silence">();
  const wait = relay.context.keepAliveMs - (Date.now() - relay.sentAt);
  const timer = setTimeout(() => silence.resolve("silence"), Math.max(0, wait));
  try {
    const read = await Promise.race([relay.reading, silence.promise]);
    // A chunk that comes while nobody pulls waits here for the next pull.
    relay.reading = read === "silence" ? relay.reading : null;
    return read;
  } finally {
    clearTimeout(timer);
  }
}

/** A read that times the upstream's silence and never rejects: a broken connection is the same to the caller as a cut. */
async function startRead(relay: Relay): Promise<Read> {
  const disarm = relay.context.leash.arm(relay.context.idleMs, "idle");
  try {
    const { done, value } = await relay.held.reader.read();
    return { done, value };
  } catch {
    return "broken";
  } finally {
    disarm();
  }
}

function wire(code: string, message: string): WireError {
  return { message, type: "server_error", param: null, code };
}

const cutError = wire("stream_cut", "The provider's stream broke off before its end.");
