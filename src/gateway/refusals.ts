/** What this isolate remembers of refusals, so that a dead key in a loop doesn't fill the Router. Acceptances are never remembered. */
import type { RateState, Refusal, RefusalCode } from "../routing/model.js";

/** A bounded memory of refusals by key digest. */
export interface RefusalMemory {
  /** The refusal still in force for this key, with its times as of now; null when the Router has to be asked. */
  recall(keyDigest: string): Refusal | null;
  remember(keyDigest: string, refusal: Refusal): void;
}

const deadKeyMs = 600_000;
/** A window that is full is believed so long at most, whatever it says: an admin may widen it. */
const fullWindowMs = 5_000;
/** A key that is unknown today may be made tomorrow, and a slot in flight may end any moment: those are not here. */
const deadKeyCodes: ReadonlySet<RefusalCode> = new Set(["key_revoked", "key_expired"]);

interface Remembered {
  readonly refusal: Refusal;
  readonly at: number;
  readonly until: number;
}

/** A memory for at most so many keys; the one remembered longest ago gives way. `now` is epoch milliseconds. */
export function createRefusalMemory(maxEntries = 10_000, now: () => number = Date.now): RefusalMemory {
  const entries = new Map<string, Remembered>();
  return {
    recall(keyDigest) {
      const entry = entries.get(keyDigest);
      if (entry === undefined) {
        return null;
      }
      if (entry.until <= now()) {
        entries.delete(keyDigest);
        return null;
      }
      return age(entry.refusal, now() - entry.at);
    },
    remember(keyDigest, refusal) {
      const lasting = lastingMs(refusal);
      if (lasting <= 0) {
        return;
      }
      entries.delete(keyDigest);
      const oldest = entries.keys().next();
      if (entries.size >= maxEntries && oldest.done !== true) {
        entries.delete(oldest.value);
      }
      entries.set(keyDigest, { refusal, at: now(), until: now() + lasting });
    },
  };
}

function lastingMs(refusal: Refusal): number {
  if (deadKeyCodes.has(refusal.code)) {
    return deadKeyMs;
  }
  return refusal.code === "rate_limited" ? Math.min(refusal.retry_after_ms ?? 0, fullWindowMs) : 0;
}

function age(refusal: Refusal, ms: number): Refusal {
  const { rate, retry_after_ms: wait, token_rate: tokenRate } = refusal;
  const later = (told: RateState): RateState => ({ ...told, reset_ms: Math.max(0, told.reset_ms - ms) });
  return {
    ...refusal,
    retry_after_ms: wait === null ? null : Math.max(1, wait - ms),
    rate: rate === null ? null : later(rate),
    ...(tokenRate === undefined ? {} : { token_rate: later(tokenRate) }),
  };
}
