/** What a call may use of limits and budgets: checked before it is admitted, held while it runs, settled to what it used. Pure but for the state it is given; micro-dollars and epoch milliseconds. */
import type { UpstreamEndpoint } from "../providers/contract.js";
import type { PoolPolicy, RouterInstance } from "../snapshot/model.js";
import { refuse } from "./authorize.js";
import { tellWhole, workspaceCaps } from "./lease-room.js";
import { createWindow, describeWindow } from "./limits.js";
import {
  budgetRoom,
  changeTokens,
  createMeter,
  holdMoney,
  holdTokens,
  limitsMoney,
  limitsUse,
  meetBudget,
  meetRate,
  noCaps,
  takeRequest,
  type Caps,
  type Met,
  type Meter,
} from "./meters.js";
import type { Estimate, Hold, MetLimit, RateState, Refusal, RefusalCode, Ticket } from "./model.js";
import { costOf } from "./price.js";
import { servesCall } from "./select.js";
import {
  workspaceScope,
  type LiveConfig,
  type LiveInstance,
  type LiveKey,
  type LivePool,
  type RouterState,
} from "./state.js";
import type { OpenRequest } from "./tickets.js";

/** The cap where neither the call nor its pool's policy sets one. */
const defaultMaxTokens = 4_096;

/** What is taken of a call by a gateway that estimates nothing: that it uses anything at all. */
const unestimated: Estimate = { input_tokens: 1, output_tokens: 0, choices: 1 };

/** A call as limits see it, before it has an instance. */
export interface CallSize {
  readonly estimate: Estimate | undefined;
  readonly endpoint: UpstreamEndpoint | undefined;
  readonly policy: PoolPolicy;
  /** Who may serve it. */
  readonly pools: readonly LivePool[];
}

/** What a call may use on one instance. */
interface Size {
  readonly tokens: number;
  readonly cost: number;
  /** The cap that was put in for the caller's; null where the caller set one. */
  readonly cap: number | null;
}

const codes: Readonly<Record<MetLimit["name"], RefusalCode>> = {
  rpm: "rate_limited",
  tpm: "tokens_limited",
  concurrent: "concurrency_limited",
  day: "budget_exhausted",
  month: "budget_exhausted",
};

interface Scope {
  readonly name: MetLimit["scope"];
  readonly id: string;
  readonly caps: Caps;
  readonly running: number;
}

/**
 * Why a call may not run now; null when every limit of its key and its workspace has room. What waiting cannot help comes first, then
 * budgets, then the longest wait for a window, then calls under way, so that who heeds the answer does not come back in vain. Takes nothing.
 */
export function checkLimits(
  state: RouterState,
  config: LiveConfig,
  key: LiveKey,
  call: CallSize,
  now: number,
): Refusal | null {
  if (key.caps === noCaps && config.caps === noCaps) {
    return null;
  }
  const scopes = scopesOf(state, config, key, now);
  const { tokens } = sizeOf(call.estimate, call.policy, null);
  const rates = scopes.map((scope) => meetRate(state.meters.scopes.get(scope.id), scope.caps, tokens, now));
  const money = isMoneyLimited(config, key) ? checkBudgets(state, scopes, call, now) : null;
  const place = longest(rates);
  const isTooLarge = rates[place]?.never === true;
  if (money !== null && !isTooLarge) {
    return money.kind === "refused" ? money : refuseMet(state, key, scopes[money.place], money.met, now);
  }
  const met = rates[place] ?? null;
  if (met !== null) {
    return refuseMet(state, key, scopes[place], met, now);
  }
  const full = scopes.find(({ caps, running }) => caps.concurrent !== null && running >= caps.concurrent);
  // When a running call will end is nobody's to know, so no time is given.
  return full === undefined
    ? null
    : refuseMet(state, key, full, { name: "concurrent", limit: full.caps.concurrent ?? 0, wait_ms: null }, now);
}

/** Why a tool may not be invoked now; null when it may. Takes nothing. */
export function checkRequests(state: RouterState, config: LiveConfig, key: LiveKey, now: number): Refusal | null {
  const scopes = scopesOf(state, config, key, now);
  const rates = scopes.map((scope) => meetRate(state.meters.scopes.get(scope.id), scope.caps, 0, now));
  const place = longest(rates);
  const met = rates[place] ?? null;
  return met === null ? null : refuseMet(state, key, scopes[place], met, now);
}

/** Counts one request for the key and the workspace, where they are limited. */
export function takeRequests(state: RouterState, config: LiveConfig, key: LiveKey, now: number): void {
  for (const { id, caps } of [
    { id: key.row.id, caps: key.caps },
    { id: workspaceScope, caps: config.caps },
  ]) {
    if (caps.rpm !== null) {
      takeRequest(meterOf(state, id), caps, now);
      state.meters.dirty_requests.add(id);
    }
  }
}

/** The key's window of requests as its caller sees it; null without a limit. */
export function rateOf(state: RouterState, key: LiveKey, now: number): RateState | null {
  const { rpm } = key.caps;
  const window = state.meters.scopes.get(key.row.id)?.requests;
  return rpm === null ? null : describeWindow(window ?? createWindow(), rpm, now);
}

/** The key's window of tokens, as an optional part of a ticket or refusal. */
export function tokenRateOf(state: RouterState, key: LiveKey, now: number): { readonly token_rate?: RateState } {
  const { tpm } = key.caps;
  const window = state.meters.scopes.get(key.row.id)?.tokens;
  return tpm === null ? {} : { token_rate: describeWindow(window ?? createWindow(), tpm, now) };
}

/**
 * Whom a call may not go to because a budget applies: instances without a price, and those on which it may cost more than is left.
 * Undefined where no budget applies. `own` is what the request holds already.
 */
export function costBar(
  state: RouterState,
  config: LiveConfig,
  key: LiveKey | undefined,
  call: Pick<CallSize, "estimate" | "policy">,
  own: number,
  now: number,
): ((instance: LiveInstance) => boolean) | undefined {
  if (!limitsMoney(config.caps) && (key === undefined || !limitsMoney(key.caps))) {
    return undefined;
  }
  const { scopes } = state.meters;
  const ofKey = key === undefined ? Infinity : budgetRoom(scopes.get(key.row.id), key.caps, now);
  const room = own + Math.min(ofKey, budgetRoom(scopes.get(workspaceScope), capsHere(state, config, now), now));
  return ({ row }) => row.prices === undefined || sizeOf(call.estimate, call.policy, row).cost > room;
}

/** The parts of a ticket that say what its call holds on its instance. */
export type HeldParts = Pick<Ticket, "estimate" | "price" | "hold" | "output_cap">;

/** Takes a hold for a call on an instance; where its request holds already, for another instance, that becomes this one. Without an estimate nothing is held. */
export function holdCall(
  state: RouterState,
  config: LiveConfig,
  key: LiveKey | undefined,
  request: Pick<OpenRequest, "key_id" | "hold">,
  { estimate, policy }: Pick<CallSize, "estimate" | "policy">,
  instance: LiveInstance,
  now: number,
): HeldParts {
  const price = instance.row.prices === undefined ? {} : { price: instance.row.prices };
  if (estimate === undefined) {
    return price;
  }
  const { cap, cost, tokens } = sizeOf(estimate, policy, instance.row);
  const { hold: before, key_id: keyId } = request;
  const slots = before === null ? takeSlots(state, config, key, tokens, now) : slotsOf(before);
  if (before !== null) {
    changeHeldTokens(state, keyId, before, tokens - before.tokens, now);
  }
  changeHeldMoney(state, keyId, cost - (before?.cost ?? 0));
  const isLimited = limitsUse(config.caps) || (key !== undefined && limitsUse(key.caps));
  return {
    estimate,
    ...price,
    hold: { tokens, cost, ...slots },
    ...(cap !== null && isLimited ? { output_cap: cap } : {}),
  };
}

/** Gives back what a request holds. Does nothing when it holds nothing. */
export function releaseHold(state: RouterState, request: OpenRequest, now: number): void {
  const { hold, key_id: keyId } = request;
  if (hold !== null) {
    request.hold = null;
    changeHeldMoney(state, keyId, -hold.cost);
    changeHeldTokens(state, keyId, hold, -hold.tokens, now);
  }
}

/** Counts a hold that came back from disk: its tokens stand in the windows, its money does not. */
export function restoreHold(state: RouterState, { hold, key_id: keyId }: OpenRequest): void {
  changeHeldMoney(state, keyId, hold?.cost ?? 0);
}

/** Changes the tokens that stand in the windows of a key and the workspace for a hold. */
export function changeHeldTokens(state: RouterState, keyId: string, hold: Hold, change: number, now: number): void {
  for (const [id, slot] of [
    [keyId, hold.key_slot],
    [workspaceScope, hold.workspace_slot],
  ] as const) {
    if (slot !== undefined && change !== 0) {
      changeTokens(meterOf(state, id), slot, change, now);
      state.meters.dirty_tokens.add(id);
    }
  }
}

/** The meter of a key, or of the workspace; made when there is none. */
export function meterOf(state: RouterState, id: string): Meter {
  const known = state.meters.scopes.get(id);
  if (known !== undefined) {
    return known;
  }
  const meter = createMeter();
  state.meters.scopes.set(id, meter);
  return meter;
}

function changeHeldMoney(state: RouterState, keyId: string, change: number): void {
  if (change !== 0) {
    holdMoney(meterOf(state, keyId), change);
    holdMoney(meterOf(state, workspaceScope), change);
  }
}

function slotsOf({ key_slot, workspace_slot }: Hold): Pick<Hold, "key_slot" | "workspace_slot"> {
  return {
    ...(key_slot === undefined ? {} : { key_slot }),
    ...(workspace_slot === undefined ? {} : { workspace_slot }),
  };
}

function takeSlots(
  state: RouterState,
  config: LiveConfig,
  key: LiveKey | undefined,
  tokens: number,
  now: number,
): Pick<Hold, "key_slot" | "workspace_slot"> {
  const slots: { key_slot?: number; workspace_slot?: number } = {};
  if (key !== undefined && key.caps.tpm !== null) {
    const slot = holdTokens(meterOf(state, key.row.id), key.caps, tokens, now);
    state.meters.dirty_tokens.add(key.row.id);
    Object.assign(slots, slot === undefined ? {} : { key_slot: slot });
  }
  if (config.caps.tpm !== null) {
    const slot = holdTokens(meterOf(state, workspaceScope), config.caps, tokens, now);
    state.meters.dirty_tokens.add(workspaceScope);
    Object.assign(slots, slot === undefined ? {} : { workspace_slot: slot });
  }
  return slots;
}

function isMoneyLimited(config: LiveConfig, key: LiveKey): boolean {
  return limitsMoney(key.caps) || limitsMoney(config.caps);
}

/** The workspace's limits as this shard holds them. */
function capsHere(state: RouterState, config: LiveConfig, now: number): Caps {
  return config.caps === noCaps ? noCaps : workspaceCaps(state, config.caps, meterOf(state, workspaceScope), now);
}

function scopesOf(state: RouterState, config: LiveConfig, key: LiveKey, now: number): readonly [Scope, Scope] {
  const { by_key: byKey, open } = state.tickets;
  return [
    { name: "key", id: key.row.id, caps: key.caps, running: byKey.get(key.row.id) ?? 0 },
    { name: "workspace", id: workspaceScope, caps: capsHere(state, config, now), running: open.size },
  ];
}

/** What a call may use: on an instance, or as far as is known before it has one. */
function sizeOf(estimate: Estimate = unestimated, policy: PoolPolicy, instance: RouterInstance | null): Size {
  const { choices, input_tokens: input, output_tokens: asked } = estimate;
  const cap = Math.min(policy.default_max_tokens ?? defaultMaxTokens, instance?.max_output ?? Infinity);
  const output = (asked ?? cap) * choices;
  const cost =
    instance?.prices === undefined ? 0 : costOf({ prompt_tokens: input, completion_tokens: output }, instance.prices);
  return { tokens: input + output, cost, cap: asked === null ? cap : null };
}

/** The budget that a call has no room in even on the cheapest instance. */
function checkBudgets(
  state: RouterState,
  scopes: readonly Scope[],
  call: CallSize,
  now: number,
): Refusal | { readonly kind: "met"; readonly place: number; readonly met: Met } | null {
  let least = Infinity;
  let isServed = false;
  for (const { instances } of call.pools) {
    for (const instance of instances) {
      if (instance.is_candidate && servesCall(instance, call.endpoint)) {
        isServed = true;
        least = Math.min(
          least,
          instance.row.prices === undefined ? Infinity : sizeOf(call.estimate, call.policy, instance.row).cost,
        );
      }
    }
  }
  if (least === Infinity) {
    return isServed ? refuse("model_not_priced") : null;
  }
  const budgets = scopes.map((scope) => meetBudget(state.meters.scopes.get(scope.id), scope.caps, least, now));
  const place = longest(budgets);
  const met = budgets[place] ?? null;
  return met === null ? null : { kind: "met", place, met };
}

/** The place of the limit that keeps a call waiting longest; one that it never fits under before any other. */
function longest(mets: readonly (Met | null)[]): number {
  let place = -1;
  let longestMs = -1;
  for (const [index, met] of mets.entries()) {
    const wait = met === null ? -1 : met.never === true ? Infinity : (met.wait_ms ?? 0);
    if (wait > longestMs) {
      place = index;
      longestMs = wait;
    }
  }
  return place;
}

function refuseMet(state: RouterState, key: LiveKey, scope: Scope | undefined, met: Met, now: number): Refusal {
  const isOfWorkspace = scope?.name === "workspace";
  const told = isOfWorkspace ? tellWhole(state, met, meterOf(state, workspaceScope), now) : met;
  const { wait_ms: waitMs, ...limit } = told;
  return {
    ...refuse(codes[met.name], waitMs, rateOf(state, key, now)),
    ...tokenRateOf(state, key, now),
    limit: { scope: scope?.name ?? "key", ...limit },
  };
}
