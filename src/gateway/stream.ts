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
type Read = ReadableStreamReadResult<Uint8Array> | "broken";

interface Relay {
  readonly held: HeldStream;
  readonly context: StreamContext;
  readonly end: (report: Report) => void;
  readonly controller: Controller;
  /** The caller waits for more; resolved when it was sent something. */
  pull: PromiseWithResolvers<void> | null;
  isReading: boolean;
  /** Epoch milliseconds of the read under way; null when there is none. */
  readingSince: number | null;
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
const readOutMs = 250;
/** A look that comes later than this finds an isolate that was busy. */
const busyMs = 100;
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
        const fresh = {
          pull: null,
          isReading: false,
          readingSince: null,
          told: null,
          text: countText(),
          finishes: 0,
          last: null,
          isEnded: false,
        };
        const begun: Relay = { held, context, end, controller, ...fresh, sentAt: Date.now() };
        relay = begun;
        context.leash.whenCut((ending) => cutOff(begun, ending));
        absorb(begun, held.events);
        watchSilence(begun);
      },
      pull: () => (relay === null ? undefined : pullOn(relay)),
      cancel() {
        context.leash.cut("departed");
      },
    },
    // Nothing is read ahead of the caller: its pace is the upstream's.
    { highWaterMark: 0 },
  );
}

/** One read outlives several pulls when the upstream is silent. */
function pullOn(relay: Relay): Promise<void> {
  const pull = Promise.withResolvers<void>();
  relay.pull = pull;
  if (!relay.isReading) {
    relay.isReading = true;
    // Nothing in there rejects but by a fault of ours; then the stream breaks.
    void readUntilSent(relay).catch(() => relay.context.leash.cut("done"));
  }
  return pull.promise;
}

function endPull(relay: Relay): void {
  relay.pull?.resolve();
  relay.pull = null;
}

async function readUntilSent(relay: Relay): Promise<void> {
  for (let hasSent = false; !hasSent && !relay.isEnded;) {
    const read = await readOn(relay);
    if (relay.isEnded) {
      break;
    }
    if (read === "broken" || read.done) {
      endOfSource(relay);
      break;
    }
    hasSent = absorb(relay, relay.held.splitter.push(read.value));
    holdRest(relay);
  }
  relay.isReading = false;
  endPull(relay);
}

/** A read whose silence is watched. Never rejects: a broken connection is the same to the caller as a cut. */
async function readOn(relay: Relay): Promise<Read> {
  relay.readingSince = Date.now();
  try {
    return await relay.held.reader.read();
  } catch {
    return "broken";
  } finally {
    relay.readingSince = null;
  }
}

/** Sends a line that says nothing where the caller has heard nothing for long, and cuts an upstream that is silent for longer. Looks again when either may be due. */
function watchSilence(relay: Relay): void {
  const { idleMs, keepAliveMs, leash } = relay.context;
  const now = Date.now();
  const quietUntil = relay.sentAt + keepAliveMs;
  const idleUntil = (relay.readingSince ?? now) + idleMs;
  const lookAt = Math.min(idleUntil, relay.pull !== null || quietUntil > now ? quietUntil : now + keepAliveMs);
  leash.after(lookAt - now, () => {
    const at = Date.now();
    // While the isolate was busy nobody was silent: its clock stands still then, and its timers wait.
    if (relay.readingSince !== null && at - lookAt > busyMs) {
      relay.readingSince += at - lookAt;
    }
    if (relay.readingSince !== null && at - relay.readingSince >= idleMs) {
      leash.cut("idle");
      return;
    }
    if (relay.pull !== null && at - relay.sentAt >= keepAliveMs) {
      send(relay, [relay.held.dialect.keepAlive]);
      endPull(relay);
    }
    watchSilence(relay);
  });
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
      endAsTold(relay, false);
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
  endAsTold(relay, true);
}

/** The end was read. Without any finish before it, something between us and the model has covered up a cut. */
function endAsTold(relay: Relay, isRead: boolean): void {
  if (relay.finishes === 0) {
    breakOff(relay, transientFailure("no_finish"), cutError);
    return;
  }
  relay.isEnded = true;
  relay.controller.close();
  if (isRead) {
    relay.context.leash.release();
    tellEnd(relay, "ok", null);
  } else {
    void readOut(relay).then(() => tellEnd(relay, "ok", null));
  }
}

/** Reads an upstream that has said all to its own end, which leaves its connection good for another call. One that does not end soon is cut. */
async function readOut(relay: Relay): Promise<void> {
  const { leash } = relay.context;
  leash.arm(readOutMs, "done");
  const read = await readOn(relay);
  if (read !== "broken" && read.done) {
    leash.release();
  } else {
    leash.cut("done");
  }
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
  tellEnd(relay, result, failure);
}

function tellEnd(relay: Relay, result: Report["result"], failure: Failure | null): void {
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

function wire(code: string, message: string): WireError {
  return { message, type: "server_error", param: null, code };
}

const cutError = wire("stream_cut", "The provider's stream broke off before its end.");
