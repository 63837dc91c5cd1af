/** What an isolate remembers: values that never change, by key, the least recently used forgotten first. */

/** A bounded memory of values that are the same for ever under their key. */
export interface Memory<T> {
  find(key: string): T | undefined;
  /** `weight` in whatever unit the memory was bounded by. The newest is kept however heavy it is. */
  keep(key: string, value: T, weight: number): void;
}

/** An empty memory for at most `maxCount` values of at most `maxWeight` together. */
export function newMemory<T>(maxCount: number, maxWeight: number): Memory<T> {
  const entries = new Map<string, { readonly value: T; readonly weight: number }>();
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
  };
}
