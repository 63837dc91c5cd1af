/**
 * The door of agents: `/mcp`, the workspace's tools over streamable HTTP. Stateless: every POST is served by itself, for
 * all protocol revisions that the SDK knows. Takes no `Idempotency-Key`; the protocol has none.
 */
import { Hono } from "hono";
import { z } from "zod";
import { keyMeets, principalName, roleMeets, tokenMeets } from "../../access/principal.js";
import type { Principal, WorkspaceAccess } from "../../access/principal.js";
import { AppError } from "../../base/errors.js";
import { isLoopback, requireSettings, type Settings } from "../../base/settings.js";
import type { HttpContext, HttpEnv } from "../../http/context.js";
import { toActor } from "../../http/endpoint.js";
import { logFailure, toAppError } from "../../http/failure.js";
import { parseJson, readBody } from "../../http/parse.js";
import { findAccess } from "../../tenancy/tenancy.js";
import { toolCaller } from "../caller.js";
import { cancelCall } from "./running.js";
import { makeServer } from "./server.js";

const path = "/mcp";
const maxBodyBytes = 4 * 1_048_576;
const keepAliveMs = 1_000;
const permission = { kind: "workspace", scope: "tools:invoke", keys: true } as const;

/** The door's app. `version` is the service's own, which the server says of itself. */
export function mcpDoor(version: string): Hono<HttpEnv> {
  const door = new Hono<HttpEnv>();
  door.all(path, async (context) => {
    context.set("route", path);
    try {
      return await answer(context, version);
    } catch (error) {
      const failure = toAppError(error);
      logFailure(failure, context.get("requestId"));
      return errorAnswer(failure, context.get("requestId"));
    }
  });
  return door;
}

async function answer(context: HttpContext, version: string): Promise<Response> {
  const request = context.req.raw;
  const settings = requireSettings(context.env);
  checkOrigin(request, settings);
  const { principal, access } = await admit(context);
  if (request.method !== "POST") {
    // There is nothing to say unasked, and no session to end.
    throw new AppError("method_not_allowed", { detail: "Send JSON-RPC messages by POST." });
  }
  const session = readSession(request);
  const message = parseJson(await readBody(request, maxBodyBytes), request.headers.get("content-type"));
  const refusal = refuse(request, message);
  if (refusal !== null) {
    return refusal;
  }
  const scope = session === null ? null : `${principalName(principal)} ${access.id} ${session}`;
  takeBack(scope, message);
  const sdk = await import("@modelcontextprotocol/server");
  const invoking = {
    env: context.env,
    db: context.get("db"),
    workspaceId: access.id,
    memberId: access.memberId,
    actor: toActor(principal, context, Date.now()),
    caller: await toolCaller(settings, request, principal),
    signal: undefined,
  };
  const handler = sdk.createMcpHandler(() => makeServer({ context: invoking, version, session: scope }), {
    // The platform notices that a client has left only when something is written, and JSON is written at the end.
    responseMode: readHead(message).method === "tools/call" ? "sse" : "auto",
    keepAliveMs,
  });
  const response = await handler.fetch(request, { parsedBody: message });
  return readHead(message).method === "initialize" && response.ok ? withSession(response) : response;
}

/** A page of another site that a browser shows must not reach the tools, whatever it can make the browser send. */
function checkOrigin(request: Request, settings: Settings): void {
  const origin = request.headers.get("origin");
  if (origin === null) {
    return;
  }
  const url = URL.parse(origin);
  const isOwn = origin === settings.publicUrl || settings.allowedOrigins.includes(origin);
  if (!isOwn && !(settings.isLocal && url !== null && isLoopback(url.hostname))) {
    throw new AppError("origin_not_allowed", { detail: "A web page of another site may not call this address." });
  }
}

interface Admitted {
  readonly principal: Principal;
  readonly access: WorkspaceAccess;
}

/** Who calls and where. Throws `unauthenticated`, `not_found` and `forbidden`. */
async function admit(context: HttpContext): Promise<Admitted> {
  const principal = context.get("principal");
  // A browser adds cookies by itself, so they say nothing of who wants this call.
  if (principal === null || (principal.kind === "session" && principal.via === "cookie")) {
    throw new AppError("unauthenticated", {
      detail: "Send an API key with tools:invoke as `Authorization: Bearer …`.",
    });
  }
  const chosen = context.req.header("x-workspace") ?? null;
  const access = await findAccess(context.get("db"), principal, "current", chosen);
  if (access === null) {
    throw new AppError("not_found", { detail: "You are in no such workspace. `X-Workspace` names one by id or slug." });
  }
  // Whose refusal it is: the audit log tells of those who belong to the workspace.
  context.set("access", access);
  if (!isAllowed(principal, access)) {
    throw new AppError("forbidden", { detail: `This needs ${permission.scope}.` });
  }
  return { principal, access };
}

function isAllowed(principal: Principal, access: WorkspaceAccess): boolean {
  switch (principal.kind) {
    case "key":
      return keyMeets(principal, permission);
    case "token":
      return tokenMeets(principal, access.role, permission);
    case "session":
      return access.role !== null && roleMeets(access.role, permission);
  }
}

const sessionForm = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** The session that a client of an older revision names. It holds nothing, so any well-formed one goes on; another is gone, and the client starts anew. */
function readSession(request: Request): string | null {
  const session = request.headers.get("mcp-session-id");
  if (session !== null && !sessionForm.test(session)) {
    throw new AppError("not_found", { detail: "This session is not known. Send `initialize` again." });
  }
  return session;
}

/** A name under which a client's later messages can take back a call; request ids are unique only within it. */
function withSession(response: Response): Response {
  const named = new Response(response.body, response);
  named.headers.set("mcp-session-id", crypto.randomUUID());
  return named;
}

/** What is refused before the SDK sees it; null for everything else. */
function refuse(request: Request, message: unknown): Response | null {
  const spoken = request.headers.get("mcp-protocol-version") ?? batchVersion;
  if (Array.isArray(message)) {
    return spoken === batchVersion
      ? null
      : rpcError(400, -32_600, "This protocol version has no batches. Send one message in each request.", null);
  }
  const { id, method } = readHead(message);
  return method === "subscriptions/listen"
    ? rpcError(404, -32_601, "There is nothing to subscribe to. List the tools again to see what has changed.", id)
    : null;
}

/** The one revision that has batches; a request that names none speaks it. */
const batchVersion = "2025-03-26";

/** Takes back the calls that `notifications/cancelled` names. */
function takeBack(session: string | null, message: unknown): void {
  for (const part of Array.isArray(message) ? message : [message]) {
    const { method, cancelled } = readHead(part);
    if (session !== null && method === "notifications/cancelled" && cancelled !== null) {
      cancelCall(session, cancelled);
    }
  }
}

const Id = z.union([z.string(), z.number()]);
const Head = z.object({
  id: Id.nullable().catch(null),
  method: z.string().nullable().catch(null),
  params: z.object({ requestId: Id.nullable().catch(null) }).catch({ requestId: null }),
});

function readHead(message: unknown) {
  const head = Head.safeParse(message);
  return head.success
    ? { id: head.data.id, method: head.data.method, cancelled: head.data.params.requestId }
    : { id: null, method: null, cancelled: null };
}

/** A failure before the protocol has the word, in the form that its clients show. */
function errorAnswer(error: AppError, requestId: string): Response {
  const code = error.code === "malformed_json" ? -32_700 : error.status >= 500 ? -32_603 : -32_000;
  const response = rpcError(error.status, code, error.detail, null, { code: error.code, request_id: requestId });
  if (error.status === 401) {
    response.headers.set("www-authenticate", 'Bearer realm="gatehouse"');
  }
  if (error.code === "method_not_allowed") {
    response.headers.set("allow", "POST");
  }
  if (error.retryAfterMs !== undefined) {
    response.headers.set("retry-after", String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))));
  }
  return response;
}

function rpcError(status: number, code: number, message: string, id: string | number | null, data?: object): Response {
  const error = data === undefined ? { code, message } : { code, message, data };
  return Response.json({ jsonrpc: "2.0", error, id }, { status, headers: { "cache-control": "no-store" } });
}
