import { describe, it, vi } from "vitest";
import { fromUtf8 } from "../../src/base/bytes.js";
import { errorTable } from "../../src/base/error-table.js";
import { createClock } from "../../src/base/clock.js";
import { AppError } from "../../src/base/errors.js";
import { readBody } from "../../src/gateway/body.js";
import { answerBudget, type Budget, openHold, requestBudget } from "../../src/gateway/budget.js";
import { endpoints } from "../../src/gateway/endpoints.js";
import { errorResponse, exhaustedError, openaiFace } from "../../src/gateway/face.js";
import { answerHeaders, formatDuration, upstreamHeaders } from "../../src/gateway/headers.js";
import { createRefusalMemory } from "../../src/gateway/refusals.js";
import { connectRouter } from "../../src/gateway/router-call.js";
import { callRouter } from "../../src/routing/call.js";
import { refusalError } from "../../src/routing/refusal.js";
import { createSettler } from "../../src/gateway/settler.js";
import { transientFailure } from "../../src/routing/classify.js";
import type { Outcome, Refusal, RefusalCode, RouterApi } from "../../src/routing/model.js";
import { fakeStream } from "./fake-stream.js";

const refusal = (code: RefusalCode, wait: number | null = null): Refusal => ({
  kind: "refused",
  code,
  retry_after_ms: wait,
  rate: null,
});

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "accepted";
  } catch (error) {
    return error instanceof AppError ? error.code : String(error);
  }
}

const post = (parts: readonly (string | Uint8Array | number)[], end: "close" | "error" | "silence" = "close") =>
  new Request("https://gatehouse.test/", { method: "POST", body: fakeStream(parts, end).body });

const limits = (maxBytes: number, budget: Budget, idleMs = 5_000) => ({ maxBytes, budget, idleMs, copies: 3 });

describe("readBody", () => {
  it("reads a body whole and gives its share of the budget back on release", async ({ expect }) => {
    const budget: Budget = { maxBytes: 100, usedBytes: 0 };
    const body = await readBody(post(["abc", "def"]), limits(10, budget));
    expect(fromUtf8(body.bytes)).toBe("abcdef");
    expect(budget.usedBytes).toBe(18);
    body.release();
    body.release();
    expect(budget.usedBytes).toBe(0);
  });

  it("refuses a body over its limit, announced or not, and keeps nothing reserved", async ({ expect }) => {
    const budget: Budget = { maxBytes: 1_000, usedBytes: 0 };
    expect(await codeOf(() => readBody(post(["aaaaa", "bbbbbb"]), limits(10, budget)))).toBe("body_too_large");
    const announced = new Request("https://gatehouse.test/", {
      method: "POST",
      body: "x",
      headers: { "content-length": "11" },
    });
    expect(await codeOf(() => readBody(announced, limits(10, budget)))).toBe("body_too_large");
    expect(await codeOf(() => readBody(post(["aaaaa", "bbbbb"]), limits(10, budget)))).toBe("accepted");
    expect(budget.usedBytes).toBe(30);
  });

  it("is overloaded, not out of memory, when the isolate's budget is used up, and recovers", async ({ expect }) => {
    const budget: Budget = { maxBytes: 30, usedBytes: 0 };
    const first = await readBody(post(["aaaaaa"]), limits(10, budget));
    const error = await readBody(post(["bbbbbb"]), limits(10, budget)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "overloaded", retryAfterMs: 1_000 });
    expect(budget.usedBytes).toBe(18);
    first.release();
    expect(await codeOf(() => readBody(post(["bbbbbb"]), limits(10, budget)))).toBe("accepted");
  });

  it("does not wait for ever for a sender that falls silent, nor keep what it sent", async ({ expect }) => {
    const budget: Budget = { maxBytes: 1_000, usedBytes: 0 };
    expect(await codeOf(() => readBody(post(["abc"], "silence"), limits(10, budget, 50)))).toBe("request_timeout");
    expect(await codeOf(() => readBody(post(["abc"], "error"), limits(10, budget)))).toBe("client_closed_request");
    expect(budget.usedBytes).toBe(0);
  });
});

describe("the isolate's budgets", () => {
  it("leave 40 MB of an isolate to code, snapshots and the platform, with room for the largest body", ({ expect }) => {
    expect(128_000_000 - requestBudget.maxBytes - answerBudget.maxBytes).toBeGreaterThan(35_000_000);
    for (const { maxBytes, copies } of endpoints) {
      expect(requestBudget.maxBytes).toBeGreaterThan(copies * maxBytes);
    }
  });

  it("count what is held now, refuse what has no room, and get everything back once", ({ expect }) => {
    const budget: Budget = { maxBytes: 10, usedBytes: 0 };
    const [one, two] = [openHold(budget), openHold(budget)];
    expect([one.resize(6), two.resize(4), two.resize(5), one.resize(2), two.resize(8)]).toEqual([
      true,
      true,
      false,
      true,
      true,
    ]);
    expect(budget.usedBytes).toBe(10);
    one.release();
    one.release();
    expect(budget.usedBytes).toBe(8);
    expect([one.resize(1_000), budget.usedBytes]).toEqual([true, 8]);
    two.release();
    expect(budget.usedBytes).toBe(0);
  });
});

describe("headers", () => {
  it("passes on none of the caller's headers but those a provider needs", ({ expect }) => {
    const client = new Headers({
      authorization: "Bearer ghk_x",
      "x-api-key": "ghk_x",
      cookie: "a=b",
      accept: "text/event-stream",
      "openai-beta": "x",
      "content-type": "application/json",
      "openai-organization": "org",
      "x-forwarded-for": "1.2.3.4",
      "cf-connecting-ip": "1.2.3.4",
      traceparent: "00-1",
      "user-agent": "x",
    });
    expect(Object.keys(upstreamHeaders(client, ["openai-beta"])).toSorted()).toEqual([
      "accept",
      "content-type",
      "openai-beta",
    ]);
  });

  it("passes on none of the upstream's cookies, limits, organisation or ids, and tells our own", ({ expect }) => {
    const upstream = new Headers({
      "set-cookie": "a=b",
      "x-request-id": "theirs",
      "openai-organization": "org",
      "x-ratelimit-remaining-requests": "1",
      "x-ratelimit-limit-tokens": "1",
      "openai-processing-ms": "12",
      "retry-after": "9",
      "content-encoding": "gzip",
      "cf-ray": "x",
    });
    const headers = answerHeaders(
      {
        requestId: "req_1",
        requestIdHeader: null,
        alias: "main",
        attempts: 2,
        rate: { limit: 10, remaining: 9, reset_ms: 59_500 },
        timing: { routeMs: 1.26, upstreamMs: 300 },
      },
      upstream,
    );
    expect(Object.fromEntries(headers)).toEqual({
      "openai-processing-ms": "12",
      "x-request-id": "req_1",
      "x-gatehouse-instance": "main",
      "x-gatehouse-attempts": "2",
      "x-content-type-options": "nosniff",
      "server-timing": "route;dur=1.3, upstream;dur=300",
      "x-ratelimit-limit-requests": "10",
      "x-ratelimit-remaining-requests": "9",
      "x-ratelimit-reset-requests": "59.5s",
    });
  });

  it("carries any alias without breaking the header", ({ expect }) => {
    for (const alias of ["Größe", "a\r\nset-cookie: x", "日本", " x ", "\ud800"]) {
      const headers = answerHeaders({
        requestId: "r",
        requestIdHeader: null,
        alias,
        attempts: 1,
        rate: null,
        timing: null,
      });
      expect(headers.get("x-gatehouse-instance")).toBe(encodeURIComponent(alias.toWellFormed()));
    }
  });

  it("writes durations as OpenAI does", ({ expect }) => {
    expect([0, 20, 999.2, 1_500, 60_000, 90_000, 3_723_000].map(formatDuration)).toEqual([
      "0ms",
      "20ms",
      "1s",
      "1.5s",
      "1m0s",
      "1m30s",
      "1h2m3s",
    ]);
  });
});

const answer = async (error: AppError) => {
  const response = errorResponse(error, new Headers(), openaiFace);
  const body = await response.json<{ error: Record<string, unknown> }>();
  const { headers, status } = response;
  const shouldRetry = headers.get("x-should-retry");
  return { status, retryAfter: headers.get("retry-after"), shouldRetry, ...body.error };
};

describe("OpenAI face", () => {
  it("gives each refusal its status and code", async ({ expect }) => {
    const expected: [RefusalCode, number, string, string | null][] = [
      ["key_unknown", 401, "invalid_api_key", null],
      ["key_revoked", 401, "invalid_api_key", null],
      ["key_expired", 401, "invalid_api_key", null],
      ["scope_missing", 403, "scope_missing", null],
      ["model_not_allowed", 403, "model_not_allowed", null],
      ["model_not_found", 404, "model_not_found", null],
      ["rate_limited", 429, "rate_limit_exceeded", "2"],
      ["concurrency_limited", 429, "concurrency_limited", "2"],
      ["pool_exhausted", 503, "pool_exhausted", "2"],
      ["not_configured", 503, "router_unavailable", "2"],
    ];
    for (const [code, status, wire, retryAfter] of expected) {
      expect(await answer(refusalError(refusal(code, retryAfter === null ? null : 1_001))), code).toMatchObject({
        status,
        code: wire,
        retryAfter,
      });
    }
  });

  it("names no time when waiting cannot help, says so, and tells the SDKs not to repeat", async ({ expect }) => {
    const futile = await answer(refusalError(refusal("pool_exhausted")));
    expect(futile).toMatchObject({ status: 503, code: "pool_exhausted", retryAfter: null, shouldRetry: "false" });
    expect(futile).toMatchObject({ message: expect.stringContaining("Waiting does not help") as unknown });
    const soon = await answer(refusalError(refusal("pool_exhausted", 0)));
    expect(soon).toMatchObject({ status: 503, code: "pool_exhausted", retryAfter: "1", shouldRetry: null });
    const busy = await answer(refusalError(refusal("concurrency_limited")));
    expect(busy).toMatchObject({ status: 429, retryAfter: "1", shouldRetry: null });
  });

  it("has message, type, param and code for every error there is, and tells no cause", async ({ expect }) => {
    for (const code of Object.keys(errorTable) as (keyof typeof errorTable)[]) {
      const wire = await answer(new AppError(code, { cause: new Error("canary") }));
      expect(Object.keys(wire)).toEqual(["status", "retryAfter", "shouldRetry", "message", "type", "param", "code"]);
      expect(JSON.stringify(wire)).not.toContain("canary");
    }
  });

  it("dresses the last failure when the attempts are used up", async ({ expect }) => {
    const used = refusal("attempts_exhausted", 4_200);
    const failed = transientFailure("connection");
    expect(await answer(exhaustedError(used, failed, null))).toMatchObject({ status: 502, code: "upstream_failed" });
    expect(await answer(exhaustedError(used, transientFailure("first_byte_timeout", true), null))).toMatchObject({
      status: 504,
      code: "timeout",
    });
    expect(await answer(exhaustedError(used, { ...failed, class: "rate_limit", status: 429 }, null))).toMatchObject({
      status: 429,
      code: "rate_limit_exceeded",
      retryAfter: "5",
    });
    expect(await answer(exhaustedError(used, { ...failed, class: "overloaded", status: 503 }, null))).toMatchObject({
      status: 503,
      code: "pool_exhausted",
      retryAfter: "5",
    });
    expect(await answer(exhaustedError(refusal("pool_exhausted", 9_000), failed, null))).toMatchObject({
      status: 503,
      code: "pool_exhausted",
      retryAfter: "9",
    });
    expect(await answer(exhaustedError(used, failed, new AppError("undecryptable")))).toMatchObject({
      status: 500,
      code: "undecryptable",
    });
    expect(await answer(exhaustedError(used, { ...failed, class: "credential", status: 401 }, null))).toMatchObject({
      status: 502,
      code: "upstream_failed",
    });
  });
});

describe("refusal memory", () => {
  it("remembers dead keys for ten minutes and rate limits until their time, and nothing else", ({ expect }) => {
    let now = 1_000_000;
    const memory = createRefusalMemory(100, () => now);
    const codes: RefusalCode[] = [
      "key_unknown",
      "key_revoked",
      "key_expired",
      "scope_missing",
      "model_not_allowed",
      "model_not_found",
      "rate_limited",
      "concurrency_limited",
      "pool_exhausted",
      "attempts_exhausted",
      "not_configured",
    ];
    for (const code of codes) {
      memory.remember(code, refusal(code, 5_000));
    }
    const remembered = () => codes.filter((code) => memory.recall(code) !== null);
    expect(remembered()).toEqual(["key_revoked", "key_expired", "rate_limited"]);
    now += 4_000;
    expect(memory.recall("rate_limited")?.retry_after_ms).toBe(1_000);
    now += 1_000;
    expect(remembered()).toEqual(["key_revoked", "key_expired"]);
    now += 595_000;
    expect(remembered()).toEqual([]);
  });

  it("believes a full window for five seconds at most, so that a wider one is soon in force", ({ expect }) => {
    let now = 0;
    const memory = createRefusalMemory(100, () => now);
    const window = { limit: 400, remaining: 0, reset_ms: 58_000 };
    memory.remember("key", { ...refusal("rate_limited", 60_000), rate: window, token_rate: window });
    now = 4_000;
    const aged = { ...window, reset_ms: 54_000 };
    expect(memory.recall("key")).toMatchObject({ retry_after_ms: 56_000, rate: aged, token_rate: aged });
    now = 5_000;
    expect(memory.recall("key")).toBeNull();
  });

  it("stays within its size, and a flood of dead keys pushes out only the oldest", ({ expect }) => {
    const memory = createRefusalMemory(3);
    for (const key of ["a", "b", "c", "d", "e"]) {
      memory.remember(key, refusal("key_revoked"));
    }
    expect(["a", "b", "c", "d", "e"].map((key) => memory.recall(key)?.code ?? null)).toEqual([
      null,
      null,
      "key_revoked",
      "key_revoked",
      "key_revoked",
    ]);
  });
});

const thrown = (marks: object) => Object.assign(new Error("lost"), marks);

async function callWith(failures: readonly (Error | null)[]) {
  let stubs = 0;
  const makeStub = () => {
    stubs += 1;
    return {} as RouterApi;
  };
  let calls = 0;
  const code = await codeOf(() =>
    callRouter("admit", makeStub, async () => {
      const failure = failures[calls] ?? null;
      calls += 1;
      if (failure !== null) {
        throw failure;
      }
    }),
  );
  return { code, calls, stubs };
}

describe("callRouter", () => {
  it("repeats a retryable call once, on a new stub", async ({ expect }) => {
    expect(await callWith([thrown({ retryable: true })])).toEqual({ code: "accepted", calls: 2, stubs: 2 });
    expect(await callWith([thrown({ retryable: true }), thrown({ retryable: true })])).toEqual({
      code: "router_unavailable",
      calls: 2,
      stubs: 2,
    });
  });

  it("never repeats an overloaded or an unmarked failure; both are 503 with Retry-After", async ({ expect }) => {
    expect(await callWith([thrown({ retryable: true, overloaded: true })])).toEqual({
      code: "router_unavailable",
      calls: 1,
      stubs: 1,
    });
    expect(await callWith([thrown({})])).toEqual({ code: "router_unavailable", calls: 1, stubs: 1 });
    const error: unknown = await callRouter(
      "admit",
      () => ({}) as RouterApi,
      () => Promise.reject(new Error("x")),
    ).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ status: 503, retryAfterMs: 1_000 });
  });
});

async function admitWith(failure: Error, abandon: RouterApi["abandon"]) {
  const waits: Promise<void>[] = [];
  const makeStub = () => ({ admit: () => Promise.reject(failure), abandon }) as unknown as RouterApi;
  const line = connectRouter(makeStub, (promise) => waits.push(promise), createClock());
  const request = { request_id: "req_1", key_digest: "d", scope: "models:invoke", model: "mix" };
  const code = await codeOf(() => line.admit(request));
  await Promise.all(waits);
  return { code, waits: waits.length };
}

const ofAnOldRelease = () => Promise.reject(new TypeError("The RPC receiver does not implement the method"));

describe("an admit without an answer", () => {
  it("is taken back, since the Router may hold its place, unless the Router is drowning", async ({ expect }) => {
    const abandoned: string[] = [];
    const abandon = async (id: string) => void abandoned.push(id);
    expect((await admitWith(thrown({}), abandon)).code).toBe("router_unavailable");
    expect((await admitWith(thrown({ retryable: true }), abandon)).code).toBe("router_unavailable");
    expect(abandoned).toEqual(["req_1", "req_1"]);
    expect(await admitWith(thrown({ overloaded: true }), abandon)).toEqual({ code: "router_unavailable", waits: 0 });
  });

  it("stays a 503 when the Router is of a release that cannot take it back", async ({ expect }) => {
    expect(await admitWith(thrown({}), ofAnOldRelease)).toEqual({ code: "router_unavailable", waits: 1 });
  });
});

const outcome = (id: string) => ({ ticket: { request_id: id } }) as Outcome;

function fakeRouter(failures = 0) {
  const calls: string[][] = [];
  let left = failures;
  const makeStub = () => ({
    settle: async (outcomes: readonly Outcome[]) => {
      calls.push(outcomes.map(({ ticket }) => ticket.request_id));
      if (left > 0) {
        left -= 1;
        throw new Error("lost");
      }
    },
  });
  return { calls, makeStub };
}

describe("settler", () => {
  it("puts outcomes of one Router into one call, and two Routers' into two", async ({ expect }) => {
    const settle = createSettler({ flushMs: 20, maxOutcomes: 64, patienceMs: 1_000 });
    const [a, b] = [fakeRouter(), fakeRouter()];
    const ids = Array.from({ length: 30 }, (_, index) => `r${index}`);
    await Promise.all([
      ...ids.map((id) => settle({ router: "a", makeStub: a.makeStub }, outcome(id))),
      settle({ router: "b", makeStub: b.makeStub }, outcome("x")),
    ]);
    expect(a.calls).toEqual([ids]);
    expect(b.calls).toEqual([["x"]]);
  });

  it("flushes at 64 outcomes without waiting", async ({ expect }) => {
    const settle = createSettler({ flushMs: 400, maxOutcomes: 64, patienceMs: 1_000 });
    const { calls, makeStub } = fakeRouter();
    const settled = Array.from({ length: 128 }, (_, index) =>
      settle({ router: "a", makeStub }, outcome(String(index))),
    );
    await Promise.all([settled[63], settled[127]]);
    expect(calls.map((call) => call.length)).toEqual([64, 64]);
    await Promise.all(settled);
    expect(calls).toHaveLength(2);
  });

  it("tries a failed call once more on a new stub, then gives up without throwing", async ({ expect }) => {
    const settle = createSettler({ flushMs: 5, maxOutcomes: 64, patienceMs: 1_000 });
    const once = fakeRouter(1);
    await settle({ router: "a", makeStub: once.makeStub }, outcome("r"));
    expect(once.calls).toEqual([["r"], ["r"]]);
    const always = fakeRouter(9);
    const spy = vi.spyOn(console, "error").mockReturnValue();
    await settle({ router: "b", makeStub: always.makeStub }, outcome("r"));
    expect(always.calls).toHaveLength(2);
    expect(spy.mock.calls.flat().join(" ")).toContain("settle_failed");
    spy.mockRestore();
  });

  it("lets the one that opened a batch settle it when the request that sends it is stuck", async ({ expect }) => {
    const settle = createSettler({ flushMs: 10, maxOutcomes: 2, patienceMs: 60 });
    const stuck = { settle: () => new Promise<void>(() => undefined) };
    const own = fakeRouter();
    const first = settle({ router: "a", makeStub: own.makeStub }, outcome("mine"));
    void settle({ router: "a", makeStub: () => stuck }, outcome("theirs"));
    await first;
    expect(own.calls).toEqual([["mine", "theirs"]]);
  });

  it("lets the second of a batch settle it when the one that opened it is stuck, and holds nobody else", async ({
    expect,
  }) => {
    const settle = createSettler({ flushMs: 20, maxOutcomes: 64, patienceMs: 60 });
    const stuck = { settle: () => new Promise<void>(() => undefined) };
    const own = fakeRouter();
    void settle({ router: "a", makeStub: () => stuck }, outcome("opener"));
    const second = settle({ router: "a", makeStub: own.makeStub }, outcome("second"));
    const third = settle({ router: "a", makeStub: () => stuck }, outcome("third"));
    await third;
    expect(own.calls).toEqual([]);
    await second;
    expect(own.calls).toEqual([["opener", "second", "third"]]);
  });
});
