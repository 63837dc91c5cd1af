/** The Merkle tree of RFC 6962 and its proofs (RFC 9162, section 2.1), pure: whoever calls brings the hashes of whole subtrees. */

export type Hash = Uint8Array<ArrayBuffer>;

/** The hash of a whole subtree: of the leaves from `index · 2^level` up to `(index + 1) · 2^level`. */
export type ReadNode = (level: number, index: number) => Promise<Hash>;

/** The hash of a leaf: SHA-256 of a zero byte and its data. */
export async function hashLeaf(data: Uint8Array<ArrayBuffer>): Promise<Hash> {
  const bytes = new Uint8Array(data.byteLength + 1);
  bytes.set(data, 1);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** The hash of an inner node: SHA-256 of a one byte and both children. */
export async function hashPair(left: Hash, right: Hash): Promise<Hash> {
  const bytes = new Uint8Array(65);
  bytes[0] = 1;
  bytes.set(left, 1);
  bytes.set(right, 33);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** The root of a tree of so many leaves. */
export async function readRoot(size: number, read: ReadNode): Promise<Hash> {
  return size === 0
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array()))
    : readRange(0, size, read);
}

/** The whole subtrees that a tree of so many leaves is made of, largest first. */
export async function readPeaks(size: number, read: ReadNode): Promise<Hash[]> {
  const peaks: Hash[] = [];
  for (let from = 0; from < size;) {
    const level = levelOf(size - from);
    peaks.push(await read(level, from / 2 ** level));
    from += 2 ** level;
  }
  return peaks;
}

/** The hashes that lead from a leaf to the root of a tree of `size` leaves. `index` is below `size`. */
export async function proveInclusion(index: number, size: number, read: ReadNode): Promise<Hash[]> {
  const path: Hash[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + largestPowerBelow(to - from);
    if (index < middle) {
      path.push(await readRange(middle, to, read));
      to = middle;
    } else {
      path.push(await readRange(from, middle, read));
      from = middle;
    }
  }
  return path.toReversed();
}

/** The hashes that show a tree of `older` leaves to be the beginning of one of `younger`. None where there is nothing to show. */
export async function proveConsistency(older: number, younger: number, read: ReadNode): Promise<Hash[]> {
  if (older === 0 || older === younger) {
    return [];
  }
  const path: Hash[] = [];
  let [from, to] = [0, younger];
  while (older !== to) {
    const middle = from + largestPowerBelow(to - from);
    if (older <= middle) {
      path.push(await readRange(middle, to, read));
      to = middle;
    } else {
      path.push(await readRange(from, middle, read));
      from = middle;
    }
  }
  // What is left is the older tree itself (whose root the verifier has) or the last of its subtrees.
  return [...(from === 0 ? [] : [await readRange(from, to, read)]), ...path.toReversed()];
}

/** Whether hashes show one tree to be the beginning of another: RFC 9162, section 2.1.4.2. */
export async function isConsistent(
  older: { readonly size: number; readonly root: Hash },
  younger: { readonly size: number; readonly root: Hash },
  hashes: readonly Hash[],
): Promise<boolean> {
  if (older.size > younger.size) {
    return false;
  }
  if (older.size === 0 || older.size === younger.size) {
    return hashes.length === 0 && (older.size === 0 || isSame(older.root, younger.root));
  }
  const isWhole = 2 ** levelOf(older.size) === older.size;
  const [first, ...path] = isWhole ? [older.root, ...hashes] : hashes;
  if (first === undefined) {
    return false;
  }
  let [fn, sn] = [older.size - 1, younger.size - 1];
  while (fn % 2 === 1) {
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  let [fr, sr] = [first, first];
  for (const hash of path) {
    if (sn === 0) {
      return false;
    }
    if (fn % 2 === 1 || fn === sn) {
      fr = await hashPair(hash, fr);
      sr = await hashPair(hash, sr);
      while (fn % 2 === 0 && fn !== 0) {
        [fn, sn] = [fn / 2, Math.floor(sn / 2)];
      }
    } else {
      sr = await hashPair(sr, hash);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && isSame(fr, older.root) && isSame(sr, younger.root);
}

/** Whether hashes lead from a leaf to a root: RFC 9162, section 2.1.3.2. */
export async function isIncluded(
  leaf: { readonly index: number; readonly hash: Hash },
  tree: { readonly size: number; readonly root: Hash },
  hashes: readonly Hash[],
): Promise<boolean> {
  if (leaf.index >= tree.size) {
    return false;
  }
  let [fn, sn] = [leaf.index, tree.size - 1];
  let root = leaf.hash;
  for (const hash of hashes) {
    if (sn === 0) {
      return false;
    }
    if (fn % 2 === 1 || fn === sn) {
      root = await hashPair(hash, root);
      while (fn % 2 === 0 && fn !== 0) {
        [fn, sn] = [fn / 2, Math.floor(sn / 2)];
      }
    } else {
      root = await hashPair(root, hash);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && isSame(root, tree.root);
}

/** Whether two hashes are one. Nothing secret is compared here. */
export function isSame(a: Hash, b: Hash): boolean {
  return a.byteLength === b.byteLength && a.every((byte, at) => byte === b[at]);
}

/** The hash of leaves `from` up to `to`, which begin at a whole subtree of at least that width. */
async function readRange(from: number, to: number, read: ReadNode): Promise<Hash> {
  const width = to - from;
  const level = levelOf(width);
  if (2 ** level === width) {
    return await read(level, from / width);
  }
  const middle = from + 2 ** level;
  return await hashPair(await readRange(from, middle, read), await readRange(middle, to, read));
}

/** The largest power of two that is not above a number, as its exponent. By doubling, since `Math.log2` rounds. */
function levelOf(count: number): number {
  let level = 0;
  while (2 ** (level + 1) <= count) {
    level += 1;
  }
  return level;
}

/** The largest power of two below a number above one. */
function largestPowerBelow(count: number): number {
  return 2 ** levelOf(count - 1);
}
