/**
 * What one scope, a key or a workspace, has used of its limits: requests and tokens of the last minute, money of the day and the month.
 * Every function takes the caps as an argument, so that a shard can hold a scope to a part of them. Pure; micro-dollars and epoch milliseconds.
 */
import { correctEvent, countEvent, createWindow, trimWindow, waitForSlotMs, type RateWindow } from "./limits.js";
import type { MetLimit } from "./model.js";
import { addSpend, createSpend, rollSpend, spanLeftMs, spans, type Spend } from "./spend.js";

/** What a scope may use; null means no limit. */
export interface Caps {
  /** Requests and tokens in any 60 s. */
  readonly rpm: number | null;
  readonly tpm: number | null;
  /** Requests running at once. */
  readonly concurrent: number | null;
  /** Micro-dollars in a UTC day and month. */
  readonly day: number | null;
  readonly month: number | null;
}

/** What a scope has used. */
export interface Meter {
  readonly requests: RateWindow;
  readonly tokens: RateWindow;
  readonly spend: Spend;
}

/** A limit that has no room, and how long until it has: null when waiting does not help or nobody knows. */
export interface Met extends Omit<MetLimit, "scope"> {
  readonly wait_ms: number | null;
}

/** No limits. */
export const noCaps: Caps = { rpm: null, tpm: null, concurrent: null, day: null, month: null };

/** Calls under way may settle below what they hold: a call that only they stand in the way of may come back so soon. */
export const heldRetryMs = 1_000;

/** Nothing used. */
export function createMeter(): Meter {
  return { requests: createWindow(), tokens: createWindow(), spend: createSpend() };
}

/** Whether tokens or money are limited, so that a call must have a bound on what it may use. */
export function limitsUse({ tpm, day, month }: Caps): boolean {
  return tpm !== null || day !== null || month !== null;
}

/** Whether money is limited, so that a call must have a price. */
export function limitsMoney({ day, month }: Caps): boolean {
  return day !== null || month !== null;
}

/** The windows' limit with the longest wait for one request of so many tokens; null when both have room. One that the request can never fit under comes first. */
export function meetRate(meter: Meter | undefined, { rpm, tpm }: Caps, tokens: number, now: number): Met | null {
  if (tpm !== null && tokens > tpm) {
    return { name: "tpm", limit: tpm, needs: tokens, never: true, wait_ms: null };
  }
  if (meter === undefined) {
    return null;
  }
  const forRequest = rpm === null ? 0 : waitForSlotMs(meter.requests, rpm, now);
  // A tool's invocation uses none, and waits for none.
  const forTokens = tpm === null || tokens === 0 ? 0 : waitForSlotMs(meter.tokens, tpm, now, tokens);
  if (tpm !== null && forTokens > forRequest) {
    return { name: "tpm", limit: tpm, needs: tokens, wait_ms: forTokens };
  }
  return rpm !== null && forRequest > 0 ? { name: "rpm", limit: rpm, wait_ms: forRequest } : null;
}

/** The budget with the longest wait for a call that may cost so much; null when there is room. */
export function meetBudget(meter: Meter | undefined, caps: Caps, cost: number, now: number): Met | null {
  const spend = meter?.spend;
  if (spend !== undefined) {
    rollSpend(spend, now);
  }
  let met: Met | null = null;
  for (const span of spans) {
    const limit = caps[span];
    const spent = spend?.[span].spent ?? 0;
    if (limit === null || spent + (spend?.held ?? 0) + cost <= limit) {
      continue;
    }
    if (cost > limit) {
      return { name: span, limit, needs: cost, never: true, wait_ms: null };
    }
    const wait = spent + cost > limit ? spanLeftMs(span, now) : heldRetryMs;
    if (wait > (met?.wait_ms ?? 0)) {
      met = { name: span, limit, needs: cost, wait_ms: wait };
    }
  }
  return met;
}

/** Money that nobody has spent or holds; Infinity without a budget. */
export function budgetRoom(meter: Meter | undefined, caps: Caps, now: number): number {
  const spend = meter?.spend;
  if (spend !== undefined) {
    rollSpend(spend, now);
  }
  return spans.reduce((room, span) => {
    const limit = caps[span];
    return limit === null ? room : Math.min(room, limit - (spend?.[span].spent ?? 0) - (spend?.held ?? 0));
  }, Infinity);
}

/** Counts one request, if requests are limited. */
export function takeRequest({ requests }: Meter, { rpm }: Caps, now: number): void {
  if (rpm !== null) {
    countEvent(requests, rpm, now);
  }
}

/** Holds tokens, if they are limited, and answers where they stand in the window. */
export function holdTokens({ tokens: window }: Meter, { tpm }: Caps, tokens: number, now: number): number | undefined {
  return tpm === null ? undefined : countEvent(window, tpm, now, tokens);
}

/** Changes held tokens, to what another instance may use or to what was used. What goes beyond the hold counts from this moment on. */
export function changeTokens({ tokens: window }: Meter, slot: number | undefined, change: number, now: number): void {
  if (slot === undefined || change === 0) {
    return;
  }
  trimWindow(window, now);
  if (change < 0) {
    correctEvent(window, slot, change);
  } else {
    countEvent(window, Infinity, now, change);
  }
}

/** Holds money for a call, or with a negative amount gives it back. */
export function holdMoney({ spend }: Meter, change: number): void {
  spend.held = Math.max(0, spend.held + change);
}

/** Takes what a call has cost; a negative amount corrects what it was charged at `since`. */
export function spendMoney({ spend }: Meter, cost: number, now: number, since = now): void {
  addSpend(spend, cost, now, since);
}
