/** Reads request bodies into memory, counted while read: each within its limit, all of an isolate's together within a budget. */
import { type Clock, createClock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import { type Budget, type Hold, openHold } from "./budget.js";
import { openIntake } from "./intake.js";

/** A body in memory. `release` gives its share of the budget back; call it once its last attempt has been sent. */
export interface HeldBody {
  readonly bytes: Uint8Array<ArrayBuffer>;
  release(): void;
}

/** How a body is read. */
export interface BodyLimits {
  readonly maxBytes: number;
  readonly budget: Budget;
  /** Longest silence of the sender. */
  readonly idleMs: number;
  /** How often the body may be in memory at once. */
  readonly copies: number;
}

const overloadedRetryMs = 1_000;

/**
 * Reads a whole body. Throws `body_too_large`, `overloaded` when the budget is used up, `request_timeout` when the sender
 * falls silent, `client_closed_request` when it is gone; nothing stays reserved then.
 */
export async function readBody(request: Request, limits: BodyLimits, clock: Clock = createClock()): Promise<HeldBody> {
  const announced = Number(request.headers.get("content-length") ?? "0");
  if (announced > limits.maxBytes) {
    throw new AppError("body_too_large");
  }
  const hold = openHold(limits.budget);
  try {
    const bytes = await readBytes(request, limits, announced, hold, clock);
    return { bytes, release: () => hold.release() };
  } catch (error) {
    hold.release();
    throw error;
  }
}

async function readBytes(
  request: Request,
  limits: BodyLimits,
  announced: number,
  hold: Hold,
  clock: Clock,
): Promise<Uint8Array<ArrayBuffer>> {
  if (request.body === null) {
    return new Uint8Array();
  }
  const length = announced > 0 ? announced : null;
  let room = 0;
  const count = (): void => {
    if (!hold.resize(Math.max(room, intake.kept() * limits.copies))) {
      throw new AppError("overloaded", { retryAfterMs: overloadedRetryMs });
    }
  };
  const intake = openIntake(request.body, length, (bytes) => {
    room = bytes;
    count();
  });
  try {
    // HTTP lets nothing follow what was announced, so the end need not be waited for.
    while (
      intake.kept() !== length &&
      (await clock.within(limits.idleMs, intake.keep(), () => new AppError("request_timeout")))
    ) {
      if (intake.kept() > limits.maxBytes) {
        throw new AppError("body_too_large");
      }
      count();
    }
    return intake.bytes();
  } catch (error) {
    intake.cancel();
    throw error instanceof AppError ? error : new AppError("client_closed_request", { cause: error });
  }
}
