/** The events of Anthropic's `messages`: named, in blocks, ended by `message_stop` after a delta that says why. */
import { utf8 } from "../base/bytes.js";
import { content, type Dialect, errorMeaning, filler, hasValue, type Meaning, parseData, typeOf } from "./dialect.js";
import { anthropicError } from "./face.js";
import type { SseEvent } from "./sse.js";
import { asRecord, type Json } from "./usage.js";

/** The stream of `messages`. */
export const messagesDialect: Dialect = {
  readMeaning,
  skimMeaning: readMeaning,
  keepAlive: utf8('event: ping\ndata: {"type": "ping"}\n\n'),
  errorEvent: (error) =>
    utf8(`event: error\ndata: ${JSON.stringify({ type: "error", error: anthropicError(error, null) })}\n\n`),
  endsByClose: false,
  isText: true,
};

/** Deltas are most of a stream and are not parsed. An event of a kind that is yet to be invented is passed on and says nothing. */
function readMeaning(event: SseEvent): Meaning {
  if (event.data === null || event.data === "") {
    return filler;
  }
  const type = typeOf(event) ?? asRecord(parseData(event.data))?.["type"];
  switch (type) {
    case "content_block_delta":
      return content;
    case "message_start":
      return { ...filler, usage: readStart(parse(event)) };
    case "content_block_start":
      return holdsContent(asRecord(parse(event)["content_block"])) ? content : filler;
    case "message_delta":
      return readDelta(parse(event));
    case "message_stop":
      return asRecord(parseData(event.data)) === null ? malformed : { ...filler, kind: "done" };
    case "error":
      return errorMeaning(parseData(event.data), event.data);
    default:
      return typeof type === "string" ? filler : readUntyped(event.data);
  }
}

/** The prompt's counts. How much has come out by then says nothing of the answer. */
function readStart(value: Json): Json | null {
  const usage = asRecord(asRecord(value["message"])?.["usage"]);
  return usage === null ? null : { ...usage, output_tokens: undefined };
}

const malformed: Meaning = { ...filler, kind: "malformed" };

function readDelta(value: Json): Meaning {
  const isFinish = hasValue(asRecord(value["delta"])?.["stop_reason"]);
  return { ...filler, kind: isFinish ? "content" : "filler", isFinish, usage: asRecord(value["usage"]) };
}

/** A block that names a tool or brings its whole content; text and thinking begin empty. */
function holdsContent(block: Json | null): boolean {
  return Object.entries(block ?? {}).some(([name, value]) => name !== "type" && hasValue(value));
}

function readUntyped(data: string): Meaning {
  const value = asRecord(parseData(data));
  return value !== null && hasValue(value["error"]) ? { ...filler, kind: "error", error: value } : malformed;
}

function parse(event: SseEvent): Json {
  return asRecord(parseData(event.data ?? "")) ?? {};
}
