import * as fc from "fast-check";
import { describe, it } from "vitest";
import {
  createLeases,
  lendTo,
  takenHere,
  tenantOf,
  workspaceCaps,
  type LeasedState,
} from "../../src/routing/lease-room.js";
import { gauges, lentOf, type LeaseAnswer, type LeaseAsk } from "../../src/routing/lender.js";
import { trimWindow, windowMs } from "../../src/routing/limits.js";
import {
  createMeter,
  holdMoney,
  meetBudget,
  meetRate,
  spendMoney,
  takeRequest,
  type Caps,
  type Meter,
} from "../../src/routing/meters.js";
import { createSpread } from "../../src/routing/spread.js";
import {
  findLow,
  freeRate,
  hasSpare,
  isShort,
  makeAsk,
  noAmounts,
  takeLease,
  useRate,
  type Purpose,
} from "../../src/routing/tenant.js";
import { deep, seed } from "../support/deep.js";

const names = ["first", "second", "third", "fourth"] as const;
/** An evening, so that a run of some minutes meets midnight. */
const start = Date.UTC(2026, 10, 22, 23, 57);
const patienceMs = 2_000;

interface Call {
  readonly shard: number;
  readonly hold: number;
  ends: boolean;
}

/** One shard: its memory, and what its disk has of it. */
class Shard {
  state: LeasedState & { tickets: { open: Map<string, Call> } };
  meter: Meter = createMeter();
  disk = { meter: "", open: [] as (readonly [string, Call])[] };
  asking: { ask: LeaseAsk; sentAt: number } | null = null;

  readonly name: string;
  readonly limits: Caps;

  constructor(name: string, limits: Caps, incarnation: string) {
    this.name = name;
    this.limits = limits;
    this.state = this.#begin(incarnation);
    this.flush();
  }

  flush(): void {
    this.disk = { meter: JSON.stringify(this.meter), open: [...this.state.tickets.open] };
  }

  /** Loses what the disk does not have; leases to others are always on it. */
  crash(incarnation: string): void {
    const { lender } = this.state.leases;
    this.meter = JSON.parse(this.disk.meter) as Meter;
    this.state = this.#begin(incarnation, this.disk.open, JSON.stringify([...lender]));
    this.asking = null;
  }

  #begin(incarnation: string, open: readonly (readonly [string, Call])[] = [], lender = "[]") {
    const leases = { ...createLeases(), incarnation };
    for (const [name, account] of JSON.parse(lender) as [string, never][]) {
      leases.lender.set(name, account);
    }
    const spread = { ...createSpread(), own: this.name, first: "first" };
    return { config: { caps: this.limits }, spread, leases, tickets: { open: new Map(open) } };
  }
}

interface Message {
  readonly at: number;
  readonly run: (now: number) => void;
}

/** Four shards, a network that delays, loses and reorders, and the truth that nobody of them knows. */
class World {
  now = start;
  readonly limits: Caps;
  readonly shards: readonly Shard[];
  readonly admitted: number[] = [];
  readonly running = new Map<string, Call>();
  spent = new Map<number, number>();
  refused = 0;
  #network: Message[] = [];
  #count = 0;

  constructor(limits: Caps) {
    this.limits = limits;
    this.shards = names.map((name, index) => new Shard(name, limits, `${name} ${index}`));
  }

  at(index: number): Shard {
    const shard = this.shards[index % this.shards.length];
    if (shard === undefined) {
      throw new Error("no such shard");
    }
    return shard;
  }

  /** Moves the clock and delivers what has arrived. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const due = this.#network.filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)[0];
      if (due === undefined) {
        break;
      }
      this.#network.splice(this.#network.indexOf(due), 1);
      this.now = Math.max(this.now, due.at);
      due.run(this.now);
    }
    this.now = until;
  }

  call(index: number, hold: number, fate: Fate): void {
    const shard = this.at(index);
    const caps = workspaceCaps(shard.state, this.limits, shard.meter, this.now);
    const met = meetRate(shard.meter, caps, 0, this.now) ?? meetBudget(shard.meter, caps, hold, this.now);
    const isFull = caps.concurrent !== null && shard.state.tickets.open.size >= caps.concurrent;
    if (met !== null || isFull) {
      this.refused += 1;
      const needs = { ...noAmounts, rpm: 1, concurrent: 1, day: hold, month: hold };
      this.ask(shard, { kind: "lease", needs, more: ["rpm", ...gauges], waiting: 2 }, fate);
      return;
    }
    trimWindow(shard.meter.requests, this.now);
    takeRequest(shard.meter, this.limits, this.now);
    if (shard.name !== "first") {
      useRate(tenantOf(shard.state, shard.meter, this.now), "rpm", 1, this.now);
    }
    holdMoney(shard.meter, hold);
    this.#count += 1;
    const call = { shard: index, hold, ends: false };
    shard.state.tickets.open.set(`${this.#count}`, call);
    this.running.set(`${this.#count}`, call);
    this.admitted.push(this.now);
    this.more(shard, fate);
  }

  /** Ends one of the calls under way, the one at `place` of them (0 to 1), at a part of what it held. */
  settle(place: number, part: number): void {
    const picked = [...this.running][Math.floor(place * this.running.size)];
    if (picked === undefined) {
      return;
    }
    const [id, { hold, shard: index }] = picked;
    this.running.delete(id);
    const shard = this.at(index);
    const real = Math.floor(hold * part);
    const day = this.now - (this.now % 86_400_000);
    this.spent.set(day, (this.spent.get(day) ?? 0) + real);
    if (shard.state.tickets.open.delete(id)) {
      holdMoney(shard.meter, -hold);
    }
    spendMoney(shard.meter, real, this.now);
  }

  more(shard: Shard, fate: Fate): void {
    if (shard.name !== "first") {
      const taken = takenHere(shard.state, shard.meter, this.now);
      const low = findLow(tenantOf(shard.state, shard.meter, this.now), taken, ["rpm", ...gauges], this.now);
      if (low.length > 0) {
        this.ask(shard, { kind: "lease", needs: noAmounts, more: low, waiting: 0 }, fate);
      }
    }
  }

  giveBack(index: number, fate: Fate): void {
    const shard = this.at(index);
    const taken = takenHere(shard.state, shard.meter, this.now);
    if (shard.name !== "first" && hasSpare(tenantOf(shard.state, shard.meter, this.now), taken, this.now)) {
      this.ask(shard, { kind: "return" }, fate);
    }
  }

  ask(shard: Shard, purpose: Purpose, { answer: answerMs, ask: askMs, isAnswerLost, isAskLost }: Fate): void {
    const isWaiting = shard.asking !== null && this.now - shard.asking.sentAt < patienceMs;
    const tenant = tenantOf(shard.state, shard.meter, this.now);
    const isVain = purpose.kind === "lease" && isShort(tenant, purpose.needs, this.now);
    if (shard.name === "first" || isWaiting || isVain) {
      return;
    }
    const sentAt = this.now;
    const ask = makeAsk(tenant, shard.name, takenHere(shard.state, shard.meter, sentAt), purpose, sentAt);
    const asking = { ask, sentAt };
    shard.asking = asking;
    if (isAskLost) {
      return;
    }
    this.#send(askMs, (now) => {
      const first = this.at(0);
      const answer: LeaseAnswer = lendTo(first.state, ask, first.meter, now);
      if (!isAnswerLost) {
        this.#send(answerMs, (later) => {
          // After its patience, or in another life, nobody waits for it any more.
          if (shard.asking === asking && later - sentAt < patienceMs) {
            shard.asking = null;
            takeLease(tenant, ask, answer, sentAt, later);
          }
        });
      }
    });
  }

  #send(ms: number, run: (now: number) => void): void {
    this.#network.push({ at: this.now + ms, run });
  }
}

interface Fate {
  readonly ask: number;
  readonly answer: number;
  readonly isAskLost: boolean;
  readonly isAnswerLost: boolean;
}

/** Numbers from 0 to 1, always the same for a seed (mulberry32). */
function randomFrom(from: number): () => number {
  let state = from | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function throwFate(random: () => number): Fate {
  const delay = (): number => (random() < 0.06 ? 1_000 + random() * 2_000 : random() * 60);
  return { ask: delay(), answer: delay(), isAskLost: random() < 0.05, isAnswerLost: random() < 0.05 };
}

/** One step of anybody's: most are calls, so that every limit is met nearly all the time. */
function step(world: World, random: () => number, number: number): void {
  const shard = Math.floor(random() * names.length);
  const dice = random();
  if (dice < 0.6) {
    world.call(shard, 1 + Math.floor(random() * 60), throwFate(random));
  } else if (dice < 0.9) {
    world.settle(random(), random());
  } else if (dice < 0.95) {
    world.at(shard).flush();
  } else if (dice < 0.98) {
    world.giveBack(shard, throwFate(random));
  } else if (shard > 0) {
    world.at(shard).crash(`crashed ${number}`);
  } else {
    // The first shard's own last second is a stated loss; its leases are on disk before they count.
    world.at(0).flush();
    world.at(0).crash(`restarted ${number}`);
  }
  world.pass(random() < 0.02 ? random() * 20_000 : random() * 120);
}

function sum(amounts: Iterable<number>): number {
  return [...amounts].reduce((all, one) => all + one, 0);
}

/** What of the limits was passed in truth; null when nothing was. */
function findPassed({ limits, now, running, spent }: World): string | null {
  const held = sum([...running.values()].map(({ hold }) => hold));
  const today = spent.get(now - (now % 86_400_000)) ?? 0;
  if (running.size > (limits.concurrent ?? Infinity)) {
    return `${running.size} calls at once`;
  }
  if (today > (limits.day ?? Infinity) || sum(spent.values()) + held > (limits.month ?? Infinity)) {
    return `${today} spent today, ${sum(spent.values())} and ${held} held in all`;
  }
  return null;
}

function mostInWindow(times: readonly number[]): number {
  let [most, tail] = [0, 0];
  for (const [head, time] of times.entries()) {
    while ((times[tail] ?? time) + windowMs <= time) {
      tail += 1;
    }
    most = Math.max(most, head - tail + 1);
  }
  return most;
}

const none: Caps = { rpm: null, tpm: null, concurrent: null, day: null, month: null };
/** Each alone, so that it is the one that is met, and all together. */
const tight: Caps[] = [
  { ...none, rpm: 40 },
  { ...none, concurrent: 12 },
  { ...none, day: 3_000 },
  { ...none, month: 5_000 },
  { rpm: 200, tpm: null, concurrent: 15, day: 4_000, month: 6_000 },
];

describe("limits shared out to four shards", () => {
  it("are never passed by their sum, whatever is delayed, lost, reordered or forgotten", ({ expect }) => {
    const runs = deep(25, 2_000);
    let refused = 0;
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(...tight), (from, limits) => {
        const random = randomFrom(from);
        const world = new World(limits);
        for (let number = 0; number < 1_500; number += 1) {
          step(world, random, number);
          const passed = findPassed(world);
          if (passed !== null) {
            throw new Error(passed);
          }
        }
        refused += world.refused;
        const most = mostInWindow(world.admitted);
        if (most > (limits.rpm ?? Infinity)) {
          throw new Error(`${most} requests in a minute`);
        }
      }),
      { numRuns: runs, seed: seed() },
    );
    // Where nobody meets a limit none is passed.
    expect(refused).toBeGreaterThan(runs * 100);
  });

  it("are had to the last by any one shard when the others give back what they do not use", ({ expect }) => {
    const world = new World({ ...none, rpm: 40, concurrent: 12, day: 2_000 });
    const fate: Fate = { ask: 5, answer: 5, isAskLost: false, isAnswerLost: false };
    for (let index = 1; index <= 3; index += 1) {
      world.call(index, 50, fate);
      world.pass(20);
      world.call(index, 50, fate);
      world.pass(20);
    }
    expect(world.running.size).toBe(3);
    for (let call = 0; call < 3; call += 1) {
      world.settle(0, 1);
    }
    world.giveBack(1, fate);
    world.giveBack(2, fate);
    world.pass(windowMs + 6_000);
    let calls = 0;
    for (let tries = 0; tries < 200 && calls < 12; tries += 1) {
      const before = world.running.size;
      world.call(3, 10, fate);
      calls += world.running.size - before;
      world.pass(600);
    }
    expect(calls).toBe(12);
  });

  it("count a leased request until a minute after it can last have been used", ({ expect }) => {
    const first = new Shard("first", { ...none, rpm: 2 }, "a");
    const other = new Shard("second", { ...none, rpm: 2 }, "b");
    const tenant = tenantOf(other.state, other.meter, start);
    const lease = (sentAt: number) => {
      const needs = { ...noAmounts, rpm: 1 };
      const taken = takenHere(other.state, other.meter, sentAt);
      const ask = makeAsk(tenant, "second", taken, { kind: "lease", needs, more: [], waiting: 0 }, sentAt);
      return { ask, answer: lendTo(first.state, ask, first.meter, sentAt + 1_000) };
    };
    const free = (now: number) => workspaceCaps(first.state, { ...none, rpm: 2 }, first.meter, now).rpm;
    const { answer, ask } = lease(start);
    takeLease(tenant, ask, answer, start, start + 2_000);
    expect([4_999, 5_000].map((later) => freeRate(tenant, "rpm", start + later) > 0)).toEqual([true, false]);
    // It may have been used just before five seconds were over.
    expect([free(start + 64_900), free(start + 66_000)]).toEqual([1, 2]);
  });

  it("take back what a shard held that never asks again: places when no call can run there, money when its day's calls have ended", ({
    expect,
  }) => {
    const limits = { ...none, concurrent: 10, day: 1_000 };
    const first = new Shard("first", limits, "a");
    const other = new Shard("second", limits, "b");
    const tenant = tenantOf(other.state, other.meter, start);
    const lease = (now: number): void => {
      const needs = { ...noAmounts, concurrent: 4, day: 300 };
      const taken = takenHere(other.state, other.meter, now);
      const ask = makeAsk(tenant, "second", taken, { kind: "lease", needs, more: [], waiting: 0 }, now);
      takeLease(tenant, ask, lendTo(first.state, ask, first.meter, now), now, now);
    };
    const lent = (name: "concurrent" | "day", now: number) => lentOf(first.state.leases.lender, name, now);
    const places = (now: number) => workspaceCaps(other.state, limits, other.meter, now).concurrent;
    lease(start);
    expect([places(start + 599_999), places(start + 600_000)]).toEqual([4, 0]);
    const unused = start + 600_000 + 3_700_000;
    expect([lent("concurrent", unused - 1), lent("concurrent", unused)]).toEqual([4, 0]);
    const ended = start + 180_000 + 3_700_000;
    expect([lent("day", ended - 1), lent("day", ended)]).toEqual([300, 0]);
    lease(unused);
    expect([places(unused), lent("concurrent", unused), lent("day", unused)]).toEqual([4, 4, 300]);
  });

  it("count over midnight what a shard may still spend, also when its last ask of the day comes late", ({ expect }) => {
    const limits = { ...none, day: 1_000 };
    const first = new Shard("first", limits, "a");
    const other = new Shard("second", limits, "b");
    const tenant = tenantOf(other.state, other.meter, start);
    const midnight = start + 180_000;
    const lease = (sentAt: number, now: number, day: number): void => {
      const taken = takenHere(other.state, other.meter, sentAt);
      const purpose: Purpose = { kind: "lease", needs: { ...noAmounts, day }, more: [], waiting: 0 };
      const ask = makeAsk(tenant, "second", taken, purpose, sentAt);
      takeLease(tenant, ask, lendTo(first.state, ask, first.meter, now), sentAt, now);
    };
    lease(start, start, 300);
    spendMoney(other.meter, 100, start);
    holdMoney(other.meter, 150);
    lease(start + 1, start + 1, 0);
    lease(midnight - 100, midnight + 100, 0);
    expect(lentOf(first.state.leases.lender, "day", midnight + 100)).toBe(200);
    // Its own word of the new day: what it holds.
    lease(midnight + 200, midnight + 200, 0);
    expect(lentOf(first.state.leases.lender, "day", midnight + 200)).toBe(150);
  });

  it("void an ask that a later one overtook, and an answer that a later ask gave up", ({ expect }) => {
    const first = new Shard("first", { ...none, day: 1_000 }, "a");
    const other = new Shard("second", { ...none, day: 1_000 }, "b");
    const tenant = tenantOf(other.state, other.meter, start);
    const needs = { ...noAmounts, day: 300 };
    const askFor = (purpose: Purpose) =>
      makeAsk(tenant, "second", takenHere(other.state, other.meter, start), purpose, start);
    const early = askFor({ kind: "lease", needs, more: [], waiting: 0 });
    const late = askFor({ kind: "return" });
    const lent = () => lentOf(first.state.leases.lender, "day", start);
    const answer = lendTo(first.state, early, first.meter, start);
    expect([answer.ceilings.day, lent()]).toEqual([300, 300]);
    takeLease(tenant, early, answer, start, start);
    expect(hasSpare(tenant, takenHere(other.state, other.meter, start), start)).toBe(false);
    lendTo(first.state, late, first.meter, start);
    expect(lent()).toBe(0);
    lendTo(first.state, early, first.meter, start);
    expect(lent()).toBe(0);
  });
});
