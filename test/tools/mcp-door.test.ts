/** `/mcp` as agents meet it: the official client of each era, and bare JSON-RPC where a client would never say such a thing. */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { env } from "cloudflare:workers";
import { and, desc, eq } from "drizzle-orm";
import { beforeAll, describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { toolProviders } from "../../src/toolbox/model.js";
import { refreshServers } from "../../src/tools/mcp/refresh.js";
import type { McpInspection } from "../support/upstream-mcp.js";
import { call, origin, send, sendAsFetch } from "../support/client.js";
import { db, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

const secret = "tok-of-the-mcp-door-0123456789abc";
let workspace: SeededWorkspace;
let key: string;

async function made(method: string, path: string, body: object) {
  const answer = await call(method, `/workspaces/${workspace.id}${path}`, { token: workspace.token, body });
  if (answer.status >= 300) {
    throw new Error(`${path} answered ${answer.status} ${answer.text}`);
  }
  return answer.body;
}

async function makeKey(extra: object = {}): Promise<string> {
  const body = { name: `key ${crypto.randomUUID().slice(0, 8)}`, scopes: ["tools:invoke"], ...extra };
  return (await made("POST", "/api-keys", body)).secret;
}

beforeAll(async () => {
  workspace = await seedWorkspace();
  await made("POST", "/tool-providers", {
    kind: "mcp",
    name: "fake",
    url: "https://session.mcp.test/door",
    auth: { type: "none" },
  });
  const keyed = { kind: "mcp", name: "keyed__server", url: "https://modern.mcp.test/keyed", auth: { type: "bearer" } };
  await made("POST", "/tool-providers", keyed);
  await made("POST", "/tool-providers/keyed__server/credentials", { name: "main", credentials: { api_key: secret } });
  await made("POST", "/tool-providers/keyed__server/refresh", {});
  key = await makeKey();
});

/** A connected client of an era; `auto` speaks the newest revision. */
async function connect(mode: "auto" | "legacy", token = key): Promise<Client> {
  const client = new Client({ name: "agent", version: "1" }, { versionNegotiation: { mode } });
  const headers = { authorization: `Bearer ${token}` };
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${origin}/mcp`), { fetch: sendAsFetch, requestInit: { headers } }),
  );
  return client;
}

/** One bare message; the answer's JSON-RPC message, also when it came as an event. */
async function post(message: unknown, headers: Record<string, string> = {}) {
  const response = await send(
    new Request(`${origin}/mcp`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...headers,
      },
      body: typeof message === "string" ? message : JSON.stringify(message),
    }),
  );
  const text = await response.text();
  const data = /^data: (\{.*)$/m.exec(text)?.[1] ?? text;
  return { status: response.status, headers: response.headers, text, body: data === "" ? null : JSON.parse(data) };
}

function fetchMcp(headers: Record<string, string>, body: object): Promise<Response> {
  return sendAsFetch(`${origin}/mcp`, { method: "POST", headers, body: JSON.stringify(body) });
}

function rpc(method: string, params: object = {}, id = 1): object {
  return { jsonrpc: "2.0", id, method, params };
}

async function inspect(tag: string): Promise<McpInspection> {
  return await (await fetch(`https://inspect.mcp.test/${tag}`)).json();
}

/** The newest audit row of an invocation. */
async function lastInvocation() {
  const isInvocation = and(eq(auditLog.workspaceId, workspace.id), eq(auditLog.action, "tool.invoked"));
  const [row] = await db.select().from(auditLog).where(isInvocation).orderBy(desc(auditLog.seq)).limit(1);
  return { actor: row?.actorType, outcome: row?.outcome, after: JSON.parse(row?.after ?? "{}") };
}

describe("an agent at /mcp", () => {
  it.for(["auto", "legacy"] as const)("initializes, lists and calls (%s)", async (mode, { expect }) => {
    const client = await connect(mode);
    expect(client.getNegotiatedProtocolVersion()).toBe(mode === "auto" ? "2026-07-28" : "2025-11-25");
    expect(client.getServerVersion()).toMatchObject({ name: "gatehouse" });
    const { tools } = await client.listTools();
    expect(tools.map((tool) => tool.name)).toContain("fake__add");
    expect(new Set(tools.map((tool) => tool.name)).size).toBe(16);
    for (const { name } of tools) {
      expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
    }
    expect(tools.find((tool) => tool.name === "fake__add")?.inputSchema).toMatchObject({ required: ["a", "b"] });
    const result = await client.callTool({ name: "fake__add", arguments: { a: 20, b: 22 } });
    expect(result).toMatchObject({ structuredContent: { sum: 42 }, content: [{ type: "text", text: '{"sum":42}' }] });
    const row = await lastInvocation();
    expect(row).toMatchObject({ actor: "key", outcome: "success", after: { provider: "fake", tool: "add" } });
    expect(JSON.stringify(row)).not.toContain("42");
    await client.close();
  });

  it("answers every version it is asked for, the oldest too", async ({ expect }) => {
    for (const version of ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]) {
      const client = { name: "old", version: "1" };
      const answer = await post(rpc("initialize", { protocolVersion: version, capabilities: {}, clientInfo: client }));
      expect([answer.status, answer.body.result.protocolVersion]).toEqual([200, version]);
      expect(answer.headers.get("mcp-session-id")).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect((await post(rpc("ping"), { "mcp-protocol-version": "1999-01-01" })).status).toBe(400);
    expect((await post(rpc("ping"))).body).toEqual({ jsonrpc: "2.0", id: 1, result: {} });
  });

  it("pages its list by bytes and takes no cursor but its own", async ({ expect }) => {
    const first = await post(rpc("tools/list"));
    expect(first.body.result.nextCursor).toBeUndefined();
    const wrong = await post(rpc("tools/list", { cursor: "bm9uc2Vuc2U" }));
    expect(wrong.body.error).toMatchObject({ code: -32_602 });
  });

  it("calls by the hashed name where the plain one would be ambiguous, with the stored credential", async ({
    expect,
  }) => {
    const client = await connect("auto");
    const { tools } = await client.listTools();
    const name = tools.find((tool) => tool.name.startsWith("keyed__server__add"))?.name ?? "";
    expect(name).toMatch(/^keyed__server__add__[0-9a-f]{12}$/);
    expect(await client.callTool({ name, arguments: { a: 1, b: 1 } })).toMatchObject({ structuredContent: { sum: 2 } });
    expect((await inspect("keyed")).authorization).toBe(`Bearer ${secret}`);
    await expect(client.callTool({ name: `${name.slice(0, -1)}z`, arguments: {} })).rejects.toThrow("Unknown tool");
    await expect(client.callTool({ name: "keyed__server__add", arguments: {} })).rejects.toThrow("Unknown tool");
    await client.close();
  });

  it("tells a tool's failure from a wrong input and an unknown tool, and shows no credential", async ({ expect }) => {
    const client = await connect("legacy");
    const { tools } = await client.listTools();
    const failing = tools.find((tool) => tool.name.startsWith("keyed__server__fail"))?.name ?? "";
    const failed = await client.callTool({ name: failing, arguments: {} });
    expect(failed).toMatchObject({ isError: true, content: [{ text: "refused with Bearer [redacted]" }] });
    const wrong = await client.callTool({ name: "fake__add", arguments: { a: "one" } });
    expect(wrong.isError).toBe(true);
    expect(JSON.stringify(wrong.content)).toContain("/input/a");
    await expect(client.callTool({ name: "fake__nothing", arguments: {} })).rejects.toMatchObject({ code: -32_602 });
    await expect(client.callTool({ name: "nowhere", arguments: {} })).rejects.toMatchObject({ code: -32_602 });
    expect(await lastInvocation()).toMatchObject({ outcome: "failure", after: { code: "is_error" } });
    await client.close();
  });

  it.for(["auto", "legacy"] as const)("takes a call back when asked to (%s)", async (mode, { expect }) => {
    const client = await connect(mode);
    const before = await inspect("door");
    const leaving = new AbortController();
    const running = client.callTool({ name: "fake__wait", arguments: {} }, { signal: leaving.signal });
    const failure = running.then(
      () => "answered",
      () => "rejected",
    );
    await expect.poll(async () => (await inspect("door")).ids.length).toBe(before.ids.length + 1);
    leaving.abort();
    expect(await failure).toBe("rejected");
    await expect.poll(async () => (await inspect("door")).stopped).toBe(before.stopped + 1);
    await expect.poll(async () => (await lastInvocation()).after.code).toBe("client_closed_request");
    await client.close();
  });

  it.for(["auto", "legacy"] as const)("hears how far a tool has come (%s)", async (mode, { expect }) => {
    const client = await connect(mode);
    const steps: unknown[] = [];
    const onprogress = (step: unknown) => void steps.push(step);
    const result = await client.callTool({ name: "fake__steps", arguments: {} }, { onprogress });
    expect(result.content).toEqual([{ type: "text", text: "done" }]);
    expect(steps).toEqual([
      { progress: 1, total: 2, message: "step 1 of nobody" },
      { progress: 2, total: 2, message: "step 2 of nobody" },
    ]);
    await client.close();
  });

  it("keeps two sessions of one key apart, even with equal request ids", async ({ expect }) => {
    const [one, two] = await Promise.all([connect("legacy"), connect("legacy")]);
    const before = await inspect("door");
    const leaving = new AbortController();
    const results: string[] = [];
    const first = one.callTool({ name: "fake__wait", arguments: {} }, { signal: leaving.signal });
    const second = two.callTool({ name: "fake__wait", arguments: {} });
    void second.catch(() => results.push("second"));
    await expect.poll(async () => (await inspect("door")).ids.length).toBe(before.ids.length + 2);
    leaving.abort();
    await expect(first).rejects.toThrow();
    await expect.poll(async () => (await inspect("door")).stopped).toBe(before.stopped + 1);
    const sum = await two.callTool({ name: "fake__add", arguments: { a: 1, b: 2 } });
    expect(sum.structuredContent).toEqual({ sum: 3 });
    expect(results).toEqual([]);
    await Promise.all([one.close(), two.close()]);
  });

  it("sees and calls only what its key names, within its rate", async ({ expect }) => {
    const narrow = await makeKey({ limits: { tools: ["fake/add"], rpm: 1 } });
    const client = await connect("auto", narrow);
    expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(["fake__add"]);
    await expect(client.callTool({ name: "fake__big", arguments: {} })).rejects.toMatchObject({ code: -32_602 });
    expect((await client.callTool({ name: "fake__add", arguments: { a: 1, b: 1 } })).isError).toBeFalsy();
    const late = await client.callTool({ name: "fake__add", arguments: { a: 1, b: 1 } });
    expect(late.isError).toBe(true);
    expect(JSON.stringify(late.content)).toMatch(/Retry after \d+ seconds/);
    await client.close();
  });

  it("may be a person, in the workspace that they choose", async ({ expect }) => {
    const member = await seedMember(workspace.id, "MEMBER");
    const listed = await post(rpc("tools/list"), {
      authorization: `Bearer ${member.token}`,
      "x-workspace": workspace.id,
    });
    expect(listed.body.result.tools).toHaveLength(16);
    const stranger = await seedWorkspace();
    const foreign = { authorization: `Bearer ${stranger.token}`, "x-workspace": workspace.id };
    expect((await post(rpc("tools/list"), foreign)).status).toBe(404);
    expect((await post(rpc("tools/list"), { authorization: `Bearer ${stranger.token}` })).body.result.tools).toEqual(
      [],
    );
  });

  it("sees a tool that was switched off no more", async ({ expect }) => {
    await made("PATCH", "/tool-providers/fake/tools/big", { enabled: false });
    const client = await connect("auto");
    expect((await client.listTools()).tools.map((tool) => tool.name)).not.toContain("fake__big");
    await expect(client.callTool({ name: "fake__big", arguments: {} })).rejects.toThrow("Unknown tool");
    await made("PATCH", "/tool-providers/fake/tools/big", { enabled: true });
    await client.close();
  });
});

const hour = 3_600_000;

async function readAging() {
  return (await call("GET", `/workspaces/${workspace.id}/tool-providers/aging`, { token: workspace.token })).body;
}

async function askedAging(): Promise<number> {
  return (await inspect("aging")).requests.length;
}

async function sweep(at = Date.now()): Promise<void> {
  await refreshServers(env, db, at, 20);
}

async function tellAging(deed: string): Promise<void> {
  await fetch(`https://inspect.mcp.test/aging/${deed}`, { method: "POST" });
}

describe("a server's list of tools", () => {
  it("is read again when it is an hour old, and stays when the server fails", async ({ expect }) => {
    const url = "https://session.mcp.test/aging";
    const { id } = await made("POST", "/tool-providers", { kind: "mcp", name: "aging", url });
    const isThis = eq(toolProviders.id, id);
    const age = (at: number) => db.update(toolProviders).set({ refreshedAt: at, triedAt: at }).where(isThis);
    const first = await readAging();
    const askedFirst = await askedAging();
    await sweep();
    expect(await askedAging()).toBe(askedFirst);

    await age(Date.now() - hour - 1);
    await sweep();
    const same = await readAging();
    expect(await askedAging()).toBeGreaterThan(askedFirst);
    expect([same.tools_count, same.updated_at]).toEqual([8, first.updated_at]);
    expect(Date.parse(same.refreshed_at)).toBeGreaterThan(Date.now() - hour);

    await tellAging("grow");
    await age(Date.now() - hour - 1);
    await sweep();
    expect((await readAging()).tools_count).toBe(9);
    const ofWorkspace = db.select().from(auditLog).where(eq(auditLog.workspaceId, workspace.id));
    const [row] = await ofWorkspace.orderBy(desc(auditLog.seq)).limit(1);
    expect(row).toMatchObject({ action: "tool_provider.refreshed", actorType: "system" });

    await tellAging("break");
    await age(Date.now() - hour - 1);
    await sweep();
    const failed = await readAging();
    expect([failed.tools_count, failed.refresh_error]).toEqual([9, "The MCP server answered 503: out of order"]);
    const askedLast = await askedAging();
    await sweep();
    expect(await askedAging()).toBe(askedLast);

    await tellAging("mend");
    await db
      .update(toolProviders)
      .set({ triedAt: Date.now() - hour - 1 })
      .where(isThis);
    await sweep();
    expect((await readAging()).refresh_error).toBeNull();
    await call("DELETE", `/workspaces/${workspace.id}/tool-providers/aging`, { token: workspace.token });
  });

  it("is read by itself once its credential is there", async ({ expect }) => {
    const keyed = { kind: "mcp", name: "late", url: "https://modern.mcp.test/late-door", auth: { type: "bearer" } };
    await made("POST", "/tool-providers", keyed);
    await sweep();
    expect((await inspect("late-door")).requests).toEqual([]);
    await made("POST", "/tool-providers/late/credentials", { name: "main", credentials: { api_key: secret } });
    await sweep(Date.now() + 180_000);
    const { body } = await call("GET", `/workspaces/${workspace.id}/tool-providers/late`, { token: workspace.token });
    expect([body.tools_count, body.refresh_error]).toEqual([8, null]);
    await call("DELETE", `/workspaces/${workspace.id}/tool-providers/late`, { token: workspace.token });
  });
});

describe("the door of /mcp", () => {
  it("asks who it is, and says how to say so", async ({ expect }) => {
    for (const authorization of ["", "Bearer ghk_nonsense", "Basic YTpi"]) {
      const refused = await post(rpc("tools/list"), { authorization });
      expect([refused.status, refused.body.error.data.code]).toEqual([401, "unauthenticated"]);
      expect(refused.headers.get("www-authenticate")).toContain("Bearer");
    }
    const models = await makeKey({ scopes: ["models:invoke"] });
    const refused = await post(rpc("tools/list"), { authorization: `Bearer ${models}` });
    expect([refused.status, refused.body.error.data.code]).toEqual([403, "forbidden"]);
  });

  it("lets no cookie and no page of another site in", async ({ expect }) => {
    const cookie = `gatehouse.session_token=${encodeURIComponent(workspace.token)}`;
    const borne = await fetchMcp({ cookie, origin, "content-type": "application/json" }, rpc("tools/list"));
    expect([borne.status, await borne.text()]).toEqual([401, expect.stringContaining("unauthenticated")]);
    for (const foreign of ["https://evil.example", "null", "http://127.0.0.1.evil.example:8787"]) {
      expect((await post(rpc("tools/list"), { origin: foreign })).status).toBe(403);
    }
    expect((await post(rpc("tools/list"), { origin: "http://localhost:3000" })).status).toBe(200);
    const rebound = new Request("http://rebound.example:8787/mcp", { method: "POST", body: "{}" });
    expect((await send(rebound)).status).toBe(421);
  });

  it("takes POST alone", async ({ expect }) => {
    for (const method of ["GET", "DELETE", "PUT"]) {
      const answer = await call(method, "/mcp", { token: key });
      expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
    }
    expect((await call("GET", "/mcp")).status).toBe(401);
  });

  it("refuses what is no message, with the code for it", async ({ expect }) => {
    const broken = await post("{");
    expect([broken.status, broken.body.error.code]).toEqual([400, -32_700]);
    for (const nothing of ["", "null", "3", "[]", "{}", '{"jsonrpc":"1.0","id":1,"method":"ping"}']) {
      expect((await post(nothing)).status).toBe(400);
    }
    expect((await post(rpc("ping"), { "content-type": "text/plain" })).status).toBe(415);
    expect((await post(rpc("ping"), { accept: "text/html" })).status).toBe(406);
    expect((await post("x".repeat(4 * 1_048_576 + 1))).status).toBe(413);
    const nested = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    expect((await post(nested)).status).toBe(400);
    expect((await post(rpc("nothing/at-all"))).body.error.code).toBe(-32_601);
    expect((await post(rpc("subscriptions/listen"))).status).toBe(404);
    expect((await post(rpc("ping"), { "mcp-session-id": "made-up" })).status).toBe(404);
  });

  it("takes batches where the protocol has them, and nowhere else", async ({ expect }) => {
    const batch = [rpc("ping", {}, 1), rpc("ping", {}, 2)];
    const answered = await post(batch, { "mcp-protocol-version": "2025-03-26" });
    expect([answered.status, answered.text.match(/"result":\{\}/g)?.length]).toEqual([200, 2]);
    for (const version of ["2025-06-18", "2025-11-25", "2026-07-28"]) {
      const refused = await post(batch, { "mcp-protocol-version": version });
      expect([refused.status, refused.body.error.code]).toEqual([400, -32_600]);
    }
  });
});
