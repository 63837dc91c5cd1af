/** Calls of MCP servers: sessions, limits, departures and faults, against servers of the official SDK in the fake outside world. */
import { describe, it } from "vitest";
import { OutboundError } from "../../src/base/outbound.js";
import { Secret } from "../../src/base/secret.js";
import type { McpCall, ToolAuth } from "../../src/tools/contract.js";
import { callMcpTool, listMcpTools } from "../../src/tools/mcp/client.js";
import { McpFailure } from "../../src/tools/mcp/failure.js";
import { mcpTarget, type McpTarget } from "../../src/tools/mcp/target.js";
import type { McpInspection } from "../support/upstream-mcp.js";

const secret = "tok-of-the-mcp-tests-0123456789";
const rules = { allow: "", ownHosts: [] };
const limits = { timeoutMs: 5_000, maxBytes: 100_000 };

function target(host: string, tag: string, auth: ToolAuth = { type: "bearer" }): McpTarget {
  const credential = { secret: new Secret(secret), options: { username: "ann" } };
  const url = `https://${host}.mcp.test/${tag}`;
  return mcpTarget({ url, auth, credential, accessToken: null, sessionKey: `${host} ${tag} ${auth.type}`, rules });
}

function tool(name: string): { call: McpCall; input_schema: { type: string } } {
  return { call: { kind: "mcp", tool: name }, input_schema: { type: "object" } };
}

async function inspect(tag: string): Promise<McpInspection> {
  return await (await fetch(`https://inspect.mcp.test/${tag}`)).json();
}

async function failureOf(call: Promise<unknown>): Promise<McpFailure> {
  const error = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof McpFailure)) {
    throw new Error(`no McpFailure: ${String(error)}`);
  }
  return error;
}

describe("a call of an MCP server", () => {
  it.for(["session", "stateless", "modern"])(
    "lists all pages and calls tools on a %s server",
    async (host, { expect }) => {
      const tag = `list-${host}`;
      const listing = await listMcpTools(target(host, tag), limits);
      expect(listing).toMatchObject({
        title: "Fake server",
        version: "1.2.3",
        protocolVersion: host === "modern" ? "2026-07-28" : "2025-11-25",
      });
      const names = listing.tools.map((listed) => listed.name);
      expect(names.toSpliced(1, 2)).toEqual(["add", "wait", "big", "fail", "pieces", "steps"]);
      // Both would be admin_echo.
      expect(names[1]).toMatch(/^admin_echo__[0-9a-f]{12}$/);
      expect(names[2]).toMatch(/^admin_echo__[0-9a-f]{12}$/);
      expect(names[1]).not.toBe(names[2]);
      expect(listing.tools[0]?.input_schema).toMatchObject({ required: ["a", "b"] });
      expect(listing.tools[1]).toMatchObject({ title: "Echo", call: { kind: "mcp", tool: "admin.echo" } });
      const outcome = await callMcpTool(target(host, tag), tool("add"), { a: 2, b: 3 }, limits);
      // The text said the same as the structured content.
      expect(outcome).toEqual({ is_error: false, status: null, content: [{ type: "json", value: { sum: 5 } }] });
    },
  );

  it("keeps its session, and gives every request of it an id of its own", async ({ expect }) => {
    const server = target("session", "kept");
    await callMcpTool(server, tool("add"), { a: 0, b: 0 }, limits);
    const sums = await Promise.all(
      Array.from({ length: 8 }, (_, n) => callMcpTool(server, tool("add"), { a: n, b: n }, limits)),
    );
    expect(sums.map((sum) => sum.content)).toEqual(
      Array.from({ length: 8 }, (_, n) => [{ type: "json", value: { sum: 2 * n } }]),
    );
    const seen = await inspect("kept");
    expect([seen.discovered, seen.initialized, seen.ids.length]).toEqual([1, 1, 9]);
    expect(new Set(seen.ids).size).toBe(9);
    // The stream for unasked words is not opened.
    expect(new Set(seen.requests)).toEqual(new Set(["POST"]));
  });

  it("opens a new session once when the server has forgotten its own", async ({ expect }) => {
    const server = target("session", "forgotten");
    await callMcpTool(server, tool("add"), { a: 1, b: 1 }, limits);
    await fetch("https://inspect.mcp.test/forgotten/forget", { method: "POST" });
    const outcome = await callMcpTool(server, tool("add"), { a: 1, b: 2 }, limits);
    expect(outcome.content).toEqual([{ type: "json", value: { sum: 3 } }]);
    expect((await inspect("forgotten")).initialized).toBe(2);
  });

  it("does not go on with a session under another credential", async ({ expect }) => {
    await callMcpTool(target("session", "two-keys"), tool("add"), { a: 1, b: 1 }, limits);
    await callMcpTool(target("session", "two-keys", { type: "basic" }), tool("add"), { a: 1, b: 1 }, limits);
    expect((await inspect("two-keys")).initialized).toBe(2);
  });

  it.for<[ToolAuth, string | null]>([
    [{ type: "bearer" }, `Bearer ${secret}`],
    [{ type: "basic" }, `Basic ${btoa(`ann:${secret}`)}`],
    [{ type: "api_key", in: "header", name: "x-key", prefix: "Key " }, `Key ${secret}`],
    [{ type: "api_key", in: "query", name: "key" }, secret],
    [{ type: "none" }, null],
  ])("shows its credential as %j", async ([auth, expected], { expect }) => {
    const tag = `auth-${auth.type}${auth.type === "api_key" ? auth.in : ""}`;
    await listMcpTools(target("session", tag, auth), limits);
    expect((await inspect(tag)).authorization).toBe(expected);
  });

  it("shows several headers at once, none of which comes back", async ({ expect }) => {
    const values = { Authorization: "Custom first-of-several-0123456789", "x-other": "second-of-several-0123456789" };
    const server = mcpTarget({
      url: "https://session.mcp.test/several",
      auth: { type: "headers", names: Object.keys(values) },
      credential: { secret: new Secret(JSON.stringify(values)), options: {} },
      accessToken: null,
      sessionKey: "several",
      rules,
    });
    const listing = await listMcpTools(server, limits);
    expect((await inspect("several")).authorization).toBe(values.Authorization);
    expect(server.headers.map(([name, value]) => [name, value.reveal()])).toEqual(Object.entries(values));
    const outcome = await callMcpTool(server, tool("admin.echo"), {}, limits);
    expect(JSON.stringify([listing, outcome])).not.toContain("of-several");
    expect(JSON.stringify([listing, outcome])).toContain("[redacted]");
  });

  it("gives images, resources and links in our own pieces", async ({ expect }) => {
    const outcome = await callMcpTool(target("session", "pieces"), tool("pieces"), {}, limits);
    expect(outcome.content).toEqual([
      { type: "binary", base64: "AAAA", mime_type: "image/png" },
      { type: "text", text: "<p>", mime_type: "text/html" },
      { type: "binary", base64: "AAAA", mime_type: "application/octet-stream" },
      { type: "json", value: { type: "resource_link", uri: "a:d", name: "d" } },
    ]);
  });

  it.for(["session", "modern"])("tells a %s server when the caller leaves", async (host, { expect }) => {
    const tag = `left-${host}`;
    const caller = new AbortController();
    const call = failureOf(callMcpTool(target(host, tag), tool("wait"), {}, { ...limits, signal: caller.signal }));
    await expect.poll(async () => (await inspect(tag)).ids.length).toBe(1);
    caller.abort();
    expect((await call).kind).toBe("aborted");
    await expect.poll(async () => (await inspect(tag)).stopped).toBe(1);
    // The newest revision closes the stream instead.
    expect((await inspect(tag)).cancelled).toBe(host === "session" ? 1 : 0);
  });

  it("ends in time, and tells the server", async ({ expect }) => {
    const call = callMcpTool(target("session", "late"), tool("wait"), {}, { ...limits, timeoutMs: 400 });
    expect((await failureOf(call)).kind).toBe("timeout");
    await expect.poll(async () => (await inspect("late")).stopped).toBe(1);
    const silent = listMcpTools(target("mute", "mute"), { ...limits, timeoutMs: 200 });
    expect((await failureOf(silent)).kind).toBe("timeout");
  });

  it("runs a task to its end, and takes back one that nobody waits for any more", async ({ expect }) => {
    const listing = await listMcpTools(target("tasks", "over"), limits);
    const long = { call: { kind: "mcp", tool: "long", task: true }, input_schema: { type: "object" } } as const;
    expect(listing.tools[0]?.call).toEqual(long.call);
    const outcome = await callMcpTool(target("tasks", "over"), long, {}, limits);
    expect(outcome.content).toEqual([{ type: "text", text: "long done", mime_type: "text/plain" }]);

    const endless = callMcpTool(target("tasks", "endless-task"), long, {}, { ...limits, timeoutMs: 700 });
    expect((await failureOf(endless)).kind).toBe("timeout");
    await expect.poll(async () => (await inspect("endless-task")).methods).toContain("tasks/cancel");
    const asking = await failureOf(callMcpTool(target("tasks", "asking"), long, {}, limits));
    expect(asking.message).toContain("input");
    await expect.poll(async () => (await inspect("asking")).methods).toContain("tasks/cancel");
  });

  it("takes no more than it may", async ({ expect }) => {
    const call = callMcpTool(target("session", "big"), tool("big"), {}, limits);
    expect(await failureOf(call)).toMatchObject({ kind: "too_large" });
    const many = await failureOf(listMcpTools(target("session", "many"), limits));
    expect(many.message).toContain("300");
    expect((await failureOf(listMcpTools(target("session", "endless"), limits))).message).toContain("no end");
  });

  it("never shows its secret, whatever the server sends back", async ({ expect }) => {
    const server = target("session", "echo");
    const echo = await callMcpTool(server, tool("admin.echo"), { method: "notifications/cancelled" }, limits);
    expect(JSON.stringify(echo)).toContain("[redacted]");
    expect(JSON.stringify(echo)).toContain("notifications/cancelled");
    const failed = await callMcpTool(server, tool("fail"), {}, limits);
    expect(failed).toMatchObject({ is_error: true, content: [{ text: "refused with Bearer [redacted]" }] });
    const unknown = await failureOf(callMcpTool(server, tool("nothing"), {}, limits));
    expect(unknown.kind).toBe("protocol");
    const refused = await failureOf(listMcpTools(target("refusing", "refused"), limits));
    expect(refused).toMatchObject({ kind: "http", status: 401 });
    for (const said of [JSON.stringify(echo), JSON.stringify(failed), unknown.message, refused.message]) {
      expect(said).not.toContain(secret);
    }
    expect(unknown.message + refused.message).toContain("[redacted]");
  });

  it("stores no secret that a server writes into its list or its steps", async ({ expect }) => {
    const listing = await listMcpTools(target("session", "telltale"), limits);
    expect(listing.tools.map((listed) => listed.name)).toEqual(["tell"]);
    expect(listing.instructions).toBe("Hello Bearer [redacted]");
    expect(JSON.stringify(listing)).not.toContain(secret);
    expect(listing.tools[0]).toMatchObject({ title: "Bearer [redacted]", description: "You sent Bearer [redacted]" });
    const steps: unknown[] = [];
    const onProgress = (step: unknown) => void steps.push(step);
    await callMcpTool(target("session", "steps"), tool("steps"), {}, { ...limits, onProgress });
    expect(steps).toEqual([1, 2].map((n) => ({ progress: n, total: 2, message: `step ${n} of Bearer [redacted]` })));
  });

  it("follows no redirect and takes a web page for no server", async ({ expect }) => {
    expect((await failureOf(listMcpTools(target("redirecting", "moved"), limits))).kind).toBe("redirected");
    expect((await inspect("elsewhere")).requests).toEqual([]);
    expect((await failureOf(listMcpTools(target("html", "html"), limits))).kind).toBe("not_mcp");
  });

  it("calls no private address", async ({ expect }) => {
    const inner = { ...target("session", "inner"), url: "http://127.0.0.1:9/mcp" };
    const failure = await failureOf(listMcpTools(inner, limits));
    expect(failure.kind).toBe("refused");
    expect(failure.cause).not.toBeInstanceOf(OutboundError);
  });
});
