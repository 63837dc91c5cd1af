/** What the events of a chat stream mean to the relay: content, finish, usage, error, end. Open to fields it does not know. */
import type { Usage } from "../routing/model.js";
import type { SseEvent } from "./sse.js";

/** One event, understood. */
export interface Meaning {
  readonly kind: "content" | "filler" | "done" | "error" | "malformed";
  /** A choice said why it ended. */
  readonly isFinish: boolean;
  readonly usage: Usage | null;
  /** Usage and nothing else: the chunk that `include_usage` adds. */
  readonly isUsageOnly: boolean;
  /** The parsed data of an error. */
  readonly error: unknown;
}

const filler: Meaning = { kind: "filler", isFinish: false, usage: null, isUsageOnly: false, error: undefined };

/** Only data that may hold a finish, a usage or an error is parsed once a stream runs; quotes inside texts are escaped, so they cannot match. */
const notable = /"finish_reason"\s*:\s*"|"usage"\s*:\s*\{|"error"\s*:\s*[^\sn]/;

/** Reads an event in full. */
export function readMeaning(event: SseEvent): Meaning {
  if (event.data === null || event.data === "") {
    return filler;
  }
  if (event.data.trim() === "[DONE]") {
    return { ...filler, kind: "done" };
  }
  const value = parse(event.data);
  if (event.name === "error") {
    return {
      ...filler,
      kind: "error",
      error: asRecord(value)?.["error"] === undefined ? { error: value ?? event.data } : value,
    };
  }
  const chunk = asRecord(value);
  if (chunk === null) {
    return { ...filler, kind: "malformed" };
  }
  return hasValue(chunk["error"]) ? { ...filler, kind: "error", error: chunk } : readChunk(chunk);
}

/** Reads an event of a stream that has begun: content without a finish, a usage or an error is not parsed and counts as content. */
export function skimMeaning(event: SseEvent): Meaning {
  if (event.data === null || event.name === "error" || event.data.length < 12 || notable.test(event.data)) {
    return readMeaning(event);
  }
  return { ...filler, kind: "content" };
}

/** Token counts of a `usage` object, or null when it is none. */
export function readUsage(value: unknown): Usage | null {
  const usage = asRecord(value);
  const prompt = readCount(usage?.["prompt_tokens"]);
  const completion = readCount(usage?.["completion_tokens"] ?? 0);
  return prompt === null || completion === null ? null : { prompt_tokens: prompt, completion_tokens: completion };
}

/** A plain object, or null for anything else. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> | null {
  return isRecord(value) ? value : null;
}

function readChunk(chunk: Readonly<Record<string, unknown>>): Meaning {
  const list: unknown = chunk["choices"];
  const choices = Array.isArray(list) ? list.map(asRecord).filter((choice) => choice !== null) : [];
  const isFinish = choices.some((choice) => hasValue(choice["finish_reason"]));
  const usage = readUsage(chunk["usage"]);
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
function holdsContent(choice: Readonly<Record<string, unknown>>): boolean {
  const delta = asRecord(choice["delta"]) ?? {};
  return Object.entries(delta).some(([name, value]) => name !== "role" && hasValue(value)) || hasValue(choice["text"]);
}

function hasValue(value: unknown): boolean {
  if (value === null || value === undefined || value === "" || value === false) {
    return false;
  }
  return typeof value !== "object" || Object.keys(value).length > 0;
}

function readCount(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}
