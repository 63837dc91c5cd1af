/** What providers that speak OpenAI's wire have in common: how a call is addressed, the free model list, and what its answer proves. */
import type { CredentialInput, UpstreamCall, ValidationVerdict } from "./contract.js";

/** One row of a verdict table; the first row that fits decides. */
export interface VerdictRule {
  /** Inclusive status range. */
  readonly from: number;
  readonly to: number;
  /** Must match the body too, when given. */
  readonly body?: RegExp;
  readonly outcome: ValidationVerdict["outcome"];
  readonly reason: string | null;
}

/** Ways in which vendors say that it is the key they refuse (OpenAI, Anthropic, Gemini `API_KEY_INVALID`, xAI). */
const keyWording = /api[ _-]?key|invalid[ _-]?token|authentication_error/i;

const refusedKey = "The provider refused the API key.";

const verdictRules: readonly VerdictRule[] = [
  {
    from: 200,
    to: 299,
    body: /^\s*\{\s*"error"\s*:\s*[^n\s]/,
    outcome: "unknown",
    reason: "The provider answered with an error. Try again later.",
  },
  { from: 200, to: 299, body: /^\s*[{[]/, outcome: "valid", reason: null },
  {
    from: 200,
    to: 299,
    outcome: "wrong_host",
    reason: "The address answers, but not as a model API. Check the base URL.",
  },
  {
    from: 300,
    to: 399,
    outcome: "wrong_host",
    reason: "The address redirects elsewhere. Enter the address it redirects to.",
  },
  { from: 400, to: 400, body: keyWording, outcome: "invalid", reason: refusedKey },
  { from: 401, to: 401, outcome: "invalid", reason: refusedKey },
  { from: 402, to: 402, outcome: "no_quota", reason: "The API key is good, but its account has no credit left." },
  { from: 403, to: 403, body: keyWording, outcome: "invalid", reason: refusedKey },
  { from: 404, to: 404, outcome: "wrong_host", reason: "There is no model list at this address. Check the base URL." },
  {
    from: 429,
    to: 429,
    body: /insufficient_quota/,
    outcome: "no_quota",
    reason: "The API key is good, but its quota is used up.",
  },
  {
    from: 429,
    to: 429,
    outcome: "no_quota",
    reason: "The API key is good, but its rate limit is reached at the moment.",
  },
];

/** The verdict of a validation answer: `special` rows first, then the common ones; what no row knows is `unknown`. */
export function judgeAnswer(status: number, body: string, special: readonly VerdictRule[] = []): ValidationVerdict {
  const fits = (rule: VerdictRule): boolean =>
    status >= rule.from && status <= rule.to && (rule.body?.test(body) ?? true);
  const rule = special.find(fits) ?? verdictRules.find(fits);
  return rule === undefined
    ? {
        outcome: "unknown",
        reason: `The provider answered with status ${status}, which says nothing about the API key.`,
      }
    : { outcome: rule.outcome, reason: rule.reason };
}

/** `Authorization: Bearer`, or nothing for a provider without a key. */
export function bearer(key: CredentialInput["api_key"]): Readonly<Record<string, string>> {
  return key === null ? {} : { authorization: `Bearer ${key.reveal()}` };
}

/** The free call that lists models. */
export function modelListRequest(baseUrl: string, headers: Readonly<Record<string, string>>): Request {
  return new Request(`${baseUrl}/models`, { headers: { accept: "application/json", ...headers }, redirect: "manual" });
}

/** A model call as OpenAI's wire has it: the body as it came, the client's allowed headers, the provider's key. */
export function wireRequest(call: UpstreamCall): Request {
  const headers = new Headers(call.headers);
  headers.set("accept", call.stream ? "text/event-stream" : "application/json");
  headers.set("content-type", "application/json");
  for (const [name, value] of Object.entries(bearer(call.api_key))) {
    headers.set(name, value);
  }
  return new Request(`${call.base_url}/${call.endpoint}`, {
    method: "POST",
    headers,
    body: call.body,
    redirect: "manual",
  });
}
