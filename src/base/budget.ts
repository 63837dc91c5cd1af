/** The record's limit for one invocation: D1 takes 1,000 statements of it, each one of a batch counted. */

/** What a piece of work that goes through a list asks before each part. */
export interface Budget {
  /** False once so many statements were made that no further part may begin; what is left is due in the next run. */
  readonly mayGoOn: () => boolean;
}

/** Where no further part begins. The rest of the 1,000 is for the parts that have begun by then, and for the sweeps that are one part. */
const softLimit = 400;

/** For callers that do one thing only. */
export const unbounded: Budget = { mayGoOn: () => true };

/** So many of a list at once, where each mostly waits for somebody else's server. */
const atOnce = 4;

/** Does `work` for each of a list, a few at once, as long as the budget lets more begin; the rest is left. `work` handles its own failures. */
export async function forEachWithin<T>(
  budget: Budget,
  items: readonly T[],
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  for (let at = 0; at < items.length && budget.mayGoOn(); at += atOnce) {
    await Promise.all(items.slice(at, at + atOnce).map(work));
  }
}

/** A D1 binding that counts the statements made on it, and the budget that the count fills. */
export function meterRecord(
  binding: D1Database,
  limit: number = softLimit,
): { readonly binding: D1Database; readonly budget: Budget } {
  let made = 0;
  const metered = new Proxy(binding, {
    get(target, name) {
      if (name === "prepare") {
        return (query: string) => {
          made += 1;
          return target.prepare(query);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  return { binding: metered, budget: { mayGoOn: () => made < limit } };
}
