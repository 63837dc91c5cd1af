/** Which instance a request goes to: who may serve now, who is due for its probe, and how long until somebody is. Pure. */
import { dueAt, leaseProbe } from "./cooldown.js";
import { chargeForcedPick, chargePick, strategies, type Strategy } from "./pick.js";
import type { LiveInstance, LivePool, RouterState } from "./state.js";

/** What the pool has to offer a request at this moment. */
interface Offer {
  readonly ready: LiveInstance[];
  /** The one whose cool-down ended first, if any has ended and may be probed by this request. */
  readonly due: LiveInstance | null;
  /** Until the soonest instance that may serve can be had, tried or not: 0 when one can now; null when nothing but a change of configuration helps. */
  readonly wait_ms: number | null;
  /** Whether the pool has an instance that this request has not tried. */
  readonly has_untried: boolean;
}

/** A chosen instance, already charged, or why there is none. */
export type Selection =
  | { readonly kind: "selected"; readonly instance: LiveInstance; readonly probe: boolean }
  | { readonly kind: "none"; readonly wait_ms: number | null; readonly has_untried: boolean };

/** For whom to select. */
export interface Seeker {
  readonly request_id: string;
  readonly tried: readonly string[];
  /** End of the lease if the pick is a probe, epoch milliseconds. */
  readonly lease_until: number;
}

/**
 * Selects an instance, books the pick and takes the probe lease if it is one. A fresh request serves a due probe before anything else, so that
 * recovery is learned at once and no later than the next call; a request that has failed already gets a probe only when nothing else is left.
 */
export function selectInstance(state: RouterState, pool: LivePool, seeker: Seeker, now: number): Selection {
  const offer = surveyPool(state, pool, seeker.tried, now);
  const { due, ready } = offer;
  if (due !== null && (seeker.tried.length === 0 || ready.length === 0)) {
    chargeForcedPick([...ready, due], due);
    leaseProbe(state.cooldowns, due.cooldown_key, seeker.request_id, seeker.lease_until);
    return take(state, due, true);
  }
  const picked = strategyOf(pool)(ready);
  if (picked === null) {
    return { kind: "none", wait_ms: offer.wait_ms, has_untried: offer.has_untried };
  }
  chargePick(ready, picked);
  return take(state, picked, false);
}

/** Milliseconds until somebody in the pool can be had, 0 when somebody can now; null when only a change of configuration helps. */
export function poolWaitMs(state: RouterState, pool: LivePool, now: number): number | null {
  return surveyPool(state, pool, [], now).wait_ms;
}

function surveyPool(state: RouterState, pool: LivePool, tried: readonly string[], now: number): Offer {
  const ready: LiveInstance[] = [];
  let due: LiveInstance | null = null;
  let dueSince = Infinity;
  let soonest = Infinity;
  let hasUntried = false;
  for (const instance of pool.instances) {
    if (!instance.is_candidate || state.cooldowns.outs.has(instance.row.credential_id)) {
      continue;
    }
    const isTried = tried.includes(instance.row.id);
    hasUntried ||= !isTried;
    const cooldown = state.cooldowns.entries.get(instance.cooldown_key);
    const at = cooldown === undefined ? now : dueAt(cooldown, now);
    soonest = Math.min(soonest, at);
    if (isTried || at > now) {
      continue;
    }
    if (cooldown === undefined) {
      ready.push(instance);
    } else if (cooldown.until < dueSince) {
      due = instance;
      dueSince = cooldown.until;
    }
  }
  const waitMs = soonest < Infinity ? Math.max(0, soonest - now) : null;
  return { ready, due, wait_ms: waitMs, has_untried: hasUntried };
}

function take(state: RouterState, instance: LiveInstance, probe: boolean): Selection {
  instance.picks += 1;
  state.dirty_pools.add(instance.pool_id);
  return { kind: "selected", instance, probe };
}

function strategyOf(pool: LivePool): Strategy {
  const built: Partial<Record<string, Strategy>> = strategies;
  // Pools of a strategy that is not built are refused at creation; one that got here by a rollback of the release is still served.
  return built[pool.row.strategy] ?? strategies.weighted;
}
