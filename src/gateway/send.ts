/** Sends one upstream call: inside the Worker for a provider that answers there, else past the guard for addresses that users give. */
import { fetchOutbound, type OutboundRules } from "../base/outbound.js";
import type { Provider } from "../providers/contract.js";

/** Sends a call. Throws `OutboundError` when there is no answer; a redirect is never followed, for its body would be sent twice. */
export type Send = (provider: Provider, request: Request, signal: AbortSignal, timeoutMs: number) => Promise<Response>;

/** The leash cuts first and says why; the transport's own deadline is only the net below it. */
const graceMs = 5_000;

/** A sender under this installation's rules for outbound addresses. */
export function createSend(rules: OutboundRules): Send {
  return async (provider, request, signal, timeoutMs) =>
    provider.transport === undefined
      ? await fetchOutbound(request, { ...rules, signal, timeoutMs: timeoutMs + graceMs })
      : await provider.transport(new Request(request, { signal }));
}
