/** What the answer to a validation call proves. */
import type { CredentialInput, ValidationVerdict } from "./contract.js";
import type { ProviderEntry, VerdictRule } from "./entry.js";
import { isOwnAddress } from "./form.js";

/** Ways in which vendors say that it is the key they refuse (OpenAI, Anthropic, Gemini `API_KEY_INVALID`, xAI). */
const keyWording = /api[ _-]?key|invalid[ _-]?token|authentication_error/i;
const quotaWording = /insufficient_(?:quota|balance|credits)|credit balance|billing_not_active/i;

const refusedKey = "The provider refused the API key.";

const commonRules: readonly VerdictRule[] = [
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
  {
    from: 400,
    to: 404,
    body: quotaWording,
    outcome: "no_quota",
    reason: "The API key is good, but its account has no credit left.",
  },
  { from: 401, to: 401, outcome: "invalid", reason: refusedKey },
  { from: 402, to: 402, outcome: "no_quota", reason: "The API key is good, but its account has no credit left." },
  { from: 403, to: 403, body: keyWording, outcome: "invalid", reason: refusedKey },
  {
    from: 429,
    to: 429,
    body: quotaWording,
    outcome: "no_quota",
    reason: "The API key is good, but its quota is used up.",
  },
  {
    from: 429,
    to: 429,
    outcome: "no_quota",
    reason: "The API key is good, but its rate limit is reached at the moment.",
  },
  // Cloudflare answers so for an origin that it does not reach, and a Worker's own calls get these in place of a failure.
  { from: 521, to: 526, outcome: "network", reason: "The address could not be reached." },
  {
    from: 530,
    to: 530,
    outcome: "network",
    reason: "The address could not be reached. Check that its host name is right.",
  },
];

const moved = "The provider no longer answers where the catalogue asks about keys, so this one could not be checked.";

/** The verdict of a validation answer: the entry's rows first, then the common ones; what no row knows is `unknown`. */
export function judgeAnswer(
  entry: ProviderEntry,
  status: number,
  body: string,
  input: CredentialInput,
): ValidationVerdict {
  const fits = (rule: VerdictRule): boolean =>
    status >= rule.from && status <= rule.to && (rule.body?.test(body) ?? true);
  const rule = entry.verdicts?.find(fits) ?? commonRules.find(fits);
  if (rule !== undefined) {
    const { outcome, reason } = rule;
    return outcome === "invalid"
      ? { outcome, reason: `${reason ?? refusedKey}${regionNote(entry, input)}` }
      : { outcome, reason };
  }
  if (status === 404) {
    return isFixedAddress(entry, input)
      ? { outcome: "unknown", reason: moved }
      : { outcome: "wrong_host", reason: `There is no model API at this address. Check ${askedFor(entry, input)}.` };
  }
  const reason = `The provider answered with status ${status}, which says nothing about the API key.`;
  return { outcome: "unknown", reason };
}

/** Whether nothing of the address came from the form, so that a missing page there is not the fault of who filled it in. */
function isFixedAddress(entry: ProviderEntry, input: CredentialInput): boolean {
  return entry.base_url !== null && !entry.base_url.includes("{") && isOwnAddress(entry, input);
}

/** What of the form the address follows from, in words. */
function askedFor(entry: ProviderEntry, input: CredentialInput): string {
  const names = isOwnAddress(entry, input) ? (entry.base_url?.matchAll(/\{(\w+)\}/g) ?? []) : [];
  const fields = [...names].flatMap(([, name]) => entry.form.filter((field) => field.name === name));
  return fields[0]?.label ?? "the base URL";
}

function regionNote(entry: ProviderEntry, input: CredentialInput): string {
  const others = (entry.regions ?? []).filter(({ name }) => name !== input.options["region"]);
  return others.length === 0 || !isOwnAddress(entry, input)
    ? ""
    : ` Keys of its regions are not interchangeable: if this one is of ${others.map(({ title }) => title).join(" or ")}, choose that region.`;
}
