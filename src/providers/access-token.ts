/** Access tokens in place of secrets: fetched once, shared by whoever waits, kept in the isolate until just before they end. */
import { z } from "zod";
import { sha256Hex } from "../base/bytes.js";
import { newFlights, type Share } from "../base/flight.js";
import { describeError, log } from "../base/log.js";
import { OutboundError, readTextUpTo, type OutboundFailure } from "../base/outbound.js";
import { redactSecrets, Secret } from "../base/secret.js";
import type { CredentialInput, Provider } from "./contract.js";

/** What came of an exchange. `refused`: it is the secret's fault, and `reason` says so without it. `failed`: nothing was proved. */
export type TokenOutcome =
  /** `isKept`: an earlier call fetched it. */
  | { readonly kind: "token"; readonly token: Secret; readonly isKept: boolean }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "failed"; readonly failure: TokenFailure; readonly reason: string };

/** `answer`: the token endpoint said something else than a token or a refusal. */
export type TokenFailure = OutboundFailure | "answer";

/** What is asked of a provider here. */
type TokenProvider = Pick<Provider, "name" | "origins" | "exchange">;

/** Sends the exchange: past the outbound guard, with a deadline. Throws `OutboundError`. */
type SendExchange = (request: Request) => Promise<Response>;

interface KeptToken {
  readonly token: Secret;
  /** Epoch milliseconds. */
  readonly until: number;
}

/** What an isolate remembers of tokens, and which it is fetching right now. */
export interface TokenMemory {
  readonly kept: Map<string, KeptToken>;
  readonly share: Share<TokenOutcome | null>;
}

/** A token that is about to end might end on its way. */
const marginMs = 60_000;
const mostKept = 256;
const maxAnswerBytes = 64 * 1024;

/** A memory of 256 tokens at most. */
export function newTokenMemory(): TokenMemory {
  return { kept: new Map(), share: newFlights() };
}

const isolateMemory = newTokenMemory();

/**
 * The access token that calls with this credential carry; null where they carry the secret itself. Keyed by a hash of the secret and its fields, so another secret never meets its token, whatever row it stands in. Never throws.
 */
export async function findToken(
  provider: TokenProvider,
  input: CredentialInput,
  send: SendExchange,
  memory: TokenMemory = isolateMemory,
): Promise<TokenOutcome | null> {
  if (provider.exchange === undefined) {
    return null;
  }
  const key = await tokenKey(provider, input);
  const kept = memory.kept.get(key);
  if (kept !== undefined && kept.until > Date.now()) {
    return { kind: "token", token: kept.token, isKept: true };
  }
  return await memory.share(key, () => fetchToken(provider, input, send, key, memory));
}

/** As `findToken`, but asks anew: what is kept proves nothing about the secret. */
export async function renewToken(
  provider: TokenProvider,
  input: CredentialInput,
  send: SendExchange,
  memory: TokenMemory = isolateMemory,
): Promise<TokenOutcome | null> {
  if (provider.exchange !== undefined) {
    memory.kept.delete(await tokenKey(provider, input));
  }
  return await findToken(provider, input, send, memory);
}

/** Drops a token that was refused before its time. One that another call has fetched in its place stays. */
export async function forgetToken(
  provider: TokenProvider,
  input: CredentialInput,
  refused: Secret | null,
  memory: TokenMemory = isolateMemory,
): Promise<void> {
  const key = await tokenKey(provider, input);
  if (refused !== null && memory.kept.get(key)?.token.reveal() === refused.reveal()) {
    memory.kept.delete(key);
  }
}

/** A token endpoint's success (RFC 6749 §5.1). `expires_in` is in seconds; some send it as text. */
const Grant = z.object({ access_token: z.string().min(1), expires_in: z.coerce.number().catch(0).default(0) });

/** The code word of a refusal (RFC 6749 §5.2); whatever else such an answer says may repeat the secret. */
const Refusal = z.object({ error: z.string().regex(/^[a-z_]{1,40}$/) });

async function fetchToken(
  provider: TokenProvider,
  input: CredentialInput,
  send: SendExchange,
  key: string,
  memory: TokenMemory,
): Promise<TokenOutcome | null> {
  try {
    const exchange = (await provider.exchange?.(input)) ?? null;
    if (exchange === null) {
      return null;
    }
    if ("refused" in exchange) {
      return { kind: "refused", reason: exchange.refused };
    }
    if (!provider.origins(input).includes(new URL(exchange.request.url).origin)) {
      return { kind: "refused", reason: "Its token would come from an address that it was not entered for." };
    }
    const askedAt = Date.now();
    const response = await send(exchange.request);
    const answer = parseJson(await readTextUpTo(response, maxAnswerBytes));
    const grant = Grant.safeParse(answer);
    if (!response.ok || !grant.success) {
      return explain(response.status, answer);
    }
    const token = new Secret(grant.data.access_token);
    keep(memory, key, { token, until: askedAt + grant.data.expires_in * 1000 - marginMs });
    return { kind: "token", token, isKept: false };
  } catch (error) {
    if (error instanceof OutboundError) {
      return { kind: "failed", failure: error.failure, reason: error.message };
    }
    const secrets = input.api_key === null ? [] : [input.api_key];
    log("warn", "token_not_fetched", { provider: provider.name, cause: redactSecrets(describeError(error), secrets) });
    return { kind: "failed", failure: "network", reason: "The token endpoint did not answer in full." };
  }
}

/** 400, 401 and 403 with a code word are about the secret (RFC 6749 §5.2); anything else says nothing of it. */
function explain(status: number, answer: unknown): TokenOutcome {
  const refusal = Refusal.safeParse(answer);
  return refusal.success && [400, 401, 403].includes(status)
    ? { kind: "refused", reason: `The provider gives no access token for this secret (${refusal.data.error}).` }
    : { kind: "failed", failure: "answer", reason: `The token endpoint answered with status ${status}.` };
}

function keep(memory: TokenMemory, key: string, token: KeptToken): void {
  memory.kept.delete(key);
  memory.kept.set(key, token);
  const [oldest] = memory.kept.keys();
  if (memory.kept.size > mostKept && oldest !== undefined) {
    memory.kept.delete(oldest);
  }
}

async function tokenKey(provider: TokenProvider, { api_key, base_url, options }: CredentialInput): Promise<string> {
  const fields = Object.entries(options).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return await sha256Hex(JSON.stringify([provider.name, base_url, fields, api_key?.reveal() ?? ""]));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
