/** Reads an upstream's error, whatever shape it came in, and gives it its class by the one table. Pure; knows no provider by name. */
import { classOf } from "./failure-table.js";
import type { Failure } from "./model.js";
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

/** Statuses that error words stand for, when an error comes inside a 200. First match wins; a word not listed means trouble at the upstream. */
const impliedStatuses: readonly (readonly [RegExp, number])[] = [
  [
    /^(?:insufficient_quota|billing_error|insufficient_(?:balance|credits)(?:_error)?|exceeded_current_quota_error)$/,
    402,
  ],
  [
    /^(?:(?:server_is_|engine_)?overloaded(?:_error)?|service_unavailable(?:_error)?|unavailable|serviceunavailableexception)$/,
    503,
  ],
  [
    /^(?:rate_limit(?:_error|_exceeded|ed|_reached_error)?|too_many_requests|slow_down|resource_exhausted|throttlingexception|tokens|requests)$/,
    429,
  ],
  [/^(?:(?:invalid_)?authentication(?:_error)?|invalid_api_key|api_key_invalid|unauthenticated|unauthorized)$/, 401],
  [/^(?:permission_error|permission_denied|forbidden|accessdeniedexception)$/, 403],
  [/^(?:not_found(?:_error)?|model_not_found)$/, 404],
  [/^(?:request_too_large|payload_too_large)$/, 413],
  [
    /^(?:invalid_(?:request(?:_error)?|argument|prompt|image.*|base64_image)|bad_request|badrequesterror|validationexception|content_filter|content_policy_violation|cyber_policy_violation|context_length_exceeded|string_above_max_length|image_.*|unsupported_image_.*|empty_image_file|failed_to_download_image)$/,
    400,
  ],
  [/^(?:timeout(?:_error)?|deadline_exceeded|gateway_timeout|vector_store_timeout)$/, 504],
];

/** What MiniMax's numbers stand for; others mean trouble on its side. */
const baseStatuses: Readonly<Record<number, number>> = {
  1002: 429,
  1004: 401,
  1008: 402,
  1026: 400,
  1027: 400,
  1039: 429,
  2013: 400,
  2049: 401,
};

/** Mistral and OpenRouter end an answer that broke with this word alone. */
const brokenChoice: ErrorWords = {
  code: "finish_error",
  message: "The provider ended its answer with an error.",
  words: [],
  status: null,
};

/** Classes an upstream's answer with an error status. `now` is epoch milliseconds, for dates in `Retry-After`. */
export function classifyAnswer(answer: UpstreamAnswer, now: number): Failure {
  const value = parse(answer.body);
  const found = readErrorWords(value) ?? {
    code: null,
    message: looseMessage(value, answer.body),
    words: [],
    status: null,
  };
  // AWS names the error in a header: `ThrottlingException:http://…`.
  const named = answer.headers.get("x-amzn-errortype")?.split(/[:#]/)[0]?.trim() ?? "";
  const words =
    named === "" ? found : { ...found, code: found.code ?? named, words: [...found.words, named.toLowerCase()] };
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
 * `{type: "error", …}` (Anthropic), `{response: {error: {…}}}` (the failed response in OpenAI's events), `{errors: [{…}]}` (Cloudflare),
 * `{choices: [{error: {…}}]}` (OpenRouter), `{choices: [{finish_reason: "error"}]}`, `{base_resp: {…}}` (MiniMax) or, on a body without choices, `{code, message}`.
 * Null when `value` is no error; an `error` that is null or empty is none.
 */
export function readErrorWords(value: unknown): ErrorWords | null {
  const outer = asRecord(Array.isArray(value) ? value[0] : value);
  if (outer === null) {
    return null;
  }
  const choices = list(outer["choices"]);
  const chosen = choices.map((choice) => choice["error"]).find((one) => one !== undefined && one !== null);
  const error = outer["error"] ?? asRecord(outer["response"])?.["error"] ?? chosen;
  if (typeof error === "string" && error !== "") {
    return wordsOf([outer], error);
  }
  const inner = filled(asRecord(error)) ?? filled(first(outer["errors"]));
  if (inner !== null) {
    return wordsOf([inner, ...list(inner["details"])], text(inner["message"]) ?? "");
  }
  const isBroken = choices.some((choice) => choice["finish_reason"] === "error");
  return isBroken ? brokenChoice : (readBaseWords(outer) ?? readBareWords(outer));
}

function readBaseWords(outer: Readonly<Record<string, unknown>>): ErrorWords | null {
  const base = asRecord(outer["base_resp"]);
  const code = base?.["status_code"];
  return typeof code !== "number" || code === 0
    ? null
    : {
        code: String(code),
        message: text(base?.["status_msg"]) ?? "",
        words: [String(code)],
        status: baseStatuses[code] ?? null,
      };
}

function readBareWords(outer: Readonly<Record<string, unknown>>): ErrorWords | null {
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
  const kind = classOf({ status, words: words.words, message: words.message });
  const asksToWait = kind === "rate_limit" || kind === "overloaded";
  return {
    class: kind,
    status,
    code: words.code === null ? null : cleanCode(words.code),
    retry_after_ms: asksToWait ? readRetryAfter(answer.headers, answer.body, now, kind === "rate_limit") : null,
    timed_out: status === 408 || status === 504 || status === 524,
  };
}

/** What a body of no known error shape says: FastAPI's `detail` and the like, or plain text. A page of markup says nothing about us. */
function looseMessage(value: unknown, body: string): string {
  const record = asRecord(value);
  if (record === null) {
    return typeof value === "string" ? value : /^\s*</.test(body) ? "" : body;
  }
  for (const name of ["detail", "message", "Message", "error_description", "title"]) {
    const said = text(record[name]);
    if (said !== null) {
      return said;
    }
  }
  return "";
}

function wordsOf(records: readonly Readonly<Record<string, unknown>>[], message: string): ErrorWords {
  const found: string[] = [];
  let status: number | null = null;
  for (const record of records) {
    for (const name of ["code", "reason", "type", "status", "__type"]) {
      const word = record[name];
      const number = typeof word === "number" ? word : Number(text(word) ?? Number.NaN);
      if (number >= 400 && number <= 599) {
        status ??= number;
      } else if (typeof word === "number" || (typeof word === "string" && word !== "" && word !== "error")) {
        found.push(String(word));
      }
    }
  }
  return {
    code: found[0] ?? (status === null ? null : String(status)),
    message,
    words: found.map((word) => word.toLowerCase()),
    status,
  };
}

function cleanCode(code: string): string {
  return code
    .toLowerCase()
    .replaceAll(/[^a-z0-9_.-]+/g, "_")
    .slice(0, 64);
}

function list(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.map(asRecord).filter((entry) => entry !== null) : [];
}

function first(value: unknown): Readonly<Record<string, unknown>> | null {
  return list(value)[0] ?? null;
}

/** A record that says anything, or null. */
function filled(record: Readonly<Record<string, unknown>> | null): Readonly<Record<string, unknown>> | null {
  return record !== null && Object.keys(record).length > 0 ? record : null;
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
