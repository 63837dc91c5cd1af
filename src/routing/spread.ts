/**
 * What the shards of a workspace tell one another: cool-downs that began, grew or ended, credentials that were refused, probes that are over.
 * Every item can be told twice, late and in any order; what is told on is only what a shard saw itself, so nothing echoes. Pure; times are epoch milliseconds.
 */
import type { RouterShards } from "../snapshot/model.js";
import {
  endCooldown,
  endedAt,
  mergeCooldown,
  mergeOut,
  releaseProbe,
  type Cooldown,
  type Cooldowns,
} from "./cooldown.js";

/** A cool-down as another shard is told of it: without its probe, which the first shard alone gives out. */
export interface Cooling extends Omit<Cooldown, "lease"> {
  readonly key: string;
}

/** One item of news. */
export type News =
  | ({ readonly kind: "cooling" } & Cooling)
  /** Cool-downs that began before `at` are over. */
  | { readonly kind: "ended"; readonly key: string; readonly at: number }
  | { readonly kind: "out"; readonly credential_id: string; readonly since: number }
  /** To the first shard: the probe that it granted to this request is over. */
  | { readonly kind: "released"; readonly key: string; readonly request_id: string };

/** What one sibling was not told yet. Items name a thing, and what is told of it is how it stands then. */
export interface Sibling {
  untold: Set<string>;
  /** Under way to it; told again when the call fails. */
  telling: Set<string>;
}

/** This shard among the others. */
export interface Spread {
  /** The region of this shard; null until a version names its workspace. */
  own: string | null;
  /** The region of the first shard; null while the workspace has no key, or was told of by the release before. */
  first: string | null;
  /** By region. */
  readonly siblings: Map<string, Sibling>;
  /** Probes that the first shard granted to requests here: by cool-down, the request. */
  readonly grants: Map<string, string>;
  /** Cool-downs whose probe the first shard has given elsewhere, and when to ask it again. */
  readonly asked: Map<string, number>;
  /** Whether the ledger holds anything untold. */
  is_stored: boolean;
}

/** A shard that knows of no other. */
export function createSpread(): Spread {
  return { own: null, first: null, siblings: new Map(), grants: new Map(), asked: new Map(), is_stored: false };
}

/** Takes which shards there are. A sibling that is new is told everything that cools here: what it asked for may have been answered before. */
export function placeShards(spread: Spread, cooldowns: Cooldowns, shards: RouterShards | undefined): void {
  for (const region of placeKnown(spread, shards)) {
    const untold = [
      ...Array.from(cooldowns.entries.keys(), cooldownItem),
      ...Array.from(cooldowns.outs.keys(), outItem),
    ];
    spread.siblings.set(region, { untold: new Set(untold), telling: new Set() });
  }
}

/** Finds a shard's place again after its object was away: nobody is new, and probes that are leased here were granted. */
export function resumeShards(spread: Spread, cooldowns: Cooldowns, shards: RouterShards | undefined): void {
  for (const region of placeKnown(spread, shards)) {
    spread.siblings.set(region, { untold: new Set(), telling: new Set() });
  }
  for (const [key, { lease }] of needsGrant(spread) ? cooldowns.entries : []) {
    if (lease !== null && lease.request_id !== elsewhere) {
      spread.grants.set(key, lease.request_id);
    }
  }
}

/** Forgets siblings that are gone; answers those that are new. */
function placeKnown(spread: Spread, shards: RouterShards | undefined): readonly string[] {
  spread.first = shards?.first ?? null;
  const others = new Set(spread.own === null ? [] : shards?.all.filter((region) => region !== spread.own));
  for (const region of spread.siblings.keys()) {
    if (!others.has(region)) {
      spread.siblings.delete(region);
    }
  }
  return [...others].filter((region) => !spread.siblings.has(region));
}

/** Whether this shard asks another one before it probes. */
export function needsGrant({ first, own }: Spread): boolean {
  return own !== null && first !== null && own !== first;
}

/** Notes for every sibling what changed here; answers whether anybody is to be told anything. */
export function gatherNews(spread: Spread, cooldowns: Cooldowns): boolean {
  const { changed, changed_outs: outs } = cooldowns;
  if (changed.size > 0 || outs.size > 0) {
    const items = [...Array.from(changed, cooldownItem), ...Array.from(outs, outItem)];
    for (const { untold } of spread.siblings.values()) {
      for (const item of items) {
        untold.add(item);
      }
    }
    changed.clear();
    outs.clear();
  }
  for (const [key, requestId] of spread.grants) {
    if (cooldowns.entries.get(key)?.lease?.request_id !== requestId) {
      spread.grants.delete(key);
      spread.siblings.get(spread.first ?? "")?.untold.add(releaseItem(key, requestId));
    }
  }
  return hasUntold(spread);
}

/** Whether a sibling is still to be told anything. */
export function hasUntold(spread: Spread): boolean {
  for (const { telling, untold } of spread.siblings.values()) {
    if (untold.size > 0 || telling.size > 0) {
      return true;
    }
  }
  return false;
}

/** What a sibling is told next, at most `most` items at once; empty when there is nothing. They are under way until `endTelling`. */
export function takeNews(sibling: Sibling, cooldowns: Cooldowns, most: number, now: number): readonly News[] {
  const news: News[] = [];
  for (const item of sibling.untold) {
    if (news.length >= most) {
      break;
    }
    sibling.untold.delete(item);
    const one = describeItem(cooldowns, item, now);
    if (one !== null) {
      sibling.telling.add(item);
      news.push(one);
    }
  }
  return news;
}

/** Takes whether what was under way has arrived. */
export function endTelling(sibling: Sibling, hasArrived: boolean): void {
  if (!hasArrived) {
    sibling.untold = new Set([...sibling.telling, ...sibling.untold]);
  }
  sibling.telling = new Set();
}

/** Everything that cools here or is out, for a shard that begins. */
export function describeAll(cooldowns: Cooldowns, now: number): readonly News[] {
  const items = [...Array.from(cooldowns.entries.keys(), cooldownItem), ...Array.from(cooldowns.outs.keys(), outItem)];
  return items.flatMap((item) => describeItem(cooldowns, item, now) ?? []);
}

/** Takes another shard's news. `validatedAt` tells when a credential was last proved good, null for never. */
export function receiveNews(
  cooldowns: Cooldowns,
  news: readonly News[],
  validatedAt: (credentialId: string) => number | null,
  now: number,
): void {
  for (const item of news) {
    switch (item.kind) {
      case "cooling":
        // One that is due already would only make somebody probe what may be well.
        if (item.until > now) {
          receiveCooling(cooldowns, item);
        }
        break;
      case "ended":
        endCooldown(cooldowns, item.key, item.at);
        break;
      case "out":
        mergeOut(cooldowns, item.credential_id, item.since, validatedAt(item.credential_id));
        break;
      case "released":
        releaseProbe(cooldowns, item);
        break;
      default:
        // A later release may tell what this one does not know.
        break;
    }
  }
}

/** Takes a cool-down that another shard saw. A probe elsewhere that was only heard of is over with the round it was for. */
export function receiveCooling(cooldowns: Cooldowns, { key, ...told }: Cooling): void {
  const entry = cooldowns.entries.get(key);
  if (entry?.lease?.request_id === elsewhere && told.since > entry.since) {
    entry.lease = null;
  }
  mergeCooldown(cooldowns, key, told);
}

/** Stands in a lease for a request of another shard. */
export const elsewhere = "";

function describeItem(cooldowns: Cooldowns, item: string, now: number): News | null {
  const name = item.slice(2);
  switch (item.slice(0, 2)) {
    case "o ": {
      const since = cooldowns.outs.get(name);
      return since === undefined ? null : { kind: "out", credential_id: name, since };
    }
    case "r ": {
      const space = name.indexOf(" ");
      return { kind: "released", request_id: name.slice(0, space), key: name.slice(space + 1) };
    }
    default:
      return describeCooldown(cooldowns, name, now);
  }
}

function describeCooldown(cooldowns: Cooldowns, key: string, now: number): News | null {
  const entry = cooldowns.entries.get(key);
  if (entry !== undefined) {
    const { reason, since, streak, until } = entry;
    return until > now ? { kind: "cooling", key, since, until, reason, streak } : null;
  }
  const at = endedAt(cooldowns, key, now);
  return at === null ? null : { kind: "ended", key, at };
}

function cooldownItem(key: string): string {
  return `k ${key}`;
}

function outItem(credentialId: string): string {
  return `o ${credentialId}`;
}

function releaseItem(key: string, requestId: string): string {
  return `r ${requestId} ${key}`;
}
