/** Settles tickets off the critical path, many in one call: one batch per Router and isolate, flushed after 100 ms or at 64 outcomes. */
import { lookUntil } from "../base/flight.js";
import { describeError, log } from "../base/log.js";
import type { Outcome, RouterApi } from "../routing/model.js";

/** Where an outcome belongs and how to reach it from the request that hands it in. */
export interface SettleTarget {
  /** One name per Router. */
  readonly router: string;
  /** Makes a stub in the calling request's own context: the platform ties I/O to the request that made it. */
  readonly makeStub: () => Pick<RouterApi, "settle">;
}

/** Takes outcomes; resolves when this one is settled or given up, and never rejects. */
export type Settle = (target: SettleTarget, outcome: Outcome) => Promise<void>;

interface Batch {
  readonly outcomes: Outcome[];
  isSent: boolean;
  isDone: boolean;
}

/** When a batch goes out, and how long a request waits for a batch that another request is sending. */
export interface SettlerTimes {
  readonly flushMs: number;
  readonly maxOutcomes: number;
  readonly patienceMs: number;
}

/** How often a request looks whether another has sent or settled its batch. */
const lookMs = 25;

const defaults: SettlerTimes = { flushMs: 100, maxOutcomes: 64, patienceMs: 5_000 };

/** A settler for one isolate. */
export function createSettler(times: SettlerTimes = defaults): Settle {
  const open = new Map<string, Batch>();

  async function flush(target: SettleTarget, batch: Batch): Promise<void> {
    if (batch.isSent) {
      return;
    }
    batch.isSent = true;
    if (open.get(target.router) === batch) {
      open.delete(target.router);
    }
    await deliver(target, batch.outcomes);
    batch.isDone = true;
  }

  return async function settle(target, outcome) {
    const batch = open.get(target.router) ?? newBatch();
    open.set(target.router, batch);
    batch.outcomes.push(outcome);
    if (batch.outcomes.length >= times.maxOutcomes) {
      await flush(target, batch);
      return;
    }
    // Every request holds its own timer: if the one that opened the batch is cancelled, the next one flushes it.
    await lookUntil(() => batch.isSent, times.flushMs, lookMs);
    await flush(target, batch);
    if (!(await lookUntil(() => batch.isDone, times.patienceMs, lookMs))) {
      // The request that sent the batch was cancelled in mid-call. A repeated settle changes nothing.
      await deliver(target, [outcome]);
    }
  };
}

async function deliver(target: SettleTarget, outcomes: readonly Outcome[]): Promise<void> {
  for (const isLast of [false, true]) {
    try {
      await target.makeStub().settle(outcomes);
      return;
    } catch (error) {
      log(isLast ? "error" : "warn", "settle_failed", {
        outcomes: outcomes.length,
        error: describeError(error),
        gave_up: isLast,
      });
    }
  }
}

function newBatch(): Batch {
  return { outcomes: [], isSent: false, isDone: false };
}
