/** When keys and credentials were last used, held until the record is told: once a minute for each, however often it is. Pure; times are epoch milliseconds. */

const stepMs = 60_000;

/** Uses that the record knows or is about to. */
export interface Uses {
  /** By id: the last use that was, or will be, told. */
  readonly noted: Map<string, number>;
  /** Those of them that the record was not told yet. */
  untold: Map<string, number>;
}

/** Nothing used yet. */
export function createUses(): Uses {
  return { noted: new Map(), untold: new Map() };
}

/** Notes that one was used; does nothing within a minute of the use noted before. */
export function noteUse(uses: Uses, id: string, now: number): void {
  const before = uses.noted.get(id);
  if (before === undefined || now - before >= stepMs) {
    uses.noted.set(id, now);
    uses.untold.set(id, now);
  }
}

/** Whether the record is to be told anything. */
export function hasUses(uses: Uses): boolean {
  return uses.untold.size > 0;
}

/** What the record is to be told; it counts as told from here on, since a use that gets lost is made good a minute later. */
export function takeUses(uses: Uses): ReadonlyMap<string, number> {
  const { untold } = uses;
  uses.untold = new Map();
  return untold;
}

/** Forgets those that are no longer there. */
export function keepUses(uses: Uses, isThere: (id: string) => boolean): void {
  for (const id of uses.noted.keys()) {
    if (!isThere(id)) {
      uses.noted.delete(id);
    }
  }
}
