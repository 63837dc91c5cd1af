/** Agents and MCP servers for real: the official client at /mcp over HTTP, and the official reference server behind us. */
import { Client, StreamableHTTPClientTransport, type Tool } from "@modelcontextprotocol/client";
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { connect, expectOk, makeTeam, type Team } from "./support/client.ts";

const url = inject("serverUrl");
const port = inject("upstreamPorts")[0] ?? 0;
const upstreamUrl = `http://127.0.0.1:${port}/mcp`;
const lines: string[] = [];
let everything: ChildProcess | undefined;
let team: Team;
let key: string;

/** Inputs of the tools that need one, or whose defaults reach for a network or take long. */
const inputs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  echo: { message: "hello" },
  "get-annotated-message": { messageType: "success", includeImage: true },
  "get-structured-content": { location: "Chicago" },
  "get-sum": { a: 40, b: 2 },
  "gzip-file-as-resource": { name: "a.gz", data: "data:text/plain,hello", outputType: "resource" },
  "simulate-research-query": { topic: "weather" },
  "trigger-long-running-operation": { duration: 0.3, steps: 3 },
};

/** Starts server-everything and waits until it listens. It prints its environment on request, so it gets next to none. */
async function startEverything(): Promise<ChildProcess> {
  const file = fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"));
  const child = spawn(process.execPath, [file, "streamableHttp"], {
    env: { PORT: String(port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  child.once("exit", () => reject(new Error(`server-everything ended: ${lines.join("\n")}`)));
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      lines.push(...text.trimEnd().split("\n"));
      if (lines.some((line) => line.includes("listening on port"))) {
        resolve(undefined);
      }
    });
  }
  await promise;
  return child;
}

async function agent(mode: "auto" | "legacy", address = `${url}/mcp`): Promise<Client> {
  const client = new Client({ name: "e2e agent", version: "1" }, { versionNegotiation: { mode } });
  const headers = address === upstreamUrl ? {} : { authorization: `Bearer ${key}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(address), { requestInit: { headers } }));
  return client;
}

function posts(): number {
  return lines.filter((line) => line.includes("POST")).length;
}

beforeAll(async () => {
  everything = await startEverything();
  team = await makeTeam(url, inject("sessionToken"), "Agents");
  const provider = { kind: "mcp", name: "everything", url: upstreamUrl };
  expectOk(await team.call("POST", "/tool-providers", provider));
  key = String(expectOk(await team.call("POST", "/api-keys", { name: "agent", scopes: ["tools:invoke"] }))["secret"]);
});

afterAll(() => {
  everything?.kill();
});

describe("the official reference server behind us", () => {
  it("has every tool that it lists called, by REST and by /mcp", async ({ expect }) => {
    const direct = await agent("auto", upstreamUrl);
    const listed = (await direct.listTools()).tools.map((tool: Tool) => tool.name).toSorted();
    await direct.close();
    expect(listed.length).toBeGreaterThanOrEqual(13);

    const client = await agent("auto");
    const { tools } = await client.listTools();
    expect(tools.map((tool) => tool.name).toSorted()).toEqual(listed.map((name) => `everything__${name}`));
    const rest = connect(url, key);
    const outcomes = await Promise.all(
      listed.map(async (name) => {
        const input = inputs[name] ?? {};
        const [byMcp, byRest] = await Promise.all([
          client.callTool({ name: `everything__${name}`, arguments: { ...input } }),
          rest("POST", `/workspaces/current/tools/everything/${name}/invoke`, { input }),
        ]);
        return { name, byMcp, byRest };
      }),
    );
    for (const { name, byMcp, byRest } of outcomes) {
      expect([name, byRest.status, byRest.body["is_error"], byMcp.isError]).toEqual([name, 200, false, false]);
      expect([name, byMcp.content.length]).toEqual([name, (byRest.body["content"] as unknown[]).length]);
      expect(byMcp.content.length).toBeGreaterThan(0);
    }
    const said = new Map(outcomes.map(({ name, byMcp }) => [name, JSON.stringify(byMcp)]));
    expect(said.get("echo")).toContain("Echo: hello");
    expect(said.get("get-sum")).toContain("42");
    expect(said.get("get-tiny-image")).toContain('"mimeType":"image/png"');
    expect(said.get("get-structured-content")).toContain('"structuredContent":{"temperature"');
    expect(said.get("gzip-file-as-resource")).toContain('"blob":"H4sI');
    expect(said.get("simulate-research-query")).toContain("Research Report: weather");
    await client.close();
  });
});

describe("the official client at /mcp", () => {
  it.for(["auto", "legacy"] as const)("meets errors as the protocol has them (%s)", async (mode, { expect }) => {
    const client = await agent(mode);
    expect(client.getServerVersion()?.name).toBe("gatehouse");
    await expect(client.callTool({ name: "everything__nothing", arguments: {} })).rejects.toMatchObject({
      code: -32_602,
    });
    const wrong = await client.callTool({ name: "everything__get-sum", arguments: { a: "x" } });
    expect(wrong.isError).toBe(true);
    expect(JSON.stringify(wrong.content)).toContain("/input/b");
    await client.close();
  });

  it.for(["auto", "legacy"] as const)(
    "takes a running call back, and the server behind us hears of it (%s)",
    async (mode, { expect }) => {
      const client = await agent(mode);
      await client.callTool({ name: "everything__echo", arguments: { message: "warm" } });
      const before = posts();
      const leaving = new AbortController();
      const long = { name: "everything__trigger-long-running-operation", arguments: { duration: 40, steps: 40 } };
      const running = client.callTool(long, { signal: leaving.signal });
      const ending = running.then(
        () => "answered",
        () => "taken back",
      );
      await expect.poll(posts, { timeout: 5_000 }).toBe(before + 1);
      leaving.abort();
      expect(await ending).toBe("taken back");
      // `notifications/cancelled`, on the session that the call runs in.
      await expect.poll(posts, { timeout: 5_000 }).toBe(before + 2);
      await client.close();
    },
  );

  it("serves two sessions at once, each its own answers", async ({ expect }) => {
    const clients = await Promise.all([agent("legacy"), agent("legacy")]);
    const said = await Promise.all(
      clients.flatMap((client, who) =>
        Array.from({ length: 5 }, async (_, n) => {
          const message = `${who}-${n}`;
          const { content } = await client.callTool({ name: "everything__echo", arguments: { message } });
          return [`Echo: ${message}`, content[0]?.type === "text" ? content[0].text : ""];
        }),
      ),
    );
    expect(said).toHaveLength(10);
    for (const [expected, got] of said) {
      expect(got).toBe(expected);
    }
    await Promise.all(clients.map((client) => client.close()));
  });

  it("is refused without a key, and from a page of another site", async ({ expect }) => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
    const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
    const stranger = await fetch(`${url}/mcp`, { method: "POST", headers, body });
    expect([stranger.status, stranger.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="gatehouse"']);
    const authorization = `Bearer ${key}`;
    const page = { ...headers, authorization, origin: "https://evil.example" };
    expect((await fetch(`${url}/mcp`, { method: "POST", headers: page, body })).status).toBe(403);
    expect((await fetch(`${url}/mcp`, { headers: { authorization, accept: "text/event-stream" } })).status).toBe(405);
  });
});
