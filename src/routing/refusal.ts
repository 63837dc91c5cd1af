/** What a Router's refusal means to a caller: one table from its code to the error. */
import { AppError, type ErrorCode } from "../base/errors.js";
import type { MetLimit, Refusal, RefusalCode } from "./model.js";

const unusableDetail =
  "No instance of the pool may serve: each is drained, or its credential is refused or cannot be used. Waiting does not help; the pool or a credential has to be changed.";

function ambiguousDetail(providers: readonly string[]): string {
  return `${providers.join(" and ")} each have a model of that name, so it does not say where to go. Make a pool of that name, or disable the model at all but one.`;
}

/** What a caller asked for, in their own words. */
export interface Asked {
  readonly model: string;
  /** Path of the endpoint, such as `/v1/embeddings`. */
  readonly path: string;
}

/** Characters of a caller's own word that an error says back. */
const longestName = 200;

interface RefusalEntry {
  readonly code: ErrorCode;
  readonly detail?: string;
  /** Instead of `detail` where it is known what was asked for; `name` is the model's, fit to be printed. */
  readonly describe?: (name: string, asked: Asked) => string;
  /** Used when the Router names no time. */
  readonly retryAfterMs?: number;
}

const refusals: Readonly<Record<RefusalCode, RefusalEntry>> = {
  key_unknown: { code: "unauthenticated", detail: "This API key is not known. Check it, or make a new one." },
  key_revoked: { code: "unauthenticated", detail: "This API key was revoked. Use another one." },
  key_expired: { code: "unauthenticated", detail: "This API key has expired. Use another one." },
  scope_missing: { code: "scope_missing" },
  model_not_allowed: {
    code: "model_not_allowed",
    describe: (name) => `This API key may not use ${name}. GET /v1/models lists what it may use.`,
  },
  tool_not_allowed: { code: "tool_not_allowed" },
  model_not_found: {
    code: "model_not_found",
    describe: (name) =>
      `${name} is neither a pool of this workspace nor a model of a provider it has a credential for. GET /v1/models lists what there is.`,
  },
  endpoint_not_served: {
    code: "endpoint_not_supported",
    describe: (name, { path }) =>
      `No provider behind ${name} serves ${path}. Call another endpoint, or a model of a provider that has this one.`,
  },
  rate_limited: { code: "rate_limited", retryAfterMs: 1_000 },
  concurrency_limited: { code: "concurrency_limited", retryAfterMs: 1_000 },
  tokens_limited: { code: "rate_limited" },
  budget_exhausted: { code: "insufficient_quota" },
  model_not_priced: { code: "model_not_priced" },
  pool_exhausted: { code: "pool_exhausted" },
  attempts_exhausted: { code: "upstream_failed" },
  not_configured: { code: "router_unavailable", retryAfterMs: 1_000 },
};

/** The error that a Router's refusal stands for; it names what was asked for where that is what was refused. */
export function refusalError(refusal: Refusal, asked: Asked | null = null): AppError {
  if (refusal.code === "pool_exhausted" && refusal.retry_after_ms === null) {
    return new AppError("pool_exhausted", { detail: unusableDetail });
  }
  if (refusal.providers !== undefined) {
    return new AppError("model_not_found", { detail: ambiguousDetail(refusal.providers) });
  }
  const { code, detail: plain, describe, retryAfterMs } = refusals[refusal.code];
  const named = asked === null ? plain : (describe?.(`\`${asked.model.slice(0, longestName)}\``, asked) ?? plain);
  const detail = refusal.limit === undefined ? named : describeLimit(refusal.limit, refusal.retry_after_ms);
  const wait = refusal.retry_after_ms ?? retryAfterMs;
  return new AppError(code, {
    ...(detail === undefined ? {} : { detail }),
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  });
}

/** Which limit was met, and what to do. */
function describeLimit(met: MetLimit, waitMs: number | null): string {
  const whose = met.scope === "key" ? "This API key" : "The workspace";
  const limit = met.limit.toLocaleString("en-US");
  const needs = (met.needs ?? 0).toLocaleString("en-US");
  switch (met.name) {
    case "rpm":
      return `${whose} has its ${limit} requests of the last 60 s. Wait for the time in Retry-After, then retry.`;
    case "concurrent":
      return `${whose} has its allowed ${limit} calls running. Retry when one ends.`;
    case "tpm":
      return met.never === true
        ? `This call may use ${needs} tokens, input and longest answer together, and ${decapitalise(whose)} may use ${limit} in 60 s. ${smaller}`
        : `${whose} may use ${limit} tokens in 60 s, and the ${needs} that this call may use do not fit now. Wait for the time in Retry-After, or ask for a shorter answer.`;
    case "day":
    case "month":
      return describeBudget(met, whose, waitMs);
  }
}

const smaller = "Send less, or ask for a shorter answer by its cap, such as `max_tokens`.";

function describeBudget(met: MetLimit, whose: string, waitMs: number | null): string {
  const budget = `${toUsd(met.limit)} of this ${met.name} (UTC)`;
  const cost = `this call may cost up to ${toUsd(met.needs ?? 0)}`;
  if (met.never === true) {
    return `${whose} has a budget of ${budget}, and ${cost}. ${smaller}`;
  }
  return waitMs !== null && waitMs <= 1_000
    ? `Calls under way hold what is left of ${decapitalise(whose)}'s budget of ${budget}, and ${cost}. Retry when one ends.`
    : `${whose} has used its budget of ${budget}: ${cost}, which is more than is left. Wait until the ${met.name} turns, or have the budget raised.`;
}

/** Micro-dollars as a person reads them. */
function toUsd(micros: number): string {
  return `$${(micros / 1e6).toLocaleString("en-US", { maximumFractionDigits: 6 })}`;
}

function decapitalise(text: string): string {
  return `${text.slice(0, 1).toLowerCase()}${text.slice(1)}`;
}
