/** One attempt on one instance: opens its credential, sends the spliced body, and holds the answer until it can be told good from bad. */
import { joinChunks } from "../base/bytes.js";
import type { Clock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { originOf } from "../base/origin.js";
import { type OutboundCall, OutboundError } from "../base/outbound.js";
import type { Secret } from "../base/secret.js";
import { findToken, forgetToken, type TokenOutcome } from "../providers/access-token.js";
import type { Provider } from "../providers/contract.js";
import { classifyAnswer, transientFailure } from "../routing/classify.js";
import type { Estimate, Failure, Ticket } from "../routing/model.js";
import type { OpenInstance } from "../snapshot/read.js";
import { type Answer, passOnError, passOnInBandError, readErrorBody, readResult } from "./answer.js";
import { type Budget, type Hold, openHold } from "./budget.js";
import type { Dialect } from "./dialect.js";
import type { Endpoint } from "./endpoints.js";
import { upstreamHeaders } from "./headers.js";
import { createLeash, type Leash, LeashCut } from "./leash.js";
import { openStream, type StreamContext } from "./opening.js";
import { type Edit, type Scan, splice } from "./scan.js";
import type { Send } from "./send.js";
import { relayStream, type Report } from "./stream.js";
import { findTranslator } from "./translate/contract.js";
import { toUpload } from "./upload.js";

/** One caller's request, read and checked. */
export interface Exchange {
  readonly requestId: string;
  readonly endpoint: Endpoint;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly scan: Scan;
  readonly model: string;
  readonly isStream: boolean;
  readonly estimate: Estimate;
  readonly headers: Headers;
  /** Aborts when the caller leaves. */
  readonly client: AbortSignal;
  /** Epoch milliseconds. */
  readonly startedAt: number;
}

/** How an attempt reaches the world. */
export interface AttemptDeps {
  /** Null: the ticket's version is gone and the instance no longer stands. Throws `AppError` when its credential cannot be opened. */
  openInstance(ticket: Ticket): Promise<OpenInstance | null>;
  findProvider(name: string): Provider | null;
  readonly send: Send;
  /** Holds all of the request's deadlines. */
  readonly clock: Clock;
  readonly keepAliveMs: number;
  /** Longest opening of a credential. */
  readonly openMs: number;
  /** What answers of this isolate may hold together. */
  readonly answerBudget: Budget;
}

/** What came of an attempt. `sentAt` and `committedAt` are epoch milliseconds. */
export type Attempt =
  | { readonly kind: "departed"; readonly sentAt: number }
  /** `error`: the trouble was ours, and this is what it is called. */
  | { readonly kind: "failed"; readonly sentAt: number; readonly failure: Failure; readonly error: AppError | null }
  | {
      readonly kind: "committed";
      readonly sentAt: number;
      readonly committedAt: number;
      readonly headers: Headers;
      readonly answer: Extract<Answer, { kind: "committed" }>;
    };

/** Makes one attempt. Never throws; holds no timer and no upstream any more unless it committed a stream. */
export async function attempt(ticket: Ticket, exchange: Exchange, deps: AttemptDeps): Promise<Attempt> {
  const target = await openTarget(ticket, deps);
  const result = await attemptOn(target, ticket, exchange, deps);
  if ("failure" in target || !target.isKept || result.kind !== "failed" || result.failure.class !== "credential") {
    return result;
  }
  // A token can be taken back before its time. That says nothing of the secret until a new one is refused too.
  await forgetToken(target.provider, target.opened, target.key);
  return await attemptOn(await openTarget(ticket, deps), ticket, exchange, deps);
}

async function attemptOn(
  target: Target | Unopened,
  ticket: Ticket,
  exchange: Exchange,
  deps: AttemptDeps,
): Promise<Attempt> {
  const sentAt = Date.now();
  if ("failure" in target) {
    return { kind: "failed", sentAt, ...target };
  }
  const leash = createLeash(exchange.client, deps.clock);
  if (leash.ending() !== null) {
    return { kind: "departed", sentAt };
  }
  leash.arm(leftMs(ticket, exchange), "total");
  try {
    const { response, answer } = await call(target, ticket, exchange, deps, leash);
    if (answer.kind === "failed" || !(answer.body instanceof ReadableStream)) {
      leash.cut("done");
    }
    return answer.kind === "failed"
      ? { kind: "failed", sentAt, failure: answer.failure, error: null }
      : { kind: "committed", sentAt, committedAt: Date.now(), headers: response.headers, answer };
  } catch (error) {
    leash.cut("done");
    if (error instanceof AppError) {
      return { kind: "failed", sentAt, failure: ourFailure(error.code), error };
    }
    const failure = explain(error);
    return failure === null ? { kind: "departed", sentAt } : { kind: "failed", sentAt, failure, error: null };
  }
}

interface Target {
  readonly provider: Provider;
  readonly opened: OpenInstance;
  /** What the call carries: the secret, or the access token that its provider exchanges it for. */
  readonly key: Secret | null;
  /** The key is a token that an earlier call fetched. */
  readonly isKept: boolean;
}

interface Unopened {
  readonly failure: Failure;
  /** Null: the trouble was not ours. */
  readonly error: AppError | null;
}

/** For the exchange of a secret for a token. */
const exchangeMs = 9_000;

async function openTarget(ticket: Ticket, deps: AttemptDeps): Promise<Target | Unopened> {
  try {
    const opened = await openInTime(ticket, deps);
    if (opened !== null && originOf(opened.base_url) !== opened.origin) {
      throw new AppError("undecryptable", { cause: new Error("the credential was sealed for another origin") });
    }
    const provider = opened === null ? null : deps.findProvider(opened.provider_name);
    if (opened !== null && provider !== null) {
      const exchanged = await findToken(provider, opened, (request) =>
        deps.send(provider, request, new AbortController().signal, exchangeMs),
      );
      return exchanged === null || exchanged.kind === "token"
        ? { provider, opened, key: exchanged?.token ?? opened.api_key, isKept: exchanged?.isKept ?? false }
        : { failure: exchangeFailure(exchanged), error: null };
    }
    const code = opened === null ? "instance_gone" : "provider_unknown";
    return { failure: ourFailure(code), error: new AppError("upstream_failed", { detail: goneDetail }) };
  } catch (error) {
    const known = error instanceof AppError ? error : new AppError("internal", { cause: error });
    const place = {
      request_id: ticket.request_id,
      instance_id: ticket.instance.id,
      credential_id: ticket.instance.credential_id,
    };
    log("error", "instance_not_opened", { ...place, code: known.code, error: describeError(known.cause ?? known) });
    return { failure: ourFailure(known.code), error: known };
  }
}

/** A secret that gives no token is as bad as a key that is refused; a token endpoint out of reach is the provider's trouble. */
function exchangeFailure(outcome: Exclude<TokenOutcome, { kind: "token" }>): Failure {
  return outcome.kind === "refused"
    ? { class: "credential", status: null, code: "token_refused", retry_after_ms: null, timed_out: false }
    : transientFailure("token_not_fetched", outcome.failure === "timeout");
}

/** A record that hangs must not hold a probe's lease, nor the caller, until the request's own end. */
async function openInTime(ticket: Ticket, deps: AttemptDeps): Promise<OpenInstance | null> {
  return await deps.clock.within(deps.openMs, deps.openInstance(ticket), () => {
    return new AppError("timeout", { cause: new Error("the credential was not opened in time") });
  });
}

async function call(
  target: Target,
  ticket: Ticket,
  exchange: Exchange,
  deps: AttemptDeps,
  leash: Leash,
): Promise<{ response: Response; answer: Answer }> {
  const prepared = await prepare(target, ticket, exchange);
  const disarm = exchange.isStream ? leash.arm(ticket.policy.first_byte_timeout_ms, "first_byte") : nothing;
  const response = await dispatch(target.provider, prepared, deps, leash);
  const { dialect } = exchange.endpoint;
  const isStream =
    dialect !== null && response.ok && /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "");
  if (!response.ok) {
    disarm();
  }
  const context: StreamContext = {
    leash,
    endpoint: exchange.endpoint,
    requestId: exchange.requestId,
    choices: exchange.estimate.choices,
    promptTokens: exchange.estimate.input_tokens,
    headers: response.headers,
    hideUsage: prepared.isUsageAdded,
    secrets: [target.opened.api_key, target.key].filter((secret) => secret !== null),
    idleMs: ticket.policy.idle_timeout_ms,
    keepAliveMs: deps.keepAliveMs,
    hold: openHold(deps.answerBudget),
  };
  leash.whenOver(() => context.hold.release());
  const answer = isStream ? await readStream(response, dialect, context) : await readPlain(response, context);
  disarm();
  return { response, answer };
}

interface Prepared {
  /** The usage chunk of the stream is our wish and not the caller's. */
  readonly isUsageAdded: boolean;
  /** Either the call, or what a translation answers without one. */
  readonly outgoing: OutboundCall | Response;
  /** Puts the upstream's answer into the wire that was asked; null where it speaks that itself. */
  readonly respond: ((hold: Hold, response: Response) => Response) | null;
}

/** Writes the call in the words of the instance's provider. Throws `endpoint_not_supported`, `untranslatable`, or `internal` for an address that is not the credential's. */
async function prepare(target: Target, ticket: Ticket, exchange: Exchange): Promise<Prepared> {
  const { provider, opened, key } = target;
  const { base_url, options } = opened;
  const { endpoint, isStream } = exchange;
  const translator = findTranslator(endpoint.name, provider);
  if (translator === null && !provider.endpoints.includes(endpoint.name)) {
    throw new AppError("endpoint_not_supported");
  }
  const model = provider.modelName(opened.model);
  const takesStreamOptions = provider.takesStreamOptions(options);
  const { parts, usageAdded } = splice(exchange.body, exchange.scan, {
    model,
    streamUsage: isStream && endpoint.asksUsage && (takesStreamOptions || translator !== null),
    cap: capOf(ticket, endpoint, translator === null ? provider : null),
  });
  const facts = { takesStreamOptions, capField: provider.capField("chat/completions") };
  const translation = (await translator?.begin(joinChunks(parts), facts)) ?? null;
  if (translation?.kind === "answer") {
    return { isUsageAdded: usageAdded, outgoing: translation.response, respond: null };
  }
  const request = provider.request({
    endpoint: translator?.endpoint ?? endpoint.name,
    base_url,
    options,
    api_key: key,
    model,
    body: translation?.body ?? toUpload(parts),
    headers: upstreamHeaders(exchange.headers, translator === null ? endpoint.requestHeaders : []),
    stream: isStream,
  });
  if (originOf(request.url) !== opened.origin) {
    throw new AppError("internal", {
      cause: new Error(`a call of ${provider.name} would leave its credential's origin`),
    });
  }
  const respond = translation === null ? null : (hold: Hold, response: Response) => translation.respond(hold, response);
  return { isUsageAdded: usageAdded, outgoing: request, respond };
}

/** Sends a call and gives its answer in the wire that was asked. */
async function dispatch(
  provider: Provider,
  { outgoing, respond }: Prepared,
  deps: AttemptDeps,
  leash: Leash,
): Promise<Response> {
  if (outgoing instanceof Response) {
    return outgoing;
  }
  const sending = deps.send(provider, outgoing, leash.signal, null);
  leash.whenCut(() => void sending.then((late) => late.body?.cancel()).catch(() => undefined));
  const response = await leash.hold(sending);
  if (respond === null) {
    return response;
  }
  const hold = openHold(deps.answerBudget);
  leash.whenOver(() => hold.release());
  return respond(hold, response);
}

/** The Router's cap, in the field by which the provider knows it; a translator reads the asked wire's own. */
function capOf(ticket: Ticket, endpoint: Endpoint, provider: Provider | null): Edit["cap"] {
  const field = provider?.capField(endpoint.name) ?? endpoint.capField;
  return ticket.output_cap === undefined || field === null ? null : { field, tokens: ticket.output_cap };
}

function leftMs(ticket: Ticket, exchange: Exchange): number {
  return Math.max(1, exchange.startedAt + ticket.policy.total_timeout_ms - Date.now());
}

async function readStream(response: Response, dialect: Dialect, context: StreamContext): Promise<Answer> {
  if (response.body === null) {
    return { kind: "failed", failure: transientFailure("empty_stream") };
  }
  const opening = await openStream(response.body, dialect, context);
  if (opening.kind === "failed") {
    return opening.failure.class === "caller_fault"
      ? passOnInBandError(opening.error, context, opening.failure)
      : opening;
  }
  const report = Promise.withResolvers<Report>();
  return {
    kind: "committed",
    status: response.status,
    contentType: response.headers.get("content-type") ?? "text/event-stream",
    body: relayStream(opening.stream, context, report.resolve),
    report: report.promise,
  };
}

async function readPlain(response: Response, context: StreamContext): Promise<Answer> {
  if (response.ok) {
    return await readResult(response, context);
  }
  const body = await readErrorBody(response, context);
  const failure = classifyAnswer({ status: response.status, headers: response.headers, body }, Date.now());
  const contentType = response.headers.get("content-type") ?? "";
  return failure.class === "caller_fault"
    ? passOnError(response.status, body, contentType, context, failure)
    : { kind: "failed", failure };
}

/** What a throw before commit says of the instance; null when the caller left, which says nothing. */
function explain(error: unknown): Failure | null {
  if (error instanceof LeashCut) {
    return error.ending === "departed" ? null : transientFailure(`${error.ending}_timeout`, true);
  }
  if (error instanceof OutboundError) {
    return error.failure === "timeout" ? transientFailure("total_timeout", true) : transientFailure(error.failure);
  }
  return transientFailure("connection");
}

function ourFailure(code: string): Failure {
  return { ...transientFailure(code), ours: true };
}

/** A JSON answer's headers come with its end: only the total time-out says when that is too late. */
function nothing(): void {}

const goneDetail = "The instance that was picked no longer stands. Retry.";
