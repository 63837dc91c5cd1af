/** Which credential × model must be left alone, until when, and who may probe it. A pure state machine; times are epoch milliseconds. */
import type { Failure, FailureClass } from "./model.js";

/** A cool-down of one credential × model. It ends by evidence, not by time: when it is due, one probe at a time may bring that. */
export interface Cooldown {
  /** When the present round began. Only evidence from calls issued later can confirm or end it. */
  since: number;
  /** When a probe is due. */
  until: number;
  reason: FailureClass;
  /** Confirmations in a row, the doubling exponent. */
  streak: number;
  lease: { readonly request_id: string; readonly until: number } | null;
}

/** Everything that cools or is out. `dirty` and `dirty_outs` name what changed since the ledger last wrote. */
export interface Cooldowns {
  readonly entries: Map<string, Cooldown>;
  /** Credentials that a provider refused, by id, with the time of the refusal: out until validated later than that. */
  readonly outs: Map<string, number>;
  /** Failures that did not cool, waiting for another request's confirmation. Memory only: losing one costs a little patience. */
  readonly notes: Map<string, { readonly request_id: string; readonly at: number }>;
  readonly dirty: Set<string>;
  readonly dirty_outs: Set<string>;
  /** What is over: cool-downs that began before this time. So that a late word of one does not bring it back; memory only, the worst is a probe too many. */
  readonly ended: Map<string, number>;
  /** Cool-downs that this shard saw begin, grow or end, and credentials that it saw refused, since `spread.ts` last looked. */
  readonly changed: Set<string>;
  readonly changed_outs: Set<string>;
}

/** Where a call went. */
export interface CallSite {
  /** From `cooldownKey`. */
  readonly key: string;
  readonly credential_id: string;
  readonly request_id: string;
  readonly issued_at: number;
}

/** How a class of failure cools: the first round, the ceiling of doubling, and whether the provider's own hint replaces the table's figure. */
interface Reaction {
  readonly first_ms: number;
  readonly most_ms: number;
  readonly hint: boolean;
}

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

const reactions = {
  rate_limit: { first_ms: minute, most_ms: hour, hint: true },
  quota: { first_ms: 10 * minute, most_ms: 6 * hour, hint: false },
  model_missing: { first_ms: 10 * minute, most_ms: 10 * minute, hint: false },
  transient: { first_ms: 10 * second, most_ms: 5 * minute, hint: false },
  overloaded: { first_ms: 10 * second, most_ms: 5 * minute, hint: true },
} as const satisfies Partial<Record<FailureClass, Reaction>>;

/** A provider's hint counts between these. */
const leastHintMs = second;
const mostHintMs = hour;

/** A noted failure waits this long for another request to confirm it. */
const confirmWithinMs = minute;

/** An end is told, and holds against late words, for this long: no hint of a provider counts for more. */
const rememberEndMs = hour;

/** Nothing cools. */
export function createCooldowns(): Cooldowns {
  return {
    entries: new Map(),
    outs: new Map(),
    notes: new Map(),
    dirty: new Set(),
    dirty_outs: new Set(),
    ended: new Map(),
    changed: new Set(),
    changed_outs: new Set(),
  };
}

/** The name under which a credential × model cools. Ids hold no space. */
export function cooldownKey(credentialId: string, model: string): string {
  return `${credentialId} ${model}`;
}

/** Whether a request may cool only one instance by failures of this kind: a poison prompt fails everywhere, and not by the instances' fault. */
function isBlameable(failure: Failure): boolean {
  return failure.class === "transient" || failure.class === "overloaded" || failure.timed_out;
}

/** When the cool-down can next be probed: its end, or the end of a running probe's lease. A value not after `now` means that a probe is due. */
export function dueAt(cooldown: Cooldown, now: number): number {
  return cooldown.lease !== null && cooldown.lease.until > now
    ? Math.max(cooldown.lease.until, cooldown.until)
    : cooldown.until;
}

/** Whether a probe is under way. */
export function isProbing(cooldown: Cooldown, now: number): boolean {
  return cooldown.lease !== null && cooldown.lease.until > now;
}

/** Gives the one probe to a request until `until`, its commit deadline. The caller has seen that the cool-down is due. */
export function leaseProbe(cooldowns: Cooldowns, key: string, requestId: string, until: number): void {
  const entry = cooldowns.entries.get(key);
  if (entry !== undefined) {
    entry.lease = { request_id: requestId, until };
    cooldowns.dirty.add(key);
  }
}

/**
 * Takes a failed call. `blamed` says that the request has cooled an instance before; answers whether it has cooled this one.
 * `validatedAt` is when the credential was last proved good: a refusal of a call issued before that is about an older secret.
 */
export function failCall(
  cooldowns: Cooldowns,
  site: CallSite,
  failure: Failure,
  blamed: boolean,
  validatedAt: number | null,
  now: number,
): boolean {
  if (failure.class === "caller_fault") {
    succeedCall(cooldowns, site);
    return false;
  }
  if (failure.class === "credential") {
    releaseProbe(cooldowns, site);
    takeOut(cooldowns, site, validatedAt, now);
    return false;
  }
  if (isBlameable(failure) && blamed && !isConfirmed(cooldowns, site, now)) {
    releaseProbe(cooldowns, site);
    return false;
  }
  coolDown(cooldowns, site, failure.class, failure.retry_after_ms, now);
  return true;
}

/** Takes a call that got through (or whose failure was the caller's own): ends the cool-down that began before it was issued. */
export function succeedCall(cooldowns: Cooldowns, site: CallSite): void {
  const entry = cooldowns.entries.get(site.key);
  cooldowns.notes.delete(site.key);
  if (entry !== undefined && site.issued_at > entry.since) {
    endCooldown(cooldowns, site.key, site.issued_at);
    cooldowns.changed.add(site.key);
  } else {
    releaseProbe(cooldowns, site);
  }
}

/** Takes a call that ended without evidence (the caller left, our own side failed): its probe, if it had one, passes on; nothing doubles. */
export function releaseProbe(cooldowns: Cooldowns, site: Pick<CallSite, "key" | "request_id">): void {
  const entry = cooldowns.entries.get(site.key);
  if (entry !== undefined && entry.lease?.request_id === site.request_id) {
    entry.lease = null;
    cooldowns.dirty.add(site.key);
  }
}

/** Ends a cool-down because somebody says so. What fails afterwards begins a first round. */
export function clearCooldown(cooldowns: Cooldowns, key: string, now: number): void {
  const entry = cooldowns.entries.get(key);
  cooldowns.notes.delete(key);
  if (entry !== undefined) {
    // One that began in this very millisecond is over, too.
    endCooldown(cooldowns, key, Math.max(now, entry.since) + 1);
    cooldowns.changed.add(key);
  }
}

/** Takes the end of the cool-downs that began before `at`. */
export function endCooldown(cooldowns: Cooldowns, key: string, at: number): void {
  const entry = cooldowns.entries.get(key);
  cooldowns.ended.set(key, Math.max(at, cooldowns.ended.get(key) ?? 0));
  if (entry !== undefined && entry.since < at) {
    cooldowns.notes.delete(key);
    cooldowns.entries.delete(key);
    cooldowns.dirty.add(key);
  }
}

/** When the last cool-down of this name ended, as long as it matters; null for none. */
export function endedAt(cooldowns: Cooldowns, key: string, now: number): number | null {
  const at = cooldowns.ended.get(key) ?? -Infinity;
  return at + rememberEndMs > now ? at : null;
}

/** Takes a cool-down that another shard saw: of two the longer one holds, and one that is known to be over does not come back. */
export function mergeCooldown(cooldowns: Cooldowns, key: string, told: Omit<Cooldown, "lease">): void {
  const entry = cooldowns.entries.get(key);
  if (told.since < (cooldowns.ended.get(key) ?? -Infinity)) {
    return;
  }
  if (entry === undefined) {
    cooldowns.entries.set(key, { ...told, lease: null });
    cooldowns.dirty.add(key);
    return;
  }
  const { since, streak, until } = entry;
  if (told.since >= since) {
    entry.streak = told.since > since ? told.streak : Math.max(streak, told.streak);
    entry.since = told.since;
  }
  if (told.until > until) {
    entry.until = told.until;
    entry.reason = told.reason;
  }
  if (entry.since !== since || entry.streak !== streak || entry.until !== until) {
    cooldowns.dirty.add(key);
  }
}

/** Takes a refusal of a credential that another shard saw, unless it was proved good later. */
export function mergeOut(cooldowns: Cooldowns, credentialId: string, since: number, validatedAt: number | null): void {
  const known = cooldowns.outs.get(credentialId) ?? -Infinity;
  if (since > known && since >= (validatedAt ?? -Infinity)) {
    cooldowns.outs.set(credentialId, since);
    cooldowns.dirty_outs.add(credentialId);
  }
}

/** Takes a credential back that was proved good at `validatedAt`, if that is later than its refusal. */
export function restoreCredential(cooldowns: Cooldowns, credentialId: string, validatedAt: number): void {
  const since = cooldowns.outs.get(credentialId);
  if (since !== undefined && validatedAt > since) {
    cooldowns.outs.delete(credentialId);
    cooldowns.dirty_outs.add(credentialId);
  }
}

/** Forgets what nobody asks about any more: cool-downs that are due and belong to no instance, outs of vanished credentials, old notes. */
export function pruneCooldowns(
  cooldowns: Cooldowns,
  isKeyUsed: (key: string) => boolean,
  isCredential: (id: string) => boolean,
  now: number,
): void {
  for (const [key, entry] of cooldowns.entries) {
    if (!isKeyUsed(key) && dueAt(entry, now) <= now) {
      cooldowns.entries.delete(key);
      cooldowns.dirty.add(key);
    }
  }
  for (const id of cooldowns.outs.keys()) {
    if (!isCredential(id)) {
      cooldowns.outs.delete(id);
      cooldowns.dirty_outs.add(id);
    }
  }
  for (const [key, note] of cooldowns.notes) {
    if (now - note.at > confirmWithinMs) {
      cooldowns.notes.delete(key);
    }
  }
  for (const key of cooldowns.ended.keys()) {
    if (endedAt(cooldowns, key, now) === null) {
      cooldowns.ended.delete(key);
    }
  }
}

function takeOut(cooldowns: Cooldowns, site: CallSite, validatedAt: number | null, now: number): void {
  const since = cooldowns.outs.get(site.credential_id);
  // Refusals that ran beside the first one don't move its time: a validation made between them must still count as later.
  const isNews = since === undefined || site.issued_at > since;
  if (isNews && site.issued_at > (validatedAt ?? -Infinity)) {
    cooldowns.outs.set(site.credential_id, now);
    cooldowns.dirty_outs.add(site.credential_id);
    cooldowns.changed_outs.add(site.credential_id);
  }
}

function isConfirmed(cooldowns: Cooldowns, site: CallSite, now: number): boolean {
  const note = cooldowns.notes.get(site.key);
  const stands = note !== undefined && now - note.at <= confirmWithinMs;
  if (stands && note.request_id !== site.request_id) {
    cooldowns.notes.delete(site.key);
    return true;
  }
  if (!stands) {
    cooldowns.notes.set(site.key, { request_id: site.request_id, at: now });
  }
  return false;
}

function coolDown(
  cooldowns: Cooldowns,
  site: CallSite,
  reason: keyof typeof reactions,
  hintMs: number | null,
  now: number,
): void {
  const entry = cooldowns.entries.get(site.key);
  cooldowns.dirty.add(site.key);
  if (entry === undefined) {
    cooldowns.changed.add(site.key);
    cooldowns.entries.set(site.key, {
      since: now,
      until: now + roundMs(reason, 0, hintMs),
      reason,
      streak: 0,
      lease: null,
    });
    return;
  }
  if (entry.lease?.request_id === site.request_id) {
    entry.lease = null;
  }
  // A call issued in the very millisecond of the first failure ran beside it: only a later one can have been a probe.
  const isNewRound = site.issued_at > entry.since;
  const streak = !isNewRound ? entry.streak : entry.reason === reason ? entry.streak + 1 : 0;
  const start = isNewRound ? now : entry.since;
  const hinted = reactions[reason].hint && hintMs !== null;
  const until = (hinted ? now : start) + roundMs(reason, streak, hintMs);
  if (isNewRound) {
    entry.since = now;
    entry.streak = streak;
  }
  if (isNewRound || until > entry.until) {
    cooldowns.changed.add(site.key);
  }
  if (until >= entry.until) {
    entry.until = until;
    entry.reason = reason;
  }
}

function roundMs(reason: keyof typeof reactions, streak: number, hintMs: number | null): number {
  const reaction: Reaction = reactions[reason];
  if (reaction.hint && hintMs !== null) {
    return Math.min(Math.max(hintMs, leastHintMs), mostHintMs);
  }
  return Math.min(reaction.first_ms * 2 ** streak, reaction.most_ms);
}
