/** Turns an upstream's answer into the asked wire: errors, whole answers, and streams event by event. What breaks off upstream breaks off here. */
import { utf8 } from "../../base/bytes.js";
import { AppError } from "../../base/errors.js";
import type { Hold } from "../budget.js";
import { createSplitter, readEvent, type SseEvent } from "../sse.js";
import { asRecord, isSaid, type Json, type JsonRecord, parse } from "./json.js";

/** What one event of the upstream becomes: text of the asked wire's stream, empty for nothing. Throws on what no such stream says: it is broken off then. */
export type EventTranslator = (event: SseEvent) => string;

/** How one call's answer is translated. */
export interface AnswerTranslation {
  /** Null for a value that is no answer of the upstream's wire. */
  answer(value: JsonRecord): JsonRecord | null;
  /** An error's body, by the status it has or would have had. */
  error(value: Json, status: number): JsonRecord;
  startEvents(): EventTranslator;
}

/** An answer larger than this is broken off: it is in memory as text and value at once. */
const maxAnswerBytes = 4_194_304;
/** An event larger than this has no end. */
const maxEventBytes = 4_194_304;
/** Error bodies are read up to here. */
const maxErrorBytes = 65_536;

/** The answer in the asked wire, under the upstream's status and headers. A body that cannot be read as the upstream's wire stays as it is, or ends empty. */
export function respondWith(hold: Hold, response: Response, translation: AnswerTranslation): Response {
  if (response.body === null) {
    return response;
  }
  const headers = new Headers(response.headers);
  headers.delete("content-length");
  headers.delete("content-encoding");
  const isStream = response.ok && /^text\/event-stream\b/i.test(headers.get("content-type") ?? "");
  const body = isStream
    ? translateEvents(hold, response.body, translation.startEvents())
    : translateWhole(hold, response.body, response.ok ? maxAnswerBytes : maxErrorBytes, (text) =>
        translateText(text, response.status, translation),
      );
  return new Response(body, { status: response.status, headers });
}

function translateText(text: string, status: number, translation: AnswerTranslation): string {
  const value = parse(text);
  if (status >= 400) {
    // A page or a bare sentence says as much in either wire.
    return value === undefined ? text : JSON.stringify(translation.error(value, status));
  }
  const record = asRecord(value);
  if (record === null) {
    return text;
  }
  if (isSaid(record["error"])) {
    return JSON.stringify(translation.error(record, status));
  }
  const answer = translation.answer(record);
  return answer === null ? "" : JSON.stringify(answer);
}

/** Events as the caller takes them. The source's end is this stream's end, whatever has come by then. */
function translateEvents(
  hold: Hold,
  source: ReadableStream<Uint8Array>,
  translate: EventTranslator,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  const splitter = createSplitter();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) {
            enqueueText(controller, translateLast(readEvent(splitter.rest()), translate));
            controller.close();
            return;
          }
          const text = translateAll(splitter.push(value), translate);
          if (splitter.held() > maxEventBytes) {
            await reader.cancel();
            throw new Error("an event of the upstream has no end");
          }
          await keep(hold, splitter.held(), reader);
          if (enqueueText(controller, text)) {
            return;
          }
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function translateAll(events: readonly SseEvent[], translate: EventTranslator): string {
  return events.map(translate).join("");
}

/** A last event may stand there without its blank line. Half of one says nothing. */
function translateLast(event: SseEvent, translate: EventTranslator): string {
  try {
    return translate(event);
  } catch {
    return "";
  }
}

function enqueueText(controller: ReadableStreamDefaultController<Uint8Array>, text: string): boolean {
  if (text !== "") {
    controller.enqueue(utf8(text));
  }
  return text !== "";
}

/** A body gathered, translated and given as one chunk. */
function translateWhole(
  hold: Hold,
  source: ReadableStream<Uint8Array>,
  maxBytes: number,
  translate: (text: string) => string,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const decoder = new TextDecoder();
        let text = "";
        let size = 0;
        for (;;) {
          const { done, value } = await reader.read();
          if (done) {
            enqueueText(controller, translate(text + decoder.decode()));
            controller.close();
            return;
          }
          size += value.length;
          if (size > maxBytes) {
            await reader.cancel();
            throw new Error("the upstream's answer is too large to translate");
          }
          await keep(hold, size, reader);
          text += decoder.decode(value, { stream: true });
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** Counts what is kept, twice: as it came, and in its new form. Throws `overloaded`. */
async function keep(hold: Hold, bytes: number, reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  if (!hold.resize(bytes * 2)) {
    await reader.cancel();
    throw new AppError("overloaded", { retryAfterMs: 1_000 });
  }
}
