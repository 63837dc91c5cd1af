/** What a key or a workspace has spent in this UTC day and month, and what its running calls may still cost. Pure; micro-dollars and epoch milliseconds. */

/** The spans that a budget is given for. */
export const spans = ["day", "month"] as const;
export type Span = (typeof spans)[number];

/** What was spent since a span began. */
export interface SpanSpend {
  /** When the span began. */
  start: number;
  spent: number;
  /** The highest threshold that was told of it, in percent; 0 for none. */
  told: number;
}

/** Both spans, and what is held for calls under way, whichever span they began in. */
export interface Spend {
  readonly day: SpanSpend;
  readonly month: SpanSpend;
  held: number;
}

const dayMs = 24 * 3_600_000;

/** Nothing spent, in no span yet. */
export function createSpend(): Spend {
  return { day: { start: 0, spent: 0, told: 0 }, month: { start: 0, spent: 0, told: 0 }, held: 0 };
}

/** When the span that a moment lies in began. */
export function spanStart(span: Span, now: number): number {
  return span === "day" ? now - (now % dayMs) : monthOf(now).start;
}

/** Milliseconds until the span turns. */
export function spanLeftMs(span: Span, now: number): number {
  return span === "day" ? dayMs - (now % dayMs) : monthOf(now).end - now;
}

/** The month that was asked for last: every call asks for the same one. */
let latest = { start: 0, end: 0 };

function monthOf(now: number): { readonly start: number; readonly end: number } {
  if (now < latest.start || now >= latest.end) {
    const date = new Date(now);
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
    latest = { start: Date.UTC(year, month, 1), end: Date.UTC(year, month + 1, 1) };
  }
  return latest;
}

/** Begins the spans that have turned. A clock that stepped back begins none: what was spent stays spent. */
export function rollSpend(spend: Spend, now: number): void {
  for (const span of spans) {
    const part = spend[span];
    const start = spanStart(span, now);
    if (start > part.start) {
      part.start = start;
      part.spent = 0;
      part.told = 0;
    }
  }
}

/** Adds to both spans, or takes from those that `since` lies in: what an earlier span was charged stays there. */
export function addSpend(spend: Spend, cost: number, now: number, since = now): void {
  rollSpend(spend, now);
  for (const span of spans) {
    const part = spend[span];
    if (cost > 0 || since >= part.start) {
      part.spent = Math.max(0, part.spent + cost);
    }
  }
}
