/** The events of `responses`: named, numbered, and ended by the response itself as completed, incomplete or failed. */
import { utf8 } from "../base/bytes.js";
import { commentLine } from "./chat-events.js";
import { content, type Dialect, errorMeaning, filler, hasValue, type Meaning, parseData, typeOf } from "./dialect.js";
import type { SseEvent } from "./sse.js";
import { asRecord, type Json } from "./usage.js";

/** The stream of `responses`. It may carry OpenAI's `[DONE]` after its end, which says nothing more. */
export const responsesDialect: Dialect = {
  readMeaning,
  skimMeaning: readMeaning,
  keepAlive: commentLine,
  // The SDKs look at `error` to throw, others at the fields beside it, as OpenAI sends them.
  errorEvent(error, last) {
    const number = asRecord(parseData(last?.data ?? ""))?.["sequence_number"];
    const data = {
      type: "error",
      code: error.code,
      message: error.message,
      param: error.param,
      sequence_number: typeof number === "number" ? number + 1 : 0,
      error,
    };
    return utf8(`event: error\ndata: ${JSON.stringify(data)}\n\n`);
  },
  endsByClose: false,
  isText: true,
};

/** Events that only say that something begins. */
const openings: ReadonlySet<string> = new Set([
  "response.created",
  "response.queued",
  "response.in_progress",
  "response.content_part.added",
  "response.reasoning_summary_part.added",
  "keepalive",
]);

/** What a kind of event means when its name is enough. */
function readMeaning(event: SseEvent): Meaning {
  if (event.data === null || event.data === "" || event.data === "[DONE]") {
    return filler;
  }
  const type = typeOf(event) ?? asRecord(parseData(event.data))?.["type"];
  if (typeof type !== "string") {
    return readUntyped(event.data);
  }
  if (openings.has(type)) {
    return filler;
  }
  switch (type) {
    case "response.output_item.added":
      return holdsContent(parseData(event.data)) ? content : filler;
    case "response.completed":
    case "response.incomplete":
      return readEnd(event.data);
    case "response.failed":
    case "error":
      return readError(event.data);
    default:
      return content;
  }
}

/** An end must be whole: what is cut inside its data is no end. */
function readEnd(data: string): Meaning {
  const response = asRecord(asRecord(parseData(data))?.["response"]);
  return response === null
    ? { ...filler, kind: "malformed" }
    : { ...filler, kind: "done", isFinish: true, usage: asRecord(response["usage"]) };
}

function readError(data: string): Meaning {
  const value = parseData(data);
  const response = asRecord(asRecord(value)?.["response"]);
  const meaning = errorMeaning(response === null ? value : { error: response["error"] ?? {} }, data);
  return { ...meaning, usage: asRecord(response?.["usage"]) };
}

function readUntyped(data: string): Meaning {
  const value = asRecord(parseData(data));
  return value !== null && hasValue(value["error"])
    ? { ...filler, kind: "error", error: value }
    : { ...filler, kind: "malformed" };
}

/** A call names its tool at once; a message or a reasoning item is empty at first. */
function holdsContent(value: unknown): boolean {
  const item: Json = asRecord(asRecord(value)?.["item"]) ?? {};
  return item["type"] !== "message" && item["type"] !== "reasoning";
}
