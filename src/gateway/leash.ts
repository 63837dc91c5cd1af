/** Holds one upstream call: every way it can be cut short (caller gone, any time-out, done with it) goes through here and aborts it at once. */

import { type Clock, createClock } from "../base/clock.js";

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

/** One upstream call's leash. Only the first end counts. */
export interface Leash {
  /** Aborts with the first cut. */
  readonly signal: AbortSignal;
  ending(): Ending | null;
  cut(ending: Ending): void;
  /** The upstream has been read to its end: nothing is left to abort, and its connection is good for the next call. */
  release(): void;
  /** Cuts after so many milliseconds unless the returned function is called first. */
  arm(ms: number, ending: Ending): () => void;
  /** Calls back after so many milliseconds unless the leash has ended or the returned function is called first. */
  after(ms: number, act: () => void): () => void;
  /** The promise, or a rejection with `LeashCut` as soon as the leash is cut: an upstream may ignore its signal. */
  hold<T>(promise: Promise<T>): Promise<T>;
  /** Calls back at the cut, at once when it was before. The returned function takes that back. */
  whenCut(act: (ending: Ending) => void): () => void;
  /** Calls back at the end, be it by a cut or not, at once when it was before. */
  whenOver(act: () => void): void;
}

/** A leash that the caller's departure cuts. Cut or release it at the end, which ends its deadlines too. */
export function createLeash(client: AbortSignal, clock: Clock = createClock()): Leash {
  return new ClockedLeash(client, clock);
}

class ClockedLeash implements Leash {
  readonly #client: AbortSignal;
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #watchers = new Set<(ending: Ending) => void>();
  readonly #enders = new Set<() => void>();
  readonly #depart = (): void => this.cut("departed");
  #ending: Ending | null = null;
  #isCut = false;

  constructor(client: AbortSignal, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
    if (client.aborted) {
      this.cut("departed");
    } else {
      client.addEventListener("abort", this.#depart);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  ending(): Ending | null {
    return this.#ending;
  }

  cut(ending: Ending): void {
    if (this.#ending !== null) {
      return;
    }
    this.#isCut = true;
    this.#end(ending);
    this.#controller.abort(cuts[ending]);
    const called = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of called) {
      watcher(ending);
    }
  }

  release(): void {
    if (this.#ending === null) {
      this.#end("done");
      this.#watchers.clear();
    }
  }

  arm(ms: number, ending: Ending): () => void {
    return this.after(ms, () => this.cut(ending));
  }

  after(ms: number, act: () => void): () => void {
    if (this.#ending !== null) {
      return () => undefined;
    }
    const disarm = this.#clock.after(ms, () => {
      this.#enders.delete(disarm);
      act();
    });
    this.#enders.add(disarm);
    return () => {
      disarm();
      this.#enders.delete(disarm);
    };
  }

  async hold<T>(promise: Promise<T>): Promise<T> {
    const cutOff = Promise.withResolvers<never>();
    const unwatch = this.whenCut((ending) => cutOff.reject(cuts[ending]));
    try {
      return await Promise.race([promise, cutOff.promise]);
    } finally {
      unwatch();
    }
  }

  whenCut(act: (ending: Ending) => void): () => void {
    if (this.#ending === null) {
      this.#watchers.add(act);
    } else if (this.#isCut) {
      act(this.#ending);
    }
    return () => void this.#watchers.delete(act);
  }

  whenOver(act: () => void): void {
    if (this.#ending === null) {
      this.#enders.add(act);
    } else {
      act();
    }
  }

  #end(ending: Ending): void {
    this.#ending = ending;
    this.#client.removeEventListener("abort", this.#depart);
    for (const ender of this.#enders) {
      ender();
    }
    this.#enders.clear();
  }
}

/** Made once: an error notes where it is made, which takes longer than the rest of a cut, and says nothing here. */
const cuts: Readonly<Record<Ending, LeashCut>> = {
  departed: new LeashCut("departed"),
  first_byte: new LeashCut("first_byte"),
  idle: new LeashCut("idle"),
  total: new LeashCut("total"),
  done: new LeashCut("done"),
};
