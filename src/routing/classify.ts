/** The one table of failure classes: what an upstream's status, headers and error words mean. Pure; knows no provider by name. */
import type { Failure, FailureClass } from "./model.js";
import { readRetryAfter } from "./retry-after.js";

/** An upstream's refusal as the gateway read it. */
export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** At most 64 KiB of text. */
  readonly body: string;
}

/** The words of an upstream's error, whatever shape it came in. Texts are as sent, so they may echo secrets. */
export interface ErrorWords {
  /** The most telling of code, type, status and reason, as sent. */
  readonly code: string | null;
  readonly message: string;
  /** Every machine word found, lower-case. */
  readonly words: readonly string[];
  /** An HTTP status that the error names itself. */
  readonly status: number | null;
}

interface Signs extends ErrorWords {
  readonly httpStatus: number;
  /** The message without its quoted parts: those echo what the caller sent and must not decide over an instance. */
  readonly said: string;
}

interface Row {
  readonly class: FailureClass;
  readonly matches: (signs: Signs) => boolean;
}

const sizeCodes = ["context_length_exceeded", "string_above_max_length", "request_too_large", "max_tokens_exceeded"];
const sizeText =
  /(?:request|prompt|input|payload|body|message)s? (?:is |was |are )?(?:too (?:large|long|big)|exceeds)|too large for|context[ _-]?(?:length|window)|reduce the length|maximum (?:prompt|input|token) length/i;
const policyCodes = [
  "content_policy_violation",
  "content_filter",
  "moderation_blocked",
  "cyber_policy_violation",
  "responsibleaipolicyviolation",
];
const quotaCodes = [
  "insufficient_quota",
  "billing_hard_limit_reached",
  "billing_not_active",
  "insufficient_balance",
  "insufficient_credits",
  "billing_error",
];
const quotaText =
  /credit balance|(?:insufficient|not enough|out of|no|negative) (?:account )?(?:credits?|balance|funds)|exceeded your current quota|billing (?:hard limit|is not active)|spending limit/i;
const keyCodes = [
  "invalid_api_key",
  "api_key_invalid",
  "authentication_error",
  "invalid_authentication",
  "account_deactivated",
  "api_key_expired",
  "api_key_service_blocked",
];
const keyText =
  /(?:incorrect|invalid|missing|expired|revoked|disabled|blocked|unknown) api[ -_]?key|api[ -_]?key (?:is |was |has )?(?:not|been|invalid|incorrect|expired|disabled)/i;
const keyWording = /api[ -_]?key|access token|auth[a-z]* token|credential|authenticat|unauthori[sz]ed/i;
const modelCodes = [
  "model_not_found",
  "model_not_available",
  "invalid_model",
  "model_not_exist",
  "deploymentnotfound",
  "no_such_model",
];
const modelText =
  /model\b.{0,80}\b(?:not found|not exist|does not exist|no longer available|is not available|not supported by your)|(?:no|not have) access to (?:this |the |that )?model|no such model|unknown model/i;

/** First match wins. Rows above `rate_limit` read words; rows from there on read the status alone. */
const table: readonly Row[] = [
  { class: "caller_fault", matches: ({ words }) => hasAny(words, policyCodes) },
  {
    class: "caller_fault",
    matches: (signs) => isSizeStatus(signs.httpStatus) && (hasAny(signs.words, sizeCodes) || sizeText.test(signs.said)),
  },
  {
    class: "quota",
    matches: ({ httpStatus, words }) => httpStatus === 402 || (isRefusal(httpStatus) && hasAny(words, quotaCodes)),
  },
  // Gemini says "exceeded your current quota" for a per-minute limit too, with this status word beside it.
  {
    class: "quota",
    matches: ({ httpStatus, words, said }) =>
      isRefusal(httpStatus) && !words.includes("resource_exhausted") && quotaText.test(said),
  },
  {
    class: "model_missing",
    matches: ({ httpStatus, words, said }) =>
      [400, 403, 404].includes(httpStatus) &&
      (hasAny(words, modelCodes) || (httpStatus !== 400 && modelText.test(said))),
  },
  { class: "credential", matches: ({ httpStatus }) => httpStatus === 401 },
  {
    class: "credential",
    matches: ({ httpStatus, words, said }) => httpStatus === 403 && (hasAny(words, keyCodes) || keyWording.test(said)),
  },
  {
    class: "credential",
    matches: ({ httpStatus, words, said }) => httpStatus === 400 && (hasAny(words, keyCodes) || keyText.test(said)),
  },
  { class: "rate_limit", matches: ({ httpStatus }) => httpStatus === 429 },
  { class: "overloaded", matches: ({ httpStatus }) => httpStatus === 503 || httpStatus === 529 },
  { class: "transient", matches: ({ httpStatus }) => httpStatus === 408 || httpStatus >= 500 || httpStatus < 400 },
  { class: "caller_fault", matches: () => true },
];

/** Statuses that error words stand for, when an error comes inside a 200. First match wins; a word not listed means trouble at the upstream. */
const impliedStatuses: readonly (readonly [RegExp, number])[] = [
  [/^(?:insufficient_quota|billing_error|insufficient_balance|insufficient_credits)$/, 402],
  [/^(?:rate_limit(?:_error|_exceeded|ed)?|too_many_requests|resource_exhausted|tokens|requests)$/, 429],
  [/^(?:overloaded(?:_error)?|service_unavailable(?:_error)?|unavailable|engine_overloaded)$/, 503],
  [/^(?:authentication_error|invalid_api_key|api_key_invalid|unauthenticated|unauthorized)$/, 401],
  [/^(?:permission_error|permission_denied|forbidden)$/, 403],
  [/^(?:not_found(?:_error)?|model_not_found)$/, 404],
  [/^(?:request_too_large|payload_too_large)$/, 413],
  [
    /^(?:invalid_request(?:_error)?|invalid_argument|bad_request|content_filter|content_policy_violation|context_length_exceeded|string_above_max_length|invalid_prompt)$/,
    400,
  ],
  [/^(?:timeout(?:_error)?|deadline_exceeded|gateway_timeout)$/, 504],
];

/** Classes an upstream's answer with an error status. `now` is epoch milliseconds, for dates in `Retry-After`. */
export function classifyAnswer(answer: UpstreamAnswer, now: number): Failure {
  const value = parse(answer.body);
  const words = readErrorWords(value) ?? {
    code: null,
    message: looseMessage(value, answer.body),
    words: [],
    status: null,
  };
  return decide(answer.status, words, answer, now);
}

/** Classes an error that came inside a 200: a body or a stream event whose parsed JSON is `value`. Null when it is no error. */
export function classifyInBand(value: unknown, headers: Headers, now: number): Failure | null {
  const words = readErrorWords(value);
  if (words === null) {
    return null;
  }
  return { ...decide(impliedStatus(words), words, { headers, body: JSON.stringify(value) ?? "" }, now), status: 200 };
}

/** The HTTP status an in-band error would have had, for an answer that can still be given one. */
export function impliedStatus(words: ErrorWords): number {
  if (words.status !== null) {
    return words.status;
  }
  for (const [pattern, status] of impliedStatuses) {
    if (words.words.some((word) => pattern.test(word))) {
      return status;
    }
  }
  return 500;
}

/** A failure without an answer: connection, TLS, DNS, a cut, or a time-out. `code` is a word of ours. */
export function transientFailure(code: string, timedOut = false): Failure {
  return { class: "transient", status: null, code, retry_after_ms: null, timed_out: timedOut };
}

/**
 * The words of an error in any of the shapes upstreams use: `{error: {…}}`, `{error: "…"}`, a list of one (Gemini),
 * `{type: "error", …}` (Anthropic), `{response: {error: {…}}}` (the failed response in OpenAI's events) or, on a body without choices, `{code, message}`. Null when `value` is no error; an `error` that is null or empty is none.
 */
export function readErrorWords(value: unknown): ErrorWords | null {
  const outer = asRecord(Array.isArray(value) ? value[0] : value);
  if (outer === null) {
    return null;
  }
  const error = outer["error"] ?? asRecord(outer["response"])?.["error"];
  if (typeof error === "string" && error !== "") {
    return wordsOf([outer], error);
  }
  const inner = asRecord(error);
  if (inner !== null && Object.keys(inner).length > 0) {
    return wordsOf([inner, ...details(inner)], text(inner["message"]) ?? "");
  }
  const isBare =
    outer["choices"] === undefined &&
    outer["message"] !== undefined &&
    (outer["code"] !== undefined || outer["type"] === "error" || outer["object"] === "error");
  return isBare ? wordsOf([outer], text(outer["message"]) ?? "") : null;
}

function decide(
  status: number,
  words: ErrorWords,
  answer: Pick<UpstreamAnswer, "headers" | "body">,
  now: number,
): Failure {
  const signs: Signs = { ...words, httpStatus: status, said: withoutQuotes(words.message.slice(0, 2000)) };
  const row = table.find((candidate) => candidate.matches(signs));
  const kind = row?.class ?? "transient";
  const asksToWait = kind === "rate_limit" || kind === "overloaded";
  return {
    class: kind,
    status,
    code: words.code === null ? null : cleanCode(words.code),
    retry_after_ms: asksToWait ? readRetryAfter(answer.headers, answer.body, now, kind === "rate_limit") : null,
    timed_out: status === 408 || status === 504,
  };
}

/** What a body of no known error shape says: FastAPI's `detail` and the like, or plain text. A page of markup says nothing about us. */
function looseMessage(value: unknown, body: string): string {
  const record = asRecord(value);
  if (record === null) {
    return /^\s*</.test(body) ? "" : body;
  }
  return (
    text(record["detail"]) ??
    text(record["message"]) ??
    text(record["error_description"]) ??
    text(record["title"]) ??
    ""
  );
}

function wordsOf(records: readonly Readonly<Record<string, unknown>>[], message: string): ErrorWords {
  const found: string[] = [];
  let status: number | null = null;
  for (const record of records) {
    for (const name of ["code", "reason", "type", "status"]) {
      const word = record[name];
      if (typeof word === "string" && word !== "" && word !== "error") {
        found.push(word);
      }
      const number = typeof word === "number" ? word : Number.NaN;
      status ??= number >= 400 && number <= 599 ? number : null;
    }
  }
  return {
    code: found[0] ?? (status === null ? null : String(status)),
    message,
    words: found.map((word) => word.toLowerCase()),
    status,
  };
}

function details(inner: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] {
  const list: unknown = inner["details"];
  return Array.isArray(list) ? list.map(asRecord).filter((entry) => entry !== null) : [];
}

function withoutQuotes(message: string): string {
  return message.replaceAll(/"[^"]*"|`[^`]*`|(?<![a-z])'[^']*'(?![a-z])/gi, " ");
}

function cleanCode(code: string): string {
  return code
    .toLowerCase()
    .replaceAll(/[^a-z0-9_.-]+/g, "_")
    .slice(0, 64);
}

function isSizeStatus(status: number): boolean {
  return status === 429 || status >= 500;
}

function isRefusal(status: number): boolean {
  return status === 400 || status === 403 || status === 429;
}

function hasAny(words: readonly string[], list: readonly string[]): boolean {
  return words.some((word) => list.includes(word));
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : null;
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
