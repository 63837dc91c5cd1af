/** All deadlines of one request on one timer of the platform, since setting, taking back and ending a timer each cost more than a deadline is worth. */

/** The deadlines of one request. */
export interface Clock {
  /** Calls `act` after so many milliseconds unless the returned function is called first. */
  after(ms: number, act: () => void): () => void;
  /** The outcome of `work`, or a rejection with what `late` gives after so many milliseconds. What comes later is dropped. */
  within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T>;
}

/** The timer comes at least this often while a deadline stands: most requests are over before its first time, and have set it once. */
const tickMs = 1_000;
/** A timer that comes later than this finds an isolate that was busy. */
const busyMs = 100;

interface Deadline {
  /** Epoch milliseconds. */
  at: number;
  readonly act: () => void;
}

/** A clock without deadlines. It belongs to the request it is made in, and ends with it. */
export function createClock(): Clock {
  return new RequestClock();
}

class RequestClock implements Clock {
  readonly #deadlines = new Set<Deadline>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerAt = Infinity;

  after(ms: number, act: () => void): () => void {
    const now = Date.now();
    const deadline: Deadline = { at: now + Math.max(0, ms), act };
    this.#deadlines.add(deadline);
    this.#comeBy(Math.min(deadline.at, now + tickMs), now);
    return () => void this.#deadlines.delete(deadline);
  }

  async within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
    const tooLate = Promise.withResolvers<never>();
    const disarm = this.after(ms, () => tooLate.reject(late()));
    try {
      return await Promise.race([work, tooLate.promise]);
    } finally {
      disarm();
    }
  }

  #comeBy(at: number, now: number): void {
    if (at >= this.#timerAt) {
      return;
    }
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
    }
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#ring(), at - now);
  }

  #ring(): void {
    const begun = Date.now();
    // While the isolate was busy nobody was late: its clock stands still then, and its timers wait.
    const late = begun - this.#timerAt;
    this.#timer = null;
    this.#timerAt = Infinity;
    for (const deadline of late > busyMs ? this.#deadlines : []) {
      deadline.at += late;
    }
    for (const deadline of [...this.#deadlines].filter(({ at }) => at <= begun)) {
      // One that is due may have taken back another.
      if (this.#deadlines.delete(deadline)) {
        deadline.act();
      }
    }
    if (this.#deadlines.size > 0) {
      const now = Date.now();
      const soonest = Math.min(...Array.from(this.#deadlines, ({ at }) => at));
      this.#comeBy(Math.min(Math.max(soonest, now), now + tickMs), now);
    }
  }
}
