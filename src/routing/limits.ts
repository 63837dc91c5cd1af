/** Requests or tokens per sliding minute, exactly counted in bounded memory. Pure; times are epoch milliseconds. */
import type { RateState } from "./model.js";

/** Length of the sliding window. An event at t counts in [t, t + 60 s). */
export const windowMs = 60_000;

/** Slots of a window at most. Up to this limit every event keeps its own millisecond; above it, events share slots and leave with the latest. */
const maxSlots = 6_000;

/** The events that still count, oldest first: `times[i]` is when `counts[i]` of them happened. */
export interface RateWindow {
  times: number[];
  counts: number[];
  total: number;
}

/** A window with nothing in it. */
export function createWindow(): RateWindow {
  return { times: [], counts: [], total: 0 };
}

/** Drops what no longer counts. */
export function trimWindow(window: RateWindow, now: number): void {
  let gone = 0;
  let time = window.times[0];
  while (time !== undefined && time + windowMs <= now) {
    window.total -= window.counts[gone] ?? 0;
    gone += 1;
    time = window.times[gone];
  }
  if (gone > 0) {
    window.times.splice(0, gone);
    window.counts.splice(0, gone);
  }
}

/** How long until `amount` more fits under the limit: 0 when it fits now, a whole window where it is above the limit itself. True as long as nothing else is admitted. */
export function waitForSlotMs(window: RateWindow, limit: number, now: number, amount = 1): number {
  trimWindow(window, now);
  let counting = window.total;
  for (let index = 0; counting + amount > limit; index += 1) {
    const time = window.times[index];
    if (time === undefined) {
      return windowMs;
    }
    counting -= window.counts[index] ?? 0;
    if (counting + amount <= limit) {
      return time + windowMs - now;
    }
  }
  return 0;
}

/** Counts an event, or so many. The caller has asked `waitForSlotMs` first. Answers the time that it counts from, for `correctEvent`. */
export function countEvent(window: RateWindow, limit: number, now: number, amount = 1): number {
  // Rounded up, so that a shared slot leaves later than its events and the limit is never passed.
  const slot = limit <= maxSlots ? 1 : windowMs / maxSlots;
  const last = window.times.length - 1;
  // A clock that stepped back must not put a slot before an older one.
  const time = Math.max(Math.ceil(now / slot) * slot, window.times[last] ?? 0);
  if (window.times[last] === time) {
    window.counts[last] = (window.counts[last] ?? 0) + amount;
  } else if (amount > 0) {
    window.times.push(time);
    window.counts.push(amount);
  }
  window.total += amount;
  return time;
}

/** Changes what was counted from `time` on; does nothing when that has left the window. */
export function correctEvent(window: RateWindow, time: number, change: number): void {
  const index = findSlot(window.times, time);
  const count = window.counts[index];
  if (count !== undefined) {
    const corrected = Math.max(0, count + change);
    window.counts[index] = corrected;
    window.total += corrected - count;
  }
}

/** The place of a time in an ascending list, -1 for none. Looked for from the end: what is corrected was mostly counted lately. */
function findSlot(times: readonly number[], time: number): number {
  for (let index = times.length - 1; index >= 0; index -= 1) {
    const at = times[index];
    if (at === undefined || at <= time) {
      return at === time ? index : -1;
    }
  }
  return -1;
}

/** The caller's view of the window, for `x-ratelimit-*`. */
export function describeWindow(window: RateWindow, limit: number, now: number): RateState {
  trimWindow(window, now);
  const newest = window.times.at(-1);
  return {
    limit,
    remaining: Math.max(0, limit - window.total),
    reset_ms: newest === undefined ? 0 : newest + windowMs - now,
  };
}
