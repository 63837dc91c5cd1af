/** What a shard that is not the first makes of its own due cool-downs: for which call it asks for a probe, and what the answer changes. Pure. */
import { authorizeKey } from "./authorize.js";
import { cooldownKey, endCooldown, leaseProbe, releaseProbe } from "./cooldown.js";
import { leaseEnd, ticketGraceMs } from "./decide.js";
import { findPool, findPoolById } from "./implicit.js";
import type { AdmitRequest, Admission, Ticket } from "./model.js";
import { askAgainMs, describeEntry, type ProbeAnswer, type ProbeAsk } from "./probe-grants.js";
import { findProbe, withFallbacks, type Seeker } from "./select.js";
import { elsewhere, needsGrant, receiveCooling } from "./spread.js";
import type { LivePool, RouterState } from "./state.js";
import { findRequest } from "./tickets.js";

/** How long the first shard may take to answer: its caller waits for it. */
export const askPatienceMs = 2_000;

/** A first shard that can't be asked holds a due cool-down up no longer than this: then each shard may probe for itself. */
const holdMs = 10_000;

/** What to ask before a call is admitted; null nearly always. The probe is held for the call meanwhile, so that nobody else asks. */
export function askForAdmit(state: RouterState, request: AdmitRequest, now: number): ProbeAsk | null {
  if (!mayAsk(state) || findRequest(state.tickets, request.request_id) !== undefined) {
    return null;
  }
  const verdict = authorizeKey(state, request, now);
  if (verdict.kind === "refused") {
    return null;
  }
  const found = findPool(verdict.config, request);
  if (found.kind !== "pool") {
    return null;
  }
  const { policy } = found.pool.row;
  const until = leaseEnd(policy, request.stream ?? false, now + policy.total_timeout_ms, now);
  const seeker = { request_id: request.request_id, tried: [], endpoint: request.endpoint };
  return ask(state, withFallbacks(verdict.config, found.pool), seeker, until, now);
}

/** What to ask before a failed attempt is followed by the next. */
export function askForNext(state: RouterState, ticket: Ticket, now: number): ProbeAsk | null {
  if (!mayAsk(state) || state.config === null) {
    return null;
  }
  const pool = findPoolById(state.config, ticket.pool_id);
  const isAnswered = findRequest(state.tickets, ticket.request_id)?.tickets.at(-1)?.attempt !== ticket.attempt;
  if (pool === undefined || isAnswered || ticket.attempt >= ticket.policy.max_attempts) {
    return null;
  }
  const until = leaseEnd(ticket.policy, ticket.stream ?? false, ticket.deadline_at - ticketGraceMs, now);
  return ask(state, withFallbacks(state.config, pool), ticket, until, now);
}

/** Takes the first shard's answer; null when it gave none. With a grant, the call that was asked for is admitted as the probe. */
export function takeAnswer(state: RouterState, asked: ProbeAsk, answer: ProbeAnswer | null, now: number): void {
  const { cooldowns, spread } = state;
  const { key } = asked.cooling;
  const entry = cooldowns.entries.get(key);
  if (entry === undefined || entry.lease?.request_id !== asked.request_id) {
    // It ended meanwhile, or the call has waited so long that its place was taken: what was granted goes back.
    if (answer?.kind === "granted") {
      spread.grants.set(key, asked.request_id);
    }
    return;
  }
  switch (answer?.kind) {
    case "granted":
      spread.grants.set(key, asked.request_id);
      leaseProbe(cooldowns, key, asked.request_id, now + asked.lease_ms);
      break;
    case "over":
      endCooldown(cooldowns, key, answer.at);
      break;
    case "wait":
      receiveCooling(cooldowns, answer.cooling);
      leaseProbe(cooldowns, key, elsewhere, now + answer.wait_ms);
      spread.asked.set(key, now + askAgainMs);
      break;
    case undefined:
      if (now - entry.until >= holdMs) {
        // The first shard is away for longer than a restart takes: a probe too many is better than none.
        leaseProbe(cooldowns, key, asked.request_id, now + asked.lease_ms);
      } else {
        leaseProbe(cooldowns, key, elsewhere, entry.until + holdMs);
        spread.asked.set(key, now + askAgainMs);
      }
      break;
  }
}

/** Takes what became of the call: a probe that was granted and not used passes on. */
export function dropUnused(state: RouterState, asked: ProbeAsk, answer: Admission): void {
  const { key } = asked.cooling;
  const used = answer.kind === "ticket" && answer.probe ? answer.instance : null;
  if (used === null || cooldownKey(used.credential_id, used.model) !== key) {
    releaseProbe(state.cooldowns, { key, request_id: asked.request_id });
  }
}

function mayAsk({ cooldowns, spread }: RouterState): boolean {
  return cooldowns.entries.size > 0 && needsGrant(spread);
}

function ask(
  state: RouterState,
  pools: readonly LivePool[],
  seeker: Pick<Seeker, "request_id" | "tried" | "endpoint">,
  until: number,
  now: number,
): ProbeAsk | null {
  const key = findProbe(state, pools, seeker, now)?.cooldown_key;
  const entry = key === undefined ? undefined : state.cooldowns.entries.get(key);
  if (key === undefined || entry === undefined) {
    return null;
  }
  leaseProbe(state.cooldowns, key, seeker.request_id, now + askPatienceMs + askAgainMs);
  return { request_id: seeker.request_id, cooling: describeEntry(key, entry), lease_ms: until - now };
}
