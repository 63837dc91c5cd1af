/** Calls to a Router: after an exception the stub is made anew and a retryable call repeated once; whatever stays broken is a 503, never a 401. */
import type { Clock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { callRouter, isMarked, withPatience, type MakeStub } from "../routing/call.js";
import type { Admission, AdmitRequest, Failure, ModelNames, Refusal, Ticket } from "../routing/model.js";

/** The Router's methods that the gateway awaits. `admit`, `next` and `models` are safe to repeat: they carry the request's id or change nothing. */
export interface RouterLine {
  admit(request: AdmitRequest): Promise<Admission>;
  next(ticket: Ticket, failure: Failure): Promise<Admission>;
  committed(ticket: Ticket): Promise<void>;
  models(request: ModelsRequest): Promise<ModelNames | Refusal>;
}

/** Whose models are asked for. */
export type ModelsRequest = Omit<AdmitRequest, "model" | "request_id">;

/** A line to one Router. Its methods throw `router_unavailable` and nothing else. An `admit` without an answer is taken back under `waitUntil`. */
export function connectRouter(
  makeStub: MakeStub,
  waitUntil: (promise: Promise<void>) => void,
  clock: Clock,
): RouterLine {
  const wait = <T>(answer: Promise<T>): Promise<T> => withPatience(answer, clock);
  return {
    async admit(request) {
      try {
        return await callRouter("admit", makeStub, (router) => router.admit(request), wait);
      } catch (error) {
        // An object that is drowning took nothing in, and another call would not help it.
        if (!(error instanceof AppError && isMarked(error.cause, "overloaded"))) {
          waitUntil(abandonRequest(makeStub, request.request_id));
        }
        throw error;
      }
    },
    next: (ticket, failure) => callRouter("next", makeStub, (router) => router.next(ticket, failure), wait),
    committed: (ticket) => callRouter("committed", makeStub, (router) => router.committed(ticket), wait),
    models: (request) => callRouter("models", makeStub, (router) => router.models(request), wait),
  };
}

/** Tells a Router, which may have admitted the request all the same, that nobody will call. Best effort: the ticket's deadline is the net below it. */
async function abandonRequest(makeStub: MakeStub, requestId: string): Promise<void> {
  try {
    await withPatience(makeStub().abandon(requestId));
  } catch (error) {
    log("warn", "router_call_failed", { call: "abandon", request_id: requestId, error: describeError(error) });
  }
}
