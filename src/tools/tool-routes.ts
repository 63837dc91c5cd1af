/** The doors to tools: seen, switched on and off, invoked. */
import { z } from "@hono/zod-openapi";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { pageOf, PageQuery, pageWith, readCursor, type Position } from "../http/page.js";
import { reply } from "../http/reply.js";
import { Tool, toTool } from "../toolbox/model.js";
import { InvokeTool, ToolResult, UpdateTool } from "../toolbox/provider-schema.js";
import { allowedTools, toolCaller } from "./caller.js";
import { invokeTool } from "./invoke.js";
import { findProvider } from "./providers.js";
import { findTool, listEnabledTools, listProviderTools, planToolSwitch, type ToolPlace } from "./tools.js";

const readTools = { kind: "workspace", scope: "tools:read", keys: true } as const;
const manageTools = { kind: "workspace", scope: "tools:manage", keys: true } as const;
const invokeTools = { kind: "workspace", scope: "tools:invoke", keys: true } as const;
const ofTools = "Tools";

const Provider = z.string().max(200).describe("The provider's id or name.");
const ToolName = z.string().max(64).describe("The tool's name.");

/** Answers above this are not kept for a repeat: a row of the record takes 2 MB, sealed and in base64. */
const mostKeptChars = 1024 * 1024;

/** An invocation may take up to 300 s of its provider's time; its `Idempotency-Key` is held as long. */
const leaseMs = 330_000;

const listTools = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/tools",
    operation: "listTools",
    summary: "List enabled tools",
    description:
      "Every tool that can be invoked, by provider and name; for an API key only those that its limits name.",
    tag: ofTools,
    permission: readTools,
    query: PageQuery,
    responses: { 200: { description: "Enabled tools with their input schemas.", schema: pageOf(Tool) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const { id: workspaceId } = call.access();
    const caller = await toolCaller(requireSettings(call.env), call.request, call.principal);
    const allowed = await allowedTools(call.db, workspaceId, caller);
    const after = toPlace(readCursor(cursor)?.id ?? null);
    const page = await listEnabledTools(call.db, workspaceId, allowed, { after, limit });
    return reply(
      200,
      pageWith(page.tools, page.hasMore, toPosition, (tool) => ({ ...tool, enabled: true })),
    );
  },
);

const listToolsOfProvider = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/tool-providers/{provider}/tools",
    operation: "listToolsOfProvider",
    summary: "List a provider's tools",
    description: "Also those that are off.",
    tag: ofTools,
    permission: readTools,
    params: z.object({ provider: Provider }),
    query: PageQuery,
    responses: { 200: { description: "The provider's tools by name.", schema: pageOf(Tool) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const { id: workspaceId } = call.access();
    const provider = await findProvider(call.db, workspaceId, call.params.provider);
    const after = readCursor(cursor)?.id ?? null;
    const page = await listProviderTools(call.db, workspaceId, provider.id, after, limit);
    return reply(
      200,
      pageWith(
        page.tools,
        page.hasMore,
        (row) => ({ time: 0, id: row.name }),
        (row) => toTool(provider.name, row),
      ),
    );
  },
);

const readTool = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/tool-providers/{provider}/tools/{tool}",
    operation: "readTool",
    summary: "Read a tool",
    tag: ofTools,
    permission: readTools,
    params: z.object({ provider: Provider, tool: ToolName }),
    responses: { 200: { description: "The tool.", schema: Tool } },
    errors: [],
  },
  async (call) => {
    const provider = await findProvider(call.db, call.access().id, call.params.provider);
    const row = await findTool(call.db, call.access().id, provider.id, call.params.tool);
    return reply(200, toTool(provider.name, row));
  },
);

const updateTool = endpoint(
  {
    method: "patch",
    path: "/workspaces/{ws}/tool-providers/{provider}/tools/{tool}",
    operation: "updateTool",
    summary: "Switch a tool on or off",
    description: "The switch stays through refreshes, as long as the provider has a tool of that name.",
    tag: ofTools,
    permission: manageTools,
    params: z.object({ provider: Provider, tool: ToolName }),
    body: UpdateTool,
    responses: { 200: { description: "The tool as it now stands.", schema: Tool } },
    errors: [],
  },
  async (call) => {
    const provider = await findProvider(call.db, call.access().id, call.params.provider);
    const row = await findTool(call.db, call.access().id, provider.id, call.params.tool);
    const plan = planToolSwitch(call.db, call.actor, provider, row, call.body.enabled);
    return call.commit(plan, reply(200, toTool(provider.name, plan.value)));
  },
);

const invoke = endpoint(
  {
    method: "post",
    path: "/workspaces/{ws}/tools/{provider}/{tool}/invoke",
    operation: "invokeTool",
    summary: "Invoke a tool",
    description:
      "Checks the input against the tool's schema, adds the stored credential, and calls. An MCP tool that says it failed is a 200 with `is_error`; " +
      "an error status of an API is a 502 with `upstream_status` and `reason`. With an `Idempotency-Key` a tool that has answered runs no second " +
      "time: the answer is kept sealed for 24 hours, up to 1 MB; of a larger one a repeat only hears that it is gone (`omitted`). After a 5xx a " +
      "repeat calls again. Only an API key's rate is limited.",
    tag: ofTools,
    permission: invokeTools,
    storedAnswer: "sealed",
    leaseMs,
    maxBodyBytes: 5 * 1024 * 1024,
    params: z.object({ provider: z.string().max(64).describe("The provider's name."), tool: ToolName }),
    body: InvokeTool,
    responses: { 200: { description: "What the tool answered.", schema: ToolResult } },
    errors: [
      "tool_not_allowed",
      "scope_missing",
      "credential_missing",
      "rate_limited",
      "undecryptable",
      "tool_failed",
      "tool_timeout",
      "router_unavailable",
      "keyring_entry_missing",
    ],
  },
  async (call) => {
    const { id: workspaceId, memberId } = call.access();
    const { env, db, actor, params, body } = call;
    const caller = await toolCaller(requireSettings(env), call.request, call.principal);
    const context = { env, db, workspaceId, memberId, actor, caller, signal: call.request.signal };
    const invocation = { ...params, input: body.input, credentialId: body.credential_id ?? null };
    const { is_error, status, content } = await invokeTool(context, invocation);
    const answer = reply(200, { is_error, status, content });
    const isKept = JSON.stringify(content).length <= mostKeptChars;
    await call.commit(
      { statements: [], value: null },
      isKept ? answer : reply(200, { is_error, status, content: [], omitted: true }),
    );
    return answer;
  },
);

/** Every endpoint of this file. */
export const toolEndpoints: readonly Endpoint[] = [listTools, listToolsOfProvider, readTool, updateTool, invoke];

/** Tools are listed by name: a cursor's time says nothing of them. */
function toPosition({ provider, name }: ToolPlace): Position {
  return { time: 0, id: `${provider}/${name}` };
}

function toPlace(id: string | null): ToolPlace | null {
  const [provider, name] = id?.split("/") ?? [];
  return provider === undefined || name === undefined ? null : { provider, name };
}
