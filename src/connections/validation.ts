/** Tries a credential with its provider's one free call, under a deadline and with a capped answer, and says what that proves. */
import { describeError, log } from "../base/log.js";
import {
  fetchOutbound,
  OutboundError,
  readTextUpTo,
  type OutboundFailure,
  type OutboundRules,
} from "../base/outbound.js";
import { redactSecrets } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { renewToken, type TokenOutcome } from "../providers/access-token.js";
import type { CredentialInput, ValidationVerdict } from "../providers/contract.js";
import type { CredentialProvider } from "./credential-form.js";
import type { CredentialRow } from "./model.js";

/** For the whole exchange, the answer's body included. */
const deadlineMs = 10_000;
const maxAnswerBytes = 64 * 1024;

/** A proof of this age at most is belied by a refused call; an older one may simply be out of date. */
const trustMs = 60_000;

/** The pause before a refused credential tries again, doubled each time it is refused within a day of coming back. */
const firstRetryMs = 60_000;
const mostRetryMs = 6 * 3_600_000;
const trialMs = 24 * 3_600_000;

/** The pause before an exhausted credential is looked at again: nobody tells us that an account was topped up. */
export const lookAgainMs = 6 * 3_600_000;

/** What each verdict proves; null for nothing. */
const proofs: Readonly<Record<ValidationVerdict["outcome"], Pick<Standing, "status" | "isValid"> | null>> = {
  valid: { status: "active", isValid: true },
  no_quota: { status: "exhausted", isValid: true },
  model_missing: { status: "active", isValid: true },
  invalid: { status: "invalid", isValid: false },
  wrong_host: null,
  network: null,
  unknown: null,
};

/** What is known about a credential's worth: the fields that a validation moves. */
export type Standing = Pick<
  CredentialRow,
  "status" | "isValid" | "reason" | "validatedAt" | "restoredAt" | "retryAt" | "refusals"
>;

const untried: Standing = {
  status: "unverified",
  isValid: null,
  reason: null,
  validatedAt: null,
  restoredAt: null,
  retryAt: null,
  refusals: 0,
};

/** A verdict with the time at which it came, in epoch milliseconds. */
export interface DatedVerdict extends ValidationVerdict {
  readonly at: number;
}

/** The outbound guard's rules of this installation. */
export function outboundRules(settings: Pick<Settings, "outboundAllow" | "publicUrl">): OutboundRules {
  return { allow: settings.outboundAllow.join(","), ownHosts: [new URL(settings.publicUrl).host] };
}

/** Makes the provider's validation call, after the exchange of the secret for a token where there is one. Never throws for what the network or the provider does: that is a verdict that proves nothing. */
export async function tryCredential(
  rules: OutboundRules,
  provider: CredentialProvider,
  input: CredentialInput,
  timeoutMs: number = deadlineMs,
): Promise<DatedVerdict> {
  const { outcome, reason } = await judgeLive(rules, provider, input, timeoutMs);
  return { outcome, reason: reason === null ? null : redact(reason, input), at: Date.now() };
}

/** The standing of a credential that was just entered, by the verdict on it; null when nobody tried it. */
export function firstStanding(verdict: DatedVerdict | null): Standing {
  return verdict === null ? untried : nextStanding(untried, verdict);
}

/**
 * The standing after a validation by hand. One that proves nothing leaves status and time as they are, but lets what was out
 * try again, as `unverified`: a server without a model list could never prove it. A disabled credential stays disabled.
 */
export function nextStanding(before: Standing, verdict: DatedVerdict): Standing {
  const { outcome, reason, at } = verdict;
  const proof = proofs[outcome];
  if (proof === null) {
    const status = before.status === "undecryptable" || before.status === "invalid" ? "unverified" : before.status;
    const { validatedAt } = before;
    return { status, isValid: null, reason, validatedAt, restoredAt: at, retryAt: retryAfter(status, at), refusals: 0 };
  }
  const status = before.status === "disabled" ? "disabled" : proof.status;
  const restoredAt = proof.isValid === true ? at : before.restoredAt;
  const retryAt = retryAfter(status, at);
  return { status, isValid: proof.isValid, reason, validatedAt: at, restoredAt, retryAt, refusals: 0 };
}

/** However it came to be exhausted, it is looked at again: calls that go well do not say that it has money again. */
function retryAfter(status: Standing["status"], at: number): number | null {
  return status === "exhausted" ? at + lookAgainMs : null;
}

/**
 * The standing after a call was refused and its provider was asked about it. Proof counts as by hand. What proves nothing puts
 * it out until `retryAt`; so does a proof that a refused call has just belied: such a provider lists models to anyone.
 */
export function refusedStanding(before: Standing, verdict: DatedVerdict): Standing {
  const { at } = verdict;
  const after = nextStanding(before, verdict);
  const isOnTrial = before.refusals > 0 && at - (before.restoredAt ?? 0) < trialMs;
  const isBelied = before.isValid === true && at - (before.validatedAt ?? 0) < trustMs;
  if (after.isValid === false || (after.isValid === true && !isOnTrial && !isBelied)) {
    return after;
  }
  const refusals = isOnTrial ? before.refusals : 0;
  const why = after.isValid === true ? "It accepts the key for its model list all the same." : (verdict.reason ?? "");
  return {
    ...before,
    status: "invalid",
    isValid: null,
    reason: `The provider refused a call with this API key. ${why} It is out of use and will be tried again by itself.`,
    retryAt: at + Math.min(firstRetryMs * 2 ** refusals, mostRetryMs),
    refusals: refusals + 1,
  };
}

/** The standing when `retryAt` has come and the provider was asked once more: unless it is proved bad, calls may try it again. */
export function retriedStanding(before: Standing, verdict: DatedVerdict): Standing {
  return { ...nextStanding(before, verdict), refusals: before.refusals };
}

/** When a credential was last proved good or let try again, epoch milliseconds: what was refused before that counts no more. */
export function backInUseAt({ isValid, validatedAt, restoredAt }: Standing): number | null {
  // The release before writes no `restored_at`.
  const proved = isValid === true ? validatedAt : null;
  return proved === null || restoredAt === null ? (proved ?? restoredAt) : Math.max(proved, restoredAt);
}

/** The standing of a credential whose provider has moved to another origin since its secret was entered. A disabled one stays disabled. */
export function strandedStanding(before: Standing): Standing {
  const status = before.status === "disabled" ? "disabled" : "invalid";
  return { ...before, status, isValid: null, reason: strandedReason, retryAt: null };
}

/** Why a credential that was entered for another origin is out. */
export const strandedReason =
  "The provider's address or way of authentication has changed since this secret was entered. Enter it again.";

/** The standing of a credential whose sealed secret does not open. A disabled one stays disabled, or a new secret would put it back into use. */
export function undecryptableStanding(before: Standing): Standing {
  const status = before.status === "disabled" ? "disabled" : "undecryptable";
  const reason = "The stored secret cannot be opened. Rotate the credential: enter its secret again.";
  return { ...before, status, isValid: null, reason, retryAt: null };
}

const unproven = "This provider has no free call that proves a secret. The first call will show whether it is good.";

async function judgeLive(
  rules: OutboundRules,
  provider: CredentialProvider,
  input: CredentialInput,
  timeoutMs: number,
): Promise<ValidationVerdict> {
  const deadline = Date.now() + timeoutMs;
  const post = (request: Request) => send(rules, provider, request, Math.max(1, deadline - Date.now()));
  try {
    const exchanged = await renewToken(provider, input, post);
    if (exchanged !== null && exchanged.kind !== "token") {
      return judgeExchange(exchanged);
    }
    if (provider.validationRequest === undefined || provider.judge === undefined) {
      return exchanged === null ? { outcome: "unknown", reason: unproven } : { outcome: "valid", reason: null };
    }
    const asked = exchanged === null ? input : { ...input, api_key: exchanged.token };
    const request = provider.validationRequest(asked);
    if (!provider.origins(input).includes(new URL(request.url).origin)) {
      throw new Error("a validation call would leave the origins of its credential");
    }
    const response = await post(request);
    return provider.judge(response.status, await readTextUpTo(response, maxAnswerBytes), input);
  } catch (error) {
    if (error instanceof OutboundError) {
      return { outcome: outcomeOf(error.failure), reason: error.message };
    }
    // A body that broke off or came too late; whatever else it was must not lose a secret that was entered.
    log("warn", "validation_failed", { provider: provider.name, cause: redact(describeError(error), input) });
    return { outcome: "unknown", reason: "The provider did not answer in full, so the secret could not be checked." };
  }
}

function judgeExchange(exchanged: Exclude<TokenOutcome, { kind: "token" }>): ValidationVerdict {
  if (exchanged.kind === "refused") {
    return { outcome: "invalid", reason: exchanged.reason };
  }
  const { failure, reason } = exchanged;
  return { outcome: failure === "answer" ? "unknown" : outcomeOf(failure), reason };
}

/** An address that is refused or leads elsewhere is wrong; one that is silent or out of reach may be right. */
function outcomeOf(failure: OutboundFailure): ValidationVerdict["outcome"] {
  return failure === "redirected" || failure === "refused" ? "wrong_host" : "network";
}

/** Providers inside the Worker have no address to guard. */
async function send(
  rules: OutboundRules,
  provider: CredentialProvider,
  request: Request,
  timeoutMs: number,
): Promise<Response> {
  if (provider.transport !== undefined) {
    return provider.transport(new Request(request, { signal: AbortSignal.timeout(timeoutMs) }));
  }
  return fetchOutbound(request, { ...rules, timeoutMs });
}

function redact(text: string, input: CredentialInput): string {
  return input.api_key === null ? text : redactSecrets(text, [input.api_key]);
}
