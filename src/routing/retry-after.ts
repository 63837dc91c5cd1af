/** How long an upstream asks to be left alone, from every header (and Gemini's body field) that upstreams say it with. Pure. */

const minMs = 1_000;
const maxMs = 3_600_000;
const unitMs: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000_001,
};
const duration = /^(?:\d+(?:\.\d+)?(?:ms|us|µs|ns|d|h|m|s))+$/;

/**
 * The longest wait named, in milliseconds, clamped to 1 s–1 h; null when none is named or none can be read. Rate-limit
 * windows (`x-ratelimit-reset-*`, `anthropic-ratelimit-*-reset`) count only when `withResets` is set: they stand on good answers too,
 * and of several windows only those that say that nothing is left in them, if any does.
 */
export function readRetryAfter(headers: Headers, body: string, now: number, withResets: boolean): number | null {
  const waits: (number | null)[] = [
    readRetryAfterHeader(headers.get("retry-after"), now),
    readNumber(headers.get("retry-after-ms"), 1),
    parseDuration(/"retryDelay"\s*:\s*"([^"]{1,32})"/.exec(body)?.[1] ?? ""),
  ];
  if (withResets) {
    waits.push(...readWindows(headers, body, now));
  }
  const named = waits.filter((wait) => wait !== null);
  return named.length === 0 ? null : Math.min(maxMs, Math.max(minMs, Math.ceil(Math.max(...named))));
}

/** A window's reset: what stands before and behind the word names the header of what is left in it, too. Anthropic's unified windows of hours and days are told together in one. */
const resetName = /^((?:x-)?ratelimit(?:bysize)?-)reset((?:-.+)?)$|^(anthropic-ratelimit-(?!unified-\d).+-)reset$/;

/** The reset of each window, in headers or (OpenRouter) repeated in the body. */
function readWindows(headers: Headers, body: string, now: number): readonly (number | null)[] {
  const windows: { readonly wait: number | null; readonly isSpent: boolean }[] = [];
  for (const [name, value] of headers) {
    const [, plain, kind, anthropic] = resetName.exec(name) ?? [];
    const prefix = plain ?? anthropic;
    if (prefix !== undefined) {
      const left = readNumber(headers.get(`${prefix}remaining${kind ?? ""}`), 1);
      windows.push({ wait: readReset(value, now), isSpent: left === 0 });
    }
  }
  const spent = windows.filter(({ isSpent }) => isSpent);
  const inBody = /"X-RateLimit-Reset"\s*:\s*"(\d{1,15})"/i.exec(body)?.[1];
  return [
    ...(spent.length > 0 ? spent : windows).map(({ wait }) => wait),
    inBody === undefined ? null : readReset(inBody, now),
  ];
}

/** Seconds, or an HTTP date (RFC 9110 §10.2.3); a date in the past means now. */
function readRetryAfterHeader(value: string | null, now: number): number | null {
  return readNumber(value, 1_000) ?? readDate(value, now);
}

/** A duration ("1m30s", "20ms"), seconds from now, epoch seconds, epoch milliseconds, or a date. */
function readReset(value: string, now: number): number | null {
  const number = readNumber(value, 1);
  if (number === null) {
    return parseDuration(value) ?? readDate(value, now);
  }
  if (number >= 100_000_000_000) {
    return number - now;
  }
  return number >= 1_000_000_000 ? number * 1_000 - now : number * 1_000;
}

function readNumber(value: string | null, scale: number): number | null {
  const text = value?.trim() ?? "";
  return /^\d{1,15}(?:\.\d{1,12})?$/.test(text) ? Number(text) * scale : null;
}

function parseDuration(value: string): number | null {
  const text = value.trim();
  if (text.length > 64 || !duration.test(text)) {
    return null;
  }
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)/g)) {
    sum += Number(amount) * (unitMs[unit ?? ""] ?? 0);
  }
  return sum;
}

function readDate(value: string | null, now: number): number | null {
  const text = value?.trim() ?? "";
  // A date names its year and a time; `Date.parse` alone would read "5" or "soon 1" as one.
  if (!/\d{4}/.test(text) || !/\d:\d{2}/.test(text)) {
    return null;
  }
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
