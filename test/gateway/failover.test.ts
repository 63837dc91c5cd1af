/** The relay, the Router's own decisions and the sandbox together: what dead instances cost a call, and what a call costs the instances. */
import { createClock } from "../../src/base/clock.js";
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { utf8 } from "../../src/base/bytes.js";
import { OutboundError } from "../../src/base/outbound.js";
import { Secret } from "../../src/base/secret.js";
import { relay, type RelayDeps } from "../../src/gateway/relay.js";
import { scanBody } from "../../src/gateway/scan.js";
import type { UpstreamEndpoint } from "../../src/providers/contract.js";
import { answerSandbox } from "../../src/providers/sandbox/server.js";
import { sandbox } from "../../src/providers/sandbox.js";
import { admit, next } from "../../src/routing/decide.js";
import { installConfig } from "../../src/routing/install.js";
import type { Admission, Failure, FailureClass, InstanceState, Outcome } from "../../src/routing/model.js";
import { takeBatch } from "../../src/routing/request-log.js";
import { committed, settle } from "../../src/routing/report.js";
import { toRequest } from "../../src/gateway/send.js";
import { createState, type RouterState } from "../../src/routing/state.js";
import { surveyInstances } from "../../src/routing/survey.js";
import type { PoolPolicy } from "../../src/snapshot/model.js";
import { deep, seed } from "../support/deep.js";
import { address, entriesOf, makeInstance, makePool, makeRows } from "../routing/fixture.js";
import { recordedErrors } from "../routing/recorded-errors.js";
import { delta, done, endpointOf, fakeStream, role } from "./fake-stream.js";

/** How an instance answers a call, and what class of failure that is. */
interface Nature {
  readonly name: string;
  readonly kind: FailureClass | "ok";
  answer(request: Request): Promise<Response>;
}

const bodies = {
  "chat/completions": { messages: [{ role: "user", content: "hi" }] },
  completions: { prompt: "hi" },
  responses: { input: "hi" },
  messages: { max_tokens: 60, messages: [{ role: "user", content: "hi" }] },
  "messages/count_tokens": { messages: [{ role: "user", content: "hi" }] },
  embeddings: { input: "hi" },
} as const satisfies Partial<Record<UpstreamEndpoint, object>>;
type Called = keyof typeof bodies;

function sandboxAs(behaviour: string, kind: Nature["kind"]): Nature {
  return {
    name: behaviour,
    kind,
    async answer(request) {
      const headers = new Headers(request.headers);
      headers.delete("x-api-key");
      headers.set("authorization", `Bearer sk-sandbox-${behaviour}`);
      return answerSandbox(new Request(request, { headers }));
    },
  };
}

function answering(name: string, kind: Nature["kind"], answer: () => Response | Promise<Response>): Nature {
  return { name, kind, answer: async () => answer() };
}

function failing(status: number, kind: Nature["kind"], message = "x", code: string | null = null): Nature {
  return answering(`${status}`, kind, () => Response.json({ error: { message, code } }, { status }));
}

function limited(seconds: number): Nature {
  const headers = { "retry-after": String(seconds) };
  return answering("limited", "rate_limit", () => Response.json({ error: {} }, { status: 429, headers }));
}

const good = sandboxAs("ok", "ok");
/** Says nothing until it is given up. */
const mute = answering("mute", "transient", () => new Promise<Response>(() => undefined));

const recorded = recordedErrors
  .filter(({ class: kind, status }) => kind !== "caller_fault" && status !== 200)
  .map(({ name, status, headers = {}, body, class: kind }) =>
    answering(name, kind, () => Response.json(body, { status, headers })),
  );

/** Every way to be dead before an answer has begun. */
const dead: readonly Nature[] = [
  ...recorded,
  sandboxAs("429", "rate_limit"),
  sandboxAs("500", "transient"),
  sandboxAs("401", "credential"),
  sandboxAs("quota", "quota"),
  answering("no connection", "transient", () => Promise.reject(new OutboundError("network", "refused"))),
  answering("a page", "transient", () => new Response("<h1>Bad gateway</h1>", { status: 502 })),
];

/** What a stream can do wrong before its first content, and JSON before its end. */
const deadStreams: readonly Nature[] = [mute];
const deadJson: readonly Nature[] = [sandboxAs("cut", "transient")];

/** One pool, its instances' natures, and a clock that can be set forward. */
interface World {
  readonly state: RouterState;
  readonly sent: string[];
  readonly failures: Failure[];
  /** What goes on after the answers. */
  readonly waits: Promise<unknown>[];
  readonly natures: Nature[];
  aheadMs: number;
}

function makeWorld(natures: readonly Nature[], policy: Partial<PoolPolicy> = {}): World {
  const state = createState();
  const instances = natures.map((_, index) => makeInstance(`i${index}`));
  const limits = { max_attempts: 10, first_byte_timeout_ms: 60, ...policy };
  installConfig(state, address(1), makeRows([makePool("chat", instances, limits)]), Date.now());
  return { state, sent: [], failures: [], waits: [], natures: [...natures], aheadMs: 0 };
}

function now(world: World): number {
  return Date.now() + world.aheadMs;
}

function surveyed(world: World): readonly InstanceState[] {
  return surveyInstances(world.state, "pool-chat", now(world));
}

function statuses(world: World): readonly string[] {
  return surveyed(world).map(({ status }) => status);
}

let calls = 0;

async function call(world: World, name: Called = "chat/completions", stream = false): Promise<Response> {
  calls += 1;
  const body = utf8(JSON.stringify({ model: "chat", ...bodies[name], ...(stream ? { stream } : {}) }));
  const endpoint = endpointOf(name);
  const deps: RelayDeps = {
    router: {
      async admit(request) {
        return admit(world.state, request, now(world));
      },
      async next(ticket, failure): Promise<Admission> {
        world.failures.push(failure);
        return next(world.state, ticket, failure, now(world));
      },
      async committed(ticket) {
        committed(world.state, ticket);
      },
    },
    async publish() {},
    async confirmCredential() {},
    remember() {},
    async settle(outcome: Outcome) {
      settle(world.state, [outcome], now(world));
    },
    waitUntil: (promise) => world.waits.push(promise),
    async openInstance({ instance }) {
      const base = sandbox.default_base_url ?? "";
      return {
        provider_name: "sandbox",
        base_url: base,
        options: {},
        origin: new URL(base).origin,
        model: name === "embeddings" ? "sandbox-embed" : instance.model,
        credential_id: instance.credential_id,
        api_key: new Secret(`sk-${instance.credential_id}`),
      };
    },
    findProvider: () => sandbox,
    async send(_provider, outgoing, signal) {
      const request = toRequest(outgoing, signal);
      const key = request.headers.get("x-api-key") ?? request.headers.get("authorization") ?? "";
      const id = /i\d$/.exec(key)?.[0] ?? "";
      world.sent.push(id);
      const nature = world.natures[Number(id.slice(1))] ?? good;
      return nature.answer(request);
    },
    clock: createClock(),
    keepAliveMs: 1_000,
    openMs: 1_000,
    answerBudget: { maxBytes: 24 * 1_048_576, usedBytes: 0 },
  };
  const exchange = {
    requestId: `req_${calls}`,
    endpoint,
    estimate: { input_tokens: 1, output_tokens: null, choices: 1 },
    body,
    scan: scanBody(body, endpoint.fields),
    model: "chat",
    isStream: stream,
    headers: new Headers(),
    client: new AbortController().signal,
    startedAt: Date.now(),
  };
  return relay({ keyDigest: "digest-k", workspaceId: "ws-1" }, exchange, deps);
}

function sse(parts: readonly string[], end: "close" | "silence"): Nature {
  const headers = { "content-type": "text/event-stream" };
  return answering("a stream", "ok", () => new Response(fakeStream(parts, end).body, { headers }));
}

async function textOf(name: Called, stream: boolean): Promise<string> {
  return withoutTimes(await (await call(makeWorld([good]), name, stream)).text());
}

function withoutTimes(text: string): string {
  return text.replaceAll(/"created(?:_at)?":\d+/g, '"created":0');
}

describe("dead instances", () => {
  it("of n, k dead in any way: a call on any endpoint succeeds within k + 1 attempts, tries none twice, and each failure has its class, in the log too", async ({
    expect,
  }) => {
    const whole = new Map<string, string>();
    const seen = new Set<string>();
    const scene = fc
      .tuple(fc.constantFrom(...(Object.keys(bodies) as Called[])), fc.boolean(), fc.integer({ min: 1, max: 6 }))
      .chain(([name, wantsStream, n]) => {
        const stream = wantsStream && name !== "embeddings" && name !== "messages/count_tokens";
        const inband = name.startsWith("messages") ? "overloaded" : "transient";
        const ways = [...dead, sandboxAs("inband-error", inband), ...(stream ? deadStreams : deadJson)];
        // By class first: some classes have many more recorded ways than others.
        const bad = fc
          .constantFrom(...new Set(ways.map(({ kind }) => kind)))
          .chain((kind) => fc.constantFrom(...ways.filter((way) => way.kind === kind)));
        const nature = fc.oneof({ weight: 1, arbitrary: fc.constant(good) }, { weight: 3, arbitrary: bad });
        return fc.tuple(fc.constant(name), fc.constant(stream), fc.array(nature, { minLength: n, maxLength: n }));
      })
      .filter(([, , natures]) => natures.includes(good));
    await fc.assert(
      fc.asyncProperty(scene, async ([name, stream, natures]) => {
        const world = makeWorld(natures);
        const response = await call(world, name, stream);
        const text = withoutTimes(await response.text());
        const kinds = natures.map(({ kind }) => kind);
        const deadOnes = kinds.filter((kind) => kind !== "ok").length;
        expect(response.status, text).toBe(200);
        expect(Number(response.headers.get("x-gatehouse-attempts"))).toBe(world.sent.length);
        expect(world.sent.length).toBeLessThanOrEqual(deadOnes + 1);
        expect(new Set(world.sent).size).toBe(world.sent.length);
        const tried = world.sent.map((id) => kinds[Number(id.slice(1))]);
        expect(world.failures.map((failure) => failure.class)).toEqual(tried.slice(0, -1));
        expect(tried.at(-1)).toBe("ok");
        await Promise.all(world.waits);
        const logged = entriesOf(takeBatch(world.state.log, now(world)).calls);
        expect(logged.map(({ endpoint, result }) => [endpoint, result])).toEqual([[name, "ok"]]);
        const attempts = logged.flatMap((entry) => entry.attempts);
        expect(attempts.map(({ instance }) => instance.id)).toEqual(world.sent);
        expect(attempts.map(({ failure }) => failure?.class ?? "ok")).toEqual(tried);
        const key = `${name} ${stream}`;
        whole.set(key, whole.get(key) ?? (await textOf(name, stream)));
        expect(text).toBe(whole.get(key));
        const shown = statuses(world);
        const trouble = new Set<FailureClass | "ok">(["transient", "overloaded"]);
        for (const [at, id] of world.sent.entries()) {
          const kind = tried[at] ?? "ok";
          const expected = kind === "credential" ? "out" : kind === "ok" ? "ready" : "cooling";
          if (!trouble.has(kind)) {
            expect(shown[Number(id.slice(1))]).toBe(expected);
          }
          seen.add(kind);
        }
        const cooledByTrouble = shown.filter((status, at) => status === "cooling" && trouble.has(kinds[at] ?? "ok"));
        expect(cooledByTrouble.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: deep(80, 2_000), seed: seed() },
    );
    expect([...seen].toSorted()).toEqual(
      ["credential", "model_missing", "ok", "overloaded", "quota", "rate_limit", "transient"].toSorted(),
    );
  });

  it("all of them: the call fails after each was tried once, in the words of the last failure", async ({ expect }) => {
    const world = makeWorld([sandboxAs("429", "rate_limit"), sandboxAs("500", "transient"), mute]);
    const response = await call(world, "chat/completions", true);
    expect(response.status).toBeGreaterThanOrEqual(429);
    expect(world.sent.toSorted()).toEqual(["i0", "i1", "i2"]);
    expect(await response.json()).toHaveProperty("error.code");
  });

  it("that say when to come back: the pool says the soonest of their times, never an earlier one", async ({
    expect,
  }) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 2, max: 3_000 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 1_900 }),
        async (waits, laterMs) => {
          const world = makeWorld(waits.map(limited));
          const from = Date.now();
          await (await call(world)).text();
          const reportedBy = Date.now();
          world.aheadMs = laterMs;
          const refused = await call(world);
          const soonest = Math.min(...waits) * 1_000;
          const told = Number(refused.headers.get("retry-after")) * 1_000;
          expect([refused.status, world.sent.length]).toEqual([503, waits.length]);
          // Never earlier than the end of the cool-down, and at most a second of rounding later.
          expect(told).toBeGreaterThanOrEqual(soonest - (now(world) - from));
          expect(told).toBeLessThan(soonest - laterMs + (reportedBy - from) + 1_000);
        },
      ),
      { numRuns: deep(20, 500), seed: seed() },
    );
  });
});

describe("one poison request", () => {
  const tooLarge = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 40000.";
  it.for([
    { what: "a 429 that blames its size", nature: failing(429, "caller_fault", tooLarge), cools: 0, attempts: 1 },
    { what: "a 400", nature: failing(400, "caller_fault"), cools: 0, attempts: 1 },
    { what: "a 500", nature: sandboxAs("500", "transient"), cools: 1, attempts: 5 },
    { what: "a 503", nature: failing(503, "overloaded"), cools: 1, attempts: 5 },
    { what: "an error inside a 200", nature: sandboxAs("inband-error", "transient"), cools: 1, attempts: 5 },
    { what: "silence", nature: mute, cools: 1, attempts: 5 },
  ])("that gets $what from every instance cools $cools of five", async ({ nature, cools, attempts }, { expect }) => {
    const world = makeWorld(Array.from({ length: 5 }, () => nature));
    await (await call(world, "chat/completions", true)).text();
    expect(world.sent.length).toBe(attempts);
    expect(statuses(world).filter((status) => status === "cooling").length).toBe(cools);
    expect(statuses(world).filter((status) => status === "ready").length).toBe(5 - cools);
  });
});

describe("many calls at once", () => {
  it("a hundred in flight that get a 429 are one event", async ({ expect }) => {
    const arrived = Promise.withResolvers<void>();
    const opened = Promise.withResolvers<void>();
    let waiting = 0;
    const held = answering("held", "rate_limit", async () => {
      waiting += 1;
      if (waiting === 100) {
        arrived.resolve();
      }
      await opened.promise;
      return Response.json({ error: {} }, { status: 429 });
    });
    const world = makeWorld([held]);
    const running = Array.from({ length: 100 }, async () => (await call(world)).status);
    await arrived.promise;
    opened.resolve();
    await Promise.all(running);
    const [entry] = world.state.cooldowns.entries.values();
    expect(entry).toMatchObject({ reason: "rate_limit", streak: 0 });
    expect(entry?.until).toBe((entry?.since ?? 0) + 60_000);
    expect(surveyed(world)[0]?.failures).toBe(100);
  });

  it("a hundred at the end of a cool-down make one probe; the others are served elsewhere", async ({ expect }) => {
    const world = makeWorld([sandboxAs("429", "rate_limit"), good]);
    while (!world.sent.includes("i0")) {
      await (await call(world)).text();
    }
    expect(statuses(world)).toEqual(["cooling", "ready"]);
    world.sent.length = 0;
    const burst = async (): Promise<number[]> =>
      Promise.all(
        Array.from({ length: 100 }, async () => {
          const response = await call(world);
          await response.text();
          return response.status;
        }),
      );
    expect(new Set(await burst())).toEqual(new Set([200]));
    expect(world.sent).not.toContain("i0");
    world.aheadMs = 5_001;
    world.sent.length = 0;
    expect(new Set(await burst())).toEqual(new Set([200]));
    expect(world.sent.filter((id) => id === "i0").length).toBe(1);
    const [entry] = world.state.cooldowns.entries.values();
    expect(entry?.streak).toBe(1);
  });

  it("a probe that is a long stream brings its instance back at its first content, while it goes on", async ({
    expect,
  }) => {
    const world = makeWorld([sandboxAs("429", "rate_limit")]);
    await (await call(world)).text();
    expect(statuses(world)).toEqual(["cooling"]);
    expect((await call(world)).status).toBe(503);
    world.natures[0] = sse([role, delta({ content: "one" })], "silence");
    world.aheadMs = 5_001;
    const endless = await call(world, "chat/completions", true);
    expect(statuses(world)).toEqual(["ready"]);
    expect(surveyed(world)[0]?.in_flight).toBe(1);
    world.natures[0] = good;
    expect((await call(world)).status).toBe(200);
    await endless.body?.cancel();
  });
});

describe("an error in the midst of a stream", () => {
  const finished = delta({ content: "one" }, "error");
  const ways = {
    "a choice that ends with an error": [finished, "transient"],
    "a choice that holds one": [
      delta({}).replace('"delta"', '"error":{"code":429,"message":"slow"},"delta"'),
      "rate_limit",
    ],
    "MiniMax's number": ['data: {"choices":null,"base_resp":{"status_code":1008,"status_msg":"x"}}\n\n', "quota"],
    "Cloudflare's list": ['data: {"success":false,"errors":[{"code":3040,"message":"x"}]}\n\n', "transient"],
    "a bare error": ['data: {"object":"error","message":"gone","code":503}\n\n', "overloaded"],
  } as const satisfies Record<string, readonly [string, FailureClass]>;

  it.for(Object.entries(ways))(
    "%s: before content the next instance answers; after it the stream ends with an error",
    async ([, [event, kind]], { expect }) => {
      const before = makeWorld([sse([role, event], "close"), good]);
      while (!before.sent.includes("i0")) {
        const text = await (await call(before, "chat/completions", true)).text();
        expect(text).toContain("[DONE]");
        expect(text).not.toContain('"error":');
      }
      expect(before.failures.map((failure) => failure.class)).toEqual([kind]);
      const after = makeWorld([sse([role, delta({ content: "some" }), event, done], "close")]);
      const text = await (await call(after, "chat/completions", true)).text();
      expect(text).toContain("some");
      expect(text).toMatch(/data: \{"error":\{[^\n]*\n\n$/);
      expect(text).not.toContain("[DONE]");
    },
  );
});

describe("a stream that stalls", () => {
  it("ends with an error within 1.2 s at a limit of 1 s, on every wire", async ({ expect }) => {
    const stalled = async (name: Called): Promise<number> => {
      const world = makeWorld([sandboxAs("stall", "ok")], { idle_timeout_ms: 1_000, first_byte_timeout_ms: 10_000 });
      const response = await call(world, name, true);
      const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
      let last = "";
      let at = Date.now();
      let tookMs = 0;
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        const text = new TextDecoder().decode(piece.value);
        tookMs = Date.now() - at;
        // Heartbeats keep the connection open; they are no life sign of the upstream.
        at = /^(?:: |event: ping)/.test(text) ? at : Date.now();
        last = text;
      }
      expect(last).toMatch(/stopped sending/);
      expect(last).not.toContain("[DONE]");
      return tookMs;
    };
    const names: readonly Called[] = ["chat/completions", "completions", "responses", "messages"];
    const times = await Promise.all(names.map(stalled));
    console.log(`stalls ended after ${times.join(", ")} ms`);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(990);
    // The slowest has to wait for its turn among four on a loaded machine.
    expect(Math.min(...times)).toBeLessThan(1_200);
  });
});
