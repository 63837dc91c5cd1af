import { describe, it } from "vitest";
import { fromUtf8, utf8 } from "../../src/base/bytes.js";
import type { OutboundCall } from "../../src/base/outbound.js";
import { createClock } from "../../src/base/clock.js";
import { AppError } from "../../src/base/errors.js";
import { OutboundError } from "../../src/base/outbound.js";
import { Secret } from "../../src/base/secret.js";
import type { Exchange } from "../../src/gateway/attempt.js";
import type { Budget } from "../../src/gateway/budget.js";
import { relay, type RelayDeps } from "../../src/gateway/relay.js";
import { scanBody } from "../../src/gateway/scan.js";
import type { Provider } from "../../src/providers/contract.js";
import { openaiCompatible } from "../../src/providers/openai-compatible.js";
import { openai } from "../../src/providers/openai.js";
import { toRequest } from "../../src/gateway/send.js";
import { spreadHash } from "../../src/routing/sticky.js";
import { catalogueEdition } from "../../src/snapshot/model.js";
import type { Admission, AdmitRequest, Failure, Outcome, Refusal, Ticket } from "../../src/routing/model.js";
import { delta, done, endpointOf, fakeStream, recorded, role, type StreamEnd } from "./fake-stream.js";

const secret = "sk-upstream-secret-0123456789";
const okJson = {
  id: "x",
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
};

type Upstream = (request: Request, attempt: number) => Response | Promise<Response>;

interface Scene {
  readonly upstream?: Upstream;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  readonly instances?: number;
  readonly policy?: Partial<Ticket["policy"]>;
  readonly ticket?: Partial<Ticket>;
  readonly probe?: boolean;
  readonly client?: AbortSignal;
  readonly deps?: Partial<RelayDeps>;
  readonly last?: Refusal["code"];
  readonly answerBytes?: number;
}

function ticketOf(attempt: number, scene: Scene): Ticket {
  const policy = {
    max_attempts: 3,
    total_timeout_ms: 10_000,
    first_byte_timeout_ms: 5_000,
    idle_timeout_ms: 5_000,
    ...scene.policy,
  };
  const instance = {
    id: `inst_${attempt}`,
    alias: `alias-${attempt}`,
    provider_name: "openai_compatible",
    model: `model-${attempt}`,
    credential_id: `cred_${attempt}`,
  };
  const now = Date.now();
  return {
    kind: "ticket",
    request_id: "req_1",
    attempt,
    key_id: "key_1",
    pool_id: "pool_1",
    instance,
    tried: Array.from({ length: attempt }, (_, index) => `inst_${index + 1}`),
    config: { epoch: 0, version: 1, digest: "d" },
    policy,
    issued_at: now,
    deadline_at: now + policy.total_timeout_ms + 60_000,
    probe: scene.probe ?? false,
    rate: { limit: 60, remaining: 59, reset_ms: 1_000 },
    ...scene.ticket,
  };
}

/** Plays one request against fakes and records every call that left the relay. */
function strayRequest(): OutboundCall {
  return { url: "https://evil.test/v1/chat/completions", method: "POST", headers: {}, body: utf8("{}") };
}

async function play(scene: Scene) {
  const calls = {
    admit: [] as AdmitRequest[],
    next: [] as Failure[],
    committed: 0,
    sent: [] as { url: string; body: string; headers: Headers }[],
    settled: [] as Outcome[],
    remembered: [] as Refusal[],
    published: 0,
    confirmed: [] as string[],
    waits: [] as Promise<unknown>[],
    events: [] as string[],
  };
  const answerBudget: Budget = { maxBytes: scene.answerBytes ?? 24 * 1_048_576, usedBytes: 0 };
  const deps: RelayDeps = {
    router: {
      async admit(request) {
        calls.admit.push(request);
        calls.events.push("admit");
        return ticketOf(1, scene);
      },
      async next(ticket, failure): Promise<Admission> {
        calls.next.push(failure);
        return ticket.attempt < (scene.instances ?? 2)
          ? ticketOf(ticket.attempt + 1, scene)
          : { kind: "refused", code: scene.last ?? "attempts_exhausted", retry_after_ms: 4_200, rate: null };
      },
      async committed() {
        calls.committed += 1;
      },
    },
    async publish() {
      calls.published += 1;
    },
    async confirmCredential(id) {
      calls.confirmed.push(id);
    },
    remember: (refusal) => calls.remembered.push(refusal),
    async settle(outcome) {
      calls.settled.push(outcome);
    },
    waitUntil(promise) {
      calls.events.push("waitUntil");
      calls.waits.push(promise);
    },
    async openInstance(ticket) {
      const { model, credential_id } = ticket.instance;
      return {
        provider_name: "openai_compatible",
        base_url: "https://up.test/v1",
        options: {},
        origin: "https://up.test",
        model,
        credential_id,
        api_key: new Secret(secret),
      };
    },
    findProvider: () => openaiCompatible,
    async send(_provider, call) {
      const request = toRequest(call);
      calls.events.push("send");
      calls.sent.push({ url: request.url, body: await request.text(), headers: request.headers });
      return await (scene.upstream ?? (() => Response.json(okJson)))(request, calls.sent.length);
    },
    clock: createClock(),
    keepAliveMs: 1_000,
    openMs: 100,
    answerBudget,
    ...scene.deps,
  };
  const body = utf8(JSON.stringify(scene.body ?? { model: "mix", messages: [{ role: "user", content: "hello" }] }));
  const endpoint = endpointOf("chat/completions");
  const scan = scanBody(body, endpoint.fields);
  const exchange: Exchange = {
    requestId: "req_1",
    endpoint,
    estimate: { input_tokens: 11, output_tokens: null, choices: 1 },
    body,
    scan,
    model: "mix",
    isStream: scan.fields.stream?.value === true,
    headers: new Headers({ authorization: "Bearer ghk_caller", "openai-beta": "b", ...scene.headers }),
    client: scene.client ?? new AbortController().signal,
    startedAt: Date.now(),
  };
  const response = await relay({ keyDigest: "digest", workspaceId: "ws_1" }, exchange, deps);
  return { response, calls, request: new WeakRef(body), answerBudget };
}

const streamBody = { model: "mix", stream: true, messages: [] };

function sse(parts: readonly (string | number)[], end: StreamEnd = "close"): Response {
  return new Response(fakeStream(parts, end).body, {
    headers: { "content-type": "text/event-stream", "set-cookie": "a=b", "x-ratelimit-remaining-requests": "1" },
  });
}

function failing(
  status: number,
  body: unknown = { error: { message: "x" } },
  headers: Record<string, string> = {},
): Response {
  return Response.json(body, { status, headers });
}

/** Whether nothing holds it any more: workerd gives no way to ask for a collection, so small garbage is made until one comes. */
async function isCollected(target: WeakRef<object>): Promise<boolean> {
  for (let round = 0; round < 400 && target.deref() !== undefined; round += 1) {
    Array.from({ length: 20_000 }, (_, index) => ({ text: `${round} ${index}` }));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return target.deref() === undefined;
}

const errorOf = async (response: Response) =>
  (await response.json<{ error: { code: string; message: string } }>()).error;

async function cappedBody(provider: Provider): Promise<Record<string, unknown>> {
  const { calls } = await play({ deps: { findProvider: () => provider }, ticket: { output_cap: 77 } });
  return JSON.parse(calls.sent[0]?.body ?? "") as Record<string, unknown>;
}

describe("relay", () => {
  it("sends the caller's bytes with the instance's model and key, and passes the answer on", async ({ expect }) => {
    const { response, calls } = await play({
      upstream: () => Response.json(okJson, { headers: { "set-cookie": "a=b", "openai-organization": "org" } }),
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(okJson);
    expect(calls.sent[0]?.url).toBe("https://up.test/v1/chat/completions");
    expect(calls.sent[0]?.body).toBe('{"model":"model-1","messages":[{"role":"user","content":"hello"}]}');
    expect(calls.sent[0]?.headers.get("authorization")).toBe(`Bearer ${secret}`);
    expect(calls.sent[0]?.headers.get("openai-beta")).toBe("b");
    expect(response.headers.get("set-cookie")).toBeNull();
    expect(response.headers.get("openai-organization")).toBeNull();
    expect(response.headers.get("x-request-id")).toBe("req_1");
    expect(response.headers.get("x-gatehouse-instance")).toBe("alias-1");
    expect(response.headers.get("x-gatehouse-attempts")).toBe("1");
    expect(response.headers.get("x-ratelimit-remaining-requests")).toBe("59");
    expect(response.headers.get("server-timing")).toMatch(/^route;dur=[\d.]+, upstream;dur=[\d.]+$/);
  });

  it("asks the Router once in steady state, registers settling before it asks the Router, and settles once", async ({
    expect,
  }) => {
    const { calls } = await play({});
    await Promise.all(calls.waits);
    expect(calls.admit).toEqual([
      {
        request_id: "req_1",
        key_digest: "digest",
        scope: "models:invoke",
        model: "mix",
        stream: false,
        catalogue: catalogueEdition,
        type: "llm",
        endpoint: "chat/completions",
        estimate: { input_tokens: 11, output_tokens: null, choices: 1 },
        sticky: { user: null, header: null },
      },
    ]);
    expect(calls.next).toEqual([]);
    expect(calls.committed).toBe(0);
    expect(calls.events).toEqual(["waitUntil", "admit", "send"]);
    expect(calls.settled).toHaveLength(1);
    expect(calls.settled[0]).toMatchObject({
      result: "ok",
      failure: null,
      usage: { prompt_tokens: 5, completion_tokens: 2 },
      ticket: { attempt: 1 },
    });
    expect(calls.settled[0]?.first_byte_ms).toBeGreaterThanOrEqual(0);
  });

  it("sends the Router's cap upstream by the name that the provider knows it by", async ({ expect }) => {
    expect(await cappedBody(openaiCompatible)).toMatchObject({ model: "model-1", max_tokens: 77 });
    const own = await cappedBody({ ...openaiCompatible, capField: (endpoint) => openai.capField(endpoint) });
    expect([own["max_completion_tokens"], own["max_tokens"]]).toEqual([77, undefined]);
  });

  it("tells the Router whose call it is by numbers that say nothing of them", async ({ expect }) => {
    const { calls } = await play({
      body: { model: "mix", messages: [], user: "ada" },
      headers: { "x-gatehouse-sticky": "thread-7" },
    });
    expect(calls.admit[0]?.sticky).toEqual({ user: spreadHash("ada"), header: spreadHash("thread-7") });
  });

  it("goes to the next instance for every failure before commit that is not the caller's", async ({ expect }) => {
    const cases: [string, Upstream][] = [
      ["500", () => failing(500)],
      ["429", () => failing(429, {}, { "retry-after": "5" })],
      ["401", () => failing(401)],
      ["403 with key wording", () => failing(403, { error: { message: "bad API key" } })],
      ["404 model_not_found", () => failing(404, { error: { code: "model_not_found", message: "x" } })],
      ["402", () => failing(402)],
      ["503", () => failing(503)],
      ["connection", () => Promise.reject(new OutboundError("network", "x"))],
      ["a redirect", () => Promise.reject(new OutboundError("redirected", "x"))],
      ["a page instead of an API", () => new Response("<html>", { headers: { "content-type": "text/html" } })],
      ["an empty 204", () => new Response(null, { status: 204 })],
      [
        "a cut JSON body",
        () => new Response(fakeStream(['{"id":'], "error").body, { headers: { "content-type": "application/json" } }),
      ],
      [
        "a JSON body that closed early",
        () => new Response(fakeStream(['{"id":'], "close").body, { headers: { "content-type": "application/json" } }),
      ],
      ["an in-band error", () => Response.json({ error: { message: "x", type: "server_error" } })],
    ];
    for (const [name, upstream] of cases) {
      const { response, calls } = await play({
        upstream: (request, attempt) => (attempt === 1 ? upstream(request, attempt) : Response.json(okJson)),
      });
      expect(response.status, name).toBe(200);
      expect(response.headers.get("x-gatehouse-attempts"), name).toBe("2");
      expect(calls.next, name).toHaveLength(1);
      expect(calls.sent[1]?.body, name).toContain('"model":"model-2"');
      await Promise.all(calls.waits);
      expect(
        calls.settled.map(({ result }) => result),
        name,
      ).toEqual(["ok"]);
    }
  });

  it("fails over a stream that breaks before its first content, and the caller sees only the good one", async ({
    expect,
  }) => {
    for (const bad of [
      () => sse([role], "error"),
      () => sse([role], "close"),
      () => sse([role, 'data: {"error":{"message":"x","code":"rate_limit_exceeded"}}\n\n']),
    ]) {
      const { response } = await play({
        body: streamBody,
        upstream: (_, attempt) => (attempt === 1 ? bad() : sse(recorded)),
      });
      expect(response.headers.get("content-type")).toBe("text/event-stream");
      expect(response.headers.get("x-gatehouse-instance")).toBe("alias-2");
      expect(await response.text()).toBe(recorded.filter((event) => !event.includes('"choices":[]')).join(""));
    }
  });

  it("lets the request go once its answer has begun, however long the stream goes on", async ({ expect }) => {
    const body = { ...streamBody, messages: ["x".repeat(1_000_000)] };
    const { response, calls, request } = await play({
      body,
      upstream: () => sse([role, delta({ content: "x" })], "silence"),
    });
    const reader = response.body?.getReader();
    await reader?.read();
    expect(await isCollected(request)).toBe(true);
    expect(calls.settled).toEqual([]);
    await reader?.cancel();
    await Promise.all(calls.waits);
    expect(calls.settled[0]?.result).toBe("departed");
  });

  it("does not go elsewhere once content is out: the stream ends with an error and is settled as failed", async ({
    expect,
  }) => {
    const { response, calls } = await play({
      body: streamBody,
      upstream: () => sse([role, delta({ content: "x" })], "error"),
    });
    const text = await response.text();
    expect(text).toContain('"code":"stream_cut"');
    expect(text).not.toContain("[DONE]");
    await Promise.all(calls.waits);
    expect(calls.next).toEqual([]);
    expect(calls.settled).toHaveLength(1);
    expect(calls.settled[0]).toMatchObject({ result: "failed", failure: { class: "transient", code: "cut" } });
  });

  it("passes the caller's own fault on as it is, without the credential, and tries nobody else", async ({ expect }) => {
    const { response, calls } = await play({
      upstream: () => failing(400, { error: { message: `no: ${secret}`, type: "invalid_request_error", code: "bad" } }),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      error: { message: "no: [redacted]", type: "invalid_request_error", code: "bad" },
    });
    await Promise.all(calls.waits);
    expect(calls.sent).toHaveLength(1);
    expect(calls.settled[0]).toMatchObject({ result: "caller_fault", failure: { class: "caller_fault", code: "bad" } });
  });

  it("tells the SDKs not to repeat what no repeat can mend", async ({ expect }) => {
    const { response } = await play({
      upstream: () => failing(429, { error: { message: "Request too large for gpt-4o", code: "rate_limit_exceeded" } }),
    });
    expect(response.status).toBe(429);
    expect(response.headers.get("x-should-retry")).toBe("false");
  });

  it("gives an in-band fault of the caller the status it deserves", async ({ expect }) => {
    const json = await play({
      upstream: () => Response.json({ error: { message: "bad", type: "invalid_request_error", code: "x" } }),
    });
    expect(json.response.status).toBe(400);
    const stream = await play({
      body: streamBody,
      upstream: () => sse(['data: {"error":{"message":"bad","type":"invalid_request_error"}}\n\n']),
    });
    expect(stream.response.status).toBe(400);
    expect((await errorOf(stream.response)).message).toBe("bad");
  });

  it("does not serve an upstream's markup as a page, nor a body that had to be cut", async ({ expect }) => {
    const page = await play({
      upstream: () => new Response("<h1>no</h1>", { status: 404, headers: { "content-type": "text/html" } }),
    });
    expect(page.response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    const huge = await play({ upstream: () => failing(400, { error: { message: "y".repeat(70_000) } }) });
    expect((await errorOf(huge.response)).message).toBe("The provider refused this request with status 400.");
  });

  it("dresses the last failure when all attempts are used up, and settles it as failed", async ({ expect }) => {
    const cases: [Upstream, number, string, string | null][] = [
      [() => failing(500), 502, "upstream_failed", null],
      [() => failing(401), 502, "upstream_failed", null],
      [() => failing(429), 429, "rate_limit_exceeded", "5"],
      [() => failing(503), 503, "pool_exhausted", "5"],
      [() => failing(504), 504, "timeout", null],
    ];
    for (const [upstream, status, code, retryAfter] of cases) {
      const { response, calls } = await play({ upstream });
      expect(response.status).toBe(status);
      expect(response.headers.get("retry-after")).toBe(retryAfter);
      expect(response.headers.get("x-gatehouse-attempts")).toBe("2");
      expect((await errorOf(response)).code).toBe(code);
      await Promise.all(calls.waits);
      expect(calls.settled).toHaveLength(1);
      expect(calls.settled[0]).toMatchObject({ result: "failed", ticket: { attempt: 2 } });
    }
    const cooling = await play({ upstream: () => failing(500), last: "pool_exhausted" });
    expect(cooling.response.status).toBe(503);
    expect(cooling.response.headers.get("retry-after")).toBe("5");
  });

  it("cuts a silent upstream at the first-byte time-out and goes elsewhere, even one that ignores its signal", async ({
    expect,
  }) => {
    const policy = { first_byte_timeout_ms: 100 };
    const mute = await play({
      policy,
      body: streamBody,
      upstream: (_, attempt) => (attempt === 1 ? new Promise<Response>(() => undefined) : sse(recorded)),
    });
    expect(mute.response.status).toBe(200);
    await mute.response.body?.cancel();
    expect(mute.calls.next[0]).toMatchObject({ class: "transient", timed_out: true, code: "first_byte_timeout" });
    const roleOnly = await play({
      policy,
      body: streamBody,
      upstream: (_, attempt) => (attempt === 1 ? sse([role], "silence") : sse(recorded)),
    });
    expect(roleOnly.response.headers.get("x-gatehouse-attempts")).toBe("2");
    await roleOnly.response.body?.cancel();
  });

  it("leaves a call that is not streamed its whole time: its headers come with its end, or long before it", async ({
    expect,
  }) => {
    const policy = { first_byte_timeout_ms: 100, idle_timeout_ms: 100 };
    const type = { headers: { "content-type": "application/json" } };
    const late: Upstream[] = [
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 350));
        return Response.json(okJson);
      },
      () => new Response(fakeStream([350, JSON.stringify(okJson)]).body, type),
    ];
    for (const upstream of late) {
      const { response, calls } = await play({ policy, upstream });
      expect(await response.json()).toEqual(okJson);
      expect(calls.next).toEqual([]);
    }
    const stalled = await play({
      policy,
      upstream: (_, attempt) =>
        attempt === 1 ? new Response(fakeStream(['{"id":'], "silence").body, type) : Response.json(okJson),
    });
    expect(stalled.calls.next).toMatchObject([{ timed_out: true, code: "idle_timeout" }]);
  });

  it("holds one deadline over all attempts", async ({ expect }) => {
    const startedAt = Date.now();
    const { response, calls } = await play({
      policy: { total_timeout_ms: 1_000, first_byte_timeout_ms: 400 },
      body: streamBody,
      instances: 9,
      upstream: () => new Promise<Response>(() => undefined),
    });
    expect(response.status).toBe(504);
    expect(Date.now() - startedAt).toBeLessThan(2_000);
    expect(calls.sent.length).toBe(3);
    await Promise.all(calls.waits);
    expect(calls.settled[0]).toMatchObject({ result: "failed", failure: { timed_out: true } });
  });

  it("aborts the upstream when the caller leaves before commit, settles a departure and blames nobody", async ({
    expect,
  }) => {
    const client = new AbortController();
    const aborted = Promise.withResolvers<void>();
    setTimeout(() => client.abort(), 50);
    const { response, calls } = await play({
      client: client.signal,
      deps: {
        send: async (_provider, _request, signal) => {
          signal.addEventListener("abort", () => aborted.resolve());
          return await new Promise<Response>(() => undefined);
        },
      },
    });
    await aborted.promise;
    expect(response.status).toBe(499);
    await Promise.all(calls.waits);
    expect(calls.next).toEqual([]);
    expect(calls.settled).toHaveLength(1);
    expect(calls.settled[0]).toMatchObject({ result: "departed", failure: null });
  });

  it("reports a probe at its first content event, other calls never", async ({ expect }) => {
    const probe = await play({
      probe: true,
      body: streamBody,
      upstream: () => sse([role, delta({ content: "x" })], "silence"),
    });
    expect(probe.calls.committed).toBe(1);
    expect(probe.calls.settled).toEqual([]);
    await probe.response.body?.cancel();
    await Promise.all(probe.calls.waits);
    expect(probe.calls.settled[0]?.result).toBe("departed");
  });

  it("moves on without blame when an instance cannot be opened, and says what it was if nobody else can serve", async ({
    expect,
  }) => {
    const broken = { openInstance: () => Promise.reject(new AppError("undecryptable")) };
    const { response, calls } = await play({ deps: broken });
    expect(calls.next).toMatchObject([{ ours: true, code: "undecryptable" }, { ours: true }]);
    expect(response.status).toBe(500);
    expect((await errorOf(response)).code).toBe("undecryptable");
    const stuck = await play({ deps: { openInstance: () => new Promise(() => undefined) } });
    expect(stuck.calls.next).toMatchObject([{ ours: true, code: "timeout" }, { ours: true }]);
    expect(stuck.response.status).toBe(504);
    const gone = await play({ deps: { openInstance: () => Promise.resolve(null) } });
    expect(gone.response.status).toBe(502);
    expect(gone.calls.next[0]).toMatchObject({ ours: true, code: "instance_gone" });
  });

  it("never sends a credential to another origin than it was sealed for", async ({ expect }) => {
    const { response, calls } = await play({
      deps: {
        openInstance: async () => ({
          provider_name: "openai_compatible",
          base_url: "https://evil.test/v1",
          options: {},
          origin: "https://up.test",
          model: "m",
          credential_id: "c",
          api_key: new Secret(secret),
        }),
      },
    });
    expect(calls.sent).toEqual([]);
    expect(response.status).toBe(500);
    const misled = await play({ deps: { findProvider: () => ({ ...openaiCompatible, request: strayRequest }) } });
    expect([misled.calls.sent, misled.response.status]).toEqual([[], 500]);
  });

  it("publishes once for a Router that has no configuration, then asks again", async ({ expect }) => {
    let asked = 0;
    const fresh: Refusal = { kind: "refused", code: "not_configured", retry_after_ms: null, rate: null };
    const admit = async () => {
      asked += 1;
      return asked === 1 ? fresh : ticketOf(1, {});
    };
    const { response, calls } = await play({
      deps: { router: { admit, next: () => Promise.reject(new Error("x")), committed: () => Promise.resolve() } },
    });
    expect(response.status).toBe(200);
    expect([asked, calls.published]).toEqual([2, 1]);
    const never = await play({
      deps: {
        router: {
          admit: () => Promise.resolve(fresh),
          next: () => Promise.reject(new Error("x")),
          committed: () => Promise.resolve(),
        },
      },
    });
    expect(never.response.status).toBe(503);
    expect(never.calls.published).toBe(1);
    // A refused request keeps no handler alive.
    await Promise.all(never.calls.waits);
  });

  it("settles a caller who left while the Router was asked as a departure, without a call upstream", async ({
    expect,
  }) => {
    const client = new AbortController();
    const router = {
      async admit() {
        client.abort();
        return ticketOf(1, {});
      },
      next: () => Promise.reject(new Error("x")),
      committed: () => Promise.resolve(),
    };
    const { response, calls } = await play({ client: client.signal, deps: { router } });
    expect(response.status).toBe(499);
    expect(calls.events).toEqual(["waitUntil"]);
    await Promise.all(calls.waits);
    expect(calls.settled).toMatchObject([{ result: "departed", failure: null }]);
  });

  it("answers 503 and still settles when the Router is lost between two attempts", async ({ expect }) => {
    const lost = new AppError("router_unavailable", { retryAfterMs: 1_000 });
    const router = {
      admit: () => Promise.resolve(ticketOf(1, {})),
      next: () => Promise.reject(lost),
      committed: () => Promise.resolve(),
    };
    const { response, calls } = await play({ upstream: () => failing(500), deps: { router } });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    await Promise.all(calls.waits);
    expect(calls.settled[0]).toMatchObject({ result: "failed", failure: { class: "transient", status: 500 } });
  });

  it("passes a result too large to hold on as it comes, finds its usage, and breaks the connection on a cut", async ({
    expect,
  }) => {
    const big = JSON.stringify({ ...okJson, choices: [{ message: { content: "z".repeat(900_000) } }] });
    const pieces = Array.from({ length: 10 }, (_, index) => big.slice(index * 100_000, (index + 1) * 100_000));
    const good = await play({
      upstream: () => new Response(fakeStream(pieces).body, { headers: { "content-type": "application/json" } }),
    });
    expect(await good.response.text()).toBe(big);
    await Promise.all(good.calls.waits);
    expect(good.calls.settled[0]).toMatchObject({ result: "ok", usage: { prompt_tokens: 5, completion_tokens: 2 } });
    const cut = await play({
      upstream: () =>
        new Response(fakeStream(pieces.slice(0, 8), "error").body, { headers: { "content-type": "application/json" } }),
    });
    expect(cut.response.status).toBe(200);
    await expect(cut.response.text()).rejects.toThrow();
    await Promise.all(cut.calls.waits);
    expect(cut.calls.settled[0]).toMatchObject({ result: "failed", failure: { code: "cut" } });
  });

  it("holds answers back only while the isolate has room for them, and blames nobody when it has none", async ({
    expect,
  }) => {
    const json = await play({ answerBytes: 100, upstream: () => Response.json(okJson) });
    expect([json.response.status, json.response.headers.get("retry-after")]).toEqual([503, "1"]);
    expect((await errorOf(json.response)).code).toBe("overloaded");
    expect(json.calls.next).toMatchObject([{ ours: true, code: "overloaded" }, { ours: true }]);
    const opening = await play({ answerBytes: 100, body: streamBody, upstream: () => sse(recorded) });
    expect(opening.response.status).toBe(503);
    const running = await play({
      answerBytes: 10_000,
      body: streamBody,
      upstream: () => sse([role, delta({ content: "x" }), `data: {"pad":"${"y".repeat(9_000)}`], "silence"),
    });
    const text = await running.response.text();
    expect(text).toContain('"code":"overloaded"');
    expect(text).not.toContain("[DONE]");
    await Promise.all(running.calls.waits);
    expect(running.calls.settled).toMatchObject([{ result: "failed", failure: { ours: true } }]);
    expect([json, opening, running].map(({ answerBudget }) => answerBudget.usedBytes)).toEqual([0, 0, 0]);
  });

  it("counts what is held of an answer, and nothing any more once it has ended, however that came", async ({
    expect,
  }) => {
    const big = JSON.stringify({ ...okJson, pad: "z".repeat(900_000) });
    const pieces = Array.from({ length: 10 }, (_, index) => big.slice(index * 100_000, (index + 1) * 100_000));
    const type = { headers: { "content-type": "application/json" } };
    const whole = await play({ upstream: () => new Response(fakeStream(pieces).body, type) });
    expect(whole.answerBudget.usedBytes).toBe(1_200_000);
    await whole.response.text();
    expect(whole.answerBudget.usedBytes).toBe(0);
    const left = await play({ body: streamBody, upstream: () => sse([role, delta({ content: "x" })], "silence") });
    expect(left.answerBudget.usedBytes).toBeGreaterThan(0);
    await left.response.body?.cancel();
    expect(left.answerBudget.usedBytes).toBe(0);
    const failed = await play({ upstream: () => failing(500) });
    expect([failed.response.status, failed.answerBudget.usedBytes]).toEqual([502, 0]);
  });

  it("asks a stream for its usage and settles with it", async ({ expect }) => {
    const { response, calls } = await play({ body: streamBody, upstream: () => sse(recorded) });
    expect(JSON.parse(calls.sent[0]?.body ?? "")).toMatchObject({ stream_options: { include_usage: true } });
    expect((await response.text()).endsWith(done)).toBe(true);
    await Promise.all(calls.waits);
    expect(calls.settled[0]).toMatchObject({ result: "ok", usage: { prompt_tokens: 7, completion_tokens: 3 } });
  });

  it("asks nothing of the sort of a provider that refuses to be asked", async ({ expect }) => {
    const deps = { findProvider: () => ({ ...openaiCompatible, takesStreamOptions: () => false }) };
    const { response, calls } = await play({ body: streamBody, upstream: () => sse(recorded), deps });
    expect(JSON.parse(calls.sent[0]?.body ?? "")).not.toHaveProperty("stream_options");
    // Nothing was added, so nothing is left out: a usage that comes unasked is settled with and passed on.
    expect(await response.text()).toContain('"usage"');
    await Promise.all(calls.waits);
    expect(calls.settled[0]).toMatchObject({ result: "ok", usage: { prompt_tokens: 7, completion_tokens: 3 } });
  });

  it("sends an instance's model under the name that its provider knows it by", async ({ expect }) => {
    const deps = { findProvider: () => ({ ...openaiCompatible, modelName: (model: string) => `vendor/${model}` }) };
    const { calls } = await play({ deps });
    expect(JSON.parse(calls.sent[0]?.body ?? "")).toMatchObject({ model: "vendor/model-1" });
  });

  it("leaves the caller's bytes alone on every attempt", async ({ expect }) => {
    const { calls } = await play({
      instances: 3,
      upstream: () => failing(500),
      body: { model: "mix", x: 1e21, messages: ["é"] },
    });
    expect(calls.sent.map(({ body }) => body)).toEqual(
      [1, 2, 3].map((n) => `{"model":"model-${n}","x":1e+21,"messages":["é"]}`),
    );
    expect(fromUtf8(utf8("é"))).toBe("é");
  });
});
