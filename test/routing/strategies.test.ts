/** Each strategy's promise, held through `admit` and `settle`, and what stickiness, fallback pools and dry runs add to it. */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { admit, next } from "../../src/routing/decide.js";
import { dryRun } from "../../src/routing/dry-run.js";
import { installConfig } from "../../src/routing/install.js";
import { latencyMs, noteLatency } from "../../src/routing/latency.js";
import type { AdmitRequest, Ticket } from "../../src/routing/model.js";
import { settle } from "../../src/routing/report.js";
import { createState, type RouterState } from "../../src/routing/state.js";
import { pickSticky, spreadHash } from "../../src/routing/sticky.js";
import type { PoolPolicy, RouterInstance, RouterPool } from "../../src/snapshot/model.js";
import { deep, seed } from "../support/deep.js";
import {
  address,
  makeFailure,
  makeInstance,
  makeOutcome,
  makePool,
  makeRequest,
  makeRows,
  ticketOf,
} from "./fixture.js";

const start = 1_790_000_000_000;
const runs = (small: number, large: number) => ({ numRuns: deep(small, large), seed: seed() });

function poolOf(
  strategy: RouterPool["strategy"],
  instances: RouterInstance[],
  policy: Partial<PoolPolicy> = {},
): RouterPool {
  return { ...makePool("chat", instances, policy), strategy };
}

function stateOf(...pools: RouterPool[]): RouterState {
  const state = createState();
  installConfig(state, address(1), makeRows(pools), start);
  return state;
}

function take(state: RouterState, now: number, more: Partial<AdmitRequest> = {}): Ticket {
  return ticketOf(admit(state, makeRequest(more), now));
}

/** Calls that end at once, each taking what `tookMs` says of its instance. */
function callMany(state: RouterState, count: number, tookMs: (id: string) => number = () => 10): Map<string, number> {
  const picks = new Map<string, number>();
  for (let call = 0; call < count; call += 1) {
    const now = start + call * 50;
    const ticket = take(state, now);
    const { id } = ticket.instance;
    picks.set(id, (picks.get(id) ?? 0) + 1);
    settle(state, [{ ...makeOutcome(ticket), first_byte_ms: tookMs(id) }], now + 40);
  }
  return picks;
}

function fail(state: RouterState, ticket: Ticket, now: number): void {
  settle(state, [makeOutcome(ticket, "failed", makeFailure("rate_limit"))], now);
}

const weight = fc.integer({ min: 1, max: 10_000 });

describe("round robin", () => {
  it("gives each instance the same share, whatever its weight, and a weight of 0 none", ({ expect }) => {
    fc.assert(
      fc.property(fc.array(weight, { minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 40 }), (weights, n) => {
        const drained = makeInstance("drained", 0);
        const state = stateOf(poolOf("round_robin", [...weights.map((w, i) => makeInstance(`i${i}`, w)), drained]));
        const picks = callMany(state, n * weights.length);
        expect([...picks.values()]).toEqual(weights.map(() => n));
        expect(picks.has("drained")).toBe(false);
      }),
      runs(50, 2_000),
    );
  });
});

describe("priority", () => {
  it("serves the lowest tier that has somebody, by weight inside it, and comes back as soon as it can", ({
    expect,
  }) => {
    const first = [makeInstance("a", 3), makeInstance("b", 1)];
    const second = [makeInstance("c", 1, { priority: 5 }), makeInstance("d", 1, { priority: 5 })];
    const state = stateOf(poolOf("priority", [...second, ...first]));
    expect(Object.fromEntries(callMany(state, 400))).toEqual({ a: 300, b: 100 });
    for (const id of ["a", "b"]) {
      let ticket = take(state, start + 100_000);
      while (ticket.instance.id !== id) {
        settle(state, [makeOutcome(ticket)], start + 100_000);
        ticket = take(state, start + 100_000);
      }
      fail(state, ticket, start + 100_000);
    }
    const meanwhile = Array.from({ length: 10 }, () => take(state, start + 100_001).instance.id);
    expect(meanwhile.toSorted().join("")).toBe("cccccddddd");
    const after = take(state, start + 100_000 + 61_000);
    expect([after.probe, ["a", "b"].includes(after.instance.id)]).toEqual([true, true]);
  });
});

describe("least busy", () => {
  it("never gives an instance a call while another has fewer for its weight", ({ expect }) => {
    const script = fc.array(fc.boolean(), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(fc.array(weight, { minLength: 2, maxLength: 6 }), script, fc.nat(), (weights, calls, salt) => {
        const state = stateOf(
          poolOf(
            "least_busy",
            weights.map((w, i) => makeInstance(`i${i}`, w)),
          ),
        );
        const open: Ticket[] = [];
        const load = (index: number): number =>
          open.filter((one) => one.instance.id === `i${index}`).length / (weights[index] ?? 1);
        for (const [step, isCall] of calls.entries()) {
          if (!isCall && open.length > 0) {
            const [ended] = open.splice((salt + step) % open.length, 1);
            settle(state, ended === undefined ? [] : [makeOutcome(ended)], start + step);
            continue;
          }
          const loads = weights.map((_, index) => load(index));
          const ticket = take(state, start + step);
          expect(loads[Number(ticket.instance.id.slice(1))]).toBe(Math.min(...loads));
          open.push(ticket);
        }
      }),
      runs(50, 2_000),
    );
  });

  it("shares by weight where everybody is equally free", ({ expect }) => {
    const state = stateOf(poolOf("least_busy", [makeInstance("a", 3), makeInstance("b", 1)]));
    expect(Object.fromEntries(callMany(state, 400))).toEqual({ a: 300, b: 100 });
  });
});

describe("latency", () => {
  it("prefers the faster by the square of the ratio, and never gives anybody all or nothing", ({ expect }) => {
    const state = stateOf(poolOf("latency", [makeInstance("fast"), makeInstance("slow"), makeInstance("awful")]));
    const took: Record<string, number> = { fast: 100, slow: 240, awful: 60_000 };
    callMany(state, 20, (id) => took[id] ?? 0);
    const picks = callMany(state, 1_000, (id) => took[id] ?? 0);
    // 120 ms counts as best: 1 : (120/240)² : 0.02.
    expect((picks.get("slow") ?? 0) / (picks.get("fast") ?? 1)).toBeCloseTo(0.25, 1);
    expect(picks.get("awful") ?? 0).toBeGreaterThanOrEqual(14);
    expect(picks.get("awful") ?? 0).toBeLessThanOrEqual(18);
  });

  it("lets noise within the buffer decide nothing", ({ expect }) => {
    const state = stateOf(poolOf("latency", [makeInstance("a", 2), makeInstance("b", 1)]));
    const picks = callMany(state, 300, (id) => (id === "a" ? 100 : 115));
    expect(Object.fromEntries(picks)).toEqual({ a: 200, b: 100 });
  });

  it("takes a slower answer at once, a faster one gradually, and forgets a figure of ten minutes", ({ expect }) => {
    const slow = noteLatency(noteLatency(undefined, 100, start), 900, start + 1_000);
    expect(slow.value_ms).toBe(900);
    const soon = noteLatency(slow, 100, start + 2_000);
    expect([soon.value_ms < 900, soon.value_ms > 800]).toEqual([true, true]);
    expect(noteLatency(slow, 100, start + 60_000).value_ms).toBeLessThan(103);
    expect([latencyMs(slow, start + 600_000), latencyMs(slow, start + 601_001)]).toEqual([900, null]);
  });
});

function priced(id: string, price: number | undefined, w = 1): RouterInstance {
  return makeInstance(id, w, price === undefined ? {} : { price });
}

describe("cost", () => {
  it("serves the cheapest that is healthy, by weight among equals, and the unpriced last", ({ expect }) => {
    const state = stateOf(
      poolOf("cost", [priced("dear", 9), priced("unknown", undefined), priced("a", 2, 3), priced("b", 2)]),
    );
    expect(Object.fromEntries(callMany(state, 400))).toEqual({ a: 300, b: 100 });
    const order: string[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const ticket = take(state, start + 50_000);
      order.push(ticket.instance.id);
      fail(state, ticket, start + 50_000);
    }
    expect([order.slice(0, 2).toSorted(), order.slice(2)]).toEqual([
      ["a", "b"],
      ["dear", "unknown"],
    ]);
  });
});

describe("stickiness", () => {
  it("keeps a caller on one instance, moves only the callers of one that leaves, and brings them back", ({
    expect,
  }) => {
    fc.assert(
      fc.property(
        fc.array(weight, { minLength: 2, maxLength: 6 }),
        fc.array(fc.string(), { minLength: 1 }),
        (weights, users) => {
          const all = weights.map((w, i) => ({ weight: w, id: `i${i}` }));
          for (const user of users) {
            const key = spreadHash(user);
            const home = pickSticky(all, key, ({ id }) => id);
            for (const gone of all) {
              const rest = all.filter((one) => one !== gone);
              const away = pickSticky(rest, key, ({ id }) => id);
              expect(gone === home ? away !== home : away === home).toBe(true);
            }
          }
        },
      ),
      runs(50, 2_000),
    );
  });

  it("shares callers out by weight", ({ expect }) => {
    const all = [
      { weight: 3, id: "a" },
      { weight: 1, id: "b" },
    ];
    const users = Array.from({ length: 20_000 }, (_, user) => spreadHash(`user-${user}`));
    const onA = users.filter((key) => pickSticky(all, key, ({ id }) => id)?.id === "a").length;
    expect(onA / users.length).toBeCloseTo(0.75, 1);
  });

  it("shares callers of a round robin out evenly, whatever the weights", ({ expect }) => {
    const state = stateOf(poolOf("round_robin", [makeInstance("a", 9), makeInstance("b", 1)], { sticky: "user" }));
    let onA = 0;
    for (let user = 0; user < 2_000; user += 1) {
      const ticket = take(state, start, { sticky: { user: spreadHash(`user-${user}`), header: null } });
      onA += ticket.instance.id === "a" ? 1 : 0;
      settle(state, [makeOutcome(ticket)], start);
    }
    expect(onA / 2_000).toBeCloseTo(0.5, 1);
  });

  it.for(["user", "header"] as const)("by %s yields to health, in a pool that asks for it only", (by, { expect }) => {
    const instances = Array.from({ length: 4 }, (_, index) => makeInstance(`i${index}`));
    const state = stateOf(poolOf("weighted", instances, { sticky: by }));
    const sticky = { user: null, header: null, [by]: spreadHash("ada") };
    const homes = new Set(Array.from({ length: 20 }, () => take(state, start, { sticky }).instance.id));
    expect(homes.size).toBe(1);
    const others = new Set(Array.from({ length: 20 }, () => take(state, start).instance.id));
    expect(others.size).toBe(4);
    const ticket = take(state, start, { sticky });
    const again = ticketOf(next(state, ticket, makeFailure("rate_limit"), start));
    expect(homes.has(again.instance.id)).toBe(false);
    const plain = stateOf(poolOf("weighted", instances));
    expect(new Set(Array.from({ length: 20 }, () => take(plain, start, { sticky }).instance.id)).size).toBe(4);
  });
});

function backup(name: string, ids: string[], fallbacks: string[] = []): RouterPool {
  const instances = ids.map((id) => makeInstance(id));
  return { ...makePool(name, instances), fallbacks };
}

describe("fallback pools", () => {
  it("stand in, in order, when the asked pool has nobody, and never when it has", ({ expect }) => {
    const chat = { ...backup("chat", ["a"]), fallbacks: ["second"] };
    const state = stateOf(chat, backup("second", ["b"], ["third", "chat"]), backup("third", ["c"], ["chat"]));
    const ticket = take(state, start);
    const second = ticketOf(next(state, ticket, makeFailure("rate_limit"), start));
    const third = ticketOf(next(state, second, makeFailure("rate_limit"), start));
    expect([ticket, second, third].map((one) => one.instance.id)).toEqual(["a", "b", "c"]);
    expect(third.tried).toEqual(["a", "b", "c"]);
    expect(next(state, third, makeFailure("rate_limit"), start)).toMatchObject({ kind: "refused" });
    // The soonest of all pools.
    const refusal = admit(state, makeRequest(), start + 1_000);
    expect(refusal).toMatchObject({ kind: "refused", code: "pool_exhausted", retry_after_ms: 59_000 });
    expect(take(state, start + 61_000).instance.id).toBe("a");
  });

  it("take a call that has failed already before a probe gets it", ({ expect }) => {
    const chat = { ...backup("chat", ["a", "b"]), fallbacks: ["spare"] };
    const state = stateOf(chat, backup("spare", ["c"]));
    fail(state, take(state, start), start);
    const ticket = take(state, start + 59_000);
    const spared = ticketOf(next(state, ticket, makeFailure("transient"), start + 61_000));
    expect([spared.instance.id, spared.probe]).toEqual(["c", false]);
    // With nobody else left it is the probe.
    expect(ticketOf(next(state, spared, makeFailure("rate_limit"), start + 61_000))).toMatchObject({ probe: true });
  });

  it("pay in their own accounts", ({ expect }) => {
    const drained = { ...makePool("chat", [makeInstance("a", 0)]), fallbacks: ["second"] };
    const state = stateOf(drained, makePool("second", [makeInstance("b", 3), makeInstance("c", 1)]));
    expect(Object.fromEntries(callMany(state, 400))).toEqual({ b: 300, c: 100 });
  });
});

describe("a dry run", () => {
  it("names what the next calls then do, and moves nothing", ({ expect }) => {
    const strategy = fc.constantFrom("weighted", "round_robin", "priority", "least_busy", "latency", "cost" as const);
    const instance = fc.record({
      weight,
      priority: fc.integer({ min: 0, max: 2 }),
      price: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(
        strategy,
        fc.array(instance, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 0, max: 30 }),
        (name, given, before) => {
          const instances = given.map(({ weight: w, ...more }, index) => makeInstance(`i${index}`, w, more));
          const state = stateOf(poolOf(name, instances));
          const failed = take(state, start - 100_000);
          fail(state, failed, start - 100_000);
          callMany(state, before);
          const now = start + 10_000;
          const moving = JSON.stringify([...(state.config?.instances.values() ?? []), ...state.cooldowns.entries]);
          const told = dryRun(state, { pool_id: "pool-chat", requests: 12, sticky: null }, now);
          expect(JSON.stringify([...(state.config?.instances.values() ?? []), ...state.cooldowns.entries])).toBe(
            moving,
          );
          expect(told.steps.map((step) => step.instance_id)).toEqual(
            Array.from({ length: 12 }, () => admit(state, makeRequest(), now)).flatMap((one) =>
              one.kind === "ticket" ? [one.instance.id] : [],
            ),
          );
          expect(told.steps.length).toBeGreaterThan(0);
        },
      ),
      runs(100, 3_000),
    );
  });

  it("says who is left out and why, and when somebody is back", ({ expect }) => {
    const state = stateOf(poolOf("weighted", [makeInstance("a"), makeInstance("off", 0)]));
    fail(state, take(state, start), start);
    expect(dryRun(state, { pool_id: "pool-chat", requests: 3, sticky: null }, start + 20_000)).toEqual({
      steps: [],
      excluded: [
        { instance_id: "a", alias: "a", reason: "cooling: rate_limit" },
        { instance_id: "off", alias: "off", reason: "drained" },
      ],
      retry_after_ms: 40_000,
    });
    // Due by then: the second call waits for the probe, as long as a call that is not streamed may take, and its grace.
    const probed = dryRun(state, { pool_id: "pool-chat", requests: 2, sticky: null }, start + 60_000);
    expect(probed.steps.map(({ cause }) => cause)).toEqual(["probe"]);
    expect(probed.retry_after_ms).toBe(640_000);
    expect(dryRun(state, { pool_id: "nobody", requests: 3, sticky: null }, start).steps).toEqual([]);
  });
});
