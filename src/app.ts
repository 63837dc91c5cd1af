/** The only file that knows every route: two doors, the control plane and the gateway, each with its callers, its guard and its error face. */
import { waitUntil } from "cloudflare:workers";
import { Hono } from "hono";
import { noteDenied } from "./audit/denied.js";
import { auditEndpoints } from "./audit/routes.js";
import { AppError } from "./base/errors.js";
import { openDatabase } from "./base/database.js";
import { newId } from "./base/ids.js";
import type { Keyring } from "./base/keyring.js";
import { log } from "./base/log.js";
import { readSettings, requireSettings } from "./base/settings.js";
import { confirmCredential } from "./connections/confirm.js";
import { connectionEndpoints } from "./connections/routes.js";
import { contractServer } from "./contract/serve.js";
import { isMisplaced, noSuchEndpoint } from "./gateway/endpoints.js";
import { errorResponse, faceOf } from "./gateway/face.js";
import { gateway, isGatewayPath } from "./gateway/routes.js";
import { authenticate } from "./http/authenticate.js";
import { compressAnswer } from "./http/compress.js";
import { answerPreflight, shareAnswer } from "./http/cors.js";
import { checkDoor, secureAnswer } from "./http/door.js";
import { docsPages } from "./http/docs-routes.js";
import { type HttpContext, type HttpEnv, type Services } from "./http/context.js";
import { showOutbox } from "./mail/dev-outbox.js";
import { toActor, type Endpoint } from "./http/endpoint.js";
import { logFailure, problem, toAppError } from "./http/failure.js";
import { readiness } from "./http/health.js";
import { allowedMethods, mount } from "./http/mount.js";
import { limitAddress, limitCaller } from "./http/rate-limit.js";
import { identityAuthenticators } from "./identity/authenticators.js";
import { identityEndpoints } from "./identity/routes.js";
import { keyAuthenticator } from "./keys/authenticate.js";
import { keyEndpoints } from "./keys/routes.js";
import { ledgerEndpoints } from "./ledger/routes.js";
import { modelEndpoints } from "./models/routes.js";
import { vaultEndpoints } from "./rotation/routes.js";
import { routerFor } from "./routing/router-for.js";
import { routingEndpoints } from "./routing/routes.js";
import { usageEndpoints } from "./routing/usage-routes.js";
import { openInstance } from "./snapshot/read.js";
import { publish, republish } from "./snapshot/publish.js";
import { guardWorkspace } from "./tenancy/guard.js";
import { toolRoomEndpoints } from "./tools/routes.js";
import { mcpDoor } from "./tools/mcp/routes.js";
import { openAnswer, sealAnswer } from "./vault/answers.js";
import { findMissingEntries, isReportDue, reportKeyring, sealingEntry } from "./vault/entries.js";
import { answerInvitee } from "./workspaces/invite-page-routes.js";
import { inviteEndpoints } from "./workspaces/invite-routes.js";
import { letterWriters } from "./workspaces/letters.js";
import { kickWebhooks } from "./webhooks/deliveries.js";
import { webhookEndpoints } from "./webhooks/routes.js";
import { lifeEndpoints } from "./workspaces/life-routes.js";
import { meEndpoints } from "./workspaces/me-routes.js";
import { memberEndpoints } from "./workspaces/member-routes.js";
import { transferEndpoints } from "./workspaces/transfer-routes.js";
import { workspaceEndpoints } from "./workspaces/routes.js";

/** Every declared endpoint of the control plane. */
export const endpoints: readonly Endpoint[] = [
  ...identityEndpoints,
  ...meEndpoints,
  ...workspaceEndpoints,
  ...lifeEndpoints,
  ...memberEndpoints,
  ...transferEndpoints,
  ...inviteEndpoints,
  ...keyEndpoints,
  ...connectionEndpoints,
  ...modelEndpoints,
  ...vaultEndpoints(publishNewest),
  ...routingEndpoints,
  ...usageEndpoints,
  ...auditEndpoints,
  ...ledgerEndpoints,
  ...webhookEndpoints,
  ...toolRoomEndpoints,
];

const services: Services = {
  publish: publishNewest,
  async sealAnswer(env, context, text) {
    const { keyring } = requireSettings(env);
    return await sealAnswer(keyring, await sealingEntry(openDatabase(env.DB), keyring), context, text);
  },
  openAnswer: (env, context, sealed) => openAnswer(requireSettings(env).keyring, context, sealed),
};

const version = "0.1.0";
const authenticators = [...identityAuthenticators, keyAuthenticator()];

// An SDK's door: its own callers and its own error face. Nothing of the control plane runs for /v1 and /anthropic.
const door = gateway({
  publish: (env, workspaceId) => republish(env, workspaceId, routerFor),
  openInstance,
  confirmCredential: (env, workspaceId, id, doubt) =>
    confirmCredential(env, workspaceId, id, doubt, (...to) => services.publish(...to)),
});

const controlPlane = new Hono<HttpEnv>();

/** The whole service: every request comes in here. */
export const app = {
  async fetch(request: Request, env: Env, context?: ExecutionContext): Promise<Response> {
    reportEntries(env);
    const path = pathOf(request.url);
    const side = isGatewayPath(path) ? "gateway" : "control";
    const preflight = answerPreflight(request, env, side);
    if (preflight !== null) {
      secureAnswer(preflight, newId("request"), env);
      return preflight;
    }
    if (side === "control") {
      const answer = await controlPlane.fetch(request, env, context);
      shareAnswer(request, answer, env, side);
      return await compressAnswer(request, answer);
    }
    const requestId = newId("request");
    const call = { request, path, requestId, env, waitUntil: (work: Promise<unknown>) => waitFor(work, context) };
    const response = await door.answer(call, () => checkDoor(env, request));
    secureAnswer(response, requestId, env);
    shareAnswer(request, response, env, side);
    return response;
  },
};

/** Between the host and the query; the platform has written the address in its one form. */
function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("//") + 2);
  const end = url.indexOf("?", start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

function waitFor(work: Promise<unknown>, context: ExecutionContext | undefined): void {
  if (context === undefined) {
    waitUntil(work);
  } else {
    context.waitUntil(work);
  }
}

controlPlane.use(async (context, next) => {
  context.set("requestId", newId("request"));
  await next();
  secureAnswer(context.res, context.get("requestId"), context.env);
});

controlPlane.use(async (context, next) => {
  checkDoor(context.env, context.req.raw);
  await next();
});

controlPlane.use(async (context, next) => {
  const startedAt = Date.now();
  context.set("db", openDatabase(context.env.DB));
  context.set("services", services);
  await next();
  log("info", "request", {
    request_id: context.get("requestId"),
    method: context.req.method,
    route: context.get("route") ?? "none",
    status: context.res.status,
    duration_ms: Date.now() - startedAt,
  });
  if (context.res.status === 403) {
    noteRefusal(context, startedAt);
  }
  const access = context.get("access");
  if (access !== undefined && context.req.method !== "GET" && context.res.ok) {
    context.executionCtx.waitUntil(kickWebhooks(context.env, context.get("db"), access.id, Date.now()));
  }
});

controlPlane.get("/healthz", (context) => context.json({ status: "ok" }));

controlPlane.get("/readyz", async (context) => {
  const { env } = context;
  const db = context.get("db");
  const questions = {
    router: () => routerFor(env, "readyz", "auto").configured(),
    missingEntries: (keyring: Keyring) => findMissingEntries(db, keyring),
  };
  const result = await readiness(env, db, questions, Date.now());
  return context.json(result, result.status === "ready" ? 200 : 503);
});

controlPlane.use(async (context, next) => {
  await limitAddress(context.req.raw, context.env, context.req.path);
  await next();
});

const showContract = contractServer(endpoints, version);
controlPlane.get("/openapi.json", (context) => showContract(context.req.raw, requireSettings(context.env).publicUrl));

controlPlane.route("/docs", docsPages);

controlPlane.get("/dev/outbox", (context) =>
  showOutbox(context.req.raw, context.env, context.get("db"), letterWriters),
);

controlPlane.use(async (context, next) => {
  const principal = await callerOf(context);
  context.set("principal", principal);
  await limitCaller(context.req.raw, context.env, principal);
  await next();
});
// The door of agents: the callers of the control plane, and an error face of its own.
controlPlane.route("/", mcpDoor(version));

controlPlane.on(["GET", "POST"], ["/invites/:token", "/invites/:token/:deed"], async (context, next) => {
  return (await answerInvitee(context)) ?? (await next());
});
controlPlane.use("/workspaces/:ws/*", guardWorkspace);
mount(controlPlane, endpoints);

controlPlane.notFound(async (context) => {
  const requestId = context.get("requestId");
  const methods = allowedMethods(endpoints, context.req.path);
  const page = await staticPage(context);
  if (page !== null) {
    return page;
  }
  if (methods.length > 0) {
    const response = problem(new AppError("method_not_allowed"), requestId);
    response.headers.set("allow", methods.join(", "));
    return response;
  }
  return problem(isMisplaced(context.req.path) ? noSuchEndpoint() : new AppError("not_found"), requestId);
});

controlPlane.onError((error, context) => {
  const failure = toAppError(error);
  const requestId = context.get("requestId");
  logFailure(failure, requestId);
  const { path } = context.req;
  return path.startsWith("/v1/") || path.startsWith("/anthropic/")
    ? errorResponse(failure, new Headers({ "x-request-id": requestId }), faceOf(path))
    : problem(failure, requestId);
});

/** Once a minute and off the path: which entries of KEYRING this version has. */
function reportEntries(env: Env): void {
  const reading = readSettings(env);
  const now = Date.now();
  if ("settings" in reading && isReportDue(reading.settings.keyring, now)) {
    const { id } = env.CF_VERSION_METADATA;
    waitUntil(reportKeyring(openDatabase(env.DB), id, reading.settings.keyring, now));
  }
}

/** Off the path: a refusal of somebody who belongs to the workspace is told of in its log. Who is nobody here leaves no row. */
function noteRefusal(context: HttpContext, now: number): void {
  const [principal, access, route] = [context.get("principal"), context.get("access"), context.get("route")];
  if (principal === null || access === undefined || route === undefined) {
    return;
  }
  const operation = `${context.req.method} ${route}`;
  const answer = context.res.clone();
  const note = async (): Promise<void> => {
    const told: unknown = await answer.json();
    const code = typeof told === "object" && told !== null && "code" in told ? String(told.code) : "forbidden";
    const attempt = { workspaceId: access.id, operation, code };
    await noteDenied(context.get("db"), toActor(principal, context, now), attempt);
  };
  waitUntil(note());
}

async function publishNewest(env: Env, workspaceId: string): Promise<void> {
  await publish(env, workspaceId, routerFor);
}

/** A bad credential is nobody: endpoints that need somebody answer 401, public ones do not care. */
async function callerOf(context: HttpContext) {
  try {
    return await authenticate(context.req.raw, context.env, context.get("db"), authenticators);
  } catch (error) {
    if (error instanceof AppError && error.code === "unauthenticated") {
      return null;
    }
    throw error;
  }
}

async function staticPage(context: HttpContext): Promise<Response | null> {
  if (context.req.method !== "GET" && context.req.method !== "HEAD") {
    return null;
  }
  const page = await context.env.ASSETS.fetch(context.req.raw);
  return page.status === 404 ? null : new Response(page.body, page);
}
