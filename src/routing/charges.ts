/** What a call is charged when it ends, once, and what follows for the budgets. Pure but for the state it is given; micro-dollars and epoch milliseconds. */
import { changeHeldTokens, meterOf, releaseHold } from "./holds.js";
import { spentElsewhere, type LeaseAnswer } from "./lender.js";
import { heldRetryMs, spendMoney, type Caps } from "./meters.js";
import type { MetLimit, Outcome, Ticket, Usage } from "./model.js";
import { costOf } from "./price.js";
import { logEnd } from "./request-log.js";
import { spans, type Span } from "./spend.js";
import { needsGrant } from "./spread.js";
import { workspaceScope, type RouterState } from "./state.js";
import { expireRequests, type Charge, type OpenRequest, type TakenCharge } from "./tickets.js";

const nothing: Charge = { tokens: 0, cost: 0, estimated: false };

/** Percent of a budget that are told to people. */
const thresholds = [80, 100] as const;

/**
 * What an ended call is charged: what its provider says it used. Where nobody says, a whole answer is charged what it held, and a call that was
 * broken off or left at least its input. An attempt that failed before any content, and a request that the provider refused, cost nothing.
 */
function chargeOf({ first_byte_ms: firstByteMs, result, ticket, usage }: Outcome): Charge {
  const { estimate } = ticket;
  if (usage !== null) {
    const least = usage.estimated === true ? (estimate?.input_tokens ?? 0) : 0;
    return priced({ ...usage, prompt_tokens: Math.max(usage.prompt_tokens, least) }, ticket);
  }
  if (result === "ok") {
    return heldBy(ticket);
  }
  const wasCalled = result === "departed" || (result === "failed" && firstByteMs !== null);
  return wasCalled && estimate !== undefined
    ? priced({ prompt_tokens: estimate.input_tokens, completion_tokens: 0, estimated: true }, ticket)
    : nothing;
}

/** Takes the charge of a settled call and gives its hold back. A second settling changes nothing; one that comes after the ticket's end corrects what was charged then. */
export function chargeOutcome(state: RouterState, request: OpenRequest, outcome: Outcome, now: number): void {
  if (isOnDisk(state, request, now)) {
    return;
  }
  const known = request.charge ?? forgottenCharge(request, outcome.ticket, now);
  if (known?.expired !== false) {
    take(state, request, { ...chargeOf(outcome), at: now, expired: false }, known, outcome.ticket, now);
  }
}

/** Ends every request whose deadline has come, each charged what it held. Costs one comparison while none has. */
export function expire(state: RouterState, now: number): readonly OpenRequest[] {
  const expired = expireRequests(state.tickets, now);
  for (const request of expired) {
    const ticket = request.tickets.at(-1);
    if (ticket !== undefined && request.hold !== null) {
      take(state, request, { ...heldBy(ticket), at: now, expired: true }, null, ticket, now);
    }
    logEnd(state.log, request, null, now);
  }
  return expired;
}

/** Notes that a budget refused a call. Where it is nearly used up, and not by running calls alone, people are told as if it were used up. */
export function noteRefusal(
  state: RouterState,
  scope: string,
  { limit: budget, name }: MetLimit,
  waitMs: number | null,
): void {
  const span = spans.find((one) => one === name);
  const spent = span === undefined ? 0 : spentOf(state, scope, span);
  if (span !== undefined && waitMs !== null && waitMs > heldRetryMs && spent * 100 >= budget * thresholds[0]) {
    notice(state, scope, span, budget, 100);
  }
}

/** Notes what of the workspace's budgets another shard was refused, and what the shards together have spent. */
export function noteLease(state: RouterState, short: LeaseAnswer["short"]): void {
  noteThresholds(state, workspaceScope);
  for (const { name, wait_ms: waitMs } of short) {
    const limit = state.config?.caps[name] ?? null;
    if (limit !== null) {
      noteRefusal(state, workspaceScope, { scope: "workspace", name, limit }, waitMs);
    }
  }
}

/** A request that the Router had settled before it lost its memory. One whose deadline has come may have been charged what it held, and is corrected. */
function isOnDisk({ log }: RouterState, { charge, deadline_at: end, hold, request_id: id }: OpenRequest, now: number) {
  return charge === null && hold === null && now < end && log.recent.has(id);
}

/** A request that this Router knows nothing of, although it ended by its deadline: it was charged then what it held. */
function forgottenCharge(request: OpenRequest, ticket: Ticket, now: number): TakenCharge | null {
  return request.hold === null && now >= ticket.deadline_at && ticket.hold !== undefined
    ? { ...heldBy(ticket), at: ticket.deadline_at, expired: true }
    : null;
}

function priced(usage: Usage, { price }: Ticket): Charge {
  return {
    tokens: usage.prompt_tokens + usage.completion_tokens,
    cost: price === undefined ? 0 : costOf(usage, price),
    estimated: usage.estimated ?? false,
  };
}

function heldBy({ hold }: Ticket): Charge {
  return hold === undefined ? nothing : { tokens: hold.tokens, cost: hold.cost, estimated: true };
}

/** Puts a charge in the place of a hold, or of a charge before. */
function take(
  state: RouterState,
  request: OpenRequest,
  charge: TakenCharge,
  before: TakenCharge | null,
  ticket: Ticket,
  now: number,
): void {
  const { hold } = request;
  request.charge = charge;
  if (hold !== null) {
    changeHeldTokens(state, request.key_id, hold, charge.tokens - hold.tokens, now);
    releaseHold(state, { ...request, hold: { ...hold, tokens: 0 } }, now);
    request.hold = null;
  } else if (ticket.hold !== undefined) {
    changeHeldTokens(state, request.key_id, ticket.hold, charge.tokens - (before?.tokens ?? 0), now);
  }
  const cost = charge.cost - (before?.cost ?? 0);
  if (cost !== 0) {
    for (const id of [request.key_id, workspaceScope]) {
      spendMoney(meterOf(state, id), cost, now, before?.at ?? now);
      state.meters.dirty_spend.add(id);
      noteThresholds(state, id);
    }
  }
}

/** Notes which thresholds of its budgets a scope has passed. */
function noteThresholds(state: RouterState, scope: string): void {
  const caps = capsOf(state, scope);
  for (const span of spans) {
    const budget = caps?.[span] ?? null;
    const spent = spentOf(state, scope, span);
    const passed = budget === null ? undefined : thresholds.findLast((percent) => spent * 100 >= budget * percent);
    if (budget !== null && passed !== undefined) {
      notice(state, scope, span, budget, passed);
    }
  }
}

/** What was spent in the present span, of the workspace by all of its shards. */
function spentOf({ leases, meters }: RouterState, scope: string, span: Span): number {
  const { spent, start } = meters.scopes.get(scope)?.spend[span] ?? { spent: 0, start: 0 };
  return scope === workspaceScope ? spent + spentElsewhere(leases.lender, span, start) : spent;
}

function capsOf({ config }: RouterState, scope: string): Caps | undefined {
  return scope === workspaceScope ? config?.caps : config?.keys_by_id.get(scope)?.caps;
}

/** Once for each threshold and span; passing both at once tells of the higher one alone. Of the workspace's budgets the first shard tells. */
function notice(state: RouterState, scope: string, span: Span, budget: number, threshold: number): void {
  const { dirty_notices: dirty, dirty_spend: dirtySpend, notices } = state.meters;
  const part = state.meters.scopes.get(scope)?.spend[span];
  if (part === undefined || part.told >= threshold || (scope === workspaceScope && needsGrant(state.spread))) {
    return;
  }
  part.told = threshold;
  const name = `${scope}/${span}/${part.start}/${threshold}`;
  notices.set(name, { scope, span, start: part.start, threshold, spent: spentOf(state, scope, span), budget });
  dirty.add(name);
  dirtySpend.add(scope);
}
