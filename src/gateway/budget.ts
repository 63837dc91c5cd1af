/** What one isolate may hold in memory for its calls: requests and answers each within a budget of their own, counted as they grow. */

/** Bytes held together. */
export interface Budget {
  readonly maxBytes: number;
  usedBytes: number;
}

/** One call's share of a budget. */
export interface Hold {
  /** Holds so many bytes from now on; false, and nothing changes, when that is more than before and the budget has no room for it. */
  resize(bytes: number): boolean;
  /** Gives everything back, for good: what is held after that is no longer counted. */
  release(): void;
}

/**
 * This isolate's budgets. It has 128 MB, and 88 MiB of them may be bodies: what is left is for code, snapshots and the platform's
 * own buffers. Two budgets, so that uploads cannot break off streams that are running.
 */
export const requestBudget: Budget = { maxBytes: 64 * 1_048_576, usedBytes: 0 };
export const answerBudget: Budget = { maxBytes: 24 * 1_048_576, usedBytes: 0 };

/** Opens an empty share. */
export function openHold(budget: Budget): Hold {
  let held = 0;
  let isReleased = false;
  function resize(bytes: number): boolean {
    const grown = isReleased ? 0 : bytes - held;
    if (grown > 0 && budget.usedBytes + grown > budget.maxBytes) {
      return false;
    }
    budget.usedBytes += grown;
    held += grown;
    return true;
  }
  function release(): void {
    resize(0);
    isReleased = true;
  }
  return { resize, release };
}
