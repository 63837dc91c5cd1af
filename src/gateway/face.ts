/** The face of everything the gateway itself says, in the shape of each wire: error bodies, statuses, Retry-After. */
import { AppError, type ErrorCode } from "../base/errors.js";
import { redactSecrets, type Secret } from "../base/secret.js";
import { readErrorWords } from "../routing/classify.js";
import type { Failure, Refusal } from "../routing/model.js";
import { refusalError } from "../routing/refusal.js";
import type { WireError } from "./dialect.js";
import { asRecord } from "./usage.js";

/** How a wire's clients are spoken to. */
export interface Face {
  /** The body of an error answer. */
  errorBody(error: WireError, status: number, requestId: string): object;
  /** Where this wire's SDKs look for the request's id, besides `x-request-id`. */
  readonly requestIdHeader: string | null;
}

/** What OpenAI's clients read. */
export const openaiFace: Face = { errorBody: (error) => ({ error }), requestIdHeader: null };

/** What Anthropic's clients read. */
export const anthropicFace: Face = {
  errorBody: (error, status, requestId) => ({
    type: "error",
    error: anthropicError(error, status),
    request_id: requestId,
  }),
  requestIdHeader: "request-id",
};

/** The face that a path's callers know. */
export function faceOf(path: string): Face {
  return path === "/anthropic" || path.startsWith("/anthropic/") ? anthropicFace : openaiFace;
}

/** The inside of Anthropic's error object. `status` null: the error comes in a stream that has begun. */
export function anthropicError(error: WireError, status: number | null): { type: string; message: string } {
  const known = anthropicTypes.find(([at, type]) => at === status || (status === null && type === error.type))?.[1];
  const byCode = anthropicCodes[error.code ?? ""];
  return { type: byCode ?? known ?? (isFault(status) ? "invalid_request_error" : "api_error"), message: error.message };
}

function isFault(status: number | null): boolean {
  return status !== null && status < 500;
}

const anthropicTypes: readonly (readonly [status: number, type: string])[] = [
  [400, "invalid_request_error"],
  [401, "authentication_error"],
  [402, "billing_error"],
  [403, "permission_error"],
  [404, "not_found_error"],
  [413, "request_too_large"],
  [429, "rate_limit_error"],
  [503, "overloaded_error"],
  [504, "timeout_error"],
  [529, "overloaded_error"],
];

/** Codes whose type says more than their status, and those of streams, which have none. */
const anthropicCodes: Readonly<Record<string, string>> = {
  insufficient_quota: "billing_error",
  timeout: "timeout_error",
  overloaded: "overloaded_error",
  pool_exhausted: "overloaded_error",
};

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

/** The SDKs wait for no `Retry-After` above this, and come back at once instead. */
const longestSdkWaitMs = 60_000;

/** A whole error answer; `headers`, which name the request, are added to. `Retry-After` is in whole seconds, rounded up, so that a caller who heeds it is not early. */
export function errorResponse(error: AppError, headers: Headers, face: Face): Response {
  headers.set("content-type", "application/json");
  headers.set("cache-control", "no-store");
  if (error.retryAfterMs !== undefined) {
    headers.set("retry-after", String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))));
  } else if (error.code === "pool_exhausted" || error.status === 429) {
    // Nobody can say when: the SDKs would come back at once, and in vain.
    headers.set("x-should-retry", "false");
  }
  if (error.code === "insufficient_quota" && (error.retryAfterMs ?? 0) > longestSdkWaitMs) {
    headers.set("x-should-retry", "false");
  }
  if (error.status === 401) {
    headers.set("www-authenticate", "Bearer");
  }
  const body = errorBody(error, face, headers.get("x-request-id") ?? "");
  return new Response(JSON.stringify(body), { status: error.status, headers });
}

/** The body of an error answer. */
export function errorBody(error: AppError, face: Face, requestId: string): object {
  return face.errorBody(toWireError(error), error.status, requestId);
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
