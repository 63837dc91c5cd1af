/** The same caller on the same instance, with nothing to remember: weighted rendezvous hashing (Thaler and Ravishankar 1998). Pure. */

/** A number for a text, the same in every isolate: 32 bits of FNV-1a, mixed. No secret: it only spreads. */
export function spreadHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return mix(hash);
}

/**
 * The candidate that `key` (from `spreadHash`) belongs to. Keys share out by weight; when a candidate leaves, only its own
 * keys move, and they come back with it. `weigh` says what counts as a candidate's weight. Null when none has one.
 */
export function pickSticky<L extends { readonly weight: number }>(
  candidates: readonly L[],
  key: number,
  idOf: (candidate: L) => string,
  weigh: (candidate: L) => number = ({ weight }) => weight,
): L | null {
  let chosen: L | null = null;
  let highest = -Infinity;
  for (const candidate of candidates) {
    const weight = weigh(candidate);
    if (weight > 0) {
      const drawn = (mix(spreadHash(idOf(candidate)) ^ key) + 0.5) / 2 ** 32;
      const score = -weight / Math.log(drawn);
      if (score > highest) {
        chosen = candidate;
        highest = score;
      }
    }
  }
  return chosen;
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
function mix(hash: number): number {
  let mixed = hash;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
