/** Which instance a request goes to: who may serve now, who is due for its probe, and how long until somebody is. Pure. */
import type { UpstreamEndpoint } from "../providers/contract.js";
import { serves } from "../providers/serving.js";
import { leaseProbe } from "./cooldown.js";
import { latencyMs } from "./latency.js";
import { chargeForcedPick, chargePick, pickWeighted } from "./pick.js";
import { probeAt } from "./probe-grants.js";
import type { Exclusion, ExclusionReason, PoolSurvey } from "./request-trace.js";
import type { LiveConfig, LiveInstance, LivePool, RouterState } from "./state.js";
import { pickSticky } from "./sticky.js";
import { findStrategy, type Facts } from "./strategies.js";

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

/** What made the pick: the strategy, stickiness, or a probe that was due. */
export type PickCause = "strategy" | "sticky" | "probe";

/** A chosen instance, already charged, or why there is none. */
export type Selection =
  | { readonly kind: "selected"; readonly instance: LiveInstance; readonly cause: PickCause }
  | { readonly kind: "none"; readonly wait_ms: number | null; readonly has_untried: boolean };

/** For whom to select. */
export interface Seeker {
  readonly request_id: string;
  readonly tried: readonly string[];
  /** Instances whose provider does not serve it are left out. Undefined leaves nobody out. */
  readonly endpoint?: UpstreamEndpoint | undefined;
  /** Instances that it says yes to are left out. Undefined leaves nobody out. */
  readonly bar?: ((instance: LiveInstance) => boolean) | undefined;
  /** Whose calls should stay together, from `spreadHash`; null when the pool or the caller asks for none. */
  readonly sticky: number | null;
  /** End of the lease if the pick is a probe, epoch milliseconds. */
  readonly lease_until: number;
  /** Is told what each pool had to offer, in the order in which they are looked at. Undefined where nobody wants to know. */
  readonly surveys?: PoolSurvey[] | undefined;
}

/**
 * Selects an instance, books the pick and takes the probe lease if it is one. A fresh request serves a due probe before anything else, so that
 * recovery is learned at once and no later than the next call; a request that has failed already gets a probe only when nothing else is left.
 * Without `mayProbe` nobody gets one.
 */
function selectInstance(state: RouterState, pool: LivePool, seeker: Seeker, now: number, mayProbe = true): Selection {
  const offer = surveyPool(state, pool, seeker, now);
  const { due, ready } = offer;
  const strategy = findStrategy(pool.row.strategy);
  if (due !== null && mayProbe && (seeker.tried.length === 0 || ready.length === 0)) {
    chargeForcedPick([...ready, due], due, strategy.share);
    leaseProbe(state.cooldowns, due.cooldown_key, seeker.request_id, seeker.lease_until);
    return take(state, due, "probe");
  }
  const facts = factsOf(state, now);
  const narrowed = strategy.narrow(ready, facts);
  const own = seeker.sticky === null ? null : pickSticky(narrowed, seeker.sticky, idOf, strategy.share);
  if (own !== null) {
    chargeForcedPick(narrowed, own, strategy.share);
    return take(state, own, "sticky");
  }
  const { candidates, weigh } = strategy.prefer(narrowed, facts);
  const picked = pickWeighted(candidates, weigh);
  if (picked === null) {
    return { kind: "none", wait_ms: offer.wait_ms, has_untried: offer.has_untried };
  }
  chargePick(candidates, picked, weigh);
  return take(state, picked, "strategy");
}

/** Selects from the first of the pools that has somebody, for a request that has failed already somebody who is no probe if there is one; with none, the shortest wait of all. */
export function selectAcross(state: RouterState, pools: readonly LivePool[], seeker: Seeker, now: number): Selection {
  let waitMs: number | null = null;
  let hasUntried = false;
  for (const pool of seeker.tried.length > 0 && pools.length > 1 ? pools : []) {
    const selection = selectInstance(state, pool, seeker, now, false);
    if (selection.kind === "selected") {
      return selection;
    }
  }
  for (const pool of pools) {
    const selection = selectInstance(state, pool, seeker, now);
    if (selection.kind === "selected") {
      return selection;
    }
    waitMs = shorter(waitMs, selection.wait_ms);
    hasUntried ||= selection.has_untried;
  }
  return { kind: "none", wait_ms: waitMs, has_untried: hasUntried };
}

/**
 * The instance whose probe `selectAcross` would give to the seeker, were the first shard to grant it; null when it would pick another or nobody.
 * Moves nothing.
 */
export function findProbe(
  state: RouterState,
  pools: readonly LivePool[],
  seeker: Pick<Seeker, "request_id" | "tried" | "endpoint">,
  now: number,
): LiveInstance | null {
  const offers = pools.map((pool) => surveyPool(state, pool, { ...seeker, is_asking: true }, now));
  const isFresh = seeker.tried.length === 0;
  if (!isFresh && offers.some(({ ready }) => ready.length > 0)) {
    return null;
  }
  const first = offers.find(({ due, ready }) => due !== null || ready.length > 0);
  return first?.due ?? null;
}

/** A pool and, in order, those that stand in for it and for them; each once, so a circle ends. */
export function withFallbacks(config: LiveConfig, pool: LivePool): readonly LivePool[] {
  if (pool.row.fallbacks.length === 0) {
    return [pool];
  }
  const found = new Set([pool]);
  // A Set gives what is added while it is walked: breadth first.
  for (const { row } of found) {
    for (const name of row.fallbacks) {
      const fallback = config.pools_by_name.get(name);
      if (fallback !== undefined) {
        found.add(fallback);
      }
    }
  }
  return [...found];
}

/** Milliseconds until somebody in the pools can be had, 0 when somebody can now; null when only a change of configuration helps. */
export function poolsWaitMs(
  state: RouterState,
  pools: readonly LivePool[],
  now: number,
  endpoint?: UpstreamEndpoint,
): number | null {
  return pools.reduce<number | null>(
    (least, pool) => shorter(least, surveyPool(state, pool, { tried: [], endpoint }, now).wait_ms),
    null,
  );
}

/** Whether an instance's provider serves what is called; yes where the call does not say. */
export function servesCall({ row }: LiveInstance, endpoint: UpstreamEndpoint | undefined): boolean {
  return endpoint === undefined || serves(row.provider_name, endpoint);
}

function idOf({ row }: LiveInstance): string {
  return row.id;
}

function shorter(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}

function factsOf(state: RouterState, now: number): Facts<LiveInstance> {
  return {
    priority: (instance) => instance.row.priority,
    in_flight: (instance) => state.tickets.by_instance.get(instance.row.id) ?? 0,
    latency_ms: (instance) => latencyMs(state.latencies.get(instance.row.id), now),
    price: (instance) => instance.row.price ?? null,
  };
}

function surveyPool(
  state: RouterState,
  pool: LivePool,
  seeker: Pick<Seeker, "tried" | "endpoint" | "bar" | "surveys"> & {
    readonly request_id?: string;
    readonly is_asking?: boolean;
  },
  now: number,
): Offer {
  const { tried, request_id: requestId, is_asking: isAsking = false } = seeker;
  const ready: LiveInstance[] = [];
  const excluded: Exclusion[] = [];
  let due: LiveInstance | null = null;
  let dueSince = Infinity;
  let soonest = Infinity;
  let hasUntried = false;
  for (const instance of pool.instances) {
    const ruledOut = ruleOut(state, instance, seeker);
    if (ruledOut !== null) {
      excluded.push({ instance, reason: ruledOut, until: null });
      continue;
    }
    const isTried = tried.includes(instance.row.id);
    hasUntried ||= !isTried;
    const cooldown = state.cooldowns.entries.get(instance.cooldown_key);
    const key = instance.cooldown_key;
    const at = cooldown === undefined ? now : probeAt(state.spread, key, cooldown, requestId, isAsking, now);
    soonest = Math.min(soonest, at);
    if (isTried || at > now) {
      const reason = isTried ? "tried" : (cooldown?.until ?? 0) > now ? cooldown?.reason : "probing";
      excluded.push({ instance, reason: reason ?? "probing", until: cooldown?.until ?? null });
      continue;
    }
    if (cooldown === undefined) {
      ready.push(instance);
    } else if (cooldown.until < dueSince) {
      due = instance;
      dueSince = cooldown.until;
    }
  }
  seeker.surveys?.push({ pool_id: pool.row.id, candidates: due === null ? ready : [...ready, due], excluded });
  const waitMs = soonest < Infinity ? Math.max(0, soonest - now) : null;
  return { ready, due, wait_ms: waitMs, has_untried: hasUntried };
}

/** Why an instance may not serve this request, whatever cools; null when it may. */
function ruleOut(
  state: RouterState,
  instance: LiveInstance,
  { bar, endpoint }: Pick<Seeker, "endpoint" | "bar">,
): ExclusionReason | null {
  if (!instance.is_candidate) {
    return instance.is_credential_usable ? "drained" : "credential_unusable";
  }
  if (state.cooldowns.outs.has(instance.row.credential_id)) {
    return "credential";
  }
  if (!servesCall(instance, endpoint)) {
    return "endpoint_not_served";
  }
  if (bar?.(instance) === true) {
    return instance.row.prices === undefined ? "not_priced" : "over_budget";
  }
  return null;
}

function take(state: RouterState, instance: LiveInstance, cause: PickCause): Selection {
  instance.picks += 1;
  state.dirty_pools.add(instance.pool_id);
  return { kind: "selected", instance, cause };
}
