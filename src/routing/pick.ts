/** Who is next by weight, and the lag accounting that every strategy shares. Pure; the same lanes always give the same pick. */

/** One instance's place in its pool's accounting. `lag` = picks it was owed minus picks it got; over a whole pool lags add up to 0. */
export interface Lane {
  /** Integer ≥ 0; a lane of weight 0 is never picked. */
  readonly weight: number;
  lag: number;
}

/** The weight that counts for a lane at one turn: ≥ 0, finite. */
export type Weigh<L extends Lane> = (lane: L) => number;

/** How far a forced pick may move a lag. With 1, lags stayed within 2.8 under an adversary that chose forced picks and exclusions for eight lanes. */
const forcedReach = 1;

/** Keeps rounding noise of some 1e-10 after 10^7 picks from deciding a comparison. */
const noise = 1e-9;

/**
 * Weighted picking by Tijdeman's quota rule ("The chairman assignment problem", 1980): with k candidates of share λ, those
 * whose lag after crediting is at least c = 1/(2k−2) are eligible, and the earliest deadline (1 − c − lag)/λ among them
 * is picked; while candidates and weights stand, every lane stays within 1 − c of its share at every prefix.
 *
 * Lags are read relative to the mean of the present candidates. On a whole pool the mean is 0 and the rule is Tijdeman's; on
 * a part of it the absent lanes' debts would make everybody or nobody eligible. Lanes past their deadline, which only exclusions can cause, go
 * by the largest lag first: by deadline, light lanes starved heavy ones (13 picks off under an adversary, 2.4 so).
 * Ties go to the lane that stands first.
 */
export function pickWeighted<L extends Lane>(candidates: readonly L[], weigh: Weigh<L> = ownWeight): L | null {
  let count = 0;
  let weights = 0;
  let lags = 0;
  for (const lane of candidates) {
    const weight = weigh(lane);
    if (weight > 0) {
      count += 1;
      weights += weight;
      lags += lane.lag;
    }
  }
  const mean = lags / count;
  const quota = count > 1 ? 1 / (2 * count - 2) : 0;
  let chosen: L | null = null;
  let earliest = Infinity;
  let longest: L | null = null;
  let largest = -Infinity;
  for (const lane of candidates) {
    const weight = weigh(lane);
    if (weight > 0) {
      const share = weight / weights;
      const lag = lane.lag - mean + share;
      const deadline = (1 - quota - lag) / share;
      if (lag >= quota - noise && deadline < earliest - noise) {
        chosen = lane;
        earliest = deadline;
      }
      if (lag > largest + noise) {
        longest = lane;
        largest = lag;
      }
    }
  }
  return largest > 1 - quota + noise || chosen === null ? longest : chosen;
}

/** Books a pick that the strategy made: every candidate is owed its share w/Σw of it, the picked one pays 1. `picked` must be one of the candidates. */
export function chargePick<L extends Lane>(candidates: readonly L[], picked: L, weigh: Weigh<L> = ownWeight): void {
  book(candidates, picked, 1, weigh);
}

/**
 * Books a pick that something else decided (a probe, stickiness). It pays like any other, but only as far as no lag passes ±1 by it:
 * thirty failed probes must not starve an instance for its next thirty turns.
 */
export function chargeForcedPick<L extends Lane>(
  candidates: readonly L[],
  picked: L,
  weigh: Weigh<L> = ownWeight,
): void {
  const weights = sumWeights(candidates, weigh);
  let part = 1;
  for (const lane of candidates) {
    const share = weigh(lane) / weights;
    if (lane === picked) {
      part = share < 1 ? Math.min(part, (lane.lag + forcedReach) / (1 - share)) : part;
    } else if (share > 0) {
      part = Math.min(part, (forcedReach - lane.lag) / share);
    }
  }
  book(candidates, picked, Math.max(0, part), weigh);
}

/**
 * Takes a lane that leaves the pool out of the accounting: what it was owed, or owed, is spread evenly over those who stay.
 * Even spreading changes no later pick among them, since only distances count; it keeps the sum at 0, so that a newcomer, who starts
 * at 0, starts at the mean and neither bursts nor waits. Dropped instead, the sum would wander off with every change of the pool.
 */
export function spreadLag(remaining: readonly Lane[], lag: number): void {
  for (const lane of remaining) {
    lane.lag += lag / remaining.length;
  }
}

function ownWeight(lane: Lane): number {
  return lane.weight;
}

function book<L extends Lane>(candidates: readonly L[], picked: L, part: number, weigh: Weigh<L>): void {
  const weights = sumWeights(candidates, weigh);
  for (const lane of candidates) {
    lane.lag += (part * weigh(lane)) / weights;
  }
  picked.lag -= part;
}

function sumWeights<L extends Lane>(candidates: readonly L[], weigh: Weigh<L>): number {
  let weights = 0;
  for (const lane of candidates) {
    weights += weigh(lane);
  }
  return weights;
}
