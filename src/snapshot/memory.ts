/** What an isolate remembers: values that never change, by key, the least recently used forgotten first; and one load at a time for each key. */
import { waitUntil } from "cloudflare:workers";
import { within } from "./store.js";

/** A bounded memory of values that are the same for ever under their key. */
export interface Memory<T> {
  find(key: string): T | undefined;
  /** `weight` in whatever unit the memory was bounded by. */
  keep(key: string, value: T, weight: number): void;
  /** Runs `load`, or joins the run of it that another caller began for this key. A failure is everybody's who waits, and is not kept. */
  share(key: string, load: () => Promise<T | null>): Promise<T | null>;
}

/** After this long a load counts as lost, with the request that began it, and others go on without it. */
const joinableMs = 5000;

/** An empty memory for at most `maxCount` values of at most `maxWeight` together. */
export function newMemory<T>(maxCount: number, maxWeight: number): Memory<T> {
  const entries = new Map<string, { readonly value: T; readonly weight: number }>();
  const running = new Map<string, { readonly load: Promise<T | null>; readonly startedAt: number }>();
  let total = 0;

  function forget(key: string): void {
    total -= entries.get(key)?.weight ?? 0;
    entries.delete(key);
  }

  return {
    find(key) {
      const entry = entries.get(key);
      if (entry !== undefined) {
        // Maps keep insertion order: the first is the one not used for longest.
        entries.delete(key);
        entries.set(key, entry);
      }
      return entry?.value;
    },
    keep(key, value, weight) {
      forget(key);
      entries.set(key, { value, weight });
      total += weight;
      for (const oldest of entries.keys()) {
        if ((entries.size <= maxCount && total <= maxWeight) || oldest === key) {
          return;
        }
        forget(oldest);
      }
    },
    async share(key, load) {
      const other = running.get(key);
      if (other !== undefined && Date.now() - other.startedAt < joinableMs) {
        return await join(other.load, load);
      }
      const mine = { load: load(), startedAt: Date.now() };
      running.set(key, mine);
      // Others wait on this request's I/O: it has to go on when its caller leaves.
      waitUntil(mine.load.catch(() => undefined));
      try {
        return await mine.load;
      } finally {
        if (running.get(key) === mine) {
          running.delete(key);
        }
      }
    },
  };
}

async function join<T>(shared: Promise<T>, load: () => Promise<T>): Promise<T> {
  try {
    return await within(joinableMs, shared);
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") {
      return await load();
    }
    throw error;
  }
}
