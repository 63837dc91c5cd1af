/** The OpenAI face of everything the gateway itself says: error bodies, statuses, Retry-After, and the event that ends a broken stream. */
import { utf8 } from "../base/bytes.js";
import { AppError, type ErrorCode } from "../base/errors.js";
import { redactSecrets, type Secret } from "../base/secret.js";
import { readErrorWords } from "../routing/classify.js";
import type { Failure, Refusal } from "../routing/model.js";
import { refusalError } from "../routing/refusal.js";
import { asRecord } from "./chat-events.js";

/** The inside of OpenAI's error object. */
export interface WireError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

/** Codes that OpenAI's clients know under another word than ours. */
const wireCodes: Partial<Record<ErrorCode, string>> = {
  unauthenticated: "invalid_api_key",
  rate_limited: "rate_limit_exceeded",
};

const wireTypes: readonly (readonly [status: number, type: string])[] = [
  [401, "authentication_error"],
  [403, "permission_error"],
  [429, "rate_limit_error"],
];

/** The error of a request whose attempts are used up, by the last failure. A pool that cools as a whole says when it is back. */
export function exhaustedError(refusal: Refusal | null, failure: Failure, opening: AppError | null): AppError {
  if (refusal !== null && refusal.code !== "attempts_exhausted") {
    return refusalError(refusal);
  }
  if (opening !== null) {
    return opening;
  }
  const wait = refusal?.retry_after_ms ?? failure.retry_after_ms;
  if (failure.class === "rate_limit" || failure.class === "overloaded") {
    const code = failure.class === "rate_limit" ? "rate_limited" : "pool_exhausted";
    return new AppError(code, { detail: busyDetail, retryAfterMs: wait ?? 1_000 });
  }
  return failure.timed_out
    ? new AppError("timeout")
    : new AppError("upstream_failed", { detail: failedDetail(failure) });
}

const busyDetail =
  "Every provider instance that was tried asked to be left alone. Retry after the time in Retry-After.";

function failedDetail(failure: Failure): string {
  const status = failure.status === null ? "gave no answer" : `answered ${failure.status}`;
  return `No instance of the pool gave a usable answer; the last one ${status}.`;
}

/** An error as OpenAI's clients expect it. Causes never show. */
function toWireError(error: AppError): WireError {
  const type = wireTypes.find(([status]) => status === error.status)?.[1];
  const first = error.errors[0];
  return {
    message: first === undefined ? error.detail : `${error.detail} ${first.pointer}: ${first.detail}`,
    type: type ?? (error.status >= 500 ? "server_error" : "invalid_request_error"),
    param: paramOf(error),
    code: wireCodes[error.code] ?? error.code,
  };
}

/** A whole error answer; `headers` are added to. `Retry-After` is in whole seconds, rounded up, so that a caller who heeds it is not early. */
export function errorResponse(error: AppError, headers: Headers): Response {
  headers.set("content-type", "application/json");
  headers.set("cache-control", "no-store");
  if (error.retryAfterMs !== undefined) {
    headers.set("retry-after", String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))));
  } else if (error.code === "pool_exhausted") {
    // Nobody can say when: the SDKs would come back at once, and in vain.
    headers.set("x-should-retry", "false");
  }
  if (error.status === 401) {
    headers.set("www-authenticate", "Bearer");
  }
  return new Response(JSON.stringify({ error: toWireError(error) }), { status: error.status, headers });
}

/** The event that ends a stream which cannot be finished. No `[DONE]` follows it: the SDKs throw on it. */
export function streamErrorEvent(error: WireError): Uint8Array {
  return utf8(`data: ${JSON.stringify({ error })}\n\n`);
}

/** A provider's in-band error in our shape, searched for the credential, its message cut to 2,000 characters. */
export function toUpstreamWireError(value: unknown, secrets: readonly Secret[]): WireError {
  const words = readErrorWords(value);
  const inner = asRecord(asRecord(value)?.["error"]);
  const message = words?.message ?? "";
  return {
    message: clean(message === "" ? "The provider reported an error." : message, secrets, 2_000),
    type: clean(asText(inner?.["type"]) ?? "server_error", secrets, 64),
    param: inner === null ? null : cleanOrNull(asText(inner["param"]), secrets),
    code: cleanOrNull(words?.code ?? null, secrets),
  };
}

function paramOf(error: AppError): string | null {
  const pointer = error.errors[0]?.pointer;
  if (pointer !== undefined) {
    return pointer.replace(/^#?\//, "");
  }
  return error.code === "model_not_found" || error.code === "model_not_allowed" || error.code === "model_required"
    ? "model"
    : null;
}

function cleanOrNull(text: string | null, secrets: readonly Secret[]): string | null {
  return text === null ? null : clean(text, secrets, 64);
}

/** Redacts before it cuts: half a secret at the cut would pass the search. */
function clean(text: string, secrets: readonly Secret[], length: number): string {
  return redactSecrets(text, secrets).slice(0, length);
}

function asText(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
