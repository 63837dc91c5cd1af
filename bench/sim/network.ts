/** Virtual time: what happens when, and how long a word takes from one place to another. */

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock that jumps from one happening to the next; those of one millisecond run in the order they were planned. */
export class Timeline {
  now: number;
  #order = 0;
  /** A binary heap, soonest first. */
  readonly #heap: Happening[] = [];

  constructor(start: number) {
    this.now = start;
  }

  /** Plans something for `ms` milliseconds from now. */
  after(ms: number, run: () => void): void {
    this.#order += 1;
    const heap = this.#heap;
    heap.push({ at: this.now + Math.max(0, ms), order: this.#order, run });
    let at = heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isSooner(at, parent)) {
        break;
      }
      this.#swap(at, parent);
      at = parent;
    }
  }

  /** Runs everything that happens before `end`. */
  runUntil(end: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.at < end; next = this.#heap[0]) {
      this.#pop();
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) {
      return;
    }
    heap[0] = last;
    for (let at = 0; ;) {
      const children = [2 * at + 1, 2 * at + 2].filter((child) => child < heap.length);
      const sooner = children.toSorted((a, b) => (this.#isSooner(a, b) ? -1 : 1))[0];
      if (sooner === undefined || !this.#isSooner(sooner, at)) {
        return;
      }
      this.#swap(at, sooner);
      at = sooner;
    }
  }

  #isSooner(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    return one !== undefined && other !== undefined && (one.at - other.at || one.order - other.order) < 0;
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one !== undefined && other !== undefined) {
      this.#heap[a] = other;
      this.#heap[b] = one;
    }
  }
}

/** Numbers from 0 to 1, always the same for a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Time until the next of many independent things, of which `perSecond` happen on average; milliseconds. */
export function exponential(random: () => number, perSecond: number): number {
  return (-Math.log(1 - random()) / perSecond) * 1_000;
}
