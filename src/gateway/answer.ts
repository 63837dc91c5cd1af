/** Reads answers that are not streams: an error's body for its words, a result whole before it is passed on, a huge one from its beginning. */
import { joinChunks, utf8 } from "../base/bytes.js";
import { redactSecrets } from "../base/secret.js";
import { readTextUpTo } from "../base/outbound.js";
import { classifyInBand, impliedStatus, readErrorWords, transientFailure } from "../routing/classify.js";
import type { Failure, Usage } from "../routing/model.js";
import type { WireError } from "./dialect.js";
import type { Endpoint } from "./endpoints.js";
import { toUpstreamWireError } from "./face.js";
import { type Intake, openIntake } from "./intake.js";
import { LeashCut } from "./leash.js";
import { answerCopies, holdAnswer, type StreamContext } from "./opening.js";
import type { Report } from "./stream.js";
import { asRecord, readAnswerUsage, readUsage } from "./usage.js";

/** A body to pass on, or why there is none. `end` of a stream in `body` is told by `report`. */
export type Answer =
  | {
      readonly kind: "committed";
      readonly status: number;
      readonly contentType: string;
      readonly body: Uint8Array | string | ReadableStream<Uint8Array>;
      readonly report: Promise<Report>;
    }
  | { readonly kind: "failed"; readonly failure: Failure };

/** Error bodies are read, searched and passed on up to here. */
const maxErrorBytes = 65_536;
/** An answer is held back whole up to here, so that a cut in it can still go to another instance. */
const maxHeldBytes = 524_288;
const tailBytes = 65_536;
const errorBodyMs = 10_000;

/** The text of an error answer; what could be read of it within 10 s. Rejects with `LeashCut` when the caller left, with `overloaded` when memory runs short. */
export async function readErrorBody(response: Response, context: StreamContext): Promise<string> {
  const { leash } = context;
  holdAnswer(context, maxErrorBytes);
  const late = Promise.withResolvers<string>();
  const timer = setTimeout(() => late.resolve(""), errorBodyMs);
  try {
    return await leash.hold(Promise.race([readTextUpTo(response, maxErrorBytes), late.promise]));
  } catch (error) {
    if (error instanceof LeashCut) {
      throw error;
    }
    return "";
  } finally {
    clearTimeout(timer);
  }
}

/** The caller's fault, passed on as it is but for the credential. A body that had to be cut is replaced by words of ours. */
export function passOnError(
  status: number,
  body: string,
  contentType: string,
  context: StreamContext,
  failure: Failure,
): Answer {
  const isJson = /\bjson\b/i.test(contentType);
  const clean = redactSecrets(body, context.secrets);
  const size = utf8(body).length;
  const isWhole = size > 0 && size < maxErrorBytes;
  const text = isWhole ? clean : errorText(status, refusedWords(status, failure), context);
  return {
    kind: "committed",
    status,
    // Markup from elsewhere must not become a page of ours.
    contentType: isJson || !isWhole ? "application/json" : "text/plain; charset=utf-8",
    body: text,
    report: Promise.resolve({ result: "caller_fault", failure, usage: null }),
  };
}

/** An in-band error that is the caller's fault, seen before commit: it can still be given the status it deserves. */
export function passOnInBandError(value: unknown, context: StreamContext, failure: Failure): Answer {
  const words = readErrorWords(value);
  const status = words === null ? 400 : impliedStatus(words);
  const body = errorText(status, toUpstreamWireError(value, context.secrets), context);
  return passOnError(status, body, "application/json", context, failure);
}

/**
 * Reads a result; silence counts from its first bytes on, since some upstreams send the headers before they begin to think. Up to 512 KiB it is
 * held until it is whole and, as JSON, well-formed and no error; a larger one is passed on as it comes, and sound from its first bytes on.
 */
export async function readResult(response: Response, context: StreamContext): Promise<Answer> {
  const form = formOf(response, context.endpoint.answer);
  if (response.body === null || form === null) {
    context.leash.cut("done");
    return fail(form === null ? "malformed_answer" : "empty_answer", response);
  }
  const length = announcedLength(response.headers);
  const intake = openIntake(response.body, length);
  context.leash.whenCut(() => intake.cancel());
  for (let size = 0; size <= (form === "binary" ? 0 : maxHeldBytes);) {
    const disarm = size === 0 ? undefined : context.leash.arm(context.idleMs, "idle");
    const isMore = await context.leash.hold(intake.keep()).finally(disarm);
    size = intake.kept();
    holdAnswer(context, size);
    // HTTP lets nothing follow what was announced, so the end need not be waited for.
    if (!isMore || (size === length && form !== "binary")) {
      context.leash.release();
      return judgeWhole(response, form, intake.bytes(), context);
    }
  }
  return passThrough(response, intake, context);
}

type Form = Endpoint["answer"];

/** What an answer is, by what it says it is; null for what the endpoint cannot give, such as a web page. */
function formOf(response: Response, expected: Form): Form | null {
  const type = response.headers.get("content-type") ?? "";
  if (expected === "json" || /\bjson\b/i.test(type)) {
    return "json";
  }
  return /\bx?html\b/i.test(type) ? null : expected;
}

function fail(code: string, { status }: Response): Answer {
  return { kind: "failed", failure: { ...transientFailure(code), status } };
}

function judgeWhole(response: Response, form: Form, body: Uint8Array, context: StreamContext): Answer {
  if (form !== "json") {
    return form === "binary"
      ? fail("empty_answer", response)
      : commit(response, body, Promise.resolve({ result: "ok", failure: null, usage: null }));
  }
  const value = parse(body);
  if (asRecord(value) === null && !Array.isArray(value)) {
    return fail("malformed_answer", response);
  }
  const failure = classifyInBand(value, context.headers, Date.now());
  if (failure !== null) {
    return failure.class === "caller_fault" ? passOnInBandError(value, context, failure) : { kind: "failed", failure };
  }
  return commit(response, body, Promise.resolve({ result: "ok", failure: null, usage: readAnswerUsage(value) }));
}

/** A result too large to hold: committed from here on, so a cut breaks the connection, the one honest sign that is left for what is no stream of events. */
function passThrough(response: Response, intake: Intake, context: StreamContext): Answer {
  const { leash } = context;
  const report = Promise.withResolvers<Report>();
  const tail = keepTail();
  const held = intake.bytes();
  tail.add(held.slice(-tailBytes));
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        controller.enqueue(held);
        leash.whenCut((ending) => {
          report.resolve(reportOf(ending === "departed" ? null : transientFailure(ending, ending !== "done"), tail));
          controller.error(new LeashCut(ending));
        });
      },
      async pull(controller) {
        const disarm = leash.arm(context.idleMs, "idle");
        try {
          const piece = await leash.hold(intake.pass());
          // All that was held back has been taken: what counts from here on is the tail.
          context.hold.resize(tailBytes * answerCopies);
          if (piece === null) {
            report.resolve({ result: "ok", failure: null, usage: usageInTail(tail) });
            controller.close();
            leash.release();
            return;
          }
          tail.add(piece);
          controller.enqueue(piece);
        } catch (error) {
          report.resolve(reportOf(transientFailure("cut"), tail));
          controller.error(error);
          leash.cut("done");
        } finally {
          disarm();
        }
      },
      cancel: () => leash.cut("departed"),
    },
    { highWaterMark: 0 },
  );
  return commit(response, body, report.promise);
}

function commit(response: Response, body: Uint8Array | ReadableStream<Uint8Array>, report: Promise<Report>): Answer {
  const { headers, status } = response;
  const contentType = headers.get("content-type") ?? "application/json";
  return { kind: "committed", status, contentType, body: withLength(body, headers), report };
}

/** An announced length is passed on: then a caller can tell a cut however many proxies stand between. It is not told of what the platform unpacks. */
function withLength(body: Uint8Array | ReadableStream<Uint8Array>, headers: Headers): typeof body {
  const length = body instanceof ReadableStream ? announcedLength(headers) : null;
  return body instanceof ReadableStream && length !== null ? body.pipeThrough(new FixedLengthStream(length)) : body;
}

/** What the body's bytes, as they are read here, come to; null where nobody says. */
function announcedLength(headers: Headers): number | null {
  const length = Number(headers.get("content-length") ?? Number.NaN);
  return Number.isSafeInteger(length) && !headers.has("content-encoding") ? length : null;
}

/** The last bytes of what passes: the pieces themselves, copied only when they are asked for. */
interface Tail {
  add(piece: Uint8Array): void;
  bytes(): Uint8Array;
}

function keepTail(): Tail {
  const pieces: Uint8Array[] = [];
  let size = 0;
  return {
    add(piece) {
      pieces.push(piece);
      size += piece.length;
      while (size - (pieces[0]?.length ?? size) >= tailBytes) {
        size -= pieces.shift()?.length ?? 0;
      }
    },
    bytes: () => joinChunks(pieces).subarray(-tailBytes),
  };
}

function reportOf(failure: Failure | null, tail: Tail): Report {
  return { result: failure === null ? "departed" : "failed", failure, usage: usageInTail(tail) };
}

/** The last `"usage": {…}` of a text's end. Quotes inside JSON texts are escaped, so no answer's words can pose as one. */
function usageInTail(tail: Tail): Usage | null {
  const found = [
    ...new TextDecoder().decode(tail.bytes()).matchAll(/"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})/g),
  ].at(-1)?.[1];
  return found === undefined ? null : readUsage(parse(new TextEncoder().encode(found)));
}

function errorText(status: number, error: WireError, { endpoint, requestId }: StreamContext): string {
  return JSON.stringify(endpoint.face.errorBody(error, status, requestId));
}

function refusedWords(status: number, { code }: Failure): WireError {
  const message = `The provider refused this request with status ${status}.`;
  return { message, type: "invalid_request_error", param: null, code };
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}
