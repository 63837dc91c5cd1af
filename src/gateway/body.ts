/** Reads request bodies into memory, counted while read: each within its limit, all of an isolate's together within a budget. */
import { joinChunks } from "../base/bytes.js";
import { type Clock, createClock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import { type Budget, type Hold, openHold } from "./budget.js";

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
    const chunks = await readChunks(request, limits, announced, hold, clock);
    return { bytes: joinChunks(chunks), release: () => hold.release() };
  } catch (error) {
    hold.release();
    throw error;
  }
}

async function readChunks(
  request: Request,
  limits: BodyLimits,
  announced: number,
  hold: Hold,
  clock: Clock,
): Promise<readonly Uint8Array[]> {
  if (request.body === null) {
    return [];
  }
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await clock.within(limits.idleMs, reader.read(), () => new AppError("request_timeout"));
      if (done) {
        return chunks;
      }
      size += value.length;
      if (size > limits.maxBytes) {
        throw new AppError("body_too_large");
      }
      if (!hold.resize(size * limits.copies)) {
        throw new AppError("overloaded", { retryAfterMs: overloadedRetryMs });
      }
      chunks.push(value);
      if (size === announced) {
        // HTTP lets nothing follow, so the end need not be waited for.
        return chunks;
      }
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined);
    throw error instanceof AppError ? error : new AppError("client_closed_request", { cause: error });
  }
}
