/**
 * MCP servers of the fake outside world, each `https://<behaviour>.mcp.test/<tag>`: real ones of the official SDK, but for
 * those whose fault is not to be one. `GET https://inspect.mcp.test/<tag>` tells what reached a tag, `POST …/forget` ends its
 * sessions, `…/grow` gives it one more tool, `…/break` and `…/mend` make it answer 503 and stop that.
 */
import {
  createMcpHandler,
  Server,
  WebStandardStreamableHTTPServerTransport,
  type CallToolResult,
} from "@modelcontextprotocol/server";
import { randomUUID } from "node:crypto";

/** What reached a tag. */
export interface McpInspection {
  initialized: number;
  discovered: number;
  /** Ids of the tool calls, in order. */
  ids: (string | number)[];
  cancelled: number;
  /** Cancelled as the tool itself saw it. */
  stopped: number;
  authorization: string | null;
  /** Methods, of the server with tasks. */
  methods: string[];
  grown: boolean;
  broken: boolean;
  /** Requests by method and path. */
  requests: string[];
}

const kept = new Map<string, McpInspection>();
const sessions = new Map<
  string,
  { readonly tag: string; readonly transport: WebStandardStreamableHTTPServerTransport }
>();

/** Answers for MCP servers; null for any other host. */
export async function answerMcp(request: Request): Promise<Response | null> {
  const url = new URL(request.url);
  if (!url.host.endsWith(".mcp.test")) {
    return null;
  }
  const [tag = "", deed] = url.pathname.slice(1).split("/");
  const seen = inspectionOf(tag);
  if (url.host === "inspect.mcp.test") {
    if (deed === "forget") {
      forget(tag);
    }
    seen.grown ||= deed === "grow";
    seen.broken = deed === "break" || (seen.broken && deed !== "mend");
    return Response.json(seen);
  }
  const text = await request.text();
  seen.requests.push(request.method);
  seen.authorization =
    request.headers.get("authorization") ?? request.headers.get("x-key") ?? url.searchParams.get("key");
  note(seen, text);
  if (seen.broken) {
    return new Response("out of order", { status: 503 });
  }
  const sent = new Request(url, {
    method: request.method,
    headers: request.headers,
    body: text === "" ? null : text,
    signal: request.signal,
  });
  return await (faults[url.host.replace(".mcp.test", "")] ?? session)(sent, tag);
}

const faults: Readonly<Record<string, (request: Request, tag: string) => Response | Promise<Response>>> = {
  modern: (request, tag) => createMcpHandler(() => makeServer(tag, request), { keepAliveMs: 0 }).fetch(request),
  /** Older revisions without sessions. */
  stateless: async (request, tag) => {
    const transport = new WebStandardStreamableHTTPServerTransport();
    await makeServer(tag, request).connect(transport);
    return transport.handleRequest(request);
  },
  /** Runs its one tool as a task that is over after three looks, never, or waits for input: as the tag says. */
  tasks: async (request, tag) => {
    const message: { id?: unknown; method?: string; params?: object } = JSON.parse(await request.text());
    const { id, method = "", params } = message;
    const seen = inspectionOf(tag);
    seen.methods.push(method);
    const looks = seen.methods.filter((each) => each === "tasks/get").length;
    const over = tag.startsWith("over") && looks >= 3 ? "completed" : "working";
    const status = tag.startsWith("asking") && looks >= 1 ? "input_required" : over;
    const task = { taskId: "t1", status, pollInterval: 1, ttl: 60_000, createdAt: "", lastUpdatedAt: "" };
    const capabilities = { tools: {}, tasks: { requests: { tools: { call: {} } } } };
    const results: Readonly<Record<string, object>> = {
      initialize: { protocolVersion: "2025-11-25", capabilities, serverInfo: { name: "tasks", version: "1" } },
      "tools/list": { tools: [{ name: "long", inputSchema: object, execution: { taskSupport: "required" } }] },
      "tools/call": params !== undefined && "task" in params ? { task } : { content: [], isError: true },
      "tasks/get": task,
      "tasks/cancel": { ...task, status: "cancelled" },
      "tasks/result": { content: [{ type: "text", text: "long done" }] },
    };
    const result = results[method];
    if (id === undefined) {
      return new Response(null, { status: 202 });
    }
    const answer = result === undefined ? { error: { code: -32_601, message: "no such method" } } : { result };
    return Response.json({ jsonrpc: "2.0", id, ...answer });
  },
  html: () => new Response("<!doctype html><title>Parked</title>", { headers: { "content-type": "text/html" } }),
  refusing: (request) => Response.json({ error: `no: ${request.headers.get("authorization") ?? ""}` }, { status: 401 }),
  redirecting: () => new Response(null, { status: 307, headers: { location: "https://session.mcp.test/elsewhere" } }),
  mute: () => new Promise<Response>(() => undefined),
};

async function session(request: Request, tag: string): Promise<Response> {
  const id = request.headers.get("mcp-session-id");
  const known = id === null ? undefined : sessions.get(id);
  if (id !== null && known === undefined) {
    return Response.json(
      { jsonrpc: "2.0", error: { code: -32_001, message: "Session not found" }, id: null },
      { status: 404 },
    );
  }
  if (known !== undefined) {
    return await known.transport.handleRequest(request);
  }
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (opened) => void sessions.set(opened, { tag, transport }),
  });
  await makeServer(tag, request).connect(transport);
  return await transport.handleRequest(request);
}

const object = { type: "object" } as const;
const listed = [
  {
    name: "add",
    inputSchema: { ...object, properties: { a: { type: "number" }, b: { type: "number" } }, required: ["a", "b"] },
  },
  { name: "admin.echo", title: "Echo", description: "Says what it was sent.", inputSchema: object },
  { name: "admin echo", inputSchema: object },
  { name: "wait", inputSchema: object },
  { name: "big", inputSchema: object },
  { name: "fail", inputSchema: object },
  { name: "pieces", inputSchema: object },
  { name: "steps", inputSchema: object },
];

function makeServer(tag: string, first: Request): Server {
  const server = new Server(
    { name: "fake", title: "Fake server", version: "1.2.3" },
    { capabilities: { tools: {} }, instructions: `Hello ${first.headers.get("authorization") ?? ""}` },
  );
  server.setRequestHandler("tools/list", (request) => {
    if (tag === "telltale") {
      const told = first.headers.get("authorization") ?? "";
      const property = { description: told, enum: [told], default: { [told]: told } };
      const inputSchema = { ...object, properties: { told: property } };
      return {
        tools: [
          { name: "tell", title: told, description: `You sent ${told}`, inputSchema },
          { name: told, inputSchema },
        ],
      };
    }
    const at = Number(request.params?.cursor ?? "0");
    const grown = inspectionOf(tag).grown ? [...listed, { name: "grown", inputSchema: object }] : listed;
    const tools =
      tag === "many" ? Array.from({ length: 400 }, (_, n) => ({ name: `t${n}`, inputSchema: object })) : grown;
    const next = tag === "endless" ? "0" : at + 3 < tools.length ? String(at + 3) : undefined;
    return tag === "many"
      ? { tools }
      : { tools: tools.slice(at, at + 3), ...(next === undefined ? {} : { nextCursor: next }) };
  });
  server.setRequestHandler("tools/call", async (request, context): Promise<CallToolResult> => {
    const { name, arguments: input = {} } = request.params;
    const echoed = context.http?.req?.headers.get("authorization") ?? first.headers.get("authorization") ?? "";
    switch (name) {
      case "add": {
        const sum = Number(input["a"]) + Number(input["b"]);
        // Long enough for two calls of one session to run side by side.
        await new Promise((resolve) => setTimeout(resolve, 30));
        return { content: [{ type: "text", text: JSON.stringify({ sum }) }], structuredContent: { sum } };
      }
      case "admin.echo":
      case "admin echo":
        return {
          content: [{ type: "text", text: `${name} ${echoed} ${JSON.stringify(input)}` }],
          structuredContent: { name, echoed: [echoed] },
        };
      case "wait":
        await new Promise((resolve) => context.mcpReq.signal.addEventListener("abort", resolve, { once: true }));
        inspectionOf(tag).stopped += 1;
        return { content: [] };
      case "steps": {
        const progressToken = context.mcpReq["_meta"]?.progressToken ?? "";
        for (const progress of [1, 2]) {
          const params = {
            progressToken,
            progress,
            total: 2,
            message: `step ${progress} of ${first.headers.get("authorization") ?? "nobody"}`,
          };
          await context.mcpReq.notify({ method: "notifications/progress", params });
        }
        return { content: [{ type: "text", text: "done" }] };
      }
      case "big":
        return { content: [{ type: "text", text: "x".repeat(200_000) }] };
      case "fail":
        return { content: [{ type: "text", text: `refused with ${echoed}` }], isError: true };
      case "pieces":
        return {
          content: [
            { type: "image", data: "AAAA", mimeType: "image/png" },
            { type: "resource", resource: { uri: "a:b", mimeType: "text/html", text: "<p>" } },
            { type: "resource", resource: { uri: "a:c", blob: "AAAA" } },
            { type: "resource_link", uri: "a:d", name: "d" },
          ],
        };
      default:
        throw new Error(`unknown tool ${name}, called with ${echoed}`);
    }
  });
  return server;
}

function note(seen: McpInspection, text: string): void {
  const message = text === "" ? {} : (JSON.parse(text) as { method?: string; id?: string | number });
  seen.initialized += message.method === "initialize" ? 1 : 0;
  seen.discovered += message.method === "server/discover" ? 1 : 0;
  seen.cancelled += message.method === "notifications/cancelled" ? 1 : 0;
  if (message.method === "tools/call" && message.id !== undefined) {
    seen.ids.push(message.id);
  }
}

function inspectionOf(tag: string): McpInspection {
  const found = kept.get(tag) ?? {
    initialized: 0,
    discovered: 0,
    ids: [],
    cancelled: 0,
    stopped: 0,
    authorization: null,
    methods: [],
    grown: false,
    broken: false,
    requests: [],
  };
  kept.set(tag, found);
  return found;
}

function forget(tag: string): void {
  for (const [id, entry] of sessions) {
    if (entry.tag === tag) {
      sessions.delete(id);
    }
  }
}
