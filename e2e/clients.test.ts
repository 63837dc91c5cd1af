/** What builders take: the clients against a server that misbehaves, the published subpath, and the examples against a running Gatehouse. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { createClient, GatehouseError, pages, unwrap } from "gatehouse/client";
import { afterEach, describe, inject, it } from "vitest";

const root = path.dirname(import.meta.dirname);
const run = promisify(execFile);
const ended: (() => void)[] = [];

afterEach(() => {
  for (const end of ended.splice(0)) {
    end();
  }
});

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly key: string | undefined;
}

type Step = (request: IncomingMessage, response: ServerResponse) => void;

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Step =>
  (_, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  };
const cut: Step = (request) => void request.socket.destroy();

/** A server that takes one step of its part for each request, and keeps to the last. */
async function play(...steps: readonly Step[]): Promise<{ readonly url: string; readonly seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const step = steps[Math.min(seen.length, steps.length - 1)];
    const key = request.headers["idempotency-key"];
    seen.push({ method: request.method ?? "", url: request.url ?? "", key: typeof key === "string" ? key : undefined });
    request.resume().once("end", () => step?.(request, response));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  ended.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, seen };
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
    expect(seen[2]).toEqual({ method: "GET", url: "/workspaces/a", key: undefined });
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
    expect(lost.seen).toEqual([{ method: "POST", url: "/v1/chat/completions", key: undefined }]);
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

  it("stands in the package as gatehouse/client, with what it needs and nothing of the service", async ({ expect }) => {
    const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-pack-"));
    ended.push(() => rmSync(folder, { recursive: true, force: true }));
    const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
      cwd: root,
    });
    const packed = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
    const files = packed[0]?.files.map((file) => file.path) ?? [];
    expect(files).toContain("clients/typescript/schema.d.ts");
    expect(files.filter((file) => /^(src|test|e2e|migrations|bench)\//.test(file))).toEqual([]);
    const modules = path.join(folder, "node_modules");
    mkdirSync(path.join(modules, "gatehouse"), { recursive: true });
    await run("tar", [
      "-xzf",
      path.join(folder, packed[0]?.filename ?? ""),
      "--strip-components=1",
      "-C",
      path.join(modules, "gatehouse"),
    ]);
    cpSync(path.join(root, "node_modules/openapi-fetch"), path.join(modules, "openapi-fetch"), { recursive: true });
    const program = path.join(folder, "main.mjs");
    writeFileSync(program, 'import { createClient } from "gatehouse/client"; console.log(typeof createClient);');
    expect((await run(process.execPath, [program])).stdout.trim()).toBe("function");
  }, 60_000);

  it("has the types of the contract that the server hands out", async ({ expect }) => {
    const env = { ...process.env, GATEHOUSE: inject("serverUrl") };
    const args = [path.join(root, "scripts/client-types.ts"), "--check"];
    const { stdout } = await run(process.execPath, args, { env, cwd: root }).catch(
      (error: { stdout: string; stderr: string }) => ({
        stdout: error.stdout + error.stderr,
      }),
    );
    expect(stdout).toContain("is what the contract says");
  }, 180_000);
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

describe("the examples set up a whole workspace, and find it the second time", () => {
  const commands = {
    JavaScript: [process.execPath, "examples/workspace.mjs"],
    Python: ["python3", "examples/workspace.py"],
    curl: ["bash", "examples/workspace.sh"],
  };

  it.for(Object.entries(commands))("%s", { timeout: 120_000 }, async ([, [command = "", ...args]], { expect }) => {
    const env = { ...process.env, GATEHOUSE: inject("serverUrl"), GATEHOUSE_TOKEN: inject("sessionToken") };
    const first = await run(command, args, { cwd: root, env });
    expect(first.stdout.match(/\[\d\/9\]/g)).toHaveLength(9);
    expect(first.stdout.match(/made (ws|cred|pool|key)_/g)).toHaveLength(5);
    expect(first.stdout).toMatch(/\[9\/9\] .* nothing (was changed|wrong found, not all sealed yet)\nDone\./);
    const second = await run(command, args, { cwd: root, env });
    expect(second.stdout.match(/there already/g)).toHaveLength(5);
    expect(second.stdout).toContain("Done.");
    const { GATEHOUSE_TOKEN: _, ...without } = env;
    await expect(run(command, args, { cwd: root, env: without })).rejects.toMatchObject({
      stderr: expect.stringContaining("Set GATEHOUSE_TOKEN"),
    });
    const bad = await run(command, args, { cwd: root, env: { ...env, GATEHOUSE_TOKEN: "nobody's" } }).catch(
      (error: { code: number; stderr: string }) => error,
    );
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining("unauthenticated") });
  });
});
