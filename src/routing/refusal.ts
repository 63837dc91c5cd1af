/** What a Router's refusal means to a caller: one table from its code to the error. */
import { AppError, type ErrorCode } from "../base/errors.js";
import type { Refusal, RefusalCode } from "./model.js";

const unusableDetail =
  "No instance of the pool may serve: each is drained, or its credential is refused or cannot be used. Waiting does not help; the pool or a credential has to be changed.";

function ambiguousDetail(providers: readonly string[]): string {
  return `${providers.join(" and ")} each have a model of that name, so it does not say where to go. Make a pool of that name, or disable the model at all but one.`;
}

interface RefusalEntry {
  readonly code: ErrorCode;
  readonly detail?: string;
  /** Used when the Router names no time. */
  readonly retryAfterMs?: number;
}

const refusals: Readonly<Record<RefusalCode, RefusalEntry>> = {
  key_unknown: { code: "unauthenticated", detail: "This API key is not known. Check it, or make a new one." },
  key_revoked: { code: "unauthenticated", detail: "This API key was revoked. Use another one." },
  key_expired: { code: "unauthenticated", detail: "This API key has expired. Use another one." },
  scope_missing: { code: "scope_missing" },
  model_not_allowed: { code: "model_not_allowed" },
  tool_not_allowed: { code: "tool_not_allowed" },
  model_not_found: { code: "model_not_found" },
  endpoint_not_served: { code: "endpoint_not_supported" },
  rate_limited: { code: "rate_limited", retryAfterMs: 1_000 },
  concurrency_limited: { code: "concurrency_limited", retryAfterMs: 1_000 },
  pool_exhausted: { code: "pool_exhausted" },
  attempts_exhausted: { code: "upstream_failed" },
  not_configured: { code: "router_unavailable", retryAfterMs: 1_000 },
};

/** The error that a Router's refusal stands for. */
export function refusalError(refusal: Refusal): AppError {
  if (refusal.code === "pool_exhausted" && refusal.retry_after_ms === null) {
    return new AppError("pool_exhausted", { detail: unusableDetail });
  }
  if (refusal.providers !== undefined) {
    return new AppError("model_not_found", { detail: ambiguousDetail(refusal.providers) });
  }
  const { code, detail, retryAfterMs } = refusals[refusal.code];
  const wait = refusal.retry_after_ms ?? retryAfterMs;
  return new AppError(code, {
    ...(detail === undefined ? {} : { detail }),
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  });
}
