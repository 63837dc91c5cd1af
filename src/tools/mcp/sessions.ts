/** What this isolate remembers of MCP servers: how to go on with a session without shaking hands again. Nothing of the credential. */
import type { DiscoverResult } from "@modelcontextprotocol/client";

/**
 * What a handshake agreed on. `modern`: the server needs no session. `session`: one that it opened. `legacy`: an older
 * server without sessions, which wants the handshake each time.
 */
export type Agreement =
  | { readonly kind: "modern"; readonly discover: DiscoverResult }
  | { readonly kind: "session"; readonly sessionId: string; readonly protocolVersion: string }
  | { readonly kind: "legacy" };

const ttlMs = 600_000;
const maxKept = 500;

const kept = new Map<string, { readonly agreement: Agreement; readonly endsAt: number }>();

/** The agreement kept under a target's `sessionKey`, or null. */
export function recallAgreement(key: string, now: number): Agreement | null {
  const entry = kept.get(key);
  if (entry === undefined) {
    return null;
  }
  kept.delete(key);
  if (entry.endsAt <= now) {
    return null;
  }
  kept.set(key, entry);
  return entry.agreement;
}

/** Keeps an agreement for 10 minutes; beyond 500 the one used longest ago goes. */
export function keepAgreement(key: string, agreement: Agreement, now: number): void {
  kept.delete(key);
  kept.set(key, { agreement, endsAt: now + ttlMs });
  const oldest = kept.keys().next().value;
  if (kept.size > maxKept && oldest !== undefined) {
    kept.delete(oldest);
  }
}

/** Forgets what was agreed: the server no longer knows it. */
export function forgetAgreement(key: string): void {
  kept.delete(key);
}
