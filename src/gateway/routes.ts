/** The gateway's doors: the paths of OpenAI and Anthropic, API keys only, and each wire's own error face for everything that is refused here. */
import { type Clock, createClock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { newFlights, type Share } from "../base/flight.js";
import type { CredentialDoubt } from "../connections/confirm.js";
import { toAppError } from "../http/failure.js";
import { type ParsedKey, parseKey } from "../keys/token.js";
import { findProvider } from "../providers/catalogue.js";
import type { MakeStub } from "../routing/call.js";
import type { Refusal } from "../routing/model.js";
import { refusalError } from "../routing/refusal.js";
import { routerFor } from "../routing/router-for.js";
import { catalogueEdition, type ConfigAddress } from "../snapshot/model.js";
import type { OpenInstance } from "../snapshot/read.js";
import { answerBudget } from "./budget.js";
import { type Endpoint, endpoints, noSuchEndpoint } from "./endpoints.js";
import { readCall, readExchange } from "./exchange.js";
import { errorResponse, faceOf } from "./face.js";
import { type CallableModel, modelPaths } from "./model-list.js";
import { answerHeaders } from "./headers.js";
import { createRefusalMemory, type RefusalMemory } from "./refusals.js";
import { relay, type RelayDeps } from "./relay.js";
import { connectRouter } from "./router-call.js";
import { createSend, type Send } from "./send.js";
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

/** One request at these doors. */
export interface GatewayCall {
  readonly request: Request;
  /** As it stands in the address, without the query. */
  readonly path: string;
  readonly requestId: string;
  readonly env: Env;
  waitUntil(promise: Promise<unknown>): void;
}

/** The gateway's doors. */
export interface GatewayDoor {
  /** Answers a request below `/v1` or `/anthropic`, and never throws: nothing falls through to another door. `check` throws for what may not come in at all. */
  answer(call: GatewayCall, check: () => void): Promise<Response>;
}

const keepAliveMs = 1_000;
/** It takes milliseconds, a cold read of the record some more; a probe's lease has room for this. */
const openMs = 10_000;

/** Whether a path leads to the gateway's doors: what stands below `/v1` and `/anthropic`, and these themselves. */
export function isGatewayPath(path: string): boolean {
  return path.startsWith("/v1/") || path.startsWith("/anthropic/") || path === "/v1" || path === "/anthropic";
}

const endpointsByPath: ReadonlyMap<string, Endpoint> = new Map(endpoints.map((endpoint) => [endpoint.path, endpoint]));

/** The gateway's doors, without a framework before them: it would take a tenth of the time that a call may take here. */
export function gateway(deps: GatewayDeps): GatewayDoor {
  const kept: Gateway = {
    ...deps,
    memory: createRefusalMemory(),
    settle: createSettler(),
    shareConfirm: newFlights(),
  };
  return {
    async answer(call, check) {
      try {
        check();
        return await route(call, kept);
      } catch (error) {
        return answerError(call, toAppError(error));
      }
    },
  };
}

async function route(call: GatewayCall, kept: Gateway): Promise<Response> {
  const { path, request } = call;
  const endpoint = endpointsByPath.get(path);
  if (endpoint !== undefined) {
    return request.method === "POST" ? await answerCall(call, endpoint, kept) : refuseMethod(call, "POST");
  }
  const models = modelPaths.find(([list]) => path === list || path.startsWith(`${list}/`));
  return models === undefined ? answerError(call, noSuchEndpoint()) : await answerModels(call, models, kept);
}

async function answerModels(
  call: GatewayCall,
  [list, toList, toOne]: (typeof modelPaths)[number],
  kept: Gateway,
): Promise<Response> {
  const { method } = call.request;
  const id = readName(call.path.slice(list.length + 1));
  if (id === "" && call.path !== list) {
    return answerError(call, new AppError("not_found"));
  }
  if (method !== "GET" && method !== "HEAD") {
    return refuseMethod(call, "GET, HEAD");
  }
  const answer = id === "" ? await listModels(call, toList, kept) : await describeModel(call, id, toOne, kept);
  return method === "HEAD" ? new Response(null, answer) : answer;
}

/** A name out of an address; what is not well encoded stands for itself. */
function readName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function answerCall(call: GatewayCall, endpoint: Endpoint, kept: Gateway): Promise<Response> {
  const startedAt = Date.now();
  const { request, requestId } = call;
  const key = await recogniseKey(call);
  const known = kept.memory.recall(key.digest);
  if (known !== null) {
    return answerRefusal(call, known);
  }
  const clock = createClock();
  const body = await readCall(request, endpoint, clock);
  try {
    const exchange = readExchange(request, endpoint, body, { requestId, startedAt });
    return await relay(
      { keyDigest: key.digest, workspaceId: key.workspaceId },
      exchange,
      relayDeps(call, key, clock, kept),
    );
  } finally {
    // Committed or refused: no further attempt will need it.
    body.release();
  }
}

function relayDeps(call: GatewayCall, key: ParsedKey, clock: Clock, kept: Gateway): RelayDeps {
  const { env } = call;
  const settings = requireSettings(env);
  const makeStub = stubMaker(call, key);
  const target = { router: `${key.workspaceId}/${key.region}`, makeStub };
  const waitUntil = (promise: Promise<unknown>): void => call.waitUntil(promise);
  return {
    router: connectRouter(makeStub, waitUntil, clock),
    clock,
    publish: () => publishFor(call, key, kept),
    confirmCredential: (id, doubt) =>
      kept.shareConfirm(`${doubt.kind} ${id}`, () => kept.confirmCredential(env, key.workspaceId, id, doubt)),
    remember: (refusal) => kept.memory.remember(key.digest, refusal),
    settle: (outcome) => kept.settle(target, outcome),
    waitUntil,
    openInstance: (ticket) => kept.openInstance(env, key.workspaceId, ticket.config, ticket.instance.id),
    findProvider: (name) => findProvider(name, settings),
    send: sendUnder(settings),
    keepAliveMs,
    openMs,
    answerBudget,
  };
}

const senders = new WeakMap<Settings, Send>();

/** Settings are read once per isolate, and so are the rules in them. */
function sendUnder(settings: Settings): Send {
  const known = senders.get(settings);
  if (known !== undefined) {
    return known;
  }
  const { outboundAllow, publicUrl } = settings;
  const send = createSend({ allow: outboundAllow.join(" "), ownHosts: [new URL(publicUrl).host] });
  senders.set(settings, send);
  return send;
}

async function listModels(
  call: GatewayCall,
  toList: (models: readonly CallableModel[]) => object,
  kept: Gateway,
): Promise<Response> {
  const models = await askModels(call, kept);
  return "kind" in models ? answerRefusal(call, models) : answerJson(call, toList(models));
}

async function describeModel(
  call: GatewayCall,
  name: string,
  toOne: (model: CallableModel) => object,
  kept: Gateway,
): Promise<Response> {
  const models = await askModels(call, kept);
  if ("kind" in models) {
    return answerRefusal(call, models);
  }
  const model = models.find(({ id }) => id === name);
  return model === undefined ? answerError(call, new AppError("model_not_found")) : answerJson(call, toOne(model));
}

async function askModels(call: GatewayCall, kept: Gateway): Promise<readonly CallableModel[] | Refusal> {
  const key = await recogniseKey(call);
  const known = kept.memory.recall(key.digest);
  // A key that is over its rate may still ask what it may use.
  if (known !== null && known.code !== "rate_limited") {
    return known;
  }
  const waitUntil = (promise: Promise<void>): void => call.waitUntil(promise);
  const router = connectRouter(stubMaker(call, key), waitUntil, createClock());
  const request = { key_digest: key.digest, scope: "models:invoke", catalogue: catalogueEdition };
  let answer = await router.models(request);
  if (answer.kind === "refused" && answer.code === "not_configured") {
    await publishFor(call, key, kept);
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
async function publishFor(call: GatewayCall, key: ParsedKey, kept: Gateway): Promise<void> {
  try {
    await kept.publish(call.env, key.workspaceId);
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") {
      throw new AppError("unauthenticated", { detail: "This API key is not known. Check it, or make a new one." });
    }
    throw new AppError("router_unavailable", { retryAfterMs: 1_000, cause: error });
  }
}

function stubMaker(call: GatewayCall, key: ParsedKey): MakeStub {
  return () => routerFor(call.env, key.workspaceId, key.region);
}

/** Tells a key from any other text without I/O. Throws `unauthenticated`. */
async function recogniseKey(call: GatewayCall): Promise<ParsedKey> {
  const { headers } = call.request;
  const bearer = /^bearer +(\S+)$/i.exec(headers.get("authorization")?.trim() ?? "")?.[1];
  const text = bearer ?? (headers.has("authorization") ? null : headers.get("x-api-key")?.trim());
  if (text === null || text === undefined || text === "") {
    throw new AppError("unauthenticated", { detail: "Send an API key as `Authorization: Bearer …`." });
  }
  const key = await parseKey(text, requireSettings(call.env).tokenSecret);
  if (key === null) {
    throw new AppError("unauthenticated", {
      detail: "This is not an API key of this service. Check that it is copied whole.",
    });
  }
  return key;
}

function refuseMethod(call: GatewayCall, allow: string): Response {
  const response = answerError(call, new AppError("method_not_allowed"));
  response.headers.set("allow", allow);
  return response;
}

function answerRefusal(call: GatewayCall, refusal: Refusal): Response {
  const error = refusalError(refusal);
  logAnswer(call, error.status, refusal.code);
  return errorResponse(error, ownHeaders(call, refusal.rate), faceOf(call.path));
}

function answerError(call: GatewayCall, error: AppError): Response {
  logAnswer(call, error.status, error.code, error.status >= 500 ? describeError(error.cause ?? error) : null);
  return errorResponse(error, ownHeaders(call, null), faceOf(call.path));
}

function answerJson(call: GatewayCall, value: unknown): Response {
  logAnswer(call, 200, null);
  const headers = ownHeaders(call, null);
  headers.set("content-type", "application/json");
  headers.set("cache-control", "no-store");
  return new Response(JSON.stringify(value), { headers });
}

/** The one line of a request that no ticket was given for; a relayed one is logged when it is settled. */
function logAnswer(call: GatewayCall, status: number, code: string | null, cause: string | null = null): void {
  const level = status >= 500 ? "error" : "info";
  log(level, "gateway_answer", {
    request_id: call.requestId,
    method: call.request.method,
    status,
    code,
    cause,
  });
}

function ownHeaders(call: GatewayCall, rate: Refusal["rate"]): Headers {
  const { requestIdHeader } = faceOf(call.path);
  return answerHeaders({
    requestId: call.requestId,
    requestIdHeader,
    alias: null,
    attempts: 0,
    rate,
    timing: null,
  });
}
