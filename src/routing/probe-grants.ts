/**
 * One probe in all: where a workspace has several shards, the first grants the probe of a cool-down and the others ask it. A grant is a lease
 * like its own; it ends by the report of the shard that has it, or by time. Pure; times are epoch milliseconds, what travels is how long.
 */
import { dueAt, endedAt, leaseProbe, type Cooldown } from "./cooldown.js";
import { elsewhere, needsGrant, receiveCooling, type Cooling, type Spread } from "./spread.js";
import type { RouterState } from "./state.js";

/** What a shard asks the first one. */
export interface ProbeAsk {
  readonly request_id: string;
  /** The cool-down as the asker has it: the first shard may have heard nothing of it yet. */
  readonly cooling: Cooling;
  /** How long the probe may last. */
  readonly lease_ms: number;
}

/** `wait`: the cool-down lasts that long, or somebody else's probe does. `over`: what began before `at` does not cool any more. */
export type ProbeAnswer =
  | { readonly kind: "granted" }
  | { readonly kind: "wait"; readonly wait_ms: number; readonly cooling: Cooling }
  | { readonly kind: "over"; readonly at: number };

/** No lease lasts longer: a call's longest total time-out, and what a lease adds to it. */
const longestLeaseMs = 3_700_000;

/** The first shard is asked again about a probe that somebody else has, or that it could not be asked about, no more often than this. */
export const askAgainMs = 1_000;

/** Grants the probe, or says why not. Asked again for the same request it answers the same. */
export function grantProbe(state: RouterState, ask: ProbeAsk, now: number): ProbeAnswer {
  const { cooldowns } = state;
  const { key } = ask.cooling;
  receiveCooling(cooldowns, ask.cooling);
  const entry = cooldowns.entries.get(key);
  if (entry === undefined) {
    return { kind: "over", at: endedAt(cooldowns, key, now) ?? ask.cooling.since + 1 };
  }
  const waitMs = dueAt(entry, now) - now;
  if (waitMs > 0 && entry.lease?.request_id !== ask.request_id) {
    return { kind: "wait", wait_ms: waitMs, cooling: describeEntry(key, entry) };
  }
  leaseProbe(cooldowns, key, ask.request_id, now + Math.min(Math.max(ask.lease_ms, 0), longestLeaseMs));
  return { kind: "granted" };
}

/** A cool-down without its probe. */
export function describeEntry(key: string, { reason, since, streak, until }: Cooldown): Cooling {
  return { key, since, until, reason, streak };
}

/**
 * When an instance that cools can be probed by a request; not after `now` means at once. On a shard that is not the first only by who has its
 * grant, and everybody else waits for what will become of that. `isAsking` answers instead whether the first shard is to be asked.
 */
export function probeAt(
  spread: Spread,
  key: string,
  entry: Cooldown,
  requestId: string | undefined,
  isAsking: boolean,
  now: number,
): number {
  const at = dueAt(entry, now);
  if (!needsGrant(spread)) {
    return at;
  }
  if (isAsking) {
    const isHeardOf = entry.lease?.request_id === elsewhere && (spread.asked.get(key) ?? now) <= now;
    return isHeardOf || entry.lease?.request_id === requestId ? entry.until : at;
  }
  if (requestId !== undefined && entry.lease?.request_id === requestId) {
    return entry.until;
  }
  return at > now ? at : now + askAgainMs;
}
