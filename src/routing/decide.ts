/** Admission and fail-over: who may call, where the call goes, and where it goes next. Pure but for the state it is given; `now` is epoch milliseconds. */
import type { PoolPolicy } from "../snapshot/model.js";
import { authorizeKey, refuse, type Authorized } from "./authorize.js";
import { findPool, findPoolById, type Found } from "./implicit.js";
import { countEvent, createWindow, describeWindow, waitForSlotMs } from "./limits.js";
import type { AdmitRequest, Admission, Failure, RateState, Refusal, Ticket } from "./model.js";
import { reportFailure } from "./report.js";
import { poolsWaitMs, selectAcross, servesCall, withFallbacks, type Seeker } from "./select.js";
import type { LiveConfig, LiveInstance, LiveKey, LivePool, RouterState } from "./state.js";
import { advanceRequest, closeRequest, expireRequests, findRequest, openRequest, type OpenRequest } from "./tickets.js";
import { noteUse } from "./uses.js";

/** A ticket outlives the request's total time-out by this, so that a late `settle` still meets it. */
export const ticketGraceMs = 60_000;

/** A probe's lease outlives its commit deadline by this: 10 s each for the ticket's way, the credential's opening, an error's words, and the report's way. */
const leaseGraceMs = 40_000;

/**
 * Admits a call and picks its instance, or says why not. A refusal consumes nothing. A repeat with the same `request_id`
 * gets the same ticket until the deadline; the id must therefore be the gateway's own, never the client's.
 */
export function admit(state: RouterState, request: AdmitRequest, now: number): Admission {
  expireRequests(state.tickets, now);
  const known = findRequest(state.tickets, request.request_id);
  const verdict = authorizeKey(state, request, now);
  if (verdict.kind === "refused") {
    if (known !== undefined) {
      closeRequest(state.tickets, known, now);
    }
    return verdict;
  }
  const { key, config } = verdict;
  if (known !== undefined) {
    return known.tickets.length === 0 && known.refusal !== null ? known.refusal : repeatTicket(known, key);
  }
  if (key.models !== null && !key.models.has(request.model)) {
    return refuse("model_not_allowed");
  }
  const found = findPool(config, request);
  return found.kind === "pool"
    ? (checkLimits(state, key, now) ?? issueFirst(state, verdict, found.pool, request, now))
    : refuseName(found);
}

/**
 * Takes a failed attempt and gives the next one: report and new pick in one, never an instance already tried. A repeat for the
 * same attempt gets the same answer. A refusal ends the request: it holds no place any more.
 */
export function next(state: RouterState, ticket: Ticket, failure: Failure, now: number): Admission {
  expireRequests(state.tickets, now);
  const known = findRequest(state.tickets, ticket.request_id);
  const answered = known?.tickets.find((given) => given.attempt === ticket.attempt + 1);
  if (answered !== undefined) {
    return answered;
  }
  if (known?.refusal !== undefined && known.refusal !== null) {
    return known.refusal;
  }
  const pool = state.config === null ? undefined : findPoolById(state.config, ticket.pool_id);
  const isOver = now >= ticket.deadline_at || (known !== undefined && !state.tickets.open.has(known.request_id));
  const request = known ?? openRequest(state.tickets, ticket);
  reportFailure(state, request, ticket, failure, now);
  const mayGoOn =
    !isOver &&
    failure.class !== "caller_fault" &&
    ticket.attempt < ticket.policy.max_attempts &&
    now < ticket.deadline_at - ticketGraceMs;
  const pools = pool === undefined || state.config === null ? [] : withFallbacks(state.config, pool);
  const answer =
    mayGoOn && pools.length > 0 && state.config !== null
      ? issueNext(state, state.config, pools, request, ticket, now)
      : refuse("attempts_exhausted", poolsWaitMs(state, pools, now, ticket.endpoint));
  if (answer.kind === "refused") {
    request.refusal = answer;
    closeRequest(state.tickets, request, now);
  }
  return answer;
}

function refuseName(found: Exclude<Found, { kind: "pool" }>): Refusal {
  switch (found.kind) {
    case "none":
      return refuse("model_not_found");
    case "stale":
      return refuse("not_configured");
    case "ambiguous":
      return { ...refuse("model_not_found"), providers: found.providers };
  }
}

function repeatTicket(known: OpenRequest, key: LiveKey): Ticket {
  const [first] = known.tickets;
  if (first === undefined || first.key_id !== key.row.id) {
    throw new Error("two keys used one request id: it must be the gateway's own");
  }
  return first;
}

/** Concurrency first, then the window; null when both have room. Takes nothing. */
function checkLimits(state: RouterState, key: LiveKey, now: number): Refusal | null {
  const { concurrent, id, rpm } = key.row;
  if (concurrent !== null && (state.tickets.by_key.get(id) ?? 0) >= concurrent) {
    // When a running call will end is nobody's to know, so no time is given.
    return refuse("concurrency_limited", null, rateOf(state, key, now));
  }
  const window = rpm === null ? undefined : state.windows.get(id);
  if (rpm === null || window === undefined) {
    return null;
  }
  const waitMs = waitForSlotMs(window, rpm, now);
  return waitMs > 0 ? refuse("rate_limited", waitMs, describeWindow(window, rpm, now)) : null;
}

function issueFirst(
  state: RouterState,
  { config, key }: Authorized,
  pool: LivePool,
  request: AdmitRequest,
  now: number,
): Admission {
  const { request_id: requestId, stream = false, endpoint } = request;
  const { policy } = pool.row;
  const sticky = stickyKey(policy, request);
  const leaseUntil = leaseEnd(policy, stream, now + policy.total_timeout_ms, now);
  const seeker: Seeker = { request_id: requestId, tried: [], endpoint, sticky, lease_until: leaseUntil };
  const pools = withFallbacks(config, pool);
  const selection = selectAcross(state, pools, seeker, now);
  if (selection.kind === "none") {
    if (!pools.some(({ instances }) => instances.some((instance) => servesCall(instance, endpoint)))) {
      return refuse("endpoint_not_served", null, rateOf(state, key, now));
    }
    return refuse("pool_exhausted", selection.wait_ms, rateOf(state, key, now));
  }
  takeRate(state, key, now);
  const ticket: Ticket = {
    kind: "ticket",
    request_id: requestId,
    attempt: 1,
    key_id: key.row.id,
    pool_id: pool.row.id,
    instance: nameInstance(selection.instance),
    tried: [selection.instance.row.id],
    config: config.address,
    policy,
    issued_at: now,
    deadline_at: now + policy.total_timeout_ms + ticketGraceMs,
    probe: selection.cause === "probe",
    blamed: false,
    stream,
    ...(endpoint === undefined ? {} : { endpoint }),
    sticky,
    rate: rateOf(state, key, now),
  };
  openRequest(state.tickets, ticket);
  noteUse(state.credential_uses, ticket.instance.credential_id, now);
  return ticket;
}

function issueNext(
  state: RouterState,
  config: LiveConfig,
  pools: readonly LivePool[],
  request: OpenRequest,
  last: Ticket,
  now: number,
): Admission {
  const leaseUntil = leaseEnd(last.policy, last.stream ?? false, last.deadline_at - ticketGraceMs, now);
  const sticky = last.sticky ?? null;
  const { request_id: requestId, tried, endpoint } = last;
  const seeker: Seeker = { request_id: requestId, tried, endpoint, sticky, lease_until: leaseUntil };
  const selection = selectAcross(state, pools, seeker, now);
  if (selection.kind === "none") {
    return refuse(selection.has_untried ? "pool_exhausted" : "attempts_exhausted", selection.wait_ms, last.rate);
  }
  const ticket: Ticket = {
    ...last,
    attempt: last.attempt + 1,
    instance: nameInstance(selection.instance),
    tried: [...last.tried, selection.instance.row.id],
    config: config.address,
    issued_at: now,
    probe: selection.cause === "probe",
    blamed: request.blamed,
  };
  advanceRequest(state.tickets, request, ticket);
  noteUse(state.credential_uses, ticket.instance.credential_id, now);
  return ticket;
}

/** Whose calls this one should stay with, by the pool's policy; null for nobody's. */
function stickyKey(policy: PoolPolicy, { sticky }: AdmitRequest): number | null {
  const by = policy.sticky ?? "none";
  return by === "none" ? null : (sticky?.[by] ?? null);
}

/** A stream commits at its first content, a JSON answer when it is whole: until then its probe must be the only one. The report or the settling ends the lease earlier. */
export function leaseEnd(policy: PoolPolicy, isStream: boolean, endsAt: number, now: number): number {
  const commitBy = isStream ? Math.min(now + policy.first_byte_timeout_ms, endsAt) : endsAt;
  return commitBy + leaseGraceMs;
}

function nameInstance({ row }: LiveInstance): Ticket["instance"] {
  return {
    id: row.id,
    alias: row.alias,
    provider_name: row.provider_name,
    model: row.model,
    credential_id: row.credential_id,
  };
}

/** Counts one call in the key's window, if it has a limit. */
export function takeRate(state: RouterState, key: LiveKey, now: number): void {
  const { id, rpm } = key.row;
  if (rpm === null) {
    return;
  }
  const window = state.windows.get(id) ?? createWindow();
  countEvent(window, rpm, now);
  state.windows.set(id, window);
  state.dirty_windows.add(id);
}

/** The key's window as its caller sees it; null without a limit. */
export function rateOf(state: RouterState, key: LiveKey, now: number): RateState | null {
  const { id, rpm } = key.row;
  return rpm === null ? null : describeWindow(state.windows.get(id) ?? createWindow(), rpm, now);
}
