/** The workspace's limits as they hold on this shard: less what the first has leased out, or no more than what another has leased. Pure but for the state it is given. */
import { trimWindow, windowMs } from "./limits.js";
import {
  gauges,
  lend,
  lentOf,
  rates,
  returnsOf,
  spentElsewhere,
  type Gauge,
  type Lender,
  type LeaseAnswer,
  type LeaseAsk,
  type Rate,
  type Room,
} from "./lender.js";
import { heldRetryMs, noCaps, type Caps, type Met, type Meter } from "./meters.js";
import type { MetLimit, Refusal } from "./model.js";
import { rollSpend, spanLeftMs } from "./spend.js";
import { needsGrant, type Spread } from "./spread.js";
import { ceilingOf, createTenant, freeRate, type Taken, type Tenant } from "./tenant.js";

/** Leases of both sides: which of them is used, the shard's place says. */
export interface Leases {
  /** Names this object's memory, so that the first shard sees when it begins anew. */
  incarnation: string;
  readonly lender: Lender;
  tenant: Tenant | null;
}

/** What these functions need of a Router's state. */
export interface LeasedState {
  readonly config: { readonly caps: Caps } | null;
  readonly spread: Spread;
  readonly leases: Leases;
  readonly tickets: { readonly open: ReadonlyMap<string, unknown> };
}

/** What a Router answers a call: a refusal, or something else. */
export interface Answer {
  readonly kind: string;
}

/** Nothing leased. */
export function createLeases(): Leases {
  return { incarnation: "", lender: new Map(), tenant: null };
}

/** The workspace's limits as they hold here for its own `meter`. */
export function workspaceCaps(state: LeasedState, caps: Caps, meter: Meter, now: number): Caps {
  const { lender } = state.leases;
  if (isTenant(state, caps)) {
    return tenantCaps(state, caps, meter, now);
  }
  if (caps === noCaps || lender.size === 0) {
    return caps;
  }
  const less = (name: Rate | Gauge): number | null =>
    caps[name] === null ? null : caps[name] - lentOf(lender, name, now);
  return { rpm: less("rpm"), tpm: less("tpm"), concurrent: less("concurrent"), day: less("day"), month: less("month") };
}

/** Whether this shard leases the workspace's limits from another. */
export function isTenant({ spread }: Pick<LeasedState, "spread">, caps: Caps): boolean {
  return caps !== noCaps && needsGrant(spread);
}

/** What is taken here of the limits that have levels. */
export function takenHere(state: LeasedState, { spend }: Meter, now: number): Taken {
  rollSpend(spend, now);
  const { day, held, month } = spend;
  return {
    gauges: { concurrent: state.tickets.open.size, day: day.spent + held, month: month.spent + held },
    spent: { day: day.spent, month: month.spent },
    spans: { day: day.start, month: month.start },
  };
}

/** This shard as one that leases. */
export function tenantOf(state: LeasedState, meter: Meter, now: number): Tenant {
  const { leases } = state;
  leases.tenant ??= createTenant(leases.incarnation, takenHere(state, meter, now));
  return leases.tenant;
}

/** Leases to another shard; only the first does. */
export function lendTo(state: LeasedState, ask: LeaseAsk, meter: Meter, now: number): LeaseAnswer {
  return lend(state.leases.lender, ask, roomOf(state, meter, now), now);
}

/** The workspace's limit that a call met here, if another shard may lend what it needs; null for every other answer. */
export function shortOf(state: LeasedState, answer: Answer | Refusal): MetLimit | null {
  const caps = state.config?.caps ?? noCaps;
  const met = isRefused(answer) ? answer.limit : undefined;
  if (met?.scope !== "workspace" || !isTenant(state, caps) || (met.needs ?? 1) > (caps[met.name] ?? Infinity)) {
    return null;
  }
  return met;
}

/** A limit of the workspace that a call met, in the workspace's own figures instead of this shard's part of them, and with its true wait. */
export function tellWhole(state: LeasedState, met: Met, meter: Meter, now: number): Met {
  const caps = state.config?.caps ?? noCaps;
  if (!isTenant(state, caps) && state.leases.lender.size === 0) {
    return met;
  }
  const limit = caps[met.name] ?? met.limit;
  const need = met.needs ?? 1;
  if (need > limit) {
    return { ...met, limit, never: true, wait_ms: null };
  }
  if (!isTenant(state, caps)) {
    return { ...met, limit, never: false, wait_ms: roomOf(state, meter, now).wait(met.name, need) };
  }
  const short = state.leases.tenant?.short;
  const told = short?.waits.find(({ name }) => name === met.name);
  const wait = told === undefined ? heldRetryMs : told.wait_ms;
  return {
    ...met,
    limit,
    never: false,
    wait_ms: wait === null ? null : Math.max(1, wait - (now - (short?.at ?? now))),
  };
}

function isRefused(answer: Answer | Refusal): answer is Refusal {
  return answer.kind === "refused";
}

/** What of the workspace's limits nobody uses or has leased, as the first shard knows it. */
function roomOf(state: LeasedState, meter: Meter, now: number): Room {
  const { lender } = state.leases;
  const caps = state.config?.caps ?? noCaps;
  trimWindow(meter.requests, now);
  trimWindow(meter.tokens, now);
  const taken = { ...takenHere(state, meter, now).gauges, rpm: meter.requests.total, tpm: meter.tokens.total };
  const left = (name: Rate | Gauge): number =>
    caps[name] === null ? Infinity : caps[name] - taken[name] - lentOf(lender, name, now);
  const wait = (name: Rate | Gauge, need: number): number | null => {
    switch (name) {
      case "rpm":
        return waitForWindow(meter.requests, lender, name, left(name), need, now);
      case "tpm":
        return waitForWindow(meter.tokens, lender, name, left(name), need, now);
      case "concurrent":
        return null;
      case "day":
      case "month": {
        const { spent, start } = meter.spend[name];
        const all = spent + spentElsewhere(lender, name, start);
        return all + need > (caps[name] ?? Infinity) ? spanLeftMs(name, now) : heldRetryMs;
      }
    }
  };
  return { left, wait };
}

function tenantCaps(state: LeasedState, caps: Caps, meter: Meter, now: number): Caps {
  const tenant = tenantOf(state, meter, now);
  const taken = takenHere(state, meter, now);
  trimWindow(meter.requests, now);
  trimWindow(meter.tokens, now);
  const windows = { rpm: meter.requests, tpm: meter.tokens };
  const parts: Record<keyof Caps, number | null> = { ...noCaps };
  for (const name of rates) {
    parts[name] = caps[name] === null ? null : windows[name].total + freeRate(tenant, name, now);
  }
  for (const name of gauges) {
    parts[name] = caps[name] === null ? null : ceilingOf(tenant, taken, name, now);
  }
  return parts;
}

/** How long until so much of a window is free: what was used here and what was leased leave it one after the other. */
function waitForWindow(
  window: Meter["requests"],
  lender: Lender,
  name: Rate,
  left: number,
  need: number,
  now: number,
): number {
  const own = window.times.map((time, index) => ({ at: time + windowMs, amount: window.counts[index] ?? 0 }));
  const leaving = [...own, ...returnsOf(lender, name, now)].toSorted((a, b) => a.at - b.at);
  let free = left;
  for (const { amount, at } of leaving) {
    free += amount;
    if (free >= need) {
      return at - now;
    }
  }
  return windowMs;
}
