/** The attempts of one request under one deadline: admit, try, report and try elsewhere, commit; then settle, whatever happened. */
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import type { CredentialDoubt } from "../connections/confirm.js";
import type { Admission, Failure, Outcome, RateState, Refusal, Ticket } from "../routing/model.js";
import { refusalError } from "../routing/refusal.js";
import { catalogueEdition } from "../snapshot/model.js";
import { spreadHash } from "../routing/sticky.js";
import { attempt, type Attempt, type AttemptDeps, type Exchange } from "./attempt.js";
import { errorResponse, exhaustedError } from "./face.js";
import { answerHeaders, type AnswerFacts } from "./headers.js";
import type { RouterLine } from "./router-call.js";
import type { Report } from "./stream.js";

/** Who asks. */
export interface Caller {
  /** SHA-256 of the API key, hex. */
  readonly keyDigest: string;
  readonly workspaceId: string;
}

/** How a relay reaches its neighbours. */
export interface RelayDeps extends AttemptDeps {
  readonly router: Pick<RouterLine, "admit" | "next" | "committed">;
  /** Brings the workspace's newest version into force; asked for once, when the Router has none. */
  publish(): Promise<void>;
  /** Has a credential that a provider refused, or that does not open, looked at, off the request's path. */
  confirmCredential(credentialId: string, doubt: CredentialDoubt): Promise<void>;
  remember(refusal: Refusal): void;
  /** Resolves when the outcome is settled or given up; never rejects. */
  settle(outcome: Outcome): Promise<void>;
  waitUntil(promise: Promise<unknown>): void;
}

/** What is still told of a request once its answer has begun. The request itself holds up to 20 MiB, so nothing that outlives the commit may name it. */
type Traits = Pick<Exchange, "requestId" | "startedAt" | "isStream" | "endpoint">;

/** What a request has come to so far. */
interface Run {
  ticket: Ticket;
  last: Attempt | null;
  readonly settled: PromiseWithResolvers<void>;
  isConcluded: boolean;
}

/**
 * Relays one call and answers, with the upstream's result or with an error in the shape of the call's wire. Throws `router_unavailable`
 * when the Router cannot even admit it. A stream's settling goes on after the answer, under `waitUntil`.
 */
export async function relay(caller: Caller, exchange: Exchange, deps: RelayDeps): Promise<Response> {
  const settled = Promise.withResolvers<void>();
  // Before the Router is asked: a caller's reset would else end the whole handler, and a ticket under way would hold its place to its deadline.
  deps.waitUntil(settled.promise);
  const admission = await admit(caller, exchange, deps).catch((error: unknown) => {
    settled.resolve();
    throw error;
  });
  if (admission.kind === "refused") {
    settled.resolve();
    deps.remember(admission);
    const error = refusalError(admission, { model: exchange.model, path: exchange.endpoint.path });
    log("info", "gateway_refused", {
      request_id: exchange.requestId,
      workspace_id: caller.workspaceId,
      status: error.status,
      code: admission.code,
    });
    const { rate, token_rate: tokenRate = null } = admission;
    const headers = answerHeaders({ ...factsOf(exchange, null, null), rate, tokenRate });
    return errorResponse(error, headers, exchange.endpoint.face);
  }
  const run: Run = { ticket: admission, last: null, settled, isConcluded: false };
  try {
    return await drive(run, caller, exchange, deps);
  } catch (error) {
    const known = error instanceof AppError ? error : new AppError("internal", { cause: error });
    if (known.code === "internal") {
      log("error", "gateway_failed", { request_id: exchange.requestId, error: describeError(known.cause) });
    }
    return refuse(run, known, caller, exchange, deps);
  }
}

async function admit(caller: Caller, exchange: Exchange, deps: RelayDeps): Promise<Admission> {
  const request = {
    request_id: exchange.requestId,
    key_digest: caller.keyDigest,
    scope: "models:invoke",
    model: exchange.model,
    type: exchange.endpoint.modelType,
    endpoint: exchange.endpoint.name,
    estimate: exchange.estimate,
    stream: exchange.isStream,
    catalogue: catalogueEdition,
    sticky: {
      user: hashOf(exchange.scan.fields.user?.value),
      header: hashOf(exchange.headers.get("x-gatehouse-sticky")),
    },
  };
  const admission = await deps.router.admit(request);
  if (admission.kind === "ticket" || admission.code !== "not_configured") {
    return admission;
  }
  await deps.publish();
  return await deps.router.admit(request);
}

/** A caller's own word for whose call this is, as a number that says nothing of it. */
function hashOf(word: unknown): number | null {
  return typeof word === "string" && word !== "" ? spreadHash(word.slice(0, 256)) : null;
}

async function drive(run: Run, caller: Caller, exchange: Exchange, deps: RelayDeps): Promise<Response> {
  for (;;) {
    const result = await attempt(run.ticket, exchange, deps);
    run.last = result;
    if (result.kind === "committed") {
      return commit(run, result, caller, exchange, deps);
    }
    if (result.kind === "departed") {
      return refuse(run, new AppError("client_closed_request"), caller, exchange, deps);
    }
    lookAt(run, doubtOf(result.failure, result.error), deps);
    const isLate = Date.now() - exchange.startedAt >= run.ticket.policy.total_timeout_ms;
    const admission = isLate ? null : await deps.router.next(run.ticket, result.failure);
    if (admission?.kind !== "ticket") {
      const error = isLate ? new AppError("timeout") : exhaustedError(admission, result.failure, result.error);
      return refuse(run, error, caller, exchange, deps, admission?.rate ?? null);
    }
    run.ticket = admission;
  }
}

function doubtOf(failure: Failure | null, error: AppError | null): CredentialDoubt["kind"] | null {
  if (error?.code === "undecryptable") {
    return "undecryptable";
  }
  if (failure?.class === "quota") {
    return "exhausted";
  }
  return failure?.class === "credential" ? "refused" : null;
}

function lookAt({ ticket }: Run, kind: CredentialDoubt["kind"] | null, deps: RelayDeps): void {
  if (kind !== null) {
    deps.waitUntil(deps.confirmCredential(ticket.instance.credential_id, { kind, issuedAt: ticket.issued_at }));
  }
}

function commit(
  run: Run,
  result: Extract<Attempt, { kind: "committed" }>,
  caller: Caller,
  exchange: Exchange,
  deps: RelayDeps,
): Response {
  const { answer } = result;
  const traits = traitsOf(exchange);
  if (run.ticket.probe) {
    deps.waitUntil(deps.router.committed(run.ticket).catch(() => undefined));
  }
  void answer.report.then((report) => {
    lookAt(run, doubtOf(report.failure, null), deps);
    return conclude(run, report, answer.status, caller, traits, deps);
  });
  const headers = answerHeaders(factsOf(exchange, run, result), result.headers);
  headers.set("content-type", answer.contentType);
  headers.set("cache-control", answer.body instanceof ReadableStream ? "no-cache, no-transform" : "no-store");
  if (answer.status === 429 || answer.status >= 500) {
    // The request itself is at fault, whatever its status says: the SDKs would send it again.
    headers.set("x-should-retry", "false");
  }
  return new Response(answer.body, { status: answer.status, headers });
}

function refuse(
  run: Run,
  error: AppError,
  caller: Caller,
  exchange: Exchange,
  deps: RelayDeps,
  rate: RateState | null = null,
): Response {
  const isDeparture = run.last?.kind === "departed";
  const failure: Failure | null = run.last?.kind === "failed" ? run.last.failure : null;
  const report: Report = { result: isDeparture ? "departed" : "failed", failure, usage: null };
  void conclude(run, report, error.status, caller, traitsOf(exchange), deps, error.code);
  const facts = factsOf(exchange, run, run.last);
  return errorResponse(error, answerHeaders({ ...facts, rate: rate ?? facts.rate }), exchange.endpoint.face);
}

/** Settles and logs a request, once. */
async function conclude(
  run: Run,
  report: Report,
  status: number,
  caller: Caller,
  traits: Traits,
  deps: RelayDeps,
  code: string | null = null,
): Promise<void> {
  if (run.isConcluded) {
    return;
  }
  run.isConcluded = true;
  const { last, ticket } = run;
  const outcome: Outcome = {
    ticket,
    ...report,
    duration_ms: Date.now() - traits.startedAt,
    first_byte_ms: last?.kind === "committed" ? last.committedAt - last.sentAt : null,
    status,
    ...(last?.kind === "committed" ? { route_ms: last.sentAt - traits.startedAt } : {}),
  };
  log(status >= 500 ? "warn" : "info", "gateway_request", {
    request_id: traits.requestId,
    workspace_id: caller.workspaceId,
    key_id: ticket.key_id,
    pool_id: ticket.pool_id,
    instance_id: ticket.instance.id,
    attempts: ticket.attempt,
    endpoint: traits.endpoint.name,
    is_stream: traits.isStream,
    status,
    code,
    result: outcome.result,
    failure: outcome.failure?.class ?? null,
    failure_code: outcome.failure?.code ?? null,
    duration_ms: outcome.duration_ms,
    first_byte_ms: outcome.first_byte_ms,
    prompt_tokens: outcome.usage?.prompt_tokens ?? null,
    completion_tokens: outcome.usage?.completion_tokens ?? null,
  });
  await deps.settle(outcome);
  run.settled.resolve();
}

function traitsOf({ requestId, startedAt, isStream, endpoint }: Exchange): Traits {
  return { requestId, startedAt, isStream, endpoint };
}

function factsOf(exchange: Exchange, run: Run | null, last: Attempt | null): AnswerFacts {
  const until = last?.kind === "committed" ? last.committedAt : Date.now();
  return {
    requestId: exchange.requestId,
    requestIdHeader: exchange.endpoint.face.requestIdHeader,
    alias: run?.ticket.instance.alias ?? null,
    attempts: run?.ticket.attempt ?? 0,
    rate: run?.ticket.rate ?? null,
    tokenRate: run?.ticket.token_rate ?? null,
    timing: last === null ? null : { routeMs: last.sentAt - exchange.startedAt, upstreamMs: until - last.sentAt },
  };
}
