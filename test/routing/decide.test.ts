import * as fc from "fast-check";
import { describe, it } from "vitest";
import { admit, next } from "../../src/routing/decide.js";
import { installConfig, isNewer } from "../../src/routing/install.js";
import type { FailureClass, Ticket } from "../../src/routing/model.js";
import { abandon, committed, settle } from "../../src/routing/report.js";
import { createState, type RouterState } from "../../src/routing/state.js";
import { listModels, surveyInstances } from "../../src/routing/survey.js";
import type { RouterRows } from "../../src/snapshot/model.js";
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
  policy,
  refusalOf,
  ticketOf,
} from "./fixture.js";

const start = 1_790_000_000_000;

function makeState(rows: RouterRows): RouterState {
  const state = createState();
  installConfig(state, address(1), rows, start);
  return state;
}

function pool(...weights: number[]): RouterRows {
  return makeRows([
    makePool(
      "chat",
      weights.map((weight, index) => makeInstance(`i${index}`, weight)),
    ),
  ]);
}

function statusOf(state: RouterState, index: number, now: number, poolId = "pool-chat"): string | undefined {
  return surveyInstances(state, poolId, now)[index]?.status;
}

function total(counts: ReadonlyMap<string, number>): number {
  return Array.from(counts.values()).reduce((sum, one) => sum + one, 0);
}

describe("admit", () => {
  it("routes two instances at 3:1 over 400 calls to exactly 300 and 100, never more than three in a row", ({
    expect,
  }) => {
    const state = makeState(pool(3, 1));
    const order = Array.from({ length: 400 }, (_, call) => {
      const ticket = ticketOf(admit(state, makeRequest(), start + call));
      settle(state, [makeOutcome(ticket)], start + call);
      return ticket.instance.id;
    });
    expect(order.filter((id) => id === "i0").length).toBe(300);
    expect(order.join(" ")).not.toContain("i0 i0 i0 i0");
    expect(surveyInstances(state, "pool-chat", start)).toMatchObject([
      { picks: 300, in_flight: 0, status: "ready" },
      { picks: 100, in_flight: 0, status: "ready" },
    ]);
  });

  it.for<[string, Partial<RouterRows>, string, string]>([
    ["a digest nobody has", { keys: [] }, "chat", "key_unknown"],
    [
      "a revoked key, even an expired one",
      { keys: [makeKey("k", { revoked: true, expires_at_ms: 1 })] },
      "chat",
      "key_revoked",
    ],
    [
      "an expired key, even of a suspended workspace",
      { keys: [makeKey("k", { expires_at_ms: start })], active: false },
      "chat",
      "key_expired",
    ],
    [
      "a key of a suspended workspace, even without the scope",
      { keys: [makeKey("k", { scopes: [] })], active: false },
      "chat",
      "key_unknown",
    ],
    [
      "a key without the scope, even for a model it may not use",
      { keys: [makeKey("k", { scopes: [], models: [] })] },
      "chat",
      "scope_missing",
    ],
    [
      "a model outside the key's list, even one that does not exist",
      { keys: [makeKey("k", { models: ["chat"] })] },
      "nope",
      "model_not_allowed",
    ],
    ["a name that is no pool", {}, "nope", "model_not_found"],
  ])("refuses %s", ([, more, model, code], { expect }) => {
    const state = makeState({ ...pool(1), ...more });
    expect(refusalOf(admit(state, makeRequest({ model }), start)).code).toBe(code);
  });

  it("says not_configured before the first version", ({ expect }) => {
    expect(refusalOf(admit(createState(), makeRequest(), start)).code).toBe("not_configured");
  });

  it("gives a repeat the same ticket and counts it once", ({ expect }) => {
    const state = makeState({ ...pool(1, 1), keys: [makeKey("k", { rpm: 5, concurrent: 2 })] });
    const request = makeRequest();
    const first = ticketOf(admit(state, request, start));
    expect(admit(state, request, start + 500)).toEqual(first);
    expect(first.rate).toEqual({ limit: 5, remaining: 4, reset_ms: 60_000 });
    expect(ticketOf(admit(state, makeRequest(), start + 500)).rate?.remaining).toBe(3);
    expect(refusalOf(admit(state, makeRequest(), start + 500)).code).toBe("concurrency_limited");
    settle(state, [makeOutcome(first)], start + 600);
    expect(admit(state, request, start + 700)).toEqual(first);
    expect(ticketOf(admit(state, makeRequest(), start + 700)).attempt).toBe(1);
  });

  it("refuses a repeat whose key was revoked in between, and gives its place back", ({ expect }) => {
    const rows = pool(1);
    const state = makeState(rows);
    const request = makeRequest();
    admit(state, request, start);
    installConfig(state, address(2), { ...rows, keys: [makeKey("k", { revoked: true })] }, start);
    expect(refusalOf(admit(state, request, start)).code).toBe("key_revoked");
    expect(state.tickets.open.size).toBe(0);
  });

  it("consumes neither window nor place when it refuses", ({ expect }) => {
    const state = makeState({ ...pool(0), keys: [makeKey("k", { rpm: 1, concurrent: 1 })] });
    expect(refusalOf(admit(state, makeRequest(), start))).toMatchObject({
      code: "pool_exhausted",
      retry_after_ms: null,
    });
    expect(refusalOf(admit(state, makeRequest({ model: "nope" }), start)).code).toBe("model_not_found");
    installConfig(state, address(2), { ...pool(1), keys: [makeKey("k", { rpm: 1, concurrent: 1 })] }, start);
    const ticket = ticketOf(admit(state, makeRequest(), start));
    settle(state, [makeOutcome(ticket)], start);
    expect(refusalOf(admit(state, makeRequest(), start + 1_000))).toMatchObject({
      code: "rate_limited",
      retry_after_ms: 59_000,
      rate: { limit: 1, remaining: 0 },
    });
    expect(ticketOf(admit(state, makeRequest(), start + 60_000)).attempt).toBe(1);
  });

  it("frees the place of a ticket that nobody settled at its deadline, and takes the late settle without harm", ({
    expect,
  }) => {
    const state = makeState({ ...pool(1), keys: [makeKey("k", { concurrent: 1 })] });
    const ticket = ticketOf(admit(state, makeRequest(), start));
    expect(ticket.deadline_at).toBe(start + policy.total_timeout_ms + 60_000);
    expect(refusalOf(admit(state, makeRequest(), ticket.deadline_at - 1)).code).toBe("concurrency_limited");
    const second = ticketOf(admit(state, makeRequest(), ticket.deadline_at));
    settle(state, [makeOutcome(ticket), makeOutcome(ticket)], ticket.deadline_at + 5);
    expect(state.tickets.by_key.get("k")).toBe(1);
    settle(state, [makeOutcome(second)], ticket.deadline_at + 6);
    expect(state.tickets.by_key.size + state.tickets.by_instance.size).toBe(0);
  });
});

describe("cooling and probing", () => {
  it("after one 429 with Retry-After 5 sends nothing there until it is due, then exactly one probe of a hundred", ({
    expect,
  }) => {
    const state = makeState(pool(3, 1));
    const hit = ticketOf(admit(state, makeRequest(), start));
    expect(hit.instance.id).toBe("i0");
    const moved = ticketOf(
      next(state, hit, makeFailure("rate_limit", { status: 429, retry_after_ms: 5_000 }), start + 10),
    );
    expect(moved.instance.id).toBe("i1");
    for (let call = 0; call < 100; call += 1) {
      expect(ticketOf(admit(state, makeRequest(), start + 20 + call * 49)).instance.id).toBe("i1");
    }
    expect(statusOf(state, 0, start + 5_009)).toBe("cooling");
    const tickets = Array.from({ length: 100 }, () => ticketOf(admit(state, makeRequest(), start + 5_010)));
    const probes = tickets.filter((ticket) => ticket.instance.id === "i0");
    expect(probes.map((ticket) => ticket.probe)).toEqual([true]);
    expect(statusOf(state, 0, start + 5_011)).toBe("probing");
    committed(state, probes[0] as Ticket);
    expect(statusOf(state, 0, start + 5_012)).toBe("ready");
  });

  it("passes the probe of a request that was lost to the next one, without doubling", ({ expect }) => {
    const state = makeState(pool(1, 1));
    next(state, ticketOf(admit(state, makeRequest(), start)), makeFailure("transient"), start);
    const lost = ticketOf(admit(state, makeRequest({ stream: true }), start + 10_000));
    expect(lost).toMatchObject({ probe: true, instance: { id: "i0" } });
    const leaseEnd = start + 10_000 + policy.first_byte_timeout_ms + 40_000;
    expect(ticketOf(admit(state, makeRequest(), leaseEnd - 1)).probe).toBe(false);
    const second = ticketOf(admit(state, makeRequest(), leaseEnd));
    expect(second).toMatchObject({ probe: true, instance: { id: "i0" } });
    settle(state, [makeOutcome(second, "departed")], leaseEnd + 5);
    const third = ticketOf(admit(state, makeRequest(), leaseEnd + 6));
    expect(third.probe).toBe(true);
    next(state, third, makeFailure("transient"), leaseEnd + 10);
    // The first confirmed round: twice ten seconds, although three probes were sent.
    expect(surveyInstances(state, "pool-chat", leaseEnd + 10)[0]?.cooling_until).toBe(
      new Date(leaseEnd + 20_010).toISOString(),
    );
  });

  it("keeps a JSON call's probe the only one until the call's whole time is over, and ends it with the call", ({
    expect,
  }) => {
    const begin = (): RouterState => {
      const state = makeState(pool(1, 1));
      next(state, ticketOf(admit(state, makeRequest(), start)), makeFailure("transient"), start);
      return state;
    };
    const due = start + 10_000;
    const state = begin();
    const probe = ticketOf(admit(state, makeRequest(), due));
    expect(probe).toMatchObject({ probe: true, stream: false });
    // Its headers and body may come at the very end, then it is reported.
    expect(ticketOf(admit(state, makeRequest(), due + policy.total_timeout_ms)).probe).toBe(false);
    expect(ticketOf(admit(state, makeRequest(), due + policy.total_timeout_ms + 40_000)).probe).toBe(true);
    const other = begin();
    settle(other, [makeOutcome(ticketOf(admit(other, makeRequest(), due)), "departed")], due + 50);
    expect(ticketOf(admit(other, makeRequest(), due + 51)).probe).toBe(true);
    const third = begin();
    settle(third, [makeOutcome(ticketOf(admit(third, makeRequest(), due)))], due + 50);
    expect(statusOf(third, 0, due + 51)).toBe("ready");
  });

  it("leases a probe that comes by fail-over to the end of the request's time, not of its own", ({ expect }) => {
    const state = makeState(pool(1));
    const hit = ticketOf(admit(state, makeRequest(), start));
    next(state, hit, makeFailure("transient"), start);
    installConfig(state, address(2), pool(1, 1), start);
    const first = ticketOf(admit(state, makeRequest(), start + 1));
    expect(first.instance.id).toBe("i1");
    const probe = ticketOf(next(state, first, makeFailure("rate_limit"), start + 100_000));
    expect(probe).toMatchObject({ probe: true, stream: false });
    expect(state.cooldowns.entries.get("cred-i0 sandbox-chat")?.lease?.until).toBe(
      start + 1 + policy.total_timeout_ms + 40_000,
    );
  });

  it("protects a pool of one like any other, and tells the true wait, also while its probe runs", ({ expect }) => {
    const state = makeState(pool(1));
    const hit = ticketOf(admit(state, makeRequest(), start));
    const end = refusalOf(next(state, hit, makeFailure("overloaded", { retry_after_ms: 7_000 }), start + 100));
    expect(end).toMatchObject({ code: "attempts_exhausted", retry_after_ms: 7_000 });
    expect(next(state, hit, makeFailure("overloaded"), start + 200)).toEqual(end);
    expect(refusalOf(admit(state, makeRequest(), start + 1_100))).toMatchObject({
      code: "pool_exhausted",
      retry_after_ms: 6_000,
    });
    expect(ticketOf(admit(state, makeRequest({ stream: true }), start + 7_100)).probe).toBe(true);
    expect(refusalOf(admit(state, makeRequest(), start + 8_100))).toMatchObject({
      code: "pool_exhausted",
      retry_after_ms: policy.first_byte_timeout_ms + 39_000,
    });
  });

  it("serves a cooled instance's probe before others, and only one at a time per credential and model across pools", ({
    expect,
  }) => {
    const shared = { credential_id: "cred-shared" };
    const rows = makeRows([
      makePool("chat", [makeInstance("a", 1, shared), makeInstance("b")]),
      makePool("other", [
        makeInstance("c", 1, shared),
        makeInstance("d", 1, { credential_id: "cred-shared", model: "another" }),
      ]),
    ]);
    const state = makeState(rows);
    next(state, ticketOf(admit(state, makeRequest(), start)), makeFailure("rate_limit"), start);
    for (let call = 0; call < 4; call += 1) {
      expect(ticketOf(admit(state, makeRequest({ model: "other" }), start)).instance.id).toBe("d");
    }
    expect(statusOf(state, 0, start, "pool-other")).toBe("cooling");
    const probe = ticketOf(admit(state, makeRequest({ model: "other" }), start + 60_000));
    expect(probe).toMatchObject({ probe: true, instance: { id: "c" } });
    expect(ticketOf(admit(state, makeRequest(), start + 60_000)).instance.id).toBe("b");
    settle(state, [makeOutcome(probe)], start + 60_100);
    expect(statusOf(state, 0, start + 60_100)).toBe("ready");
  });

  it("lets one request cool only one instance by trouble that may be its own", ({ expect }) => {
    const state = makeState(pool(1, 1, 1));
    const first = ticketOf(admit(state, makeRequest(), start));
    const second = ticketOf(next(state, first, makeFailure("transient"), start));
    const third = ticketOf(next(state, second, makeFailure("transient", { timed_out: true }), start));
    expect(refusalOf(next(state, third, makeFailure("overloaded"), start)).code).toBe("attempts_exhausted");
    const statuses = surveyInstances(state, "pool-chat", start).map((instance) => instance.status);
    expect(statuses.toSorted()).toEqual(["cooling", "ready", "ready"]);
  });

  it("puts a refused credential out with all its models until it is validated again", ({ expect }) => {
    const credential = { credential_id: "cred-x" };
    const rows = makeRows([
      makePool("chat", [makeInstance("a", 1, credential), makeInstance("b", 1, { ...credential, model: "m2" })]),
    ]);
    const state = makeState(rows);
    next(state, ticketOf(admit(state, makeRequest(), start)), makeFailure("credential", { status: 401 }), start + 50);
    expect([statusOf(state, 0, start + 60), statusOf(state, 1, start + 60)]).toEqual(["out", "out"]);
    expect(refusalOf(admit(state, makeRequest(), start + 9e9))).toMatchObject({
      code: "pool_exhausted",
      retry_after_ms: null,
    });
    const validatedAt = (at: number): RouterRows => ({
      ...rows,
      credentials: [{ id: "cred-x", usable: true, validated_at_ms: at }],
    });
    installConfig(state, address(2), validatedAt(start + 50), start + 70);
    expect(statusOf(state, 0, start + 80)).toBe("out");
    installConfig(state, address(3), validatedAt(start + 51), start + 90);
    expect(statusOf(state, 0, start + 95)).toBe("ready");
  });

  it("blames nobody for our own trouble, for the caller's, and for a caller who leaves", ({ expect }) => {
    const state = makeState(pool(1, 1));
    const ours = ticketOf(admit(state, makeRequest(), start));
    expect(ticketOf(next(state, ours, makeFailure("transient", { ours: true }), start)).attempt).toBe(2);
    settle(state, [makeOutcome(ticketOf(admit(state, makeRequest(), start)), "departed")], start);
    const fault = ticketOf(admit(state, makeRequest(), start));
    settle(state, [makeOutcome(fault, "caller_fault", makeFailure("caller_fault"))], start);
    expect(surveyInstances(state, "pool-chat", start)).toMatchObject([
      { status: "ready", failures: 0 },
      { status: "ready", failures: 0 },
    ]);
  });

  it("shows drained and unusable instances as what they are and never picks them", ({ expect }) => {
    const rows = makeRows([
      makePool("chat", [
        makeInstance("a", 0),
        makeInstance("b", 5, { enabled: false }),
        makeInstance("c"),
        makeInstance("d"),
      ]),
    ]);
    const credentials = rows.credentials.map((one) => ({ ...one, usable: one.id !== "cred-c" }));
    const state = makeState({ ...rows, credentials });
    const statuses = surveyInstances(state, "pool-chat", start).map((instance) => instance.status);
    expect(statuses).toEqual(["drained", "drained", "out", "ready"]);
    for (let call = 0; call < 20; call += 1) {
      expect(ticketOf(admit(state, makeRequest(), start)).instance.id).toBe("d");
    }
  });
});

describe("next", () => {
  it("never returns to a tried instance, gives a repeat the same answer, and stops at the policy's attempts", ({
    expect,
  }) => {
    const state = makeState(pool(1, 1, 1, 1, 1));
    const first = ticketOf(admit(state, makeRequest(), start));
    const second = ticketOf(next(state, first, makeFailure("rate_limit"), start + 1));
    expect(next(state, first, makeFailure("rate_limit"), start + 2)).toEqual(second);
    const third = ticketOf(next(state, second, makeFailure("rate_limit"), start + 3));
    expect(new Set(third.tried).size).toBe(3);
    expect(third).toMatchObject({ attempt: 3, deadline_at: first.deadline_at });
    expect(refusalOf(next(state, third, makeFailure("rate_limit"), start + 4)).code).toBe("attempts_exhausted");
    expect(state.tickets.by_instance.size).toBe(0);
    // The gateway's settle of the last attempt changes nothing any more.
    const failures = surveyInstances(state, "pool-chat", start).map((instance) => instance.failures);
    settle(state, [makeOutcome(third, "failed", makeFailure("rate_limit"))], start + 5);
    expect(surveyInstances(state, "pool-chat", start).map((instance) => instance.failures)).toEqual(failures);
  });

  it("tells when what is left is only cooling", ({ expect }) => {
    const state = makeState(pool(1, 1));
    next(
      state,
      ticketOf(admit(state, makeRequest(), start)),
      makeFailure("rate_limit", { retry_after_ms: 4_000 }),
      start,
    );
    const other = ticketOf(admit(state, makeRequest(), start + 1_000));
    expect(refusalOf(next(state, other, makeFailure("rate_limit"), start + 1_000))).toMatchObject({
      code: "pool_exhausted",
      retry_after_ms: 3_000,
    });
  });

  it("says that somebody can be had now, not that waiting is in vain, when only tried instances are ready", ({
    expect,
  }) => {
    const state = makeState(pool(1, 1, 1));
    const cooled = ticketOf(admit(state, makeRequest(), start));
    next(state, cooled, makeFailure("rate_limit", { retry_after_ms: 50_000 }), start);
    const first = ticketOf(admit(state, makeRequest(), start));
    const second = ticketOf(next(state, first, makeFailure("transient", { ours: true }), start));
    expect(refusalOf(next(state, second, makeFailure("transient", { ours: true }), start))).toMatchObject({
      code: "pool_exhausted",
      retry_after_ms: 0,
    });
  });

  it("serves a Router that lost its memory from the ticket alone", ({ expect }) => {
    const rows = { ...pool(1, 1), keys: [makeKey("k", { concurrent: 1 })] };
    const ticket = ticketOf(admit(makeState(rows), makeRequest(), start));
    const state = makeState(rows);
    const second = ticketOf(next(state, ticket, makeFailure("rate_limit"), start + 1));
    expect(second.instance.id).not.toBe(ticket.instance.id);
    expect(refusalOf(admit(state, makeRequest(), start + 2)).code).toBe("concurrency_limited");
    settle(state, [makeOutcome(second)], start + 3);
    expect(state.tickets.open.size).toBe(0);
    const other = makeState(rows);
    settle(other, [makeOutcome(ticket, "failed", makeFailure("quota"))], start + 3);
    settle(other, [makeOutcome(ticket, "failed", makeFailure("quota"))], start + 4);
    expect(surveyInstances(other, "pool-chat", start + 5)[0]).toMatchObject({
      status: "cooling",
      reason: "quota",
      failures: 1,
    });
  });

  it("gives the probe back when its answer was lost on the way to the gateway", ({ expect }) => {
    const state = makeState(pool(1, 1));
    const a = ticketOf(admit(state, makeRequest(), start));
    const b = ticketOf(next(state, a, makeFailure("transient"), start));
    next(state, b, makeFailure("rate_limit", { retry_after_ms: 30_000 }), start);
    const probe = ticketOf(admit(state, makeRequest(), start + 10_000));
    const lost = next(state, probe, makeFailure("quota"), start + 30_000);
    expect(ticketOf(lost).probe).toBe(true);
    settle(state, [makeOutcome(probe, "failed", makeFailure("quota"))], start + 30_001);
    expect(ticketOf(admit(state, makeRequest(), start + 30_002)).probe).toBe(true);
  });
});

describe("abandon", () => {
  it("frees the place of a ticket that nobody got, passes its probe on and blames nobody", ({ expect }) => {
    const state = makeState({ ...pool(1), keys: [makeKey("k", { concurrent: 1 })] });
    next(state, ticketOf(admit(state, makeRequest(), start)), makeFailure("transient"), start);
    const probe = ticketOf(admit(state, makeRequest(), start + 10_000));
    expect(refusalOf(admit(state, makeRequest(), start + 10_001)).code).toBe("concurrency_limited");
    abandon(state, probe.request_id, start + 10_002);
    abandon(state, probe.request_id, start + 10_003);
    expect(state.tickets.by_key.size + state.tickets.by_instance.size).toBe(0);
    const second = ticketOf(admit(state, makeRequest(), start + 10_004));
    expect(second.probe).toBe(true);
    // The news of a request that has ended changes nothing for the one that holds the place now.
    abandon(state, probe.request_id, start + 10_005);
    expect(state.tickets.by_key.get("k")).toBe(1);
    expect(statusOf(state, 0, start + 10_006)).toBe("probing");
    expect(surveyInstances(state, "pool-chat", start)[0]).toMatchObject({ failures: 1 });
  });

  it("bars an admit that arrives after its own abandon", ({ expect }) => {
    const state = makeState({ ...pool(1), keys: [makeKey("k", { concurrent: 1 })] });
    const request = makeRequest();
    abandon(state, request.request_id, start);
    expect(refusalOf(admit(state, request, start + 1)).code).toBe("attempts_exhausted");
    expect(state.tickets.open.size).toBe(0);
    expect(ticketOf(admit(state, makeRequest(), start + 2)).attempt).toBe(1);
  });
});

describe("apply", () => {
  it("counts a version as newer by epoch first", ({ expect }) => {
    const state = createState();
    expect(isNewer(state, address(0))).toBe(true);
    installConfig(state, address(7, 1), pool(1), start);
    expect(
      [address(7, 1), address(6, 1), address(99, 0), address(8, 1), address(1, 2)].map((one) => isNewer(state, one)),
    ).toEqual([false, false, false, true, true]);
  });

  it("keeps a revoked key refused though a later version carries it as live again", ({ expect }) => {
    const rows = pool(1);
    const state = makeState({ ...rows, keys: [makeKey("k", { revoked: true })] });
    installConfig(state, address(2), rows, start);
    installConfig(state, address(1, 1), rows, start);
    expect(refusalOf(admit(state, makeRequest(), start)).code).toBe("key_revoked");
  });

  it("carries lags, counters and cool-downs of the instances that stay, and balances the pool", ({ expect }) => {
    const state = makeState(pool(5, 3, 2));
    for (let call = 0; call < 7; call += 1) {
      admit(state, makeRequest(), start);
    }
    const lags = Array.from(state.config?.instances.values() ?? [], (instance) => instance.lag);
    installConfig(state, address(2), pool(1, 3, 2, 4), start);
    const after = Array.from(state.config?.instances.values() ?? [], (instance) => instance.lag);
    expect(after).toEqual([...lags, 0]);
    installConfig(state, address(3), pool(1, 3), start);
    const left = Array.from(state.config?.instances.values() ?? [], (instance) => instance.lag);
    expect(left.reduce((sum, lag) => sum + lag, 0)).toBeCloseTo(0, 12);
    expect(surveyInstances(state, "pool-chat", start).map((instance) => instance.picks)).toEqual([4, 2]);
  });

  it("lists the models that a key may use", ({ expect }) => {
    const rows = makeRows([makePool("chat", [makeInstance("a")]), makePool("embed", [makeInstance("b")])]);
    const state = makeState({ ...rows, keys: [makeKey("k", { models: ["embed", "gone"] }), makeKey("all")] });
    expect(listModels(state, { key_digest: "digest-k", scope: "models:invoke" }, start)).toEqual({
      kind: "models",
      names: ["embed"],
      provided: [],
    });
    expect(listModels(state, { key_digest: "digest-all", scope: "models:invoke" }, start)).toMatchObject({
      names: ["chat", "embed"],
    });
    expect(listModels(state, { key_digest: "?", scope: "models:invoke" }, start)).toMatchObject({
      code: "key_unknown",
    });
  });
});

describe("any interleaving", () => {
  const step = fc.record({
    pause: fc.constantFrom(0, 0, 1, 50, 900, 6_000, 40_000),
    what: fc.constantFrom(
      "admit",
      "admit",
      "admit",
      "fail",
      "fail",
      "ok",
      "committed",
      "departed",
      "repeat",
      "weights",
      "lose",
    ),
    which: fc.nat(),
    failureClass: fc.constantFrom<FailureClass>("rate_limit", "quota", "transient", "overloaded", "model_missing"),
    hint: fc.option(fc.constantFrom(1_000, 5_000, 30_000)),
  });

  it("keeps one probe per instance, cooled and drained ones untouched, lags within 3 and counts in step", ({
    expect,
  }) => {
    let worst = 0;
    let probes = 0;
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1, 1, 3, 10, 500), { minLength: 1, maxLength: 8, size: "max" }),
        fc.array(step, { minLength: 20, maxLength: 250, size: "max" }),
        (weights, steps) => {
          const state = makeState(pool(...weights));
          let present: number[] = weights;
          let version = 1;
          let now = start;
          const running: Ticket[] = [];
          const probing = new Map<string, { requestId: string; until: number }>();
          const take = (ticket: Ticket, coolingUntil: ReadonlyMap<string, number>): void => {
            const { id } = ticket.instance;
            expect(coolingUntil.get(id) ?? 0).toBeLessThanOrEqual(now);
            expect(present[Number(id.slice(1))]).toBeGreaterThan(0);
            expect(ticket.probe).toBe(coolingUntil.has(id));
            if (ticket.probe) {
              probes += 1;
              expect(probing.get(id)?.until ?? 0).toBeLessThanOrEqual(now);
              const commitBy =
                ticket.stream === true ? now + policy.first_byte_timeout_ms : ticket.deadline_at - 60_000;
              probing.set(id, { requestId: ticket.request_id, until: Math.min(commitBy, ticket.deadline_at - 60_000) });
            }
            running.push(ticket);
          };
          const drop = (ticket: Ticket): void => {
            if (probing.get(ticket.instance.id)?.requestId === ticket.request_id) {
              probing.delete(ticket.instance.id);
            }
          };
          for (const { failureClass, hint, pause, what, which } of steps) {
            now += pause;
            const cooling = new Map(
              Array.from(state.config?.instances.values() ?? []).flatMap((instance) => {
                const entry = state.cooldowns.entries.get(instance.cooldown_key);
                return entry === undefined ? [] : [[instance.row.id, entry.until] as const];
              }),
            );
            const ticket = running[which % Math.max(1, running.length)];
            if (what === "admit") {
              const answer = admit(state, makeRequest({ stream: which % 2 === 0 }), now);
              if (answer.kind === "ticket") {
                take(answer, cooling);
              } else {
                expect(answer.code).toBe("pool_exhausted");
                const wait = answer.retry_after_ms;
                expect(wait === null ? present.every((one) => one === 0) : wait > 0).toBe(true);
              }
            } else if (what === "weights") {
              version += 1;
              present = present.map((one, index) =>
                index === which % present.length ? ([0, 1, 7, 900][which % 4] ?? 1) : one,
              );
              installConfig(state, address(version), pool(...present), now);
            } else if (ticket !== undefined) {
              const index = running.indexOf(ticket);
              if (what === "repeat") {
                const again = next(state, { ...ticket, attempt: ticket.attempt - 1 }, makeFailure("transient"), now);
                expect(again.kind === "ticket" || now >= ticket.deadline_at).toBe(true);
              } else if (what === "committed") {
                committed(state, ticket);
                drop(ticket);
              } else if (what === "fail") {
                running.splice(index, 1);
                drop(ticket);
                const answer = next(state, ticket, makeFailure(failureClass, { retry_after_ms: hint }), now);
                cooling.delete(ticket.instance.id);
                if (answer.kind === "ticket") {
                  take(answer, cooling);
                }
              } else {
                running.splice(index, 1);
                if (what === "lose") {
                  continue;
                }
                settle(state, [makeOutcome(ticket, what === "ok" ? "ok" : "departed")], now);
                drop(ticket);
              }
            }
            for (const id of probing.keys()) {
              // A former probe's late success ends the cool-down, and with it what the running one was for.
              if (state.cooldowns.entries.get(`cred-${id} sandbox-chat`) === undefined) {
                probing.delete(id);
              }
            }
            const lanes = Array.from(state.config?.instances.values() ?? []);
            worst = Math.max(worst, ...lanes.map((lane) => Math.abs(lane.lag)));
            expect(worst).toBeLessThanOrEqual(3);
            expect(total(state.tickets.by_key)).toBe(state.tickets.open.size);
            expect(total(state.tickets.by_instance)).toBe(state.tickets.open.size);
          }
        },
      ),
      { numRuns: deep(200, 2_000), seed: seed() },
    );
    console.log(`worst lag ${worst.toFixed(3)}, probes ${probes}`);
    expect(probes).toBeGreaterThan(200);
  });
});

describe("a model that is missing on one endpoint", () => {
  it("stays where it answers another, and cools where it answered or never did", ({ expect }) => {
    const state = makeState(pool(1, 1));
    for (const at of [1, 2]) {
      settle(
        state,
        [makeOutcome(ticketOf(admit(state, makeRequest({ endpoint: "chat/completions" }), start + at)))],
        start + at,
      );
    }
    const miss = (endpoint: "embeddings" | "chat/completions", at: number): void => {
      const first = ticketOf(admit(state, makeRequest({ endpoint, request_id: `r${at}` }), at));
      next(state, ticketOf(next(state, first, makeFailure("model_missing"), at)), makeFailure("model_missing"), at);
    };
    miss("embeddings", start + 10);
    expect(surveyInstances(state, "pool-chat", start + 10)).toMatchObject([{ status: "ready" }, { status: "ready" }]);
    miss("chat/completions", start + 20);
    expect([statusOf(state, 0, start + 20), statusOf(state, 1, start + 20)]).toEqual(["cooling", "cooling"]);
  });
});
