/** What the events of an endpoint's stream mean to the relay: content, finish, usage, error, end. Open to fields that it does not know. */
import type { SseEvent } from "./sse.js";
import { asRecord, type Json } from "./usage.js";

/** One event, understood. */
export interface Meaning {
  /** `done`: the stream's end, told by the upstream itself. */
  readonly kind: "content" | "filler" | "done" | "error" | "malformed";
  /** The answer, or one of several, says that it is complete. */
  readonly isFinish: boolean;
  /** The object that tells counts of tokens, or some of them. */
  readonly usage: Json | null;
  /** Usage and nothing else: the chunk that `include_usage` adds. */
  readonly isUsageOnly: boolean;
  /** The parsed data of an error. */
  readonly error: unknown;
}

/** How an endpoint's streams speak. */
export interface Dialect {
  /** Reads an event in full. */
  readonly readMeaning: (event: SseEvent) => Meaning;
  /** Reads an event of a stream that has begun: what plainly is content is not parsed. */
  readonly skimMeaning: (event: SseEvent) => Meaning;
  /** Keeps a silent stream open. */
  readonly keepAlive: Uint8Array;
  /** The event that ends a stream which cannot be finished. `last`: the event before it. */
  readonly errorEvent: (error: WireError, last: SseEvent | null) => Uint8Array;
  /** The upstream's close ends a stream that has finished as often as there are answers: no event says so. */
  readonly endsByClose: boolean;
  /** Its content is text, so that its tokens can be counted. */
  readonly isText: boolean;
}

/** What an error says, in OpenAI's words. */
export interface WireError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

/** An event that says nothing of its own. */
export const filler: Meaning = { kind: "filler", isFinish: false, usage: null, isUsageOnly: false, error: undefined };
/** An event with content and nothing else. */
export const content: Meaning = { ...filler, kind: "content" };

/** An error that an event brought; one that is no object is wrapped, so that it reads as an error. */
export function errorMeaning(value: unknown, data: string): Meaning {
  return {
    ...filler,
    kind: "error",
    error: asRecord(value)?.["error"] === undefined ? { error: value ?? data } : value,
  };
}

/** Whether a value says anything: not null, false, empty text, an empty list or object. */
export function hasValue(value: unknown): boolean {
  if (value === null || value === undefined || value === "" || value === false) {
    return false;
  }
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/** The event's kind: its name, or the `type` that its data begins with. Null when only a parse can tell. */
export function typeOf(event: SseEvent): string | null {
  return event.name ?? leadingType.exec(event.data ?? "")?.[1] ?? null;
}

/** The value of an event's data; undefined when it is no JSON. */
export function parseData(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

const leadingType = /^\s*\{\s*"type"\s*:\s*"([\w.]{1,80})"/;
