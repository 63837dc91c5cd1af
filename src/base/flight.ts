/** One run of a piece of work at a time for each key: whoever comes meanwhile waits for the same outcome. */
import { waitUntil } from "cloudflare:workers";

/** Runs `work`, or joins the run of it that another caller began for this key. A failure is everybody's who waits, and is not kept. */
export type Share<T> = (key: string, work: () => Promise<T>) => Promise<T>;

/** After this long a run counts as lost, with the request that began it, and others go on without it. */
const joinableMs = 5000;
/** How often a joiner looks. */
const lookMs = 4;

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

interface Run<T> {
  readonly startedAt: number;
  /** Null while it runs. */
  outcome: Outcome<T> | null;
}

/** A set of runs, none of them begun. */
export function newFlights<T>(): Share<T> {
  const running = new Map<string, Run<T>>();
  return async (key, work) => {
    const other = running.get(key);
    if (other !== undefined && Date.now() - other.startedAt < joinableMs) {
      const outcome = await watch(other);
      return outcome === null ? await work() : open(outcome);
    }
    const mine: Run<T> = { startedAt: Date.now(), outcome: null };
    running.set(key, mine);
    const ended = settle(work).then((outcome) => {
      mine.outcome = outcome;
      if (running.get(key) === mine) {
        running.delete(key);
      }
      return outcome;
    });
    // Others wait for this request's I/O: it has to go on when its caller leaves.
    waitUntil(ended);
    return open(await ended);
  };
}

/** Another request's run, seen to its end; null when that takes too long. */
async function watch<T>(run: Run<T>): Promise<Outcome<T> | null> {
  await lookUntil(() => run.outcome !== null, joinableMs, lookMs);
  return run.outcome;
}

/**
 * Waits for what another request brings about, for `limitMs` at most; answers whether it is so. By looking every `everyMs`, not by awaiting
 * that request's promise: what goes on after it may find itself in that request, where it can touch none of its own streams and timers.
 */
export async function lookUntil(isSo: () => boolean, limitMs: number, everyMs: number): Promise<boolean> {
  const until = Date.now() + limitMs;
  for (let left = limitMs; left > 0 && !isSo(); left = until - Date.now()) {
    const pause = Math.min(everyMs, left);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return isSo();
}

async function settle<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error };
  }
}

function open<T>(outcome: Outcome<T>): T {
  if ("error" in outcome) {
    throw outcome.error;
  }
  return outcome.value;
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
