/**
 * How a pool shares its calls out. A strategy narrows the ready instances down and weighs what is left; the pick itself is
 * always the quota rule of `pick.ts` with its lags, so every strategy shares evenly among equals and nothing bursts on return. Pure.
 */
import type { Lane, Weigh } from "./pick.js";

/** What a strategy may ask about a candidate. */
export interface Facts<L extends Lane> {
  /** Lower is served first. */
  readonly priority: (lane: L) => number;
  /** Calls under way. */
  readonly in_flight: (lane: L) => number;
  /** How long it lately took to its first content, in milliseconds; null when nobody knows. */
  readonly latency_ms: (lane: L) => number | null;
  /** What it costs, in any unit that the pool's instances share; null when nobody knows. */
  readonly price: (lane: L) => number | null;
}

/** Who may be picked at one turn, and with what weight each. */
export interface Turn<L extends Lane> {
  readonly candidates: readonly L[];
  readonly weigh: Weigh<L>;
}

/** One way of sharing out. Both steps keep at least one candidate of positive weight whenever they were given one. */
export interface Strategy {
  /** The weight that counts by configuration alone: sticky callers share out by it, and forced picks are booked by it. */
  readonly share: (lane: Lane) => number;
  /** Those that configuration and health alone allow: a sticky call stays among them. */
  narrow<L extends Lane>(ready: readonly L[], facts: Facts<L>): readonly L[];
  /** Those that this very moment prefers, weighed. */
  prefer<L extends Lane>(narrowed: readonly L[], facts: Facts<L>): Turn<L>;
}

/** Instances whose latency is within this factor of the best count as just as good: noise must not decide. */
const latencyBuffer = 1.2;
/** The slowest instance keeps this part of its weight: what is never called is never measured again. */
const leastPart = 0.02;

const everybody: Strategy["narrow"] = (ready) => ready;
const ownWeight: Strategy["share"] = (lane) => lane.weight;
const sameWeight: Strategy["share"] = (lane) => (lane.weight > 0 ? 1 : 0);
const byWeight: Strategy["prefer"] = (candidates) => ({ candidates, weigh: ownWeight });

/** Every strategy, by its name in a pool's configuration. */
const strategies = {
  /** Shares by weight. */
  weighted: { share: ownWeight, narrow: everybody, prefer: byWeight },
  /** The same share for each, whatever its weight; 0 still drains. */
  round_robin: {
    share: sameWeight,
    narrow: everybody,
    prefer: (candidates) => ({ candidates, weigh: sameWeight }),
  },
  /** The best tier that has somebody, by weight inside it. */
  priority: { share: ownWeight, narrow: (ready, facts) => lowest(ready, facts.priority), prefer: byWeight },
  /** Who has the fewest calls under way for its weight; by weight among equals. */
  least_busy: {
    share: ownWeight,
    narrow: everybody,
    prefer: (narrowed, facts) =>
      byWeight(
        lowest(narrowed, (lane) => facts.in_flight(lane) / lane.weight),
        facts,
      ),
  },
  /** Weight times the square of (best latency / own latency): faster ones get more, nobody gets all. The unmeasured count as the best. */
  latency: { share: ownWeight, narrow: everybody, prefer: preferFast },
  /** The cheapest, by weight among equals; what has no price comes last. */
  cost: {
    share: ownWeight,
    narrow: (ready, facts) => lowest(ready, (lane) => facts.price(lane) ?? Infinity),
    prefer: byWeight,
  },
} as const satisfies Record<string, Strategy>;

/** A pool's strategy by its name; `weighted` for a name of a later release. */
export function findStrategy(name: string): Strategy {
  const known: Partial<Record<string, Strategy>> = strategies;
  return known[name] ?? strategies.weighted;
}

function preferFast<L extends Lane>(narrowed: readonly L[], facts: Facts<L>): Turn<L> {
  let best = Infinity;
  for (const lane of narrowed) {
    best = Math.min(best, facts.latency_ms(lane) ?? Infinity);
  }
  const good = best * latencyBuffer;
  const weigh = (lane: L): number => {
    const own = facts.latency_ms(lane);
    return own === null || own <= good ? lane.weight : lane.weight * Math.max(leastPart, (good / own) ** 2);
  };
  return { candidates: narrowed, weigh };
}

/** Those of positive weight with the lowest figure. */
function lowest<L extends Lane>(lanes: readonly L[], figure: (lane: L) => number): readonly L[] {
  let least = Infinity;
  let found: L[] = [];
  for (const lane of lanes) {
    if (lane.weight > 0) {
      const own = figure(lane);
      if (own < least) {
        least = own;
        found = [lane];
      } else if (own === least) {
        found.push(lane);
      }
    }
  }
  return found;
}
