/** What became of a call, taken into account exactly once: failures cool, successes restore, departures pass the probe on. Pure. */
import { refuse } from "./authorize.js";
import { chargeOutcome, expire } from "./charges.js";
import { cooldownKey, failCall, releaseProbe, succeedCall, type CallSite } from "./cooldown.js";
import { releaseHold } from "./holds.js";
import { noteLatency } from "./latency.js";
import type { Failure, Outcome, Ticket } from "./model.js";
import { dropTrace, logEnd, logFailure } from "./request-log.js";
import type { RouterState } from "./state.js";
import { barRequest, closeRequest, findRequest, openRequest, type OpenRequest } from "./tickets.js";

/** Takes an attempt's failure; a second report of the same attempt changes nothing. */
export function reportFailure(
  state: RouterState,
  request: OpenRequest,
  ticket: Ticket,
  failure: Failure,
  now: number,
): void {
  if (ticket.attempt <= request.reported) {
    return;
  }
  request.reported = ticket.attempt;
  state.tickets.dirty.add(request.request_id);
  logFailure(request, ticket, failure, now);
  const site = siteOf(ticket);
  if (failure.ours === true) {
    releaseProbe(state.cooldowns, site);
    return;
  }
  if (isMisled(state, ticket, failure)) {
    releaseProbe(state.cooldowns, site);
    countFailure(state, ticket);
    return;
  }
  const validatedAt = state.config?.credentials.get(ticket.instance.credential_id)?.validated_at_ms ?? null;
  request.blamed = failCall(state.cooldowns, site, failure, request.blamed, validatedAt, now) || request.blamed;
  if (failure.class !== "caller_fault") {
    countFailure(state, ticket);
  }
}

/** A chat asked for embeddings is told that there is no such model. Where it answers another endpoint it is not missing, and callers of that must not lose it. */
function isMisled(state: RouterState, { endpoint, instance }: Ticket, failure: Failure): boolean {
  const served = state.served.get(instance.id);
  return failure.class === "model_missing" && endpoint !== undefined && served !== undefined && served !== endpoint;
}

function countFailure(state: RouterState, ticket: Ticket): void {
  const instance = state.config?.instances.get(ticket.instance.id);
  if (instance !== undefined) {
    instance.failures += 1;
    state.dirty_pools.add(instance.pool_id);
  }
}

/** Takes the news that a probe's first content event is through: its cool-down is over, however long the stream goes on. */
export function committed(state: RouterState, ticket: Ticket): void {
  succeedCall(state.cooldowns, siteOf(ticket));
}

/** Closes requests by their outcomes. Late, repeated and unknown ones are taken for what they still prove, from the ticket's own fields. */
export function settle(state: RouterState, outcomes: readonly Outcome[], now: number): void {
  expire(state, now);
  for (const outcome of outcomes) {
    settleOne(state, outcome, now);
  }
}

/** Ends a request whose ticket nobody will use: no call was made, so nothing is proved. A probe passes on. One that is not known is barred. */
export function abandon(state: RouterState, requestId: string, now: number): void {
  const request = findRequest(state.tickets, requestId);
  if (request === undefined) {
    barRequest(state.tickets, requestId, refuse("attempts_exhausted"), now);
    return;
  }
  const last = request.tickets.at(-1);
  if (last !== undefined && state.tickets.open.has(requestId)) {
    releaseProbe(state.cooldowns, siteOf(last));
    request.reported = last.attempt;
    releaseHold(state, request, now);
    closeRequest(state.tickets, request, now);
    dropTrace(state.log, request);
  }
}

function settleOne(state: RouterState, outcome: Outcome, now: number): void {
  const { ticket } = outcome;
  const known = findRequest(state.tickets, ticket.request_id);
  const request = known ?? openRequest(state.tickets, ticket);
  if (ticket.attempt > request.reported) {
    takeEvidence(state, request, outcome, now);
  }
  const last = request.tickets.at(-1);
  if (last !== undefined && last.attempt > ticket.attempt) {
    // The answer to `next` never reached the gateway: the call it allowed was never made.
    releaseProbe(state.cooldowns, siteOf(last));
    request.reported = last.attempt;
  }
  chargeOutcome(state, request, outcome, now);
  closeRequest(state.tickets, request, now);
  logEnd(state.log, request, outcome, now);
}

function takeEvidence(state: RouterState, request: OpenRequest, outcome: Outcome, now: number): void {
  const { failure, result, ticket } = outcome;
  if (result === "failed" && failure !== null) {
    reportFailure(state, request, ticket, failure, now);
    return;
  }
  request.reported = ticket.attempt;
  if (result === "ok") {
    const { id } = ticket.instance;
    const tookMs = outcome.first_byte_ms ?? outcome.duration_ms;
    state.latencies.set(id, noteLatency(state.latencies.get(id), tookMs, now));
    if (ticket.endpoint !== undefined) {
      state.served.set(id, ticket.endpoint);
    }
  }
  if (result === "ok" || result === "caller_fault") {
    succeedCall(state.cooldowns, siteOf(ticket));
  } else {
    releaseProbe(state.cooldowns, siteOf(ticket));
  }
}

function siteOf(ticket: Ticket): CallSite {
  return {
    key: cooldownKey(ticket.instance.credential_id, ticket.instance.model),
    credential_id: ticket.instance.credential_id,
    request_id: ticket.request_id,
    issued_at: ticket.issued_at,
  };
}
