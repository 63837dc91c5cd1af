import * as fc from "fast-check";
import { describe, it } from "vitest";
import { chargeForcedPick, chargePick, pickWeighted, spreadLag, type Lane } from "../../src/routing/pick.js";
import { deep, seed } from "../support/deep.js";

interface Named extends Lane {
  weight: number;
  id: number;
}

function makeLanes(weights: readonly number[]): Named[] {
  return weights.map((weight, id) => ({ id, weight, lag: 0 }));
}

function turn(candidates: readonly Named[]): Named {
  const picked = pickWeighted(candidates);
  if (picked === null) {
    throw new Error("nobody picked");
  }
  chargePick(candidates, picked);
  return picked;
}

function orderOfTies(): string {
  const lanes = makeLanes([2, 2, 2]);
  return Array.from({ length: 9 }, () => turn(lanes).id).join("");
}

const weight = fc.oneof(
  fc.integer({ min: 1, max: 10_000 }),
  fc.integer({ min: 1, max: 9 }),
  fc.constantFrom(1, 10_000),
);
const settings = (small: number, large: number) => ({ numRuns: deep(small, large), seed: seed() });

/** Several small random numbers from one seed: faster than asking fast-check for thousands. */
function randomOf(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Of twelve random subsets, the one whose next pick pulls the lags furthest apart. */
function strainingSubset(lanes: readonly Named[], random: () => number): readonly number[] {
  let chosen: readonly number[] = [];
  let most = -1;
  for (let trial = 0; trial < 12; trial += 1) {
    const among = lanes.filter(() => random() < 0.6).map((lane) => lane.id);
    if (among.length > 0) {
      const copy = lanes.map((lane) => ({ ...lane }));
      turn(copy.filter((lane) => among.includes(lane.id)));
      const strain = copy.reduce((sum, lane) => sum + lane.lag * lane.lag, 0);
      chosen = strain > most ? among : chosen;
      most = Math.max(most, strain);
    }
  }
  return chosen;
}

describe("weighted pick", () => {
  it("is off by less than one pick at every prefix while candidates and weights stand", ({ expect }) => {
    fc.assert(
      fc.property(
        fc.array(weight, { minLength: 1, maxLength: 30, size: "max" }),
        fc.integer({ min: 1, max: deep(2_000, 50_000) }),
        (weights, n) => {
          const lanes = makeLanes(weights);
          const total = weights.reduce((sum, one) => sum + one, 0);
          const picks = weights.map(() => 0);
          let worst = 0;
          for (let turns = 1; turns <= n; turns += 1) {
            const { id } = turn(lanes);
            picks[id] = (picks[id] ?? 0) + 1;
            for (const [index, one] of weights.entries()) {
              worst = Math.max(worst, Math.abs((picks[index] ?? 0) - (turns * one) / total));
            }
          }
          expect(worst).toBeLessThan(1);
        },
      ),
      settings(200, 3_000),
    );
  });

  it("holds the same bound among those who are left, whatever the absent owe or are owed", ({ expect }) => {
    const lag = fc.double({ min: -3, max: 3, noNaN: true });
    fc.assert(
      fc.property(fc.array(weight, { minLength: 2, maxLength: 30, size: "max" }), lag, (weights, offset) => {
        const lanes = makeLanes(weights);
        for (const lane of lanes) {
          lane.lag = offset;
        }
        let worst = 0;
        for (let turns = 0; turns < deep(500, 5_000); turns += 1) {
          turn(lanes);
          worst = Math.max(worst, ...lanes.map((lane) => Math.abs(lane.lag - offset)));
        }
        expect(worst).toBeLessThan(1);
      }),
      settings(100, 2_000),
    );
  });

  it("stays exact over a long run", ({ expect }) => {
    const lanes = makeLanes([7, 3, 1, 10_000, 333]);
    const picks = [0, 0, 0, 0, 0];
    const n = deep(300_000, 10_000_000);
    let worst = 0;
    for (let turns = 1; turns <= n; turns += 1) {
      const { id } = turn(lanes);
      picks[id] = (picks[id] ?? 0) + 1;
      worst = Math.max(
        worst,
        Math.abs((picks[0] ?? 0) - (turns * 7) / 10_344),
        Math.abs((picks[3] ?? 0) - (turns * 10_000) / 10_344),
      );
    }
    expect(worst).toBeLessThan(1);
    expect(Math.abs(lanes.reduce((sum, lane) => sum + lane.lag, 0))).toBeLessThan(1e-8);
  });

  it("gives 3:1 exactly 300 and 100 of 400, never more than three in a row", ({ expect }) => {
    const lanes = makeLanes([3, 1]);
    const order = Array.from({ length: 400 }, () => turn(lanes).id).join("");
    expect(order.replaceAll("1", "").length).toBe(300);
    expect(order).not.toContain("0000");
    expect(order).not.toContain("11");
  });

  it("never picks a zero weight, not even when nothing else is there", ({ expect }) => {
    expect(pickWeighted(makeLanes([0]))).toBeNull();
    expect(pickWeighted([])).toBeNull();
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(0), weight), { minLength: 1, maxLength: 12, size: "max" }),
        (weights) => {
          const lanes = makeLanes(weights);
          for (let turns = 0; turns < 300 && weights.some((one) => one > 0); turns += 1) {
            expect(turn(lanes).weight).toBeGreaterThan(0);
          }
        },
      ),
      settings(50, 2_000),
    );
  });

  it("stays within 3 under random cool-downs, fail-overs and weight changes with up to eight instances", ({
    expect,
  }) => {
    let worst = 0;
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 2, max: 8 }), (start, count) => {
        const random = randomOf(start);
        const below = (limit: number): number => Math.floor(random() * limit);
        const newWeight = (): number => Math.floor(10 ** (random() * 4));
        const lanes = makeLanes(Array.from({ length: count }, newWeight));
        const outUntil = lanes.map(() => 0);
        // Counted beside the lags: what each was owed at every pick it stood for, and what it got.
        const owed = lanes.map(() => 0);
        const rate = [0.002, 0.02, 0.1, 0.4][below(4)] ?? 0;
        for (let turns = 0; turns < 1_500; turns += 1) {
          const hit = lanes[below(count)];
          if (hit !== undefined && random() < rate) {
            outUntil[hit.id] = turns + below(80);
          }
          if (hit !== undefined && random() < rate / 4) {
            hit.weight = newWeight();
          }
          let left = lanes.filter((lane) => (outUntil[lane.id] ?? 0) <= turns);
          for (let attempt = 0; left.length > 0 && (attempt === 0 || (random() < 0.3 && attempt < 3)); attempt += 1) {
            const total = left.reduce((sum, lane) => sum + lane.weight, 0);
            for (const lane of left) {
              owed[lane.id] = (owed[lane.id] ?? 0) + lane.weight / total;
            }
            const picked = turn(left);
            owed[picked.id] = (owed[picked.id] ?? 0) - 1;
            left = left.filter((lane) => lane !== picked);
            worst = Math.max(worst, ...owed.map(Math.abs));
          }
        }
        expect(worst).toBeLessThanOrEqual(3);
      }),
      settings(120, 5_000),
    );
    console.log(`worst lag under exclusions ${worst.toFixed(3)}`);
  });

  it("is off by no more than 3 picks, and those that were forced, against an adversary who picks exclusions and forced picks", ({
    expect,
  }) => {
    const worst = { booked: 0, beyondForced: 0, unforced: 0 };
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(0, 0.05, 0.3, 0.8), (start, forcedRate) => {
        const random = randomOf(start);
        const lanes = makeLanes(Array.from({ length: 8 }, () => Math.floor(10 ** (random() * 4))));
        // Counted beside the lags, which forgive what passes their reach: picks had minus picks owed, and how much of it was forced.
        const ahead = lanes.map(() => 0);
        const forcedOn = lanes.map(() => 0);
        const forcedOff = lanes.map(() => 0);
        const count = (candidates: readonly Named[], picked: Named, isForced: boolean): void => {
          const total = candidates.reduce((sum, lane) => sum + lane.weight, 0);
          for (const lane of candidates) {
            const share = lane.weight / total;
            ahead[lane.id] = (ahead[lane.id] ?? 0) + (lane === picked ? 1 : 0) - share;
            const side = lane === picked ? forcedOn : forcedOff;
            side[lane.id] = (side[lane.id] ?? 0) + (isForced ? (lane === picked ? 1 - share : share) : 0);
          }
        };
        for (let turns = 0; turns < 400; turns += 1) {
          const chosen = strainingSubset(lanes, random);
          const candidates = lanes.filter((lane) => chosen.includes(lane.id));
          const forced = candidates[Math.floor(random() * candidates.length)];
          if (forced !== undefined && random() < forcedRate) {
            chargeForcedPick(candidates, forced);
            count(candidates, forced, true);
          } else if (candidates.length > 0) {
            count(candidates, turn(candidates), false);
          }
          for (const [id, real] of ahead.entries()) {
            worst.beyondForced = Math.max(worst.beyondForced, real - (forcedOn[id] ?? 0), -real - (forcedOff[id] ?? 0));
            worst.unforced = Math.max(worst.unforced, forcedRate === 0 ? Math.abs(real) : 0);
          }
          worst.booked = Math.max(worst.booked, ...lanes.map((lane) => Math.abs(lane.lag)));
        }
        expect(worst.booked).toBeLessThanOrEqual(3);
        expect(worst.beyondForced).toBeLessThanOrEqual(3);
        expect(worst.unforced).toBeLessThanOrEqual(3);
      }),
      settings(25, 1_000),
    );
    console.log(`against the adversary: ${JSON.stringify(worst)}`);
  });

  it("does not burst on return: the window after it holds its share and at most three more", ({ expect }) => {
    fc.assert(
      fc.property(
        fc.array(weight, { minLength: 2, maxLength: 8, size: "max" }),
        fc.integer({ min: 0, max: 500 }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 400 }),
        (weights, before, away, after) => {
          const lanes = makeLanes(weights);
          const [returning, ...others] = lanes;
          for (let turns = 0; turns < before; turns += 1) {
            turn(lanes);
          }
          for (let turns = 0; turns < away; turns += 1) {
            turn(others);
          }
          const total = weights.reduce((sum, one) => sum + one, 0);
          let picks = 0;
          for (let turns = 1; turns <= after; turns += 1) {
            picks += turn(lanes) === returning ? 1 : 0;
            const share = (turns * (weights[0] ?? 0)) / total;
            expect(picks).toBeLessThan(share + 3);
            expect(picks).toBeGreaterThan(share - 3);
          }
        },
      ),
      settings(150, 5_000),
    );
  });

  it("makes forced picks pay, but thirty failed probes cost no more than one turn", ({ expect }) => {
    const lanes = makeLanes([1, 1]);
    const [probed, other] = lanes as [Named, Named];
    chargeForcedPick(lanes, probed);
    expect(probed.lag).toBe(-0.5);
    expect(turn(lanes)).toBe(other);
    for (let probes = 0; probes < 30; probes += 1) {
      chargeForcedPick(lanes, probed);
    }
    expect(probed.lag).toBeGreaterThanOrEqual(-1);
    const next = Array.from({ length: 10 }, () => turn(lanes).id);
    expect(next.filter((id) => id === probed.id).length).toBeGreaterThanOrEqual(4);
  });

  it("spreads a leaver's lag so that a newcomer neither bursts nor waits, however often the pool changes", ({
    expect,
  }) => {
    let lanes = makeLanes([5, 3, 2, 7]);
    const random = randomOf(seed());
    for (let change = 0; change < 200; change += 1) {
      for (let turns = 0; turns < 37; turns += 1) {
        turn(lanes);
      }
      const leaver = lanes[Math.floor(random() * lanes.length)];
      lanes = lanes.filter((lane) => lane !== leaver);
      spreadLag(lanes, leaver?.lag ?? 0);
      lanes.push({ id: change + 4, weight: 1 + Math.floor(random() * 9), lag: 0 });
      expect(Math.abs(lanes.reduce((sum, lane) => sum + lane.lag, 0))).toBeLessThan(1e-9);
      expect(Math.max(...lanes.map((lane) => Math.abs(lane.lag)))).toBeLessThanOrEqual(3);
    }
  });

  it("settles ties the same way every time", ({ expect }) => {
    expect(orderOfTies()).toBe("012012012");
    expect(orderOfTies()).toBe(orderOfTies());
  });
});
