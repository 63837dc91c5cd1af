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
  /** Epoch milliseconds. */
  readonly openedAt: number;
  /** Requests that see to it. */
  watchers: number;
  isSent: boolean;
  isDone: boolean;
}

/** When a batch goes out, and how long a watcher waits for a batch that another request is sending. */
export interface SettlerTimes {
  readonly flushMs: number;
  readonly maxOutcomes: number;
  readonly patienceMs: number;
}

/** How often a watcher looks whether another request has settled its batch. */
const lookMs = 25;

const defaults: SettlerTimes = { flushMs: 100, maxOutcomes: 64, patienceMs: 5_000 };

/**
 * A settler for one isolate. The request that opens a batch sends it when its time has come, and the second one sees to it that this
 * has happened: a request can be cancelled. The others hand their outcome over and are done, for each timer is a turn of the isolate.
 */
export function createSettler(times: SettlerTimes = defaults): Settle {
  const open = new Map<string, Batch>();

  async function send(target: SettleTarget, batch: Batch): Promise<void> {
    batch.isSent = true;
    if (open.get(target.router) === batch) {
      open.delete(target.router);
    }
    await deliver(target, batch.outcomes);
    batch.isDone = true;
  }

  async function watch(target: SettleTarget, batch: Batch): Promise<void> {
    batch.watchers += 1;
    await scheduler.wait(times.flushMs * batch.watchers);
    if (!batch.isSent) {
      await send(target, batch);
    } else if (!(await lookUntil(() => batch.isDone, times.patienceMs, lookMs))) {
      // The request that sent the batch was cancelled in mid-call. A repeated settle changes nothing.
      await deliver(target, batch.outcomes);
    }
  }

  return async function settle(target, outcome) {
    const now = Date.now();
    const batch = open.get(target.router) ?? newBatch(now);
    open.set(target.router, batch);
    batch.outcomes.push(outcome);
    if (batch.outcomes.length >= times.maxOutcomes) {
      await send(target, batch);
    } else if (batch.watchers === 0) {
      await watch(target, batch);
    } else if (batch.watchers === 1 || now - batch.openedAt > times.flushMs * maxWatchers) {
      // One that still stands when both watchers should have come has lost them.
      batch.watchers = Math.min(batch.watchers, maxWatchers - 1);
      await watch(target, batch);
    }
  };
}

const maxWatchers = 2;

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

function newBatch(now: number): Batch {
  return { outcomes: [], openedAt: now, watchers: 0, isSent: false, isDone: false };
}
