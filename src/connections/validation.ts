/** Tries a credential with its provider's one free call, under a deadline and with a capped answer, and says what that proves. */
import { describeError, log } from "../base/log.js";
import { fetchOutbound, OutboundError, readTextUpTo, type OutboundRules } from "../base/outbound.js";
import { redactSecrets } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import type { CredentialInput, Provider, ValidationVerdict } from "../providers/contract.js";
import type { CredentialRow } from "./model.js";

/** For the whole exchange, the answer's body included. */
const deadlineMs = 10_000;
const maxAnswerBytes = 64 * 1024;

/** What each verdict proves; null for nothing. */
const proofs: Readonly<Record<ValidationVerdict["outcome"], Pick<Standing, "status" | "isValid"> | null>> = {
  valid: { status: "active", isValid: true },
  no_quota: { status: "exhausted", isValid: true },
  invalid: { status: "invalid", isValid: false },
  wrong_host: null,
  unknown: null,
};

/** What is known about a credential's worth: the fields that a validation moves. */
export type Standing = Pick<CredentialRow, "status" | "isValid" | "reason" | "validatedAt">;

/** A verdict with the time at which it came, in epoch milliseconds. */
export interface DatedVerdict extends ValidationVerdict {
  readonly at: number;
}

/** The outbound guard's rules of this installation. */
export function outboundRules(settings: Pick<Settings, "outboundAllow" | "publicUrl">): OutboundRules {
  return { allow: settings.outboundAllow.join(","), ownHosts: [new URL(settings.publicUrl).host] };
}

/** Makes the provider's validation call. Never throws for what the network or the provider does: that is an `unknown` verdict. */
export async function tryCredential(
  rules: OutboundRules,
  provider: Provider,
  input: CredentialInput,
  timeoutMs: number = deadlineMs,
): Promise<DatedVerdict> {
  const { outcome, reason } = await judgeLive(rules, provider, input, timeoutMs);
  return { outcome, reason: reason === null ? null : redact(reason, input), at: Date.now() };
}

/** The standing of a credential that was just entered, by the verdict on it; null when nobody tried it. */
export function firstStanding(verdict: DatedVerdict | null): Standing {
  const untried: Standing = { status: "unverified", isValid: null, reason: null, validatedAt: null };
  return verdict === null ? untried : nextStanding(untried, verdict);
}

/** The standing after a verdict. One that proves nothing leaves status and time as they are, and a disabled credential stays disabled. */
export function nextStanding(before: Standing, verdict: DatedVerdict): Standing {
  const { outcome, reason, at } = verdict;
  const proof = proofs[outcome];
  if (proof === null) {
    const status = before.status === "undecryptable" ? "unverified" : before.status;
    return { status, isValid: null, reason, validatedAt: before.validatedAt };
  }
  const status = before.status === "disabled" ? "disabled" : proof.status;
  return { status, isValid: proof.isValid, reason, validatedAt: at };
}

/** The standing of a credential whose sealed secret does not open. */
export function undecryptableStanding(before: Standing): Standing {
  const reason = "The stored secret cannot be opened. Delete the credential and enter it again.";
  return { status: "undecryptable", isValid: null, reason, validatedAt: before.validatedAt };
}

async function judgeLive(
  rules: OutboundRules,
  provider: Provider,
  input: CredentialInput,
  timeoutMs: number,
): Promise<ValidationVerdict> {
  try {
    const response = await send(rules, provider, provider.validationRequest(input), timeoutMs);
    return provider.judge(response.status, await readTextUpTo(response, maxAnswerBytes));
  } catch (error) {
    if (error instanceof OutboundError) {
      const outcome = error.failure === "redirected" || error.failure === "refused" ? "wrong_host" : "unknown";
      return { outcome, reason: error.message };
    }
    // A body that broke off or came too late; whatever else it was must not lose a secret that was entered.
    log("warn", "validation_failed", { provider: provider.name, cause: redact(describeError(error), input) });
    return { outcome: "unknown", reason: "The provider did not answer in full, so the secret could not be checked." };
  }
}

/** Providers inside the Worker have no address to guard. */
async function send(rules: OutboundRules, provider: Provider, request: Request, timeoutMs: number): Promise<Response> {
  if (provider.transport !== undefined) {
    return provider.transport(new Request(request, { signal: AbortSignal.timeout(timeoutMs) }));
  }
  return fetchOutbound(request, { ...rules, timeoutMs });
}

function redact(text: string, input: CredentialInput): string {
  return input.api_key === null ? text : redactSecrets(text, [input.api_key]);
}
