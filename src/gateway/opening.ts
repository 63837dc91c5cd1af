/** Commits late: holds a stream until its first content event, so that any failure before it can still go to another instance. */
import type { Secret } from "../base/secret.js";
import { classifyInBand, transientFailure } from "../routing/classify.js";
import type { Failure } from "../routing/model.js";
import { AppError } from "../base/errors.js";
import type { Hold } from "./budget.js";
import type { Dialect, Meaning } from "./dialect.js";
import type { Endpoint } from "./endpoints.js";
import type { Leash } from "./leash.js";
import { createSplitter, type SseEvent, type SseSplitter } from "./sse.js";

/** What an answer needs from its beginning to its end. */
export interface StreamContext {
  readonly leash: Leash;
  readonly endpoint: Endpoint;
  /** Names the request in error bodies. */
  readonly requestId: string;
  /** How many answers were asked for. */
  readonly choices: number;
  /** Tokens that went in, as far as the request tells. */
  readonly promptTokens: number;
  /** The upstream's own headers. */
  readonly headers: Headers;
  /** The usage chunk was our wish, not the caller's: leave it out again. */
  readonly hideUsage: boolean;
  /** Searched for in every error text before it is passed on. */
  readonly secrets: readonly Secret[];
  /** What is held of the answer counts here. */
  readonly hold: Hold;
  /** Longest silence of the upstream after commit. */
  readonly idleMs: number;
  /** A comment line goes out after so much silence towards the caller. */
  readonly keepAliveMs: number;
}

/** A stream held at its first content event. `events` are whole, unsent and in order. */
export interface HeldStream {
  readonly dialect: Dialect;
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly splitter: SseSplitter;
  readonly events: readonly SseEvent[];
}

/** A stream up to its first content event. `error` is the parsed in-band error, if that was what came. */
export type Opening =
  | { readonly kind: "committed"; readonly stream: HeldStream }
  | { readonly kind: "failed"; readonly failure: Failure; readonly error: unknown };

/** A stream that has sent more than this without any content is given up. */
const maxOpeningBytes = 1_048_576;

/** What is held exists twice for a moment: as the chunks that came, and joined. Its parsed form lives within one turn, so for one answer at a time. */
export const answerCopies = 2;

/** Counts what is held of an answer that is not committed. Throws `overloaded` when the isolate has no room for it. */
export function holdAnswer(context: StreamContext, bytes: number): void {
  if (!context.hold.resize(bytes * answerCopies)) {
    throw new AppError("overloaded", { retryAfterMs: 1_000 });
  }
}

/** Reads until the first content event. Rejects when the leash is cut, the connection breaks or memory runs short; ending the leash is the caller's part. */
export async function openStream(
  source: ReadableStream<Uint8Array>,
  dialect: Dialect,
  context: StreamContext,
): Promise<Opening> {
  const reader = source.getReader();
  // An upstream that ignores its signal is let go all the same.
  context.leash.whenCut(() => void reader.cancel().catch(() => undefined));
  const splitter = createSplitter();
  const events: SseEvent[] = [];
  for (let size = 0; size <= maxOpeningBytes;) {
    const { done, value } = await context.leash.hold(reader.read());
    if (done) {
      return fail(events.length === 0 && splitter.held() === 0 ? "empty_stream" : "cut");
    }
    size += value.length;
    holdAnswer(context, size);
    const arrived = splitter.push(value);
    events.push(...arrived);
    const meaning = arrived.map(dialect.readMeaning).find(({ kind }) => kind !== "filler");
    if (meaning?.kind === "content" || (meaning?.kind === "done" && meaning.isFinish)) {
      return { kind: "committed", stream: { dialect, reader, splitter, events } };
    }
    if (meaning !== undefined) {
      return readFailure(meaning, context);
    }
  }
  return fail("no_content");
}

function readFailure(meaning: Meaning, context: StreamContext): Opening {
  if (meaning.kind !== "error") {
    return fail(meaning.kind === "done" ? "empty_stream" : "malformed_event");
  }
  const failure = classifyInBand(meaning.error, context.headers, Date.now()) ?? transientFailure("in_band_error");
  return { kind: "failed", failure, error: meaning.error };
}

function fail(code: string): Opening {
  return { kind: "failed", failure: { ...transientFailure(code), status: 200 }, error: undefined };
}
