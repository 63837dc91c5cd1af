/** How much work an end-to-end test does: little in CI, much under `npm run test:deep`. */

/** The number of calls or rounds: `small` in CI, `large` when the suite runs deep. */
export function deep(small: number, large: number): number {
  return process.env["DEEP"] === "1" ? large : small;
}
