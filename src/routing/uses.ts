/** When keys were last used, held until the record is told: once a minute for each key, however often it calls. Pure; times are epoch milliseconds. */

const stepMs = 60_000;

/** Uses that the record knows or is about to. */
export interface KeyUses {
  /** By key id: the last use that was, or will be, told. */
  readonly noted: Map<string, number>;
  /** Those of them that the record was not told yet. */
  untold: Map<string, number>;
}

/** Nothing used yet. */
export function createUses(): KeyUses {
  return { noted: new Map(), untold: new Map() };
}

/** Notes that a key was used; does nothing within a minute of the use noted before. */
export function noteUse(uses: KeyUses, keyId: string, now: number): void {
  const before = uses.noted.get(keyId);
  if (before === undefined || now - before >= stepMs) {
    uses.noted.set(keyId, now);
    uses.untold.set(keyId, now);
  }
}

/** Whether the record is to be told anything. */
export function hasUses(uses: KeyUses): boolean {
  return uses.untold.size > 0;
}

/** What the record is to be told; it counts as told from here on, since a use that gets lost is made good a minute later. */
export function takeUses(uses: KeyUses): ReadonlyMap<string, number> {
  const { untold } = uses;
  uses.untold = new Map();
  return untold;
}
