/** The workspace's tools as one MCP server, made anew for each request, so that no two requests share anything. */
import type {
  CallToolRequest,
  CallToolResult,
  ListToolsResult,
  ProtocolError,
  Server,
  ServerContext,
} from "@modelcontextprotocol/server";
import { AppError } from "../../base/errors.js";
import { logFailure, toAppError } from "../../http/failure.js";
import { allowedTools } from "../caller.js";
import { invokeTool, type InvokeContext } from "../invoke.js";
import { findByExportedName, listExportedTools } from "./exported.js";
import { toErrorResult, toResult } from "./result.js";
import { startCall } from "./running.js";

/** For whom a server is made. */
export interface ServerScope {
  readonly context: InvokeContext;
  readonly version: string;
  /** The caller's session, in which request ids are unique; null when the protocol has none. */
  readonly session: string | null;
}

/** A server over the tools that the caller may use. */
export async function makeServer(scope: ServerScope): Promise<Server> {
  const sdk = await import("@modelcontextprotocol/server");
  const server = new sdk.Server(
    { name: "gatehouse", title: "Gatehouse", version: scope.version },
    { capabilities: { tools: {} }, instructions },
  );
  server.setRequestHandler("tools/list", async (request) => {
    const page = await listTools(scope, request.params?.cursor ?? null);
    if (page === null) {
      throw new sdk.ProtocolError(sdk.INVALID_PARAMS, "The cursor is not one that this server gave.");
    }
    return page;
  });
  server.setRequestHandler("tools/call", async (request, context) => {
    try {
      return await callTool(scope, request.params, context);
    } catch (error) {
      throw toProtocolError(sdk, scope, toAppError(error), request.params.name);
    }
  });
  return server;
}

const instructions =
  "The tools of one Gatehouse workspace. A name is the tool's provider and its own name, joined by two underscores.";

async function listTools(scope: ServerScope, cursor: string | null): Promise<ListToolsResult | null> {
  const { db, workspaceId, caller } = scope.context;
  const page = await listExportedTools(db, workspaceId, await allowedTools(db, workspaceId, caller), cursor);
  return page === null
    ? null
    : {
        tools: page.tools.map((tool) => ({
          name: tool.exported,
          ...(tool.title === null ? {} : { title: tool.title }),
          description: tool.description,
          inputSchema: { ...tool.input_schema, type: "object" },
        })),
        ...(page.nextCursor === null ? {} : { nextCursor: page.nextCursor }),
      };
}

async function callTool(
  scope: ServerScope,
  params: CallToolRequest["params"],
  asked: ServerContext,
): Promise<CallToolResult> {
  const { context } = scope;
  const place = await findByExportedName(context.db, context.workspaceId, params.name);
  if (place === null) {
    throw new AppError("not_found");
  }
  const running = startCall(scope.session, asked.mcpReq.id);
  const signal = AbortSignal.any([asked.mcpReq.signal, running.signal]);
  const invocation = { provider: place.provider, tool: place.name, input: params.arguments ?? {}, credentialId: null };
  try {
    return toResult(await invokeTool({ ...context, signal, onProgress: progressOf(asked) }, invocation));
  } catch (error) {
    const failure = toAppError(error);
    if (failure.code === "not_found" || unanswerable.has(failure.code)) {
      throw failure;
    }
    logFailure(failure, context.actor.requestId);
    return toErrorResult(failure);
  } finally {
    running.end();
  }
}

/** Hands on what the tool reports, to a client that asked for it. */
function progressOf(asked: ServerContext): InvokeContext["onProgress"] {
  const token = asked.mcpReq["_meta"]?.progressToken;
  if (token === undefined) {
    return undefined;
  }
  return ({ progress, total, message }) => {
    const params = {
      progressToken: token,
      progress,
      ...(total === undefined ? {} : { total }),
      ...(message === undefined ? {} : { message }),
    };
    // A client that has left needs no news, and its leaving ends the call elsewhere.
    asked.mcpReq.notify({ method: "notifications/progress", params }).catch(() => undefined);
  };
}

/** What no other input would help: the protocol's own errors, which hosts show to people instead of the model. */
const unanswerable: ReadonlySet<string> = new Set([
  "unauthenticated",
  "scope_missing",
  "tool_not_allowed",
  "internal",
  "client_closed_request",
]);

interface Sdk {
  readonly ProtocolError: typeof ProtocolError;
  readonly INVALID_PARAMS: number;
  readonly INTERNAL_ERROR: number;
}

function toProtocolError(sdk: Sdk, scope: ServerScope, error: AppError, name: string): Error {
  if (error.code === "not_found") {
    return new sdk.ProtocolError(sdk.INVALID_PARAMS, `Unknown tool: ${name.slice(0, 128)}`);
  }
  logFailure(error, scope.context.actor.requestId);
  const code = error.status >= 500 ? sdk.INTERNAL_ERROR : sdk.INVALID_PARAMS;
  return new sdk.ProtocolError(code, error.detail, { code: error.code, request_id: scope.context.actor.requestId });
}
