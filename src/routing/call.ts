/** One call to a Router: after an exception the stub is made anew and the call repeated once; whatever stays broken is a 503, never a 401. */
import type { Clock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import { within } from "../base/flight.js";
import { describeError, log } from "../base/log.js";
import type { RouterApi } from "./model.js";

/** Makes a stub. A stub that has thrown may be broken for good, so each try makes its own. */
export type MakeStub<R = RouterApi> = () => R;

/** A Router's answer takes microseconds; one that takes this long is not coming. */
const patienceMs = 10_000;
const retryAfterMs = 1_000;

/** One call with its one repeat; `wait` says how long each is waited for. Throws `router_unavailable` with `Retry-After`. */
export async function callRouter<T, R = RouterApi>(
  name: string,
  makeStub: MakeStub<NoInfer<R>>,
  call: (router: R) => Promise<T>,
  wait: (answer: Promise<T>) => Promise<T> = withPatience,
): Promise<T> {
  try {
    return await wait(call(makeStub()));
  } catch (first) {
    if (!isRetryable(first)) {
      throw unavailable(name, first);
    }
    try {
      return await wait(call(makeStub()));
    } catch (second) {
      throw unavailable(name, second);
    }
  }
}

/** The platform marks what may be tried again (`retryable`) and what must not be, since the object is drowning (`overloaded`). */
function isRetryable(error: unknown): boolean {
  return isMarked(error, "retryable") && !isMarked(error, "overloaded");
}

/** Whether the platform put a mark on an exception. */
export function isMarked(error: unknown, mark: "retryable" | "overloaded"): boolean {
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

/** Waits for a Router's answer for 10 s at most, by the request's clock where it has one. */
export async function withPatience<T>(answer: Promise<T>, clock?: Clock): Promise<T> {
  return clock === undefined
    ? await within(patienceMs, answer)
    : await clock.within(patienceMs, answer, () => new DOMException("the Router gave no answer", "TimeoutError"));
}
