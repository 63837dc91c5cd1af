/** May this key do this now? The checks that stand before any limit and any pick. Pure. */
import type { AdmitRequest, RateState, Refusal, RefusalCode } from "./model.js";
import type { LiveConfig, LiveKey, RouterState } from "./state.js";
import { noteUse } from "./uses.js";

/** A refusal as a value. `retryAfterMs` is null when waiting does not help, or nobody knows how long. */
export function refuse(code: RefusalCode, retryAfterMs: number | null = null, rate: RateState | null = null): Refusal {
  return { kind: "refused", code, retry_after_ms: retryAfterMs, rate };
}

/** What passed the checks. */
export interface Authorized {
  readonly kind: "authorized";
  readonly config: LiveConfig;
  readonly key: LiveKey;
}

/** Checks that the workspace was not purged, and that the key is known, not revoked (now or ever), not expired, of an active workspace, and has the scope; in this order. A key that is good was used. */
export function authorizeKey(
  state: RouterState,
  request: Pick<AdmitRequest, "key_digest" | "scope">,
  now: number,
): Authorized | Refusal {
  const { config } = state;
  if (state.closed) {
    return refuse("key_revoked");
  }
  if (config === null) {
    return refuse("not_configured");
  }
  const key = config.keys.get(request.key_digest);
  if (key === undefined) {
    return refuse("key_unknown");
  }
  if (key.row.revoked || state.tombstones.has(key.row.id)) {
    return refuse("key_revoked");
  }
  if (key.row.expires_at_ms !== null && now >= key.row.expires_at_ms) {
    return refuse("key_expired");
  }
  if (!config.rows.active) {
    // Not "revoked", which isolates remember: a deleted workspace can be restored, and its keys with it.
    return refuse("key_unknown");
  }
  noteUse(state.uses, key.row.id, now);
  return key.scopes.has(request.scope) ? { kind: "authorized", config, key } : refuse("scope_missing");
}
