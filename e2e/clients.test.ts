/** The clients in TypeScript and Python against servers that misbehave, and against a Gatehouse whose answers get lost on their way. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { createClient, GatehouseError, pages, unwrap } from "gatehouse/client";
import { afterEach, describe, inject, it, vi } from "vitest";
import { connect as callAs } from "./support/client.ts";
import {
  cut,
  doneButHalf,
  type Framing,
  half,
  json,
  pass,
  type Play,
  play as startPlay,
  type Step,
} from "./support/play.ts";

const root = path.dirname(import.meta.dirname);
const run = promisify(execFile);
const ended: (() => void)[] = [];

afterEach(() => {
  for (const end of ended.splice(0)) {
    end();
  }
});

/** A server for one test. */
async function play(...steps: readonly Step[]): Promise<Play> {
  const server = await startPlay(...steps);
  ended.push(() => server.end());
  return server;
}

const busy = json(503, { code: "publish_pending", detail: "Wait." }, { "retry-after": "0" });
const made = json(201, { id: "ws_1", name: "Team" });
const refused = json(
  422,
  { code: "validation_failed", detail: "Mend it.", errors: [{ pointer: "/name", detail: "too long" }] },
  { "x-request-id": "req_7" },
);
const pageOf = (ids: readonly number[], next: string | null): Step =>
  json(200, { data: ids.map((id) => ({ id: `pool_${id}`, name: `p${id}` })), next_cursor: next });

const whole = JSON.stringify({ id: "ws_1", name: "Team" });
const framings: readonly Framing[] = ["length", "chunks", "close"];

/** How many workspaces of the first account bear a name. */
async function countWorkspaces(name: string): Promise<number> {
  const { body } = await callAs(inject("serverUrl"), inject("sessionToken"))("GET", "/workspaces?limit=200");
  return (body["data"] as { name: string }[]).filter((workspace) => workspace.name === name).length;
}

const connect = (baseUrl: string) => createClient({ baseUrl, token: "t", retries: 3 });

const stream =
  (end: string): Step =>
  (_, response) => {
    response
      .writeHead(200, { "content-type": "text/event-stream" })
      .end(`: hello\n\ndata: {"n": 1}\n\ndata: {"n": 2}\n\n${end}`);
  };
const broken: Step = (request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write('data: {"n": 1}\n\n', () => request.socket.destroy());
};

/** Runs Python with the client at hand; `url` is the server's. The program prints JSON. */
async function python(url: string, program: string): Promise<unknown> {
  const head = `import json, sys\nfrom gatehouse import Gatehouse, GatehouseError\ngatehouse = Gatehouse("${url}", "t", retries=3, timeout=5)\n`;
  const env = { ...process.env, PYTHONPATH: path.join(root, "clients/python"), PYTHONDONTWRITEBYTECODE: "1" };
  const { stdout } = await run("python3", ["-c", head + program], { env });
  return JSON.parse(stdout);
}

describe("the TypeScript client", () => {
  it("sends a write again under one Idempotency-Key, whatever became of the first", async ({ expect }) => {
    const { url, seen } = await play(
      cut,
      busy,
      json(409, { code: "idempotency_in_progress" }, { "retry-after": "0" }),
      made,
    );
    const workspace = await unwrap(connect(url).POST("/workspaces", { body: { name: "Team" } }));
    expect(workspace.id).toBe("ws_1");
    expect(seen).toHaveLength(4);
    expect(seen[0]?.key).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(seen.map(({ key }) => key)).size).toBe(1);
  });

  it("takes another key for another write, and none for what it reads", async ({ expect }) => {
    const { url, seen } = await play(made, made, json(200, { id: "ws_1" }));
    const client = connect(url);
    await client.POST("/workspaces", { body: { name: "A" } });
    await client.POST("/workspaces", { body: { name: "B" } });
    await client.GET("/workspaces/{ws}", { params: { path: { ws: "a" } } });
    expect(new Set(seen.map(({ key }) => key)).size).toBe(3);
    expect(seen[2]).toMatchObject({ method: "GET", url: "/workspaces/a", key: undefined });
  });

  it.for(framings)("takes no answer for whole that broke off, its length told by %s", async (framing, { expect }) => {
    const write = await play(half(whole, framing), made);
    expect(await unwrap(connect(write.url).POST("/workspaces", { body: { name: "Team" } }))).toMatchObject({
      id: "ws_1",
    });
    expect(write.seen).toHaveLength(2);
    expect(write.seen[0]?.key).toBe(write.seen[1]?.key);
    const read = await play(half(whole, framing), json(200, { id: "ws_2" }));
    const found = connect(read.url).GET("/workspaces/{ws}", { params: { path: { ws: "a" } } });
    expect(await unwrap(found)).toMatchObject({ id: "ws_2" });
    const never = await play(half(whole, framing));
    const hasty = createClient({ baseUrl: never.url, token: "t", retries: 0 });
    await expect(hasty.POST("/workspaces", { body: { name: "Team" } })).rejects.toThrow();
  });

  it("leads to one effect when the service did the deed and its answer broke off", async ({ expect }) => {
    const name = `Broken off (TypeScript, ${Date.now().toString(36)})`;
    const { url, seen } = await play(doneButHalf(inject("serverUrl")), pass(inject("serverUrl")));
    const client = createClient({ baseUrl: url, token: inject("sessionToken") });
    const answer = client.POST("/workspaces", { body: { name } });
    expect(await unwrap(answer)).toMatchObject({ name });
    expect((await answer).response.headers.get("idempotency-replayed")).toBe("true");
    expect(seen).toHaveLength(2);
    expect(await countWorkspaces(name)).toBe(1);
  });

  it("says that an export broke off, and lets nobody who stalls hold it up", async ({ expect }) => {
    const rows = await play(half('{"seq": 1}\n{"seq": 2}\n', "length", "application/x-ndjson"));
    const params = { path: { ws: "a" } };
    const exported = connect(rows.url).GET("/workspaces/{ws}/audit-log/export", { params, parseAs: "text" });
    await expect(exported).rejects.toThrow();
    const stalled = await play((_, response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "20" }).write("{");
    });
    const client = createClient({ baseUrl: stalled.url, token: "t", retries: 1, timeoutMs: 100 });
    await expect(client.POST("/workspaces", { body: { name: "x" } })).rejects.toThrow("took too long");
    expect(stalled.seen).toHaveLength(2);
    expect(stalled.seen[0]?.key).toBe(stalled.seen[1]?.key);
  });

  it("waits for a slow JSON answer as long as each of its parts comes in time", async ({ expect }) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    ended.push(() => vi.useRealTimers());
    let tries = 0;
    const slow = async ({ signal }: Request): Promise<Response> => {
      tries += 1;
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const writer = writable.getWriter();
      signal.addEventListener("abort", () => void writer.abort(signal.reason).catch(() => undefined));
      for (const [at, part] of ['{"id": ', '"ws_1"', "}"].entries()) {
        setTimeout(() => void writer.write(Buffer.from(part)).catch(() => undefined), 20_000 * (at + 1));
      }
      setTimeout(() => void writer.close().catch(() => undefined), 60_000);
      return new Response(readable, { headers: { "content-type": "application/json" } });
    };
    const client = createClient({
      baseUrl: "http://slow.example",
      token: "t",
      timeoutMs: 30_000,
      retries: 0,
      fetch: slow,
    });
    const answer = unwrap(client.POST("/workspaces", { body: { name: "x" } }));
    const settled = expect(answer).resolves.toMatchObject({ id: "ws_1" });
    await vi.advanceTimersByTimeAsync(70_000);
    await settled;
    expect(tries).toBe(1);
  });

  it("throws what the service said, at once", async ({ expect }) => {
    const { url, seen } = await play(refused);
    const error = await unwrap(connect(url).POST("/workspaces", { body: { name: "x" } })).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(GatehouseError);
    expect(error).toMatchObject({
      message: "Mend it.",
      status: 422,
      code: "validation_failed",
      requestId: "req_7",
      errors: [{ pointer: "/name", detail: "too long" }],
      retryAfterMs: null,
    });
    expect(seen).toHaveLength(1);
  });

  it("gives up after its retries", async ({ expect }) => {
    const { url, seen } = await play(busy);
    await expect(unwrap(connect(url).POST("/workspaces", { body: { name: "x" } }))).rejects.toMatchObject({
      status: 503,
      retryAfterMs: 0,
    });
    expect(seen).toHaveLength(4);
  });

  it("does not pay twice for a model call whose answer was lost, nor one that must not be sent again", async ({
    expect,
  }) => {
    const call = { body: { model: "chat", messages: [{ role: "user" as const, content: "x" }] } };
    const lost = await play(cut, made);
    await expect(connect(lost.url).POST("/v1/chat/completions", call)).rejects.toThrow();
    expect(lost.seen).toMatchObject([{ method: "POST", url: "/v1/chat/completions", key: undefined }]);
    const part = await play(half(whole), made);
    await expect(connect(part.url).POST("/v1/chat/completions", call)).rejects.toThrow();
    expect(part.seen).toHaveLength(1);
    const final = await play(json(429, { error: { code: "x", message: "No." } }, { "x-should-retry": "false" }), made);
    await expect(unwrap(connect(final.url).POST("/v1/chat/completions", call))).rejects.toMatchObject({
      status: 429,
      code: "x",
      message: "No.",
    });
    expect(final.seen).toHaveLength(1);
  });

  it("does not pay twice for a call that may have been made, nor follow where an answer points", async ({ expect }) => {
    const late = await play(json(504, { error: { code: "timeout", message: "Late." } }), made);
    const body = { model: "chat", messages: [{ role: "user" as const, content: "x" }] };
    await expect(unwrap(connect(late.url).POST("/v1/chat/completions", { body }))).rejects.toMatchObject({
      status: 504,
    });
    expect(late.seen).toHaveLength(1);
    const tool = await play(json(502, { code: "tool_failed" }), made);
    const params = { path: { ws: "a", provider: "p", tool: "t" } };
    const invoked = connect(tool.url).POST("/workspaces/{ws}/tools/{provider}/{tool}/invoke", {
      params,
      body: { input: {} },
    });
    await expect(unwrap(invoked)).rejects.toMatchObject({ code: "tool_failed" });
    expect(tool.seen).toHaveLength(1);
    const elsewhere = await play(made);
    const here = await play(json(307, {}, { location: `${elsewhere.url}/workspaces` }));
    await expect(unwrap(connect(here.url).POST("/workspaces", { body: { name: "x" } }))).rejects.toMatchObject({
      status: 307,
      message: `The address answers with a redirect to ${elsewhere.url}/workspaces: baseUrl must be Gatehouse's own.`,
    });
    expect([here.seen.length, elsewhere.seen.length]).toEqual([1, 0]);
  });

  it("walks a list to its end, asking for a page only when it is wanted", async ({ expect }) => {
    const { url, seen } = await play(pageOf([1, 2], "c1"), pageOf([], "c2"), pageOf([3], null));
    const list = pages(connect(url), "/workspaces/{ws}/pools", { params: { path: { ws: "a" }, query: { limit: 2 } } });
    expect((await list.next()).value).toMatchObject({ id: "pool_1" });
    expect(seen).toHaveLength(1);
    const rest = [];
    for await (const pool of list) {
      rest.push(pool.id);
    }
    expect(rest).toEqual(["pool_2", "pool_3"]);
    expect(seen.map(({ url: asked }) => asked)).toEqual([
      "/workspaces/a/pools?limit=2",
      "/workspaces/a/pools?limit=2&cursor=c1",
      "/workspaces/a/pools?limit=2&cursor=c2",
    ]);
  });

  it("ends with the caller's signal while it waits, and by itself when nobody answers", async ({ expect }) => {
    const waiting = await play(json(503, {}, { "retry-after": "30" }));
    const { signal } = { signal: AbortSignal.timeout(200) };
    await expect(connect(waiting.url).GET("/workspaces", { signal })).rejects.toThrow("timeout");
    const silent = await play(() => undefined);
    const client = createClient({ baseUrl: silent.url, token: "t", retries: 1, timeoutMs: 100 });
    await expect(client.GET("/workspaces")).rejects.toThrow("took too long");
    expect(silent.seen).toHaveLength(2);
  });
});

describe("the Python client", () => {
  it("sends a write again under one Idempotency-Key, whatever became of the first", async ({ expect }) => {
    const { url, seen } = await play(
      cut,
      busy,
      json(409, { code: "idempotency_in_progress" }, { "retry-after": "0" }),
      made,
    );
    expect(await python(url, 'print(json.dumps(gatehouse.post("/workspaces", {"name": "Team"})))')).toMatchObject({
      id: "ws_1",
    });
    expect(seen).toHaveLength(4);
    expect(seen[0]?.key).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(seen.map(({ key }) => key)).size).toBe(1);
  });

  it("takes no answer for whole that broke off, however its length was told", async ({ expect }) => {
    for (const framing of framings) {
      const write = await play(half(whole, framing), made, half(whole, framing), json(200, { id: "ws_2" }));
      const program = `
print(json.dumps([gatehouse.post("/workspaces", {"name": "Team"})["id"], gatehouse.get("/workspaces/a")["id"]]))`;
      expect(await python(write.url, program), framing).toEqual(["ws_1", "ws_2"]);
      expect(write.seen[0]?.key).toBe(write.seen[1]?.key);
      expect(write.seen).toHaveLength(4);
    }
    const never = await play(half(whole));
    const rows = await play(half('{"seq": 1}\n{"seq": 2}\n', "length", "application/x-ndjson"));
    const events = await play(half('data: {"n": 1}\n\ndata: {"n": 2}\n\n', "length", "text/event-stream"));
    const program = `
import http.client
out = []
for call in (
    lambda: Gatehouse("${never.url}", "t", retries=1).post("/workspaces", {"name": "Team"}),
    lambda: gatehouse.post("/v1/chat/completions", {}),
    lambda: list(Gatehouse("${rows.url}", "t").lines("/workspaces/a/audit-log/export")),
    lambda: Gatehouse("${rows.url}", "t", retries=0).get("/workspaces/a/audit-log/export"),
    lambda: list(Gatehouse("${events.url}", "t").events("/v1/chat/completions", {})),
):
    try:
        out.append(call())
    except http.client.IncompleteRead:
        out.append("broke off")
print(json.dumps(out))`;
    expect(await python(never.url, program)).toEqual(Array(5).fill("broke off"));
    expect(never.seen.map(({ url }) => url)).toEqual(["/workspaces", "/workspaces", "/v1/chat/completions"]);
    expect(never.seen[0]?.key).toBe(never.seen[1]?.key);
  });

  it("leads to one effect when the service did the deed and its answer broke off", async ({ expect }) => {
    const name = `Broken off (Python, ${Date.now().toString(36)})`;
    const { url, seen } = await play(doneButHalf(inject("serverUrl")), pass(inject("serverUrl")));
    const program = `
print(json.dumps(Gatehouse("${url}", "${inject("sessionToken")}").post("/workspaces", {"name": "${name}"})))`;
    expect(await python(url, program)).toMatchObject({ name });
    expect(seen).toHaveLength(2);
    expect(seen[0]?.key).toBe(seen[1]?.key);
    expect(await countWorkspaces(name)).toBe(1);
  });

  it("sends what it is given as the service reads it, and gives what comes as what it is", async ({ expect }) => {
    const { url, seen } = await play(
      json(200, { id: "pool_1" }, { etag: '"7"' }),
      json(200, { id: "pool_1" }),
      (_, response) => response.writeHead(200, { "content-type": "audio/mpeg" }).end(Buffer.from([1, 255])),
      (_, response) => response.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end("Grüße"),
      (_, response) => response.writeHead(204).end(),
      json(200, { data: [], next_cursor: null }),
    );
    const program = `
pool, etag = gatehouse.read("/workspaces/a/pools/my pool")
out = [pool["id"], gatehouse.put("/workspaces/a/pools/my pool", {}, if_match=etag, idempotency_key="mine")["id"]]
out.append(list(gatehouse.post("/v1/audio/speech", {"input": "x"}, headers={"openai-beta": "b"})))
out.append(gatehouse.post("/v1/audio/transcriptions", form={"model": "w", "n": [1, 2], "file": ("a.wav", b"\\x00\\xff")}))
out.append(gatehouse.delete("/workspaces/a/pools/x"))
out.append(list(gatehouse.pages("/workspaces/a/pools", enabled=True, search=None)))
print(json.dumps(out))`;
    expect(await python(url, program)).toEqual(["pool_1", "pool_1", [1, 255], "Grüße", null, []]);
    expect(seen.map(({ method, url: asked }) => `${method} ${asked}`)).toEqual([
      "GET /workspaces/a/pools/my%20pool",
      "PUT /workspaces/a/pools/my%20pool",
      "POST /v1/audio/speech",
      "POST /v1/audio/transcriptions",
      "DELETE /workspaces/a/pools/x",
      "GET /workspaces/a/pools?enabled=true",
    ]);
    expect(seen[1]).toMatchObject({ key: "mine", headers: { "if-match": '"7"' } });
    expect(seen[2]?.headers["openai-beta"]).toBe("b");
    const type = seen[3]?.headers["content-type"] ?? "";
    const form = await new Response(Buffer.from(seen[3]?.body ?? "", "latin1"), {
      headers: { "content-type": type },
    }).formData();
    expect([form.get("model"), form.getAll("n")]).toEqual(["w", ["1", "2"]]);
    expect(await (form.get("file") as File).bytes()).toEqual(new Uint8Array([0, 255]));
  });

  it("raises what the service said, and does not pay twice for a model call", async ({ expect }) => {
    const { url, seen } = await play(refused, cut, made);
    const program = `
try:
    gatehouse.post("/workspaces", {"name": "x"})
except GatehouseError as error:
    told = [str(error), error.status, error.code, error.request_id, error.errors]
try:
    gatehouse.post("/v1/chat/completions", {})
except OSError as error:
    print(json.dumps(told + [True]))
`;
    expect(await python(url, program)).toEqual([
      "Mend it.",
      422,
      "validation_failed",
      "req_7",
      [{ pointer: "/name", detail: "too long" }],
      true,
    ]);
    expect(seen).toHaveLength(2);
  });

  it("follows no answer that points elsewhere, with its token", async ({ expect }) => {
    const elsewhere = await play(made);
    const { url, seen } = await play(json(302, {}, { location: `${elsewhere.url}/workspaces` }));
    const program = `
try:
    gatehouse.post("/workspaces", {"name": "x"})
except GatehouseError as error:
    print(json.dumps(error.status))
`;
    expect(await python(url, program)).toBe(302);
    expect([seen.length, elsewhere.seen.length]).toEqual([1, 0]);
  });

  it("walks a list to its end, and reads a stream to its end or says that it broke off", async ({ expect }) => {
    const { url } = await play(
      pageOf([1, 2], "c1"),
      pageOf([3], null),
      stream("data: [DONE]\n\n"),
      stream('data: {"error": {"code": "upstream_failed", "message": "Gone."}}\n\n'),
      broken,
    );
    const program = `
import http.client
out = [[pool["name"] for pool in gatehouse.pages("/workspaces/a/pools", limit=2)]]
out.append(list(gatehouse.events("/v1/chat/completions", {})))
for _ in range(2):
    try:
        list(gatehouse.events("/v1/chat/completions", {}))
    except GatehouseError as error:
        out.append(error.code)
    except (http.client.HTTPException, OSError) as error:
        out.append("broken")
print(json.dumps(out))
`;
    expect(await python(url, program)).toEqual([["p1", "p2", "p3"], [{ n: 1 }, { n: 2 }], "upstream_failed", "broken"]);
  });
});
