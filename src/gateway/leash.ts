/** Holds one upstream call: every way it can be cut short (caller gone, any time-out, done with it) goes through here and aborts it at once. */

/** Why a call was cut. `done`: its answer is no longer needed. */
export type Ending = "departed" | "first_byte" | "idle" | "total" | "done";

/** What a held promise rejects with when the leash is cut. */
export class LeashCut extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending);
    this.name = "LeashCut";
    this.ending = ending;
  }
}

/** One upstream call's leash. Only the first cut counts. */
export interface Leash {
  /** Aborts with the first cut. */
  readonly signal: AbortSignal;
  ending(): Ending | null;
  cut(ending: Ending): void;
  /** Cuts after so many milliseconds unless the returned function is called first. */
  arm(ms: number, ending: Ending): () => void;
  /** The promise, or a rejection with `LeashCut` as soon as the leash is cut: an upstream may ignore its signal. */
  hold<T>(promise: Promise<T>): Promise<T>;
  /** Calls back at the cut, at once when it was before. The returned function takes that back. */
  whenCut(act: (ending: Ending) => void): () => void;
}

/** A leash that the caller's departure cuts. Cut it with `done` at the end, which ends its timers too. */
export function createLeash(client: AbortSignal): Leash {
  const controller = new AbortController();
  const watchers = new Set<(ending: Ending) => void>();
  let ended: Ending | null = null;

  function cut(ending: Ending): void {
    if (ended !== null) {
      return;
    }
    ended = ending;
    client.removeEventListener("abort", depart);
    controller.abort(new LeashCut(ending));
    const called = [...watchers];
    watchers.clear();
    for (const watcher of called) {
      watcher(ending);
    }
  }

  function depart(): void {
    cut("departed");
  }

  function arm(ms: number, ending: Ending): () => void {
    const timer = setTimeout(() => cut(ending), Math.max(0, ms));
    const unwatch = whenCut(() => clearTimeout(timer));
    return () => {
      clearTimeout(timer);
      unwatch();
    };
  }

  function whenCut(act: (ending: Ending) => void): () => void {
    if (ended === null) {
      watchers.add(act);
    } else {
      act(ended);
    }
    return () => void watchers.delete(act);
  }

  if (client.aborted) {
    cut("departed");
  } else {
    client.addEventListener("abort", depart);
  }
  const hold = <T>(promise: Promise<T>): Promise<T> => holdOn(promise, whenCut);
  return { signal: controller.signal, ending: () => ended, cut, arm, hold, whenCut };
}

async function holdOn<T>(promise: Promise<T>, whenCut: Leash["whenCut"]): Promise<T> {
  const { promise: cutOff, reject } = Promise.withResolvers<never>();
  const unwatch = whenCut((ending) => reject(new LeashCut(ending)));
  try {
    return await Promise.race([promise, cutOff]);
  } finally {
    unwatch();
  }
}
