/** Limits and budgets by reservation: what a call holds, what it is charged, and that no order of things passes a limit. */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { createState, workspaceScope, type RouterState } from "../../src/routing/state.js";
import { admit, next } from "../../src/routing/decide.js";
import { expire } from "../../src/routing/charges.js";
import { installConfig } from "../../src/routing/install.js";
import type { Admission, Estimate, Outcome, Refusal, Ticket, Usage } from "../../src/routing/model.js";
import { abandon, settle } from "../../src/routing/report.js";
import { refusalError } from "../../src/routing/refusal.js";
import type { PoolPolicy, RouterKey, RouterLimits, RouterPool } from "../../src/snapshot/model.js";
import { deep, seed } from "../support/deep.js";
import {
  address,
  makeFailure,
  makeInstance,
  makeKey,
  makeOutcome,
  makePool,
  makeRequest,
  makeRows,
  refusalOf,
  ticketOf,
} from "./fixture.js";

/** A dollar for a million tokens of either kind, so that a token costs a micro-dollar. */
const prices = { input: 1_000_000, output: 1_000_000 };
const noon = Date.UTC(2026, 10, 22, 12);
const dayMs = 86_400_000;
const small: Estimate = { input_tokens: 10, output_tokens: 90, choices: 1 };
const none: RouterLimits = { rpm: null, tpm: null, concurrent: null, budget: { day: null, month: null } };

function makeState(
  limits: Partial<RouterKey>,
  ofWorkspace: Partial<RouterLimits> = {},
  pools: RouterPool[] = [makePool("chat", [makeInstance("a", 1, { prices })])],
): RouterState {
  const state = createState();
  const keys = [makeKey("k", limits), makeKey("other")];
  installConfig(state, address(1), makeRows(pools, keys, { limits: { ...none, ...ofWorkspace } }), noon);
  return state;
}

function ask(state: RouterState, now = noon, estimate: Estimate = small, key = "k"): Admission {
  return admit(state, makeRequest({ key_digest: `digest-${key}`, estimate }), now);
}

function used(ticket: Ticket, usage: Usage | null, more: Partial<Outcome> = {}): Outcome {
  return { ...makeOutcome(ticket), usage, ...more };
}

function spentBy(state: RouterState, scope: string) {
  const spend = state.meters.scopes.get(scope)?.spend;
  return { day: spend?.day.spent ?? 0, month: spend?.month.spent ?? 0, held: spend?.held ?? 0 };
}

function tokensOf(state: RouterState, scope: string): number {
  return state.meters.scopes.get(scope)?.tokens.total ?? 0;
}

const tokens = (prompt: number, completion: number): Usage => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
});

function poolsOf(more: Partial<PoolPolicy>, maxOutput?: number): RouterPool[] {
  return [
    makePool(
      "chat",
      [makeInstance("a", 1, { prices, ...(maxOutput === undefined ? {} : { max_output: maxOutput }) })],
      more,
    ),
  ];
}

function idsOf(state: RouterState): string[] {
  return [1, 2, 3].map(() => ticketOf(ask(state)).instance.id);
}

function met({ code, limit, retry_after_ms: wait }: Refusal): unknown[] {
  return [code, limit?.scope, limit?.name, wait];
}

describe("a call's hold", () => {
  it("is its input and its longest answers, and becomes what it used when it settles", ({ expect }) => {
    const state = makeState({ tpm: 1_000, budget: { day: 1_000, month: null } });
    const ticket = ticketOf(ask(state, noon, { input_tokens: 10, output_tokens: 45, choices: 2 }));
    expect(ticket.hold).toMatchObject({ tokens: 100, cost: 100 });
    expect([ticket.output_cap, ticket.price]).toEqual([undefined, prices]);
    expect(ticket.token_rate).toEqual({ limit: 1_000, remaining: 900, reset_ms: 60_000 });
    expect(spentBy(state, "k")).toEqual({ day: 0, month: 0, held: 100 });
    expect(tokensOf(state, "k")).toBe(100);
    settle(state, [used(ticket, tokens(12, 20))], noon + 5);
    expect(spentBy(state, "k")).toEqual({ day: 32, month: 32, held: 0 });
    expect(spentBy(state, workspaceScope)).toEqual({ day: 32, month: 32, held: 0 });
    expect(tokensOf(state, "k")).toBe(32);
    settle(state, [used(ticket, tokens(12, 20)), used(ticket, tokens(99, 99))], noon + 9);
    expect([spentBy(state, "k").day, tokensOf(state, "k")]).toEqual([32, 32]);
  });

  it("takes the pool's cap, and no more than the model can say, where the call sets none and is limited", ({
    expect,
  }) => {
    const open: Estimate = { input_tokens: 10, output_tokens: null, choices: 2 };
    const capOf = (state: RouterState): unknown => {
      const { hold, output_cap: cap } = ticketOf(ask(state, noon, open));
      return [hold?.tokens, cap];
    };
    expect(capOf(makeState({ tpm: 100_000 }))).toEqual([10 + 2 * 4_096, 4_096]);
    expect(capOf(makeState({}, { budget: { day: 1e9, month: null } }, poolsOf({ default_max_tokens: 500 })))).toEqual([
      1_010, 500,
    ]);
    expect(capOf(makeState({ tpm: 100_000 }, {}, poolsOf({}, 300)))).toEqual([610, 300]);
    expect(capOf(makeState({}))).toEqual([10 + 2 * 4_096, undefined]);
  });

  it("is given back by an attempt that failed before any content, by a departed admission, and by a caller's fault", ({
    expect,
  }) => {
    const state = makeState({ tpm: 1_000, budget: { day: 1_000, month: null } });
    const failed = ticketOf(ask(state));
    expect(next(state, failed, makeFailure("transient"), noon).kind).toBe("refused");
    settle(
      state,
      [used(failed, null, { result: "failed", failure: makeFailure("transient"), first_byte_ms: null })],
      noon,
    );
    const lost = ticketOf(ask(state, noon + 20_000));
    abandon(state, lost.request_id, noon + 20_000);
    const wrong = ticketOf(ask(state, noon + 20_001));
    settle(state, [used(wrong, null, { result: "caller_fault" })], noon + 20_002);
    expect(spentBy(state, "k")).toEqual({ day: 0, month: 0, held: 0 });
    expect([tokensOf(state, "k"), tokensOf(state, workspaceScope)]).toEqual([0, 0]);
  });

  it("is charged at least for its input when the caller leaves or the answer breaks, and whole when nobody says", ({
    expect,
  }) => {
    const cases: [Partial<Outcome>, number][] = [
      [{ result: "departed", first_byte_ms: null }, 10],
      [{ result: "failed", failure: makeFailure("transient") }, 10],
      [{ result: "departed", usage: { ...tokens(3, 7), estimated: true } }, 17],
      [{ result: "departed", usage: tokens(3, 7) }, 10],
      [{ result: "ok" }, 100],
    ];
    for (const [more, cost] of cases) {
      const state = makeState({});
      settle(state, [used(ticketOf(ask(state)), null, more)], noon + 1);
      expect([more, spentBy(state, "k")]).toEqual([more, { day: cost, month: cost, held: 0 }]);
    }
  });

  it("is charged when its ticket ends unsettled, and a settling that comes after all corrects it, however late", ({
    expect,
  }) => {
    const state = makeState({ tpm: 1_000 });
    const ticket = ticketOf(ask(state));
    const over = ticket.deadline_at;
    expect(expire(state, over)[0]?.charge).toMatchObject({ cost: 100, expired: true, estimated: true });
    expect(spentBy(state, "k")).toEqual({ day: 100, month: 100, held: 0 });
    settle(state, [used(ticket, tokens(10, 5))], over + 1_000);
    settle(state, [used(ticket, tokens(10, 5))], over + 1_000);
    expect(spentBy(state, "k")).toEqual({ day: 15, month: 15, held: 0 });
    const forgotten = ticketOf(ask(state, over + 2_000));
    expire(state, forgotten.deadline_at);
    state.tickets.closed = { recent: new Map(), older: new Map(), since: 0 };
    settle(state, [used(forgotten, tokens(10, 0))], forgotten.deadline_at + 300_000);
    expect(spentBy(state, "k")).toEqual({ day: 25, month: 25, held: 0 });
  });

  it("moves with its request to a dearer instance, and to none that it cannot pay", ({ expect }) => {
    const dearer = { input: 3_000_000, output: 3_000_000 };
    const pair = [makeInstance("a", 1_000, { prices }), makeInstance("b", 1, { prices: dearer })];
    const fits = makeState({ budget: { day: 300, month: null } }, {}, [makePool("chat", pair)]);
    const first = ticketOf(ask(fits));
    expect([first.instance.id, first.hold?.cost]).toEqual(["a", 100]);
    const second = ticketOf(next(fits, first, makeFailure("transient"), noon));
    expect([second.instance.id, second.hold?.cost, second.price]).toEqual(["b", 300, dearer]);
    expect(ticketOf(next(fits, first, makeFailure("transient"), noon)).hold?.cost).toBe(300);
    expect(spentBy(fits, "k").held).toBe(300);
    settle(fits, [used(second, tokens(10, 10))], noon);
    expect(spentBy(fits, "k")).toEqual({ day: 60, month: 60, held: 0 });
    const short = makeState({ budget: { day: 299, month: null } }, {}, [makePool("chat", pair)]);
    const only = ticketOf(ask(short));
    expect(next(short, only, makeFailure("transient"), noon).kind).toBe("refused");
    expect(spentBy(short, "k").held).toBe(0);
  });

  it("of a call without an estimate, from a gateway of the release before, is nothing; what it used is charged", ({
    expect,
  }) => {
    const state = makeState({ tpm: 100, budget: { day: 50, month: null } });
    const ticket = ticketOf(admit(state, makeRequest(), noon));
    expect([ticket.hold, ticket.output_cap]).toEqual([undefined, undefined]);
    settle(state, [used(ticket, tokens(40, 10))], noon);
    expect(spentBy(state, "k").day).toBe(50);
    expect(refusalOf(admit(state, makeRequest(), noon)).code).toBe("budget_exhausted");
  });
});

describe("a refusal by limits", () => {
  it("says which limit, whose, and how long it really is", ({ expect }) => {
    const tpm = makeState({ tpm: 250 });
    ask(tpm, noon);
    ask(tpm, noon + 10_000);
    const late = refusalOf(ask(tpm, noon + 20_000));
    expect(met(late)).toEqual(["tokens_limited", "key", "tpm", 40_000]);
    expect(late.token_rate).toEqual({ limit: 250, remaining: 50, reset_ms: 50_000 });
    expect(ask(tpm, noon + 60_000).kind).toBe("ticket");

    const shared = makeState({ rpm: 5 }, { rpm: 1 });
    ask(shared, noon, small, "other");
    expect(met(refusalOf(ask(shared, noon + 1_000)))).toEqual(["rate_limited", "workspace", "rpm", 59_000]);

    const running = makeState({}, { concurrent: 1 });
    ask(running, noon, small, "other");
    expect(met(refusalOf(ask(running)))).toEqual(["concurrency_limited", "workspace", "concurrent", null]);

    const day = makeState({ budget: { day: 150, month: 1_000 } });
    settle(day, [used(ticketOf(ask(day)), tokens(10, 90))], noon);
    expect(met(refusalOf(ask(day, noon + 1)))).toEqual(["budget_exhausted", "key", "day", dayMs / 2 - 1]);
    expect(ask(day, noon + dayMs / 2).kind).toBe("ticket");
    const month = makeState({}, { budget: { day: 150, month: 150 } });
    settle(month, [used(ticketOf(ask(month)), tokens(10, 90))], noon);
    expect(met(refusalOf(ask(month)))).toEqual(["budget_exhausted", "workspace", "month", 8.5 * dayMs]);
  });

  it("asks back soon where only running calls hold the rest of a budget", ({ expect }) => {
    const state = makeState({ budget: { day: 150, month: null } });
    const first = ticketOf(ask(state));
    expect(met(refusalOf(ask(state)))).toEqual(["budget_exhausted", "key", "day", 1_000]);
    settle(state, [used(first, tokens(10, 10))], noon);
    expect(ask(state).kind).toBe("ticket");
  });

  it("counts what runs over midnight against the new day, too", ({ expect }) => {
    const state = makeState({ budget: { day: 150, month: null } });
    const midnight = noon + dayMs / 2;
    const ticket = ticketOf(ask(state, midnight - 1));
    expect(met(refusalOf(ask(state, midnight + 1)))).toEqual(["budget_exhausted", "key", "day", 1_000]);
    settle(state, [used(ticket, tokens(10, 90))], midnight + 2);
    expect(spentBy(state, "k")).toEqual({ day: 100, month: 100, held: 0 });
    expect(met(refusalOf(ask(state, midnight + 3)))).toEqual(["budget_exhausted", "key", "day", dayMs - 3]);
  });

  it("tells first what waiting cannot help, and gives no time for it", ({ expect }) => {
    const huge: Estimate = { input_tokens: 10, output_tokens: 991, choices: 1 };
    const state = makeState({ tpm: 1_000, rpm: 1, budget: { day: 1, month: null } });
    expect(met(refusalOf(ask(state, noon, huge)))).toEqual(["tokens_limited", "key", "tpm", null]);
    expect(met(refusalOf(ask(state)))).toEqual(["budget_exhausted", "key", "day", null]);
    const told = refusalError(refusalOf(ask(state, noon, huge)));
    expect([told.code, told.status, told.retryAfterMs]).toEqual(["rate_limited", 429, undefined]);
    expect(told.detail).toContain("1,001 tokens");
    const unpriced = makeState({ rpm: 1, budget: { day: 9, month: null } }, {}, [
      makePool("chat", [makeInstance("a")]),
    ]);
    expect(met(refusalOf(ask(unpriced)))).toEqual(["model_not_priced", undefined, undefined, null]);
    expect(refusalError(refusalOf(ask(unpriced))).status).toBe(403);
  });

  it("passes over instances without a price where a budget applies, and only there", ({ expect }) => {
    const mixed = [makePool("chat", [makeInstance("free", 1_000), makeInstance("priced", 1, { prices })])];
    expect(idsOf(makeState({}, { budget: { day: null, month: 1e9 } }, mixed))).toEqual(["priced", "priced", "priced"]);
    expect(idsOf(makeState({}, {}, mixed))).toContain("free");
  });

  it("takes nothing: not the window, not the pick, not the money", ({ expect }) => {
    const state = makeState({ rpm: 10, tpm: 150, budget: { day: 10_000, month: null } });
    ask(state);
    refusalOf(ask(state));
    const before = JSON.stringify([...state.meters.scopes]);
    for (let tries = 0; tries < 5; tries += 1) {
      refusalOf(ask(state));
    }
    expect(JSON.stringify([...state.meters.scopes])).toBe(before);
    expect(state.config?.instances.get("a")?.picks).toBe(1);
  });
});

describe("thresholds of a budget", () => {
  it("are noticed once each for a span: 80 percent, and 100 or a refusal with little left", ({ expect }) => {
    const state = makeState({ budget: { day: 1_000, month: null } }, { budget: { day: null, month: 1_000 } });
    const names = () =>
      [...state.meters.notices.keys()].map((name) =>
        name
          .split("/")
          .filter((part) => Number(part) < 101 || !/^\d/.test(part))
          .join(" "),
      );
    const spend = (amount: number, now: number) =>
      settle(state, [used(ticketOf(ask(state, now)), tokens(amount, 0))], now);
    spend(799, noon);
    expect(names()).toEqual([]);
    spend(1, noon);
    spend(50, noon);
    expect(names()).toEqual(["k day 80", "workspace month 80"]);
    const left = ticketOf(ask(state));
    refusalOf(ask(state));
    expect(names()).toHaveLength(2);
    settle(state, [used(left, tokens(60, 0))], noon);
    refusalOf(ask(state));
    // The month has the longer wait, so it is the one that refuses.
    expect(names()).toEqual(["k day 80", "workspace month 80", "workspace month 100"]);
    const later = Date.UTC(2026, 11, 1);
    spend(90, later);
    spend(910, later);
    expect(names().slice(3)).toEqual(["k day 100", "workspace month 100"]);
  });
});

interface Step {
  readonly do: "ask" | "settle" | "fail" | "leave" | "abandon" | "repeat" | "wait";
  readonly key: "k" | "other";
  readonly input: number;
  readonly output: number | null;
  readonly at: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom("ask", "ask", "ask", "settle", "settle", "fail", "leave", "abandon", "repeat", "wait"),
  key: fc.constantFrom("k", "other"),
  input: fc.integer({ min: 0, max: 60 }),
  output: fc.option(fc.integer({ min: 0, max: 60 })),
  at: fc.nat({ max: 200 }),
});

describe("any run of calls", () => {
  it("passes no limit, gives back every hold, and charges nothing twice", ({ expect }) => {
    const limits = fc.record({
      tpm: fc.option(fc.integer({ min: 50, max: 400 })),
      rpm: fc.option(fc.integer({ min: 1, max: 10 })),
      concurrent: fc.option(fc.integer({ min: 1, max: 5 })),
      day: fc.option(fc.integer({ min: 50, max: 800 })),
    });
    fc.assert(
      fc.property(limits, limits, fc.array(step, { maxLength: 80 }), (ofKey, ofWorkspace, steps) => {
        const toLimits = ({ day, ...rest }: typeof ofKey) => ({ ...rest, budget: { day, month: null } });
        const state = makeState(toLimits(ofKey), toLimits(ofWorkspace), [
          makePool("chat", [makeInstance("a", 1, { prices }), makeInstance("b", 1, { prices })], {
            default_max_tokens: 30,
          }),
        ]);
        let now = noon;
        const open: Ticket[] = [];
        const calls: { key: string; at: number; tokens: number; requestId: string }[] = [];
        let charged = 0;
        const end = (ticket: Ticket, usage: Usage | null, result: Outcome["result"], cost: number) => {
          settle(state, [used(ticket, usage, { result }), used(ticket, usage, { result })], now);
          charged += cost;
          const call = calls.find(({ requestId }) => requestId === ticket.request_id);
          if (call !== undefined) {
            call.tokens = cost;
          }
        };
        for (const { at, do: what, input, key, output } of steps) {
          const place = open.length === 0 ? -1 : at % open.length;
          const ticket = open[place];
          if (what === "wait") {
            now += at * 400;
          } else if (what === "ask") {
            const estimate = { input_tokens: input, output_tokens: output, choices: 1 };
            const request = makeRequest({ key_digest: `digest-${key}`, estimate });
            const answer = admit(state, request, now);
            expect(admit(state, request, now)).toEqual(answer);
            if (answer.kind === "ticket") {
              open.push(answer);
              calls.push({ key, at: now, tokens: input + (output ?? 30), requestId: answer.request_id });
            }
          } else if (ticket !== undefined && what === "repeat") {
            const failure = makeFailure("caller_fault");
            expect(next(state, ticket, failure, now)).toEqual(next(state, ticket, failure, now));
            calls.splice(
              calls.findIndex(({ requestId }) => requestId === ticket.request_id),
              1,
            );
            open.splice(place, 1);
          } else if (ticket !== undefined) {
            open.splice(place, 1);
            const hold = ticket.hold?.tokens ?? 0;
            const prompt = ticket.estimate?.input_tokens ?? 0;
            if (what === "settle") {
              const completion = Math.min(at, hold - prompt);
              end(ticket, tokens(prompt, completion), "ok", prompt + completion);
            } else if (what === "leave") {
              end(ticket, null, "departed", prompt);
            } else {
              abandon(state, ticket.request_id, now);
              calls.splice(
                calls.findIndex(({ requestId }) => requestId === ticket.request_id),
                1,
              );
            }
          }
          const last = calls.filter((call) => call.at + 60_000 > now);
          const ofK = last.filter((call) => call.key === "k");
          const sum = (list: typeof calls) => list.reduce((total, call) => total + call.tokens, 0);
          expect(sum(ofK)).toBeLessThanOrEqual(ofKey.tpm ?? Infinity);
          expect(sum(last)).toBeLessThanOrEqual(ofWorkspace.tpm ?? Infinity);
          expect(ofK.length).toBeLessThanOrEqual(ofKey.rpm ?? Infinity);
          expect(last.length).toBeLessThanOrEqual(ofWorkspace.rpm ?? Infinity);
          expect(open.filter((one) => one.key_id === "k").length).toBeLessThanOrEqual(ofKey.concurrent ?? Infinity);
          expect(open.length).toBeLessThanOrEqual(ofWorkspace.concurrent ?? Infinity);
          const money = spentBy(state, workspaceScope);
          expect(money.held).toBe(open.reduce((total, one) => total + (one.hold?.cost ?? 0), 0));
          expect(money.day).toBe(charged);
          expect(money.day + money.held).toBeLessThanOrEqual(ofWorkspace.day ?? Infinity);
        }
        const held = open.reduce((total, one) => total + (one.hold?.cost ?? 0), 0);
        expire(state, now + dayMs / 4);
        expect(spentBy(state, workspaceScope).held).toBe(0);
        expect(spentBy(state, workspaceScope).day).toBe(charged + held);
      }),
      { numRuns: deep(150, 10_000), seed: seed() },
    );
  });
});
