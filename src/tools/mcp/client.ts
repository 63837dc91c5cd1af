/** Calls MCP servers over streamable HTTP with the official client, which is loaded by the first call that needs it. */
import { waitUntil } from "cloudflare:workers";
import type { CallToolRequestOptions, CallToolResult, Client } from "@modelcontextprotocol/client";
import { describeError, log } from "../../base/log.js";
import { redactSecrets, type Secret } from "../../base/secret.js";
import type { JsonSchema, McpCall, ToolDefinition, ToolOutcome } from "../contract.js";
import { toDefinitions } from "./definitions.js";
import { McpFailure, toMcpFailure } from "./failure.js";
import { Link } from "./link.js";
import { toOutcome } from "./outcome.js";
import { forgetAgreement, keepAgreement, recallAgreement, type Agreement } from "./sessions.js";
import type { McpTarget } from "./target.js";
import { callAsTask } from "./tasks.js";
import { openWire, type McpLimits, type Wire } from "./wire.js";

/** What a server says of itself and offers. */
export interface McpListing {
  /** Null when it does not say. */
  readonly title: string | null;
  readonly version: string | null;
  readonly instructions: string | null;
  /** The protocol revision that was agreed on; null when a session was gone on with. */
  readonly protocolVersion: string | null;
  readonly tools: readonly ToolDefinition[];
}

/** What is called: how the tool was listed, and the schema that it was listed with. */
export interface McpToolCall {
  readonly call: McpCall;
  readonly input_schema: JsonSchema;
}

interface CallLimits extends McpLimits {
  /** Called for each step that the server reports. */
  readonly onProgress?: ((step: McpProgress) => void) | undefined;
}

/** A step of a running tool; `total` and `message` when the server names them. */
export interface McpProgress {
  readonly progress: number;
  readonly total?: number | undefined;
  readonly message?: string | undefined;
}

/** Tools of one server that are taken. */
const maxMcpTools = 300;
const maxPages = 64;

/** Every tool of a server, over all pages. Throws `McpFailure`; more than 300 tools are `not_mcp` with the number in the message. */
export async function listMcpTools(target: McpTarget, limits: McpLimits): Promise<McpListing> {
  return await withServer(target, limits, async (client, wire) => {
    const server = client.getServerVersion();
    const say = (text: string | undefined): string | null =>
      text === undefined ? null : redactSecrets(text, target.secrets);
    return {
      title: say(server?.title ?? server?.name),
      version: say(server?.version),
      instructions: say(client.getInstructions()),
      protocolVersion: client.getNegotiatedProtocolVersion() ?? null,
      tools: await toDefinitions(await listPages(client, wire), target.secrets),
    };
  });
}

/** Calls one tool and gives what it answered, a failure of the tool itself included. Throws `McpFailure`. */
export async function callMcpTool(
  target: McpTarget,
  tool: McpToolCall,
  input: Readonly<Record<string, unknown>>,
  limits: CallLimits,
): Promise<ToolOutcome> {
  return await withServer(target, limits, async (client, wire) => {
    const result = await (tool.call.task === true
      ? callAsTask(client, wire, tool.call.tool, input)
      : callPlainly(client, wire, tool, input, redactSteps(limits.onProgress, target.secrets)));
    return toOutcome(result, target.secrets);
  });
}

function redactSteps(onProgress: CallLimits["onProgress"], secrets: readonly Secret[]): CallLimits["onProgress"] {
  return onProgress === undefined
    ? undefined
    : (step) =>
        onProgress(step.message === undefined ? step : { ...step, message: redactSecrets(step.message, secrets) });
}

async function callPlainly(
  client: Client,
  wire: Wire,
  tool: McpToolCall,
  input: Readonly<Record<string, unknown>>,
  onProgress: CallLimits["onProgress"],
): Promise<CallToolResult> {
  const name = tool.call.tool;
  const options: CallToolRequestOptions = {
    signal: wire.signal,
    timeout: wire.leftMs() + graceMs,
    // The newest revision repeats some inputs as headers; the schema says which.
    toolDefinition: { name, inputSchema: { ...tool.input_schema, type: "object" } },
    ...(onProgress === undefined ? {} : { onprogress: onProgress }),
  };
  return await client.callTool({ name, arguments: { ...input } }, options);
}

/** The wire's deadline comes first, so that there is one word for it. */
const graceMs = 1_000;

async function listPages(client: Client, wire: Wire) {
  const tools = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await client.request(
      { method: "tools/list", params: cursor === undefined ? {} : { cursor } },
      { signal: wire.signal, timeout: wire.leftMs() + graceMs },
    );
    tools.push(...page.tools);
    if (tools.length > maxMcpTools) {
      throw new McpFailure(
        "not_mcp",
        `The server lists more than ${maxMcpTools} tools, which is the most that is taken.`,
      );
    }
    cursor = page.nextCursor;
    if (cursor !== undefined && (seen.has(cursor) || seen.size === maxPages)) {
      throw new McpFailure("not_mcp", "The server's list of tools has no end.");
    }
    seen.add(cursor ?? "");
  } while (cursor !== undefined);
  return tools;
}

type Deed<T> = (client: Client, wire: Wire) => Promise<T>;

/** Goes on with what was agreed before, and shakes hands anew, once, when the server no longer knows of it. */
async function withServer<T>(target: McpTarget, limits: McpLimits, deed: Deed<T>): Promise<T> {
  const startedAt = Date.now();
  const known = recallAgreement(target.sessionKey, startedAt);
  try {
    return await attempt(target, limits, known, deed);
  } catch (error) {
    if (known === null || !isForgotten(error)) {
      throw error;
    }
    forgetAgreement(target.sessionKey);
    const timeoutMs = Math.max(1, limits.timeoutMs - (Date.now() - startedAt));
    return await attempt(target, { ...limits, timeoutMs }, null, deed);
  }
}

/** 404 is the specification's word for a session that is gone; others say 400. Either way the request was not taken up. */
function isForgotten(error: unknown): boolean {
  return error instanceof McpFailure && error.kind === "http" && (error.status === 404 || error.status === 400);
}

async function attempt<T>(target: McpTarget, limits: McpLimits, known: Agreement | null, deed: Deed<T>): Promise<T> {
  const wire = openWire(target, limits);
  try {
    const client = await connect(target, wire, known);
    try {
      return await deed(client, wire);
    } finally {
      waitUntil(wire.settled().then(() => hangUp(client)));
    }
  } catch (error) {
    throw wire.failure() ?? toMcpFailure(error, target.secrets);
  } finally {
    wire.close();
  }
}

async function connect(target: McpTarget, wire: Wire, known: Agreement | null): Promise<Client> {
  const sdk = await import("@modelcontextprotocol/client");
  const session = known?.kind === "session" ? known : null;
  const transport = new sdk.StreamableHTTPClientTransport(new URL(target.url), {
    fetch: wire.fetch,
    ...(session === null ? {} : { sessionId: session.sessionId, protocolVersion: session.protocolVersion }),
  });
  const client = new sdk.Client(clientInfo, { versionNegotiation: { mode: "auto" } });
  const lost = (): void => wire.fail(new McpFailure("network", "The MCP server ended its answer without a result."));
  const prior = known === null || known.kind === "session" ? undefined : known;
  await client.connect(new Link(transport, lost), {
    signal: wire.signal,
    timeout: wire.leftMs() + graceMs,
    ...(prior === undefined ? {} : { prior }),
  });
  if (session === null) {
    keepAgreement(target.sessionKey, agreementOf(client, transport.sessionId), Date.now());
  }
  return client;
}

const clientInfo = { name: "gatehouse", title: "Gatehouse", version: "0.1.0" };

function agreementOf(client: Client, sessionId: string | undefined): Agreement {
  const discover = client.getDiscoverResult();
  const protocolVersion = client.getNegotiatedProtocolVersion();
  if (client.getProtocolEra() === "modern" && discover !== undefined) {
    return { kind: "modern", discover };
  }
  return sessionId === undefined || protocolVersion === undefined
    ? { kind: "legacy" }
    : { kind: "session", sessionId, protocolVersion };
}

async function hangUp(client: Client): Promise<void> {
  try {
    await client.close();
  } catch (error) {
    log("warn", "mcp_close_failed", { cause: describeError(error) });
  }
}
