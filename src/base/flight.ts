/** One run of a piece of work at a time for each key: whoever comes meanwhile waits for the same outcome. */
import { waitUntil } from "cloudflare:workers";

/** Runs `work`, or joins the run of it that another caller began for this key. A failure is everybody's who waits, and is not kept. */
export type Share<T> = (key: string, work: () => Promise<T>) => Promise<T>;

/** After this long a run counts as lost, with the request that began it, and others go on without it. */
const joinableMs = 5000;

/** A set of runs, none of them begun. */
export function newFlights<T>(): Share<T> {
  const running = new Map<string, { readonly outcome: Promise<T>; readonly startedAt: number }>();
  return async (key, work) => {
    const other = running.get(key);
    if (other !== undefined && Date.now() - other.startedAt < joinableMs) {
      return await join(other.outcome, work);
    }
    const mine = { outcome: work(), startedAt: Date.now() };
    running.set(key, mine);
    // Others wait on this request's I/O: it has to go on when its caller leaves.
    waitUntil(mine.outcome.catch(() => undefined));
    try {
      return await mine.outcome;
    } finally {
      if (running.get(key) === mine) {
        running.delete(key);
      }
    }
  };
}

async function join<T>(outcome: Promise<T>, work: () => Promise<T>): Promise<T> {
  try {
    return await within(joinableMs, outcome);
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") {
      return await work();
    }
    throw error;
  }
}

/** The outcome of `work`, or a `TimeoutError` after `limitMs`. What comes later is dropped. */
export async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DOMException(`no answer within ${limitMs} ms`, "TimeoutError")), limitMs);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
