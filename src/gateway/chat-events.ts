/** The events of chat and of legacy completions: chunks with choices, a finish in each, and `[DONE]` at the end. */
import { utf8 } from "../base/bytes.js";
import { readErrorWords } from "../routing/classify.js";
import { content, type Dialect, errorMeaning, filler, hasValue, type Meaning, parseData } from "./dialect.js";
import type { SseEvent } from "./sse.js";
import { asRecord, type Json, readUsage } from "./usage.js";

/** A comment, which every reader of events skips. */
export const commentLine = utf8(": keep-alive\n\n");

/** The stream of `chat/completions` and `completions`. No `[DONE]` follows its error event: the SDKs throw on the event. */
export const chatDialect: Dialect = {
  readMeaning,
  skimMeaning,
  keepAlive: commentLine,
  errorEvent: (error) => utf8(`data: ${JSON.stringify({ error })}\n\n`),
  endsByClose: false,
  isText: true,
};

/** Only data that may hold a finish, a usage or an error is parsed once a stream runs; quotes inside texts are escaped, so they cannot match. */
const notable =
  /"finish_reason"\s*:\s*"|"usage"\s*:\s*\{|"error"\s*:\s*[^\sn]|"object"\s*:\s*"error"|"status_code"\s*:\s*[1-9]/;

function readMeaning(event: SseEvent): Meaning {
  if (event.data === null || event.data === "") {
    return filler;
  }
  if (event.data.trim() === "[DONE]") {
    return { ...filler, kind: "done" };
  }
  const value = parseData(event.data);
  if (event.name === "error") {
    return errorMeaning(value, event.data);
  }
  const chunk = asRecord(value);
  if (chunk === null) {
    return { ...filler, kind: "malformed" };
  }
  const isError = hasValue(chunk["error"]) || readErrorWords(chunk) !== null;
  return isError ? { ...filler, kind: "error", error: chunk } : readChunk(chunk);
}

function skimMeaning(event: SseEvent): Meaning {
  if (event.data === null || event.name === "error" || event.data.length < 12 || notable.test(event.data)) {
    return readMeaning(event);
  }
  return content;
}

function readChunk(chunk: Json): Meaning {
  const list: unknown = chunk["choices"];
  const choices = Array.isArray(list) ? list.map(asRecord).filter((choice) => choice !== null) : [];
  const isFinish = choices.some((choice) => hasValue(choice["finish_reason"]));
  const usage = readUsage(chunk["usage"]) === null ? null : asRecord(chunk["usage"]);
  const isContent = isFinish || choices.some(holdsContent);
  return {
    kind: isContent ? "content" : "filler",
    isFinish,
    usage,
    isUsageOnly: usage !== null && Array.isArray(list) && choices.length === 0,
    error: undefined,
  };
}

/** Any delta field but the role counts: text, reasoning, tool calls, refusal, audio and what is yet to be invented. */
function holdsContent(choice: Json): boolean {
  const delta = asRecord(choice["delta"]) ?? {};
  return Object.entries(delta).some(([name, value]) => name !== "role" && hasValue(value)) || hasValue(choice["text"]);
}
