/** The gateway's doors: the paths of OpenAI and Anthropic, API keys only, and each wire's own error face for everything that is refused here. */
import { type Context, Hono } from "hono";
import { type Clock, createClock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import { requireSettings } from "../base/settings.js";
import { newFlights, type Share } from "../base/flight.js";
import type { CredentialDoubt } from "../connections/confirm.js";
import { toAppError } from "../http/failure.js";
import type { HttpEnv } from "../http/context.js";
import { type ParsedKey, parseKey } from "../keys/token.js";
import { findProvider } from "../providers/catalogue.js";
import type { MakeStub } from "../routing/call.js";
import type { Refusal } from "../routing/model.js";
import { refusalError } from "../routing/refusal.js";
import { routerFor } from "../routing/router-for.js";
import { catalogueEdition, type ConfigAddress } from "../snapshot/model.js";
import type { OpenInstance } from "../snapshot/read.js";
import { answerBudget } from "./budget.js";
import { type Endpoint, endpoints } from "./endpoints.js";
import { readCall, readExchange } from "./exchange.js";
import { errorResponse, faceOf } from "./face.js";
import { type CallableModel, modelPaths } from "./model-list.js";
import { answerHeaders } from "./headers.js";
import { createRefusalMemory, type RefusalMemory } from "./refusals.js";
import { relay, type RelayDeps } from "./relay.js";
import { connectRouter } from "./router-call.js";
import { createSend } from "./send.js";
import { createSettler, type Settle } from "./settler.js";

/** What `app.ts` hands in. */
export interface GatewayDeps {
  /** Tells a workspace's Routers their configuration again, when one of them has none. Throws `publish_pending` or `not_found`. */
  publish(env: Env, workspaceId: string): Promise<void>;
  /** Looks in the background at a credential that was refused or does not open, and records what it finds. Never throws. */
  confirmCredential(env: Env, workspaceId: string, credentialId: string, doubt: CredentialDoubt): Promise<void>;
  /** Opens an instance of a snapshot; null when neither that version nor the instance stands any more. */
  openInstance(env: Env, workspaceId: string, config: ConfigAddress, instanceId: string): Promise<OpenInstance | null>;
}

/** Kept per isolate. */
interface Gateway extends GatewayDeps {
  readonly memory: RefusalMemory;
  readonly settle: Settle;
  /** One look at a refused credential at a time. */
  readonly shareConfirm: Share<void>;
}

type GatewayContext = Context<HttpEnv>;

const keepAliveMs = 1_000;
/** It takes milliseconds, a cold read of the record some more; a probe's lease has room for this. */
const openMs = 10_000;

/** The gateway's routes, below `/v1` and `/anthropic`. Nothing under those paths falls through to another door. */
export function gateway(deps: GatewayDeps): Hono<HttpEnv> {
  const kept: Gateway = {
    ...deps,
    memory: createRefusalMemory(),
    settle: createSettler(),
    shareConfirm: newFlights(),
  };
  const app = new Hono<HttpEnv>();
  for (const below of ["/v1/*", "/anthropic/*"]) {
    app.use(below, async (context, next) => {
      context.set("requestId", context.get("requestId") || newId("request"));
      await next();
    });
  }
  for (const endpoint of endpoints) {
    app.post(endpoint.path, (context) => answerCall(context, endpoint, kept));
    app.all(endpoint.path, (context) => refuseMethod(context, "POST"));
  }
  for (const [path, toList, toOne] of modelPaths) {
    app.get(path, (context) => listModels(context, toList, kept));
    app.get(`${path}/:id{.+}`, (context) => describeModel(context, toOne, kept));
    app.all(`${path}/*`, (context) => refuseMethod(context, "GET, HEAD"));
  }
  app.all("/v1/*", (context) => answerError(context, new AppError("not_found")));
  app.all("/anthropic/*", (context) => answerError(context, new AppError("not_found")));
  app.onError((error, context) => answerError(context, toAppError(error)));
  return app;
}

async function answerCall(context: GatewayContext, endpoint: Endpoint, kept: Gateway): Promise<Response> {
  const startedAt = Date.now();
  const request = context.req.raw;
  const key = await recogniseKey(context);
  const known = kept.memory.recall(key.digest);
  if (known !== null) {
    return answerRefusal(context, known);
  }
  const clock = createClock();
  const body = await readCall(request, endpoint, clock);
  try {
    const exchange = readExchange(request, endpoint, body, { requestId: context.get("requestId"), startedAt });
    return await relay(
      { keyDigest: key.digest, workspaceId: key.workspaceId },
      exchange,
      relayDeps(context, key, clock, kept),
    );
  } finally {
    // Committed or refused: no further attempt will need it.
    body.release();
  }
}

function relayDeps(context: GatewayContext, key: ParsedKey, clock: Clock, kept: Gateway): RelayDeps {
  const { env, executionCtx } = context;
  const settings = requireSettings(env);
  const makeStub = stubMaker(context, key);
  const target = { router: `${key.workspaceId}/${key.region}`, makeStub };
  const waitUntil = (promise: Promise<unknown>): void => executionCtx.waitUntil(promise);
  return {
    router: connectRouter(makeStub, waitUntil, clock),
    clock,
    publish: () => publishFor(context, key, kept),
    confirmCredential: (id, doubt) =>
      kept.shareConfirm(`${doubt.kind} ${id}`, () => kept.confirmCredential(env, key.workspaceId, id, doubt)),
    remember: (refusal) => kept.memory.remember(key.digest, refusal),
    settle: (outcome) => kept.settle(target, outcome),
    waitUntil,
    openInstance: (ticket) => kept.openInstance(env, key.workspaceId, ticket.config, ticket.instance.id),
    findProvider: (name) => findProvider(name, settings),
    send: createSend({ allow: settings.outboundAllow.join(" "), ownHosts: [new URL(settings.publicUrl).host] }),
    keepAliveMs,
    openMs,
    answerBudget,
  };
}

async function listModels(
  context: GatewayContext,
  toList: (models: readonly CallableModel[]) => object,
  kept: Gateway,
): Promise<Response> {
  const models = await askModels(context, kept);
  return "kind" in models ? answerRefusal(context, models) : answerJson(context, toList(models));
}

async function describeModel(
  context: GatewayContext,
  toOne: (model: CallableModel) => object,
  kept: Gateway,
): Promise<Response> {
  const models = await askModels(context, kept);
  if ("kind" in models) {
    return answerRefusal(context, models);
  }
  const model = models.find(({ id }) => id === context.req.param("id"));
  return model === undefined
    ? answerError(context, new AppError("model_not_found"))
    : answerJson(context, toOne(model));
}

async function askModels(context: GatewayContext, kept: Gateway): Promise<readonly CallableModel[] | Refusal> {
  const key = await recogniseKey(context);
  const known = kept.memory.recall(key.digest);
  // A key that is over its rate may still ask what it may use.
  if (known !== null && known.code !== "rate_limited") {
    return known;
  }
  const waitUntil = (promise: Promise<void>): void => context.executionCtx.waitUntil(promise);
  const router = connectRouter(stubMaker(context, key), waitUntil, createClock());
  const request = { key_digest: key.digest, scope: "models:invoke", catalogue: catalogueEdition };
  let answer = await router.models(request);
  if (answer.kind === "refused" && answer.code === "not_configured") {
    await publishFor(context, key, kept);
    answer = await router.models(request);
  }
  if (answer.kind === "refused") {
    kept.memory.remember(key.digest, answer);
    return answer;
  }
  const provided = (answer.provided ?? []).flatMap(({ provider, names }) =>
    names.map((id) => ({ id, owner: provider })),
  );
  return [...answer.names.map((id) => ({ id, owner: "gatehouse" })), ...provided];
}

/** A key whose workspace is not in the record is a key we do not know; any other trouble is the service's own. */
async function publishFor(context: GatewayContext, key: ParsedKey, kept: Gateway): Promise<void> {
  try {
    await kept.publish(context.env, key.workspaceId);
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") {
      throw new AppError("unauthenticated", { detail: "This API key is not known. Check it, or make a new one." });
    }
    throw new AppError("router_unavailable", { retryAfterMs: 1_000, cause: error });
  }
}

function stubMaker(context: GatewayContext, key: ParsedKey): MakeStub {
  return () => routerFor(context.env, key.workspaceId, key.region);
}

/** Tells a key from any other text without I/O. Throws `unauthenticated`. */
async function recogniseKey(context: GatewayContext): Promise<ParsedKey> {
  const { headers } = context.req.raw;
  const bearer = /^bearer +(\S+)$/i.exec(headers.get("authorization")?.trim() ?? "")?.[1];
  const text = bearer ?? (headers.has("authorization") ? null : headers.get("x-api-key")?.trim());
  if (text === null || text === undefined || text === "") {
    throw new AppError("unauthenticated", { detail: "Send an API key as `Authorization: Bearer …`." });
  }
  const key = await parseKey(text, requireSettings(context.env).tokenSecret);
  if (key === null) {
    throw new AppError("unauthenticated", {
      detail: "This is not an API key of this service. Check that it is copied whole.",
    });
  }
  return key;
}

function refuseMethod(context: GatewayContext, allow: string): Response {
  const response = answerError(context, new AppError("method_not_allowed"));
  response.headers.set("allow", allow);
  return response;
}

function answerRefusal(context: GatewayContext, refusal: Refusal): Response {
  const error = refusalError(refusal);
  logAnswer(context, error.status, refusal.code);
  return errorResponse(error, ownHeaders(context, refusal.rate), faceOf(context.req.path));
}

function answerError(context: GatewayContext, error: AppError): Response {
  logAnswer(context, error.status, error.code, error.status >= 500 ? describeError(error.cause ?? error) : null);
  return errorResponse(error, ownHeaders(context, null), faceOf(context.req.path));
}

function answerJson(context: GatewayContext, value: unknown): Response {
  logAnswer(context, 200, null);
  const headers = ownHeaders(context, null);
  headers.set("content-type", "application/json");
  headers.set("cache-control", "no-store");
  return new Response(JSON.stringify(value), { headers });
}

/** The one line of a request that no ticket was given for; a relayed one is logged when it is settled. */
function logAnswer(context: GatewayContext, status: number, code: string | null, cause: string | null = null): void {
  const level = status >= 500 ? "error" : "info";
  log(level, "gateway_answer", {
    request_id: context.get("requestId"),
    method: context.req.method,
    status,
    code,
    cause,
  });
}

function ownHeaders(context: GatewayContext, rate: Refusal["rate"]): Headers {
  const { requestIdHeader } = faceOf(context.req.path);
  return answerHeaders({
    requestId: context.get("requestId"),
    requestIdHeader,
    alias: null,
    attempts: 0,
    rate,
    timing: null,
  });
}
