/** How much work a test does: little in CI, much under `npm run test:deep`; and the seed that makes a failure repeatable. */
import { env } from "cloudflare:workers";

interface DeepBindings {
  /** "1" under `npm run test:deep`. */
  readonly DEEP?: string;
  /** Chosen in vitest.config.ts and printed there, or given by whoever repeats a failure. */
  readonly SEED?: string;
}

const bindings = env as DeepBindings;

/** The number of runs, rounds or calls: `small` in CI, `large` when the suite runs deep. */
export function deep(small: number, large: number): number {
  return bindings.DEEP === "1" ? large : small;
}

/** This run's seed for everything random, a 32-bit integer. `SEED=<n> npm run test:unit` repeats a run. */
export function seed(): number {
  return Number(bindings.SEED ?? "0") | 0;
}
