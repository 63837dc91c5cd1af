/** Admission and fail-over: who may call, where the call goes, and where it goes next. Pure but for the state it is given; `now` is epoch milliseconds. */
import type { PoolPolicy } from "../snapshot/model.js";
import { authorizeKey, refuse, type Authorized } from "./authorize.js";
import { findPool, findPoolById, type Found } from "./implicit.js";
import { expire, noteRefusal } from "./charges.js";
import {
  checkLimits,
  costBar,
  holdCall,
  rateOf,
  releaseHold,
  takeRequests,
  tokenRateOf,
  type CallSize,
} from "./holds.js";
import type { AdmitRequest, Admission, Failure, Refusal, Ticket } from "./model.js";
import { reportFailure } from "./report.js";
import { awaitEnd, logPick, logRefusal, noteSurveys } from "./request-log.js";
import { createTrace, type PoolSurvey } from "./request-trace.js";
import { poolsWaitMs, selectAcross, servesCall, withFallbacks, type Seeker } from "./select.js";
import {
  workspaceScope,
  type LiveConfig,
  type LiveInstance,
  type LiveKey,
  type LivePool,
  type RouterState,
} from "./state.js";
import { advanceRequest, closeRequest, findRequest, openRequest, type OpenRequest } from "./tickets.js";
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
  expire(state, now);
  const known = findRequest(state.tickets, request.request_id);
  const verdict = authorizeKey(state, request, now);
  if (verdict.kind === "refused") {
    if (known !== undefined) {
      releaseHold(state, known, now);
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
  return found.kind === "pool" ? issueFirst(state, verdict, found.pool, request, now) : refuseName(found);
}

/** Takes into the log that a known key's call was refused, once the answer stands: a shard that leases its limits may decide several times. */
export function logRefused(state: RouterState, request: AdmitRequest, answer: Admission, now: number): void {
  const key = answer.kind === "refused" ? state.config?.keys.get(request.key_digest) : undefined;
  if (answer.kind === "refused" && key !== undefined) {
    const poolId = state.config?.pools_by_name.get(request.model)?.row.id ?? null;
    logRefusal(state.log, { ...request, key_id: key.row.id, pool_id: poolId }, answer, now);
  }
}

/**
 * Takes a failed attempt and gives the next one: report and new pick in one, never an instance already tried. A repeat for the
 * same attempt gets the same answer. A refusal ends the request: it holds no place any more.
 */
export function next(state: RouterState, ticket: Ticket, failure: Failure, now: number): Admission {
  expire(state, now);
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
    releaseHold(state, request, now);
    closeRequest(state.tickets, request, now);
    awaitEnd(state.log, request, now);
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

/** Why limits or budgets refuse a call; null when they do not. That a pool cannot serve it at all comes first: waiting would not help. */
function refuseByLimits(
  state: RouterState,
  config: LiveConfig,
  key: LiveKey,
  call: CallSize,
  now: number,
): Refusal | null {
  const refusal = checkLimits(state, config, key, call, now);
  if (refusal === null) {
    return null;
  }
  if (!isServed(call)) {
    return refuse("endpoint_not_served", null, refusal.rate);
  }
  const { limit } = refusal;
  if (limit !== undefined && (limit.name === "day" || limit.name === "month") && limit.never !== true) {
    noteRefusal(state, limit.scope === "key" ? key.row.id : workspaceScope, limit, refusal.retry_after_ms);
  }
  return refusal;
}

function isServed({ endpoint, pools }: CallSize): boolean {
  return pools.some(({ instances }) => instances.some((instance) => servesCall(instance, endpoint)));
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
  const pools = withFallbacks(config, pool);
  const call: CallSize = { estimate: request.estimate, endpoint, policy, pools };
  const refusal = refuseByLimits(state, config, key, call, now);
  if (refusal !== null) {
    return refusal;
  }
  const bar = costBar(state, config, key, call, 0, now);
  const surveys: PoolSurvey[] = [];
  const seeker: Seeker = { request_id: requestId, tried: [], endpoint, bar, sticky, lease_until: leaseUntil, surveys };
  const selection = selectAcross(state, pools, seeker, now);
  if (selection.kind === "none") {
    noteSurveys(state.log, requestId, surveys);
    const code = isServed(call) ? "pool_exhausted" : "endpoint_not_served";
    const wait = code === "pool_exhausted" ? selection.wait_ms : null;
    return { ...refuse(code, wait, rateOf(state, key, now)), ...tokenRateOf(state, key, now) };
  }
  takeRequests(state, config, key, now);
  const held = holdCall(state, config, key, { key_id: key.row.id, hold: null }, call, selection.instance, now);
  const ticket: Ticket = {
    ...firstTicket(config, key, pool, request, now),
    instance: nameInstance(selection.instance),
    tried: [selection.instance.row.id],
    probe: selection.cause === "probe",
    sticky,
    rate: rateOf(state, key, now),
    ...tokenRateOf(state, key, now),
    ...held,
  };
  const opened = openRequest(state.tickets, ticket);
  opened.hold = ticket.hold ?? null;
  opened.trace = createTrace(now, endpoint ?? null, request.model);
  logPick(opened, ticket, selection.cause, surveys);
  noteUse(state.credential_uses, ticket.instance.credential_id, now);
  return ticket;
}

/** What a request's first ticket says before anybody is picked. */
function firstTicket(
  config: LiveConfig,
  key: LiveKey,
  { row: { id: poolId, policy } }: LivePool,
  { endpoint, request_id: requestId, stream = false }: AdmitRequest,
  now: number,
) {
  return {
    kind: "ticket",
    request_id: requestId,
    attempt: 1,
    key_id: key.row.id,
    pool_id: poolId,
    config: config.address,
    policy,
    issued_at: now,
    deadline_at: now + policy.total_timeout_ms + ticketGraceMs,
    blamed: false,
    stream,
    ...(endpoint === undefined ? {} : { endpoint }),
  } as const;
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
  const { endpoint, estimate, policy, request_id: requestId, tried } = last;
  const key = config.keys_by_id.get(last.key_id);
  const bar = costBar(state, config, key, { estimate, policy }, request.hold?.cost ?? 0, now);
  const surveys: PoolSurvey[] = [];
  const seeker: Seeker = { request_id: requestId, tried, endpoint, bar, sticky, lease_until: leaseUntil, surveys };
  const selection = selectAcross(state, pools, seeker, now);
  if (selection.kind === "none") {
    return refuse(selection.has_untried ? "pool_exhausted" : "attempts_exhausted", selection.wait_ms, last.rate);
  }
  const { price: _, hold: __, output_cap: ___, ...carried } = last;
  const ticket: Ticket = {
    ...carried,
    ...holdCall(state, config, key, request, { estimate, policy }, selection.instance, now),
    attempt: last.attempt + 1,
    instance: nameInstance(selection.instance),
    tried: [...last.tried, selection.instance.row.id],
    config: config.address,
    issued_at: now,
    probe: selection.cause === "probe",
    blamed: request.blamed,
  };
  request.hold = ticket.hold ?? null;
  advanceRequest(state.tickets, request, ticket);
  logPick(request, ticket, selection.cause, surveys);
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
