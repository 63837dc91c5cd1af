/** Which headers pass, by allow-list in both directions, and the headers that are ours. */
import type { RateState } from "../routing/model.js";

/** What a provider needs of the caller's headers, besides those of the wire. Credentials, cookies, addresses, trace ids and SDK fingerprints stay here. */
const requestAllowed = ["accept", "content-type"] as const;

/** Nothing else of an upstream's headers is for the caller: not its rate limits, organisation, cookies, request ids or routing hints. The last is a translation's, which counted where no upstream did. */
const responseAllowed = ["content-language", "openai-processing-ms", "openai-version", "x-gatehouse-estimate"] as const;

/** What our own headers tell. */
export interface AnswerFacts {
  readonly requestId: string;
  /** Under which header the request's id stands besides `x-request-id`. */
  readonly requestIdHeader: string | null;
  readonly alias: string | null;
  readonly attempts: number;
  readonly rate: RateState | null;
  /** The same for tokens; null or absent where the key has no limit of them. */
  readonly tokenRate?: RateState | null;
  /** Milliseconds until the last attempt began, and from there to commit; null before any attempt. */
  readonly timing: { readonly routeMs: number; readonly upstreamMs: number } | null;
}

/** The caller's headers that go upstream; `more` are those that the call's wire allows. */
export function upstreamHeaders(client: Headers, more: readonly string[]): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of [...requestAllowed, ...more]) {
    const value = client.get(name);
    if (value !== null) {
      passed[name] = value;
    }
  }
  return passed;
}

/** The headers of an answer: what passes of the upstream's, then ours. */
export function answerHeaders(facts: AnswerFacts, upstream?: Headers): Headers {
  const headers = new Headers();
  for (const name of responseAllowed) {
    const value = upstream?.get(name) ?? null;
    if (value !== null) {
      headers.set(name, value);
    }
  }
  headers.set("x-request-id", facts.requestId);
  if (facts.requestIdHeader !== null) {
    headers.set(facts.requestIdHeader, facts.requestId);
  }
  headers.set("x-gatehouse-attempts", String(facts.attempts));
  headers.set("x-content-type-options", "nosniff");
  if (facts.alias !== null) {
    headers.set("x-gatehouse-instance", toHeaderText(facts.alias));
  }
  if (facts.timing !== null) {
    headers.set(
      "server-timing",
      `route;dur=${inTenths(facts.timing.routeMs)}, upstream;dur=${inTenths(facts.timing.upstreamMs)}`,
    );
  }
  tellRate(headers, "requests", facts.rate);
  tellRate(headers, "tokens", facts.tokenRate ?? null);
  return headers;
}

function tellRate(headers: Headers, of: "requests" | "tokens", rate: RateState | null): void {
  if (rate !== null) {
    headers.set(`x-ratelimit-limit-${of}`, String(rate.limit));
    headers.set(`x-ratelimit-remaining-${of}`, String(Math.max(0, rate.remaining)));
    headers.set(`x-ratelimit-reset-${of}`, formatDuration(rate.reset_ms));
  }
}

/** OpenAI's form of a duration: `20ms`, `1.5s`, `1m0s`, `1h2m3s`. */
export function formatDuration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole < 1_000) {
    return `${whole}ms`;
  }
  const hours = Math.floor(whole / 3_600_000);
  const minutes = Math.floor((whole % 3_600_000) / 60_000);
  const seconds = `${(whole % 60_000) / 1_000}s`;
  return hours > 0 ? `${hours}h${minutes}m${seconds}` : `${minutes > 0 ? `${minutes}m` : ""}${seconds}`;
}

/** An alias may be any text; a header field holds visible ASCII. */
function toHeaderText(text: string): string {
  return /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text) ? text : encodeURIComponent(text.toWellFormed());
}

function inTenths(ms: number): number {
  return Math.round(Math.max(0, ms) * 10) / 10;
}
