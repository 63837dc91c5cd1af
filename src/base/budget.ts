/** The record's limit for one invocation: D1 takes 1,000 statements of it, each one of a batch counted. */

/** What a piece of work that goes through a list asks before each part. */
export interface Budget {
  /** False once so many statements were made that no further part may begin; what is left is due in the next run. */
  readonly mayGoOn: () => boolean;
}

/**
 * Where no further part begins. The rest of the 1,000 is for what has begun by then, and for the sweeps that do all they found at
 * once: their own limits bound these.
 */
const softLimit = 500;

/** For callers that do one thing only. */
export const unbounded: Budget = { mayGoOn: () => true };

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
