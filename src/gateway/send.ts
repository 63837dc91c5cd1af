/** Sends one upstream call: inside the Worker for a provider that answers there, else past the guard for addresses that users give. */
import { fetchOutbound, type OutboundCall, type OutboundRules } from "../base/outbound.js";
import type { Provider } from "../providers/contract.js";

/**
 * Sends a call. Throws `OutboundError` when there is no answer; a redirect is never followed, for its body would be sent twice.
 * `timeoutMs` is null where `signal` holds the deadline.
 */
export type Send = (
  provider: Provider,
  call: OutboundCall | Request,
  signal: AbortSignal,
  timeoutMs: number | null,
) => Promise<Response>;

/** A call as a request. */
export function toRequest(call: OutboundCall | Request, signal?: AbortSignal): Request {
  const held = signal === undefined ? {} : { signal };
  if (call instanceof Request) {
    return new Request(call, held);
  }
  const { url, ...init } = call;
  return new Request(url, { ...init, ...held, redirect: "manual" });
}

/** A sender under this installation's rules for outbound addresses. */
export function createSend(rules: OutboundRules): Send {
  return async (provider, call, signal, timeoutMs) => {
    if (provider.transport === undefined) {
      return await fetchOutbound(call, { ...rules, signal, timeoutMs });
    }
    return await provider.transport(toRequest(call, signal));
  };
}
