/**
 * What a shard that is not the first has leased of the workspace's limits, and what it asks for next. Pure; requests, tokens, micro-dollars;
 * epoch milliseconds.
 */
import {
  gauges,
  rates,
  type Amounts,
  type Gauges,
  type LeaseAnswer,
  type LeaseAsk,
  placesMs,
  type Rate,
  type Spans,
} from "./lender.js";

/** Requests or tokens that may be used until then. */
interface Slice {
  left: number;
  readonly until: number;
}

/** What is taken here: calls that run, and money that is spent or held, with what of it is spent. */
export interface Taken {
  readonly gauges: Gauges;
  readonly spent: Spans;
  readonly spans: Spans;
}

/** Everything leased. Memory only: a shard that begins anew has leased nothing. */
export interface Tenant {
  readonly incarnation: string;
  seq: number;
  readonly loaded: Gauges;
  ceilings: Record<keyof Gauges, number>;
  /** When the ask was sent that was answered last. */
  leased_at: number;
  spans: Spans;
  readonly slices: Record<Rate, Slice[]>;
  /** Used beyond all slices: calls that used more than they held. The next lease pays. */
  readonly debts: Record<Rate, number>;
  /** What was lately used, in the present and the last stretch of time. */
  readonly recent: Record<Rate, { at: number; now: number; before: number }>;
  /** How much the last lease of a level brought: half of it left is the time to ask for more. */
  readonly steps: Record<keyof Gauges, number>;
  /** What did not fit lately, when that was said, and how long it may take. */
  short: { readonly needs: Amounts; readonly at: number; readonly waits: LeaseAnswer["short"] } | null;
}

/** How much of each limit one call takes. */
export const noAmounts: Amounts = { rpm: 0, tpm: 0, concurrent: 0, day: 0, month: 0 };

const stretchMs = 5_000;
/** After a lease that fell short the first shard is not asked again for this long. */
const shortMs = 500;

/** Nothing leased; `taken` is what was taken before, as far as the disk tells. */
export function createTenant(incarnation: string, taken: Taken): Tenant {
  return {
    incarnation,
    seq: 0,
    loaded: taken.gauges,
    ceilings: { ...taken.gauges },
    leased_at: 0,
    spans: taken.spans,
    slices: { rpm: [], tpm: [] },
    debts: { rpm: 0, tpm: 0 },
    recent: { rpm: { at: 0, now: 0, before: 0 }, tpm: { at: 0, now: 0, before: 0 } },
    steps: { concurrent: 0, day: 0, month: 0 },
    short: null,
  };
}

/** How much of a rate may be used now; below zero where more was used than leased. */
export function freeRate(tenant: Tenant, name: Rate, now: number): number {
  return tenant.slices[name].reduce((sum, { left, until }) => (until > now ? sum + left : sum), -tenant.debts[name]);
}

/** Takes what was used, from what runs out first. What was held and is not used is not given back: its slice may be over. */
export function useRate(tenant: Tenant, name: Rate, amount: number, now: number): void {
  const slices = tenant.slices[name].filter(({ left, until }) => until > now && left > 0);
  let owed = Math.max(0, amount);
  noteRecent(tenant.recent[name], owed, now);
  for (const slice of slices) {
    const used = Math.min(slice.left, owed);
    slice.left -= used;
    owed -= used;
  }
  tenant.debts[name] += owed;
  tenant.slices[name] = slices.filter(({ left }) => left > 0);
}

/** Whether the first shard has lately said that so much does not fit. */
export function isShort({ short }: Tenant, needs: Amounts, now: number): boolean {
  const names = [...rates, ...gauges];
  return (
    short !== null &&
    short.at + shortMs > now &&
    names.some((name) => short.needs[name] > 0 && needs[name] >= short.needs[name])
  );
}

/** The limits of which it is time to ask for more before it is needed: of rates where less than half of what the last stretch took is left. */
export function findLow(
  tenant: Tenant,
  taken: Taken,
  limited: readonly (keyof Amounts)[],
  now: number,
): readonly (keyof Amounts)[] {
  if (tenant.short !== null && tenant.short.at + shortMs > now) {
    return [];
  }
  return limited.filter((name) => {
    if (isRate(name)) {
      const use = recentUse(tenant.recent[name], now);
      return use > 1 && freeRate(tenant, name, now) < use / 2;
    }
    const room = ceilingOf(tenant, taken, name, now) - taken.gauges[name];
    return tenant.steps[name] > 1 && room < tenant.steps[name] / 2;
  });
}

/** Whether anything is leased that is not taken and can be given back. */
export function hasSpare(tenant: Tenant, taken: Taken, now: number): boolean {
  return gauges.some((name) => ceilingOf(tenant, taken, name, now) > taken.gauges[name]);
}

/** What an ask is for: a call's needs and more of what is named, or nothing but giving back what is not taken. */
export type Purpose =
  | {
      readonly kind: "lease";
      readonly needs: Amounts;
      readonly more: readonly (keyof Amounts)[];
      /** How many other calls wait for as much. */
      readonly waiting: number;
    }
  | { readonly kind: "return" };

/** Makes the next ask. */
export function makeAsk(tenant: Tenant, shard: string, taken: Taken, purpose: Purpose, now: number): LeaseAsk {
  const needs = purpose.kind === "lease" ? purpose.needs : noAmounts;
  const waiting = purpose.kind === "lease" ? purpose.waiting : 0;
  const wants: Record<keyof Amounts, number> = { ...needs };
  tenant.seq = Math.max(now, tenant.seq + 1);
  for (const name of gauges) {
    const { [name]: own } = taken.gauges;
    tenant.ceilings[name] = purpose.kind === "return" ? own : Math.max(ceilingOf(tenant, taken, name, now), own);
  }
  tenant.spans = taken.spans;
  for (const name of purpose.kind === "lease" ? purpose.more : []) {
    // How far a wish goes is the first shard's to say.
    wants[name] = isRate(name) ? Math.max(needs[name] * (1 + waiting), recentUse(tenant.recent[name], now)) : Infinity;
  }
  return {
    shard,
    incarnation: tenant.incarnation,
    seq: tenant.seq,
    loaded: tenant.loaded,
    ceilings: { ...tenant.ceilings },
    spent: taken.spent,
    spans: taken.spans,
    needs,
    wants,
  };
}

/** Takes a lease; one that answers another ask than the last is void. */
export function takeLease(tenant: Tenant, ask: LeaseAsk, answer: LeaseAnswer, sentAt: number, now: number): void {
  if (answer.seq !== tenant.seq) {
    return;
  }
  tenant.leased_at = sentAt;
  for (const name of gauges) {
    if (name === "concurrent" || (answer.spans[name] === ask.spans[name] && tenant.spans[name] === ask.spans[name])) {
      tenant.steps[name] = Math.max(0, answer.ceilings[name] - ask.ceilings[name]);
      tenant.ceilings[name] = answer.ceilings[name];
    }
  }
  for (const name of rates) {
    const paid = Math.min(tenant.debts[name], answer.rates[name]);
    tenant.debts[name] -= paid;
    if (answer.rates[name] > paid) {
      tenant.slices[name].push({ left: answer.rates[name] - paid, until: sentAt + answer.rate_ms });
    }
  }
  if (isAny(ask.needs)) {
    tenant.short = answer.short.length > 0 ? { needs: ask.needs, at: now, waits: answer.short } : null;
  }
}

/** What of money and places may be taken here in all. */
export function ceilingOf(tenant: Tenant, taken: Taken, name: keyof Gauges, now: number): number {
  const isOver = name === "concurrent" ? now >= tenant.leased_at + placesMs : tenant.spans[name] !== taken.spans[name];
  return isOver ? 0 : tenant.ceilings[name];
}

function isAny(amounts: Amounts): boolean {
  return [...rates, ...gauges].some((name) => amounts[name] > 0);
}

function isRate(name: keyof Amounts): name is Rate {
  return name === "rpm" || name === "tpm";
}

function noteRecent(recent: { at: number; now: number; before: number }, amount: number, now: number): void {
  const stretch = Math.floor(now / stretchMs);
  if (stretch !== recent.at) {
    recent.before = stretch === recent.at + 1 ? recent.now : 0;
    recent.now = 0;
    recent.at = stretch;
  }
  recent.now += amount;
}

function recentUse(
  recent: { readonly at: number; readonly now: number; readonly before: number },
  now: number,
): number {
  const age = Math.floor(now / stretchMs) - recent.at;
  return age > 1 ? 0 : Math.ceil(age === 1 ? recent.now : Math.max(recent.now, recent.before));
}
