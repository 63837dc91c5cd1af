/** Reads what a call used, in the words of any wire, and counts a stream's answer where nobody told it. */
import type { Usage } from "../routing/model.js";

/** A JSON object, of which nothing is known. */
export type Json = Readonly<Record<string, unknown>>;

/** A plain object, or null for anything else. */
export function asRecord(value: unknown): Json | null {
  return isRecord(value) ? value : null;
}

/** What a whole answer tells of its use, wherever its wire puts that; null when it says nothing. */
export function readAnswerUsage(answer: unknown): Usage | null {
  const told = asRecord(answer);
  return readUsage(told?.["usage"]) ?? readUsage(asRecord(told?.["meta"])?.["tokens"]);
}

/** Token counts of a `usage` object, or null when it is none. */
export function readUsage(value: unknown): Usage | null {
  const usage = asRecord(value);
  if (usage === null) {
    return null;
  }
  const { cached, written } = readCache(usage);
  const prompt = readPrompt(usage, cached + written);
  const completion = count(usage["completion_tokens"] ?? usage["output_tokens"] ?? 0);
  if (prompt === null || completion === null) {
    return null;
  }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    ...(cached > 0 ? { cached_tokens: Math.min(cached, prompt) } : {}),
    ...(written > 0 ? { cache_write_tokens: Math.min(written, prompt) } : {}),
  };
}

/** Whether an object with counts tells how much came out. */
export function tellsOutput(told: Json | null): boolean {
  return count(told?.["completion_tokens"] ?? told?.["output_tokens"]) !== null;
}

/** Counts of a stream that tells them in parts: a later word stands over an earlier one. */
export function mergeUsage(earlier: Json | null, later: Json | null): Json | null {
  if (earlier === null || later === null) {
    return later ?? earlier;
  }
  return {
    ...earlier,
    ...Object.fromEntries(Object.entries(later).filter(([, value]) => value !== null && value !== undefined)),
  };
}

/** Counts the text of a stream from the sizes of its events, whose frame is as large as the smallest of them, at four bytes to a token. */
export interface TextCount {
  /** Takes the data of one event with content. */
  add(dataLength: number): void;
  tokens(): number;
}

const bytesPerToken = 4;

/** A fresh count. */
export function countText(): TextCount {
  let events = 0;
  let total = 0;
  let least = Infinity;
  return {
    add(dataLength) {
      events += 1;
      if (events > 1) {
        total += dataLength;
        least = Math.min(least, dataLength);
      }
    },
    // Even the smallest event carries something, so each one counts as a token; the first one often names a role in a frame of its own.
    tokens: () => (events < 2 ? events : events + Math.ceil((total - (events - 1) * least) / bytesPerToken)),
  };
}

/** Anthropic counts apart what was read from or written to its cache; on OpenAI's wire the prompt's count holds it. */
function readPrompt(usage: Json, beside: number): number | null {
  if (usage["prompt_tokens"] !== undefined) {
    return count(usage["prompt_tokens"]);
  }
  if (usage["input_tokens"] !== undefined) {
    const input = count(usage["input_tokens"]);
    return input === null || !isApart(usage) ? input : input + beside;
  }
  return usage["total_tokens"] === undefined ? null : count(usage["total_tokens"]);
}

function isApart(usage: Json): boolean {
  return usage["cache_read_input_tokens"] !== undefined || usage["cache_creation_input_tokens"] !== undefined;
}

function readCache(usage: Json): { readonly cached: number; readonly written: number } {
  const details = asRecord(usage["prompt_tokens_details"]) ?? asRecord(usage["input_tokens_details"]);
  const cached = [usage["cache_read_input_tokens"], details?.["cached_tokens"], usage["prompt_cache_hit_tokens"]];
  const written = [usage["cache_creation_input_tokens"], details?.["cache_write_tokens"]];
  return { cached: firstCount(cached), written: firstCount(written) };
}

function firstCount(values: readonly unknown[]): number {
  return values.map(count).find((found) => found !== null) ?? 0;
}

function count(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
