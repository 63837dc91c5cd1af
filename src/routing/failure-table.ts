/** The one table of failure classes: which status and which words of an upstream's error mean what. Pure; knows no provider by name. */
import type { FailureClass } from "./model.js";

/** What an error shows. */
export interface Signs {
  /** The status it came with, or the one that an error inside a 200 stands for. */
  readonly status: number;
  /** Every machine word found, lower-case. */
  readonly words: readonly string[];
  readonly message: string;
}

interface Evidence extends Signs {
  /** The message without its quoted parts: those echo what the caller sent and must not decide over an instance. */
  readonly said: string;
  /** What stands before the first quoted part. An upstream names the cause before it repeats anything, and what is repeated may hold quotes of its own. */
  readonly opening: string;
}

interface Row {
  readonly class: FailureClass;
  readonly matches: (evidence: Evidence) => boolean;
}

const sizeCodes = ["context_length_exceeded", "string_above_max_length", "request_too_large", "max_tokens_exceeded"];
const sizeText =
  /(?:request|prompt|input|payload|body|message)s? (?:is |was |are )?(?:too (?:large|long|big)|exceeds)|too large for|context[ _-]?(?:length|window)|reduce the length|maximum (?:prompt|input|token) length/i;
/** Who says when to come back does not mean the request's size for good. */
const waitText = /(?:re)?try (?:it |again )?(?:after|in|later|shortly)\b/i;

const policyCodes = [
  "content_policy_violation",
  "content_filter",
  "moderation_blocked",
  "cyber_policy_violation",
  "responsibleaipolicyviolation",
  "data_inspection_failed",
];

const quotaCodes = [
  "insufficient_quota",
  "billing_hard_limit_reached",
  "billing_not_active",
  "insufficient_balance",
  "insufficient_balance_error",
  "insufficient_credits",
  "billing_error",
  "billing_disabled",
  "exceeded_current_quota_error",
  "arrearage",
  "allocationquota.freetieronly",
  // Zhipu.
  "1113",
  // Workers AI: the free allocation of the day.
  "3036",
];
const quotaPhrase =
  /credit balance|(?:insufficient|not enough|out of|no|negative) (?:account )?(?:credits?|balance|funds)|balance is (?:insufficient|too low)|not have any credits|n't have any credits|exceeded (?:your )?current quota|quota has been (?:exhausted|used up)|used up your (?:daily )?(?:free )?(?:allocation|quota)|billing (?:hard limit|is not active)|spending limit|余额不足/;
const quotaText = new RegExp(quotaPhrase.source, "i");
const quotaStart = startOf(`(?:(?:your|the|you|sorry,?) )*(?:account )?(?:${quotaPhrase.source})`);

const keyCodes = [
  "invalid_api_key",
  "api_key_invalid",
  "authentication_error",
  "invalid_authentication",
  "invalid_authentication_error",
  "invalidapikey",
  "account_deactivated",
  "api_key_expired",
  "api_key_service_blocked",
  "api_key_http_referrer_blocked",
  "api_key_ip_address_blocked",
  "access_token_expired",
  "consumer_suspended",
  "service_disabled",
  "unrecognizedclientexception",
  "expiredtokenexception",
  "invalidsignatureexception",
];
const keyPhrase =
  /(?:incorrect|invalid|missing|expired|revoked|disabled|blocked|unknown) api[ -_]?key|(?:your )?api[ -_]?key (?:is |was |has )?(?:not|been|invalid|incorrect|expired|disabled)/;
const keyStart = startOf(keyPhrase.source);
const keyWording = /api[ -_]?key|access token|security token|auth[a-z]* token|credential|authenticat|unauthori[sz]ed/i;

const modelCodes = [
  "model_not_found",
  "model_not_available",
  "model_decommissioned",
  "invalid_model",
  "model_not_exist",
  "deploymentnotfound",
  "no_such_model",
  "resourcenotfoundexception",
  // Workers AI: no such model, and models that an account may not use.
  "5007",
  "3042",
  "5018",
  "3041",
];
const modelPhrase =
  /models?\b.{0,80}\b(?:not found|not exist|does not exist|no longer available|is not available|not supported by your)|(?:no|not have|n't have) access to (?:this |the |that )?model|no such model|unknown model|not a chat model|invalid model name|model identifier is invalid|invocation of model id/;
const modelText = new RegExp(modelPhrase.source, "i");
const modelStart = startOf(`(?:the )?(?:provided |requested )?(?:${modelPhrase.source})`);

const overloadCodes = [
  "engine_overloaded_error",
  "engine_overloaded",
  "overloaded_error",
  "server_is_overloaded",
  "service_tier_capacity_exceeded",
  "modelnotreadyexception",
  "nocapacity",
  // Workers AI: out of capacity.
  "3040",
  // Zhipu.
  "1305",
];
const overloadText = /\boverloaded\b|(?:out of|at|no) capacity|capacity (?:is )?(?:temporarily )?exceeded|high demand/i;
const rateCodes = ["rate_limit_exceeded", "ratelimitexceeded", "throttlingexception"];

/** First match wins. Words decide before the status does. */
const table: readonly Row[] = [
  { class: "caller_fault", matches: ({ words }) => hasAny(words, policyCodes) },
  {
    class: "caller_fault",
    matches: ({ status, words, said }) =>
      (status === 429 || status >= 500) && (hasAny(words, sizeCodes) || (sizeText.test(said) && !waitText.test(said))),
  },
  {
    class: "quota",
    matches: ({ status, words }) => status === 402 || (isRefusal(status) && hasAny(words, quotaCodes)),
  },
  {
    class: "quota",
    // Gemini says "exceeded your current quota" for a per-minute limit too, with this status word beside it.
    matches: ({ status, words, opening }) =>
      isRefusal(status) &&
      !words.includes("resource_exhausted") &&
      (status === 400 || status >= 500 ? quotaStart : quotaText).test(opening),
  },
  {
    class: "model_missing",
    matches: ({ status, words, said, opening }) =>
      [400, 403, 404].includes(status) &&
      (hasAny(words, modelCodes) || (status === 400 ? modelStart.test(said) : startsIn(opening, modelText, said))),
  },
  { class: "credential", matches: ({ status }) => status === 401 },
  {
    class: "credential",
    matches: ({ status, words, opening }) => status === 403 && (hasAny(words, keyCodes) || keyWording.test(opening)),
  },
  {
    class: "credential",
    matches: ({ status, words, opening }) => status === 400 && (hasAny(words, keyCodes) || keyStart.test(opening)),
  },
  // Bedrock: the key stands, but its policy does not let it call this model.
  { class: "model_missing", matches: ({ status, words }) => status === 403 && words.includes("accessdeniedexception") },
  {
    class: "overloaded",
    matches: ({ status, words, opening }) =>
      status === 429 && (hasAny(words, overloadCodes) || overloadText.test(opening)),
  },
  {
    class: "rate_limit",
    matches: ({ status, words }) => status === 429 || (status === 403 && hasAny(words, rateCodes)),
  },
  { class: "overloaded", matches: ({ status }) => status === 503 || status === 529 },
  {
    class: "transient",
    matches: ({ status, words }) =>
      status === 408 || status >= 500 || status < 400 || (status === 424 && words.includes("modelerrorexception")),
  },
  { class: "caller_fault", matches: () => true },
];

/** The class of an error. */
export function classOf(signs: Signs): FailureClass {
  const evidence: Evidence = { ...signs, ...splitQuotes(signs.message.slice(0, 2000)) };
  return table.find((row) => row.matches(evidence))?.class ?? "transient";
}

/** Words at the very beginning, after nothing but names of errors ("litellm.BadRequestError: XaiException - "). */
function startOf(source: string): RegExp {
  return new RegExp(`^\\s*(?:[\\w.]*(?:error|exception)[:\\s-]+)*(?:${source})`, "i");
}

/** Whether the words begin before anything is quoted, wherever they end: the model's own name may be quoted within them. */
function startsIn(opening: string, words: RegExp, said: string): boolean {
  const found = words.exec(said);
  return found !== null && found.index < opening.length;
}

const closers: Readonly<Record<string, string>> = { '"': '"', "`": "`", "'": "'", "“": "”", "‘": "’", "«": "»" };

/** Takes the quoted parts out. A quote that is never closed hides all the rest; an apostrophe is none. */
function splitQuotes(message: string): { readonly said: string; readonly opening: string } {
  let said = "";
  let opening: string | null = null;
  for (let at = 0; at < message.length; at += 1) {
    const closer = closers[message.charAt(at)];
    if (closer === undefined || (closer === "'" && isWordAt(message, at - 1))) {
      said += message.charAt(at);
      continue;
    }
    opening ??= said;
    said += " ";
    at = endOfQuote(message, at + 1, closer);
  }
  return { said, opening: opening ?? said };
}

/** Where a quote that begins at `from` is closed; the message's end when it is not. */
function endOfQuote(message: string, from: number, closer: string): number {
  for (let at = from; at < message.length; at += 1) {
    if (message.charAt(at) === closer && !(closer === "'" && isWordAt(message, at + 1))) {
      return at;
    }
  }
  return message.length;
}

function isWordAt(text: string, at: number): boolean {
  return /[\p{L}\p{N}]/u.test(text.charAt(at));
}

/** Statuses with which upstreams refuse an account. Some say it with a 500. */
function isRefusal(status: number): boolean {
  return [400, 403, 412, 429, 500].includes(status);
}

function hasAny(words: readonly string[], list: readonly string[]): boolean {
  return words.some((word) => list.includes(word));
}
