/**
 * A workspace's limits, shared out by its first shard: the others lease slices and count only within them, so that the sum never passes. What is leased
 * counts as used until it is given back, or until nobody can have used it any more. Pure; requests, tokens, micro-dollars; epoch milliseconds.
 */
import { windowMs } from "./limits.js";
import { spanStart } from "./spend.js";

/** Limits over a sliding window: leases of them run out by themselves. */
export const rates = ["rpm", "tpm"] as const;
export type Rate = (typeof rates)[number];

/** Limits of a level: a shard may take up to its ceiling. Of money, in one day or month. */
export const gauges = ["concurrent", "day", "month"] as const;
export type Gauge = (typeof gauges)[number];

/** An amount of each limit. */
export type Rates = Readonly<Record<Rate, number>>;
export type Gauges = Readonly<Record<Gauge, number>>;
export type Amounts = Rates & Gauges;

/** When the day and the month began that are meant. */
export interface Spans {
  readonly day: number;
  readonly month: number;
}

/** A shard's ask. Asks of one `incarnation` count up by `seq`; whatever is not the latest is void, on both sides. */
export interface LeaseAsk {
  readonly shard: string;
  /** Another one whenever the shard's memory began anew. */
  readonly incarnation: string;
  /** When it was asked, or later where two asks fell on one millisecond. */
  readonly seq: number;
  /** What the shard knew to be taken when it began: what its predecessor may have taken beyond that is nobody's any more. */
  readonly loaded: Gauges;
  /** What it holds itself to from here on: at most what it was given, and never below what is taken. */
  readonly ceilings: Gauges;
  /** Of the ceilings, what is spent for good. */
  readonly spent: Spans;
  readonly spans: Spans;
  /** What a waiting call needs: given whole or not at all. */
  readonly needs: Amounts;
  /** What it would like; given as far as one lease goes. */
  readonly wants: Amounts;
}

/** What the first shard leases. */
export interface LeaseAnswer {
  readonly seq: number;
  /** The asker's ceilings, in these spans. */
  readonly ceilings: Gauges;
  readonly spans: Spans;
  /** Requests and tokens, to be used within `rate_ms` from the asking. */
  readonly rates: Rates;
  readonly rate_ms: number;
  /** Needs that did not fit, and how long until they may: null when nobody knows. */
  readonly short: readonly { readonly name: Rate | Gauge; readonly wait_ms: number | null }[];
}

/** Part of a sliding window that is leased: it counts until then. */
interface Lent {
  readonly amount: number;
  readonly until: number;
}

/** One shard's leases. */
export interface Account {
  incarnation: string;
  seq: number;
  spans: Spans;
  ceilings: Record<Gauge, number>;
  spent: Spans;
  /** What forgotten incarnations may have taken, of money in the present spans. */
  lost: { day: number; month: number };
  /** The same of running calls: they end at the latest then. */
  running: Lent[];
  rates: Record<Rate, Lent[]>;
}

/** Every other shard's account, by region. */
export type Lender = Map<string, Account>;

/** A lease is at most this part of what is left, or what one call needs. */
const part = 0.05;
/** Requests and tokens are to be used within this: short, so that what stays unused is soon back; long enough for few asks. */
const rateLeaseMs = 5_000;
/** No call runs longer: the longest total time-out and a ticket's grace. */
const longestCallMs = 3_700_000;
/** A shard takes no call into a place that it has not asked about for so long: one that is gone, and never asks again, keeps none for good. */
export const placesMs = 600_000;

/** How much of a limit is leased out or lost. */
export function lentOf(lender: Lender, name: Rate | Gauge, now: number): number {
  let sum = 0;
  for (const account of lender.values()) {
    sum += lentTo(account, name, now);
  }
  return sum;
}

/** What the first shard knows of a limit: how much nobody uses or has leased (Infinity without a limit), and how long until so much may be had. */
export interface Room {
  readonly left: (name: Rate | Gauge) => number;
  readonly wait: (name: Rate | Gauge, need: number) => number | null;
}

/** Leases what is asked for as far as it goes. */
export function lend(lender: Lender, ask: LeaseAsk, { left, wait }: Room, now: number): LeaseAnswer {
  const account = openAccount(lender, ask, now);
  const spans = { day: spanStart("day", now), month: spanStart("month", now) };
  const isLatest = ask.seq > account.seq;
  if (isLatest) {
    account.seq = ask.seq;
    turnSpans(account, spans);
    takeCeilings(account, ask, spans);
  }
  const short: { readonly name: Rate | Gauge; readonly wait_ms: number | null }[] = [];
  const given = { rpm: 0, tpm: 0 };
  for (const name of isLatest ? rates : []) {
    given[name] = portion(left(name), ask.needs[name], ask.wants[name]);
    if (given[name] < ask.needs[name]) {
      short.push({ name, wait_ms: wait(name, ask.needs[name]) });
    }
    if (given[name] > 0) {
      account.rates[name].push({ amount: given[name], until: now + rateLeaseMs + windowMs });
    }
  }
  for (const name of isLatest ? gauges : []) {
    const isSameSpan = name === "concurrent" || ask.spans[name] === spans[name];
    const more = isSameSpan ? portion(left(name), ask.needs[name], ask.wants[name]) : 0;
    account.ceilings[name] += more;
    if (more < ask.needs[name]) {
      short.push({ name, wait_ms: wait(name, ask.needs[name]) });
    }
  }
  return { seq: ask.seq, ceilings: { ...account.ceilings }, spans, rates: given, rate_ms: rateLeaseMs, short };
}

/** What the other shards have spent in the day or month that began at `start`, as far as they have told. */
export function spentElsewhere(lender: Lender, span: "day" | "month", start: number): number {
  let sum = 0;
  for (const { lost, spans, spent } of lender.values()) {
    sum += spans[span] === start ? spent[span] + lost[span] : 0;
  }
  return sum;
}

/** When leased parts of a window come back, and how much each time. */
export function returnsOf(
  lender: Lender,
  name: Rate,
  now: number,
): readonly { readonly at: number; readonly amount: number }[] {
  return [...lender.values()].flatMap((account) =>
    account.rates[name].filter(({ until }) => until > now).map(({ amount, until }) => ({ at: until, amount })),
  );
}

function portion(left: number, need: number, want: number): number {
  if (left === Infinity) {
    return need;
  }
  const slice = Math.min(want, Math.floor(Math.max(left, 0) * part));
  return need <= left ? Math.max(need, slice) : 0;
}

function lentTo(account: Account, name: Rate | Gauge, now: number): number {
  const sum = (lents: readonly Lent[]): number =>
    lents.reduce((all, { amount, until }) => (until > now ? all + amount : all), 0);
  switch (name) {
    case "rpm":
    case "tpm":
      return sum(account.rates[name]);
    case "concurrent":
      return placesOf(account, now) + sum(account.running);
    case "day":
    case "month": {
      const start = spanStart(name, now);
      if (account.spans[name] >= start) {
        return account.ceilings[name] + account.lost[name];
      }
      // Of the span before only what was not spent can still come, from calls that ran over its end.
      return now < start + longestCallMs ? account.ceilings[name] - account.spent[name] : 0;
    }
  }
}

/** Places that may still be taken: the last ask says when they were known. */
function placesOf({ ceilings, seq }: Account, now: number): number {
  return now < seq + placesMs + longestCallMs ? ceilings.concurrent : 0;
}

function openAccount(lender: Lender, ask: LeaseAsk, now: number): Account {
  const known = lender.get(ask.shard);
  if (known === undefined) {
    const account: Account = {
      incarnation: ask.incarnation,
      seq: 0,
      spans: ask.spans,
      ceilings: { concurrent: 0, day: 0, month: 0 },
      spent: { day: 0, month: 0 },
      lost: { day: 0, month: 0 },
      running: [],
      rates: { rpm: [], tpm: [] },
    };
    lender.set(ask.shard, account);
    return account;
  }
  for (const name of rates) {
    known.rates[name] = known.rates[name].filter(({ until }) => until > now);
  }
  known.running = known.running.filter(({ until }) => until > now);
  if (known.incarnation !== ask.incarnation && ask.seq > known.seq) {
    known.incarnation = ask.incarnation;
    const lostCalls = placesOf(known, now) - ask.loaded.concurrent;
    if (lostCalls > 0) {
      known.running.push({ amount: lostCalls, until: now + longestCallMs });
    }
    for (const name of ["day", "month"] as const) {
      if (known.spans[name] === ask.spans[name]) {
        known.lost[name] += Math.max(0, known.ceilings[name] - ask.loaded[name]);
      }
    }
  }
  return known;
}

function turnSpans(account: Account, spans: Spans): void {
  for (const name of ["day", "month"] as const) {
    if (account.spans[name] < spans[name]) {
      account.ceilings[name] -= account.spent[name];
      account.spent = { ...account.spent, [name]: 0 };
      account.lost[name] = 0;
      account.spans = { ...account.spans, [name]: spans[name] };
    }
  }
}

/** A shard's own word counts for the spans that it speaks of. */
function takeCeilings(account: Account, ask: LeaseAsk, spans: Spans): void {
  account.ceilings.concurrent = ask.ceilings.concurrent;
  for (const name of ["day", "month"] as const) {
    if (ask.spans[name] === spans[name]) {
      account.ceilings[name] = ask.ceilings[name];
      account.spent = { ...account.spent, [name]: ask.spent[name] };
    }
  }
}
