/** What is told by an address alone, kept in the isolate: the calls of a busy service go to the same few, and reading one costs more than finding it. */

/** An isolate calls few addresses; one that is made to call more begins again. */
const mostKept = 1_000;

/** Keeps a value under its address. */
export function keepFew<T>(kept: Map<string, T>, address: string, value: T): void {
  if (kept.size >= mostKept) {
    kept.clear();
  }
  kept.set(address, value);
}

const origins = new Map<string, string | null>();

/** The origin of an address; null for a text that is none. */
export function originOf(address: string): string | null {
  const known = origins.get(address);
  if (known !== undefined) {
    return known;
  }
  const origin = URL.parse(address)?.origin ?? null;
  keepFew(origins, address, origin);
  return origin;
}
