/** Calls to a Router: after an exception the stub is made anew and a retryable call repeated once; whatever stays broken is a 503, never a 401. */
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import type { Admission, AdmitRequest, Failure, Refusal, RouterApi, Ticket } from "../routing/model.js";

/** The Router's methods that the gateway awaits. `admit`, `next` and `models` are safe to repeat: they carry the request's id or change nothing. */
export interface RouterLine {
  admit(request: AdmitRequest): Promise<Admission>;
  next(ticket: Ticket, failure: Failure): Promise<Admission>;
  committed(ticket: Ticket): Promise<void>;
  models(request: ModelsRequest): Promise<{ kind: "models"; names: readonly string[] } | Refusal>;
}

/** Whose models are asked for. */
export type ModelsRequest = Omit<AdmitRequest, "model" | "request_id">;

/** Makes a stub. A stub that has thrown may be broken for good, so each try makes its own. */
export type MakeStub = () => RouterApi;

/** A Router's answer takes microseconds; one that takes this long is not coming. */
const patienceMs = 10_000;
const retryAfterMs = 1_000;

/** A line to one Router. Its methods throw `router_unavailable` and nothing else. An `admit` without an answer is taken back under `waitUntil`. */
export function connectRouter(makeStub: MakeStub, waitUntil: (promise: Promise<void>) => void): RouterLine {
  return {
    async admit(request) {
      try {
        return await callRouter("admit", makeStub, (router) => router.admit(request));
      } catch (error) {
        // An object that is drowning took nothing in, and another call would not help it.
        if (!(error instanceof AppError && isMarked(error.cause, "overloaded"))) {
          waitUntil(abandonRequest(makeStub, request.request_id));
        }
        throw error;
      }
    },
    next: (ticket, failure) => callRouter("next", makeStub, (router) => router.next(ticket, failure)),
    committed: (ticket) => callRouter("committed", makeStub, (router) => router.committed(ticket)),
    models: (request) => callRouter("models", makeStub, (router) => router.models(request)),
  };
}

/** One call with its one repeat. Throws `router_unavailable` with `Retry-After`. */
export async function callRouter<T>(
  name: string,
  makeStub: MakeStub,
  call: (router: RouterApi) => Promise<T>,
): Promise<T> {
  try {
    return await withPatience(call(makeStub()));
  } catch (first) {
    if (!isRetryable(first)) {
      throw unavailable(name, first);
    }
    try {
      return await withPatience(call(makeStub()));
    } catch (second) {
      throw unavailable(name, second);
    }
  }
}

/** Tells a Router, which may have admitted the request all the same, that nobody will call. Best effort: the ticket's deadline is the net below it. */
async function abandonRequest(makeStub: MakeStub, requestId: string): Promise<void> {
  try {
    await withPatience(makeStub().abandon(requestId));
  } catch (error) {
    log("warn", "router_call_failed", { call: "abandon", request_id: requestId, error: describeError(error) });
  }
}

/** The platform marks what may be tried again (`retryable`) and what must not be, since the object is drowning (`overloaded`). */
function isRetryable(error: unknown): boolean {
  return isMarked(error, "retryable") && !isMarked(error, "overloaded");
}

function isMarked(error: unknown, mark: "retryable" | "overloaded"): boolean {
  return typeof error === "object" && error !== null && Reflect.get(error, mark) === true;
}

function unavailable(name: string, error: unknown): AppError {
  log("error", "router_call_failed", {
    call: name,
    error: describeError(error),
    overloaded: isMarked(error, "overloaded"),
  });
  return new AppError("router_unavailable", { retryAfterMs, cause: error });
}

async function withPatience<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer in ${patienceMs} ms`)), patienceMs);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
