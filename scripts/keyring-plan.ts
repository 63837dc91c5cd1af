/** The steps by which a KEYRING changes, each refused until what went before it is true everywhere. No I/O: a test can try every case. */

/** KEYRING as it is set. */
export interface Ring {
  readonly primary: string;
  readonly keys: Readonly<Record<string, string>>;
}

/** What the record says of an entry. Times are epoch milliseconds. */
export interface EntryFacts {
  readonly id: string;
  readonly state: "primary" | "known";
  readonly used_at: number | null;
  readonly left_at: number | null;
  /** Data keys that are wrapped under it. */
  readonly rows: number;
}

/** What the record says of all of it. */
export interface KeyringFacts {
  readonly entries: readonly EntryFacts[];
  /** Versions of the Worker that were heard of in the last ten minutes. */
  readonly live: readonly { readonly version: string; readonly ids: readonly string[]; readonly primary: string }[];
}

/** The ring after a step, or the sentence that says why not. */
export type Step = { readonly ring: Ring } | { readonly refused: string };

/** A point-in-time restore reaches this far back, to rows under an entry that was left since. */
const keptMs = 30 * 24 * 3_600_000;

/** One more entry that only opens. */
export function addEntry(ring: Ring, facts: KeyringFacts, id: string, key: string): Step {
  if (!/^[a-z0-9]{1,8}$/.test(id)) {
    return { refused: "An id is 1 to 8 characters of a-z and 0-9." };
  }
  if (Object.hasOwn(ring.keys, id) || facts.entries.some((entry) => entry.id === id)) {
    return {
      refused: `${id} is or was in use. Ids are never used twice: what was sealed under the first would not open.`,
    };
  }
  return { ring: { primary: ring.primary, keys: { ...ring.keys, [id]: key } } };
}

/** Another primary, once every live version has it. */
export function switchPrimary(ring: Ring, facts: KeyringFacts, id: string): Step {
  if (!Object.hasOwn(ring.keys, id)) {
    return { refused: `${id} is not in this KEYRING. Add it first, and deploy.` };
  }
  if (facts.live.length === 0) {
    return {
      refused:
        "No version has said in the last ten minutes which entries it has. Call the service once, then try again.",
    };
  }
  const lacking = facts.live.filter((version) => !version.ids.includes(id)).map(({ version }) => version || "local");
  if (lacking.length > 0) {
    return {
      refused: `Version ${lacking.join(", ")} is live and has no ${id}. Deploy it, wait ten minutes after the last call of the version before, then try again.`,
    };
  }
  return { ring: { primary: id, keys: ring.keys } };
}

/** Without an entry that nothing has needed for 30 days. */
export function dropEntry(ring: Ring, facts: KeyringFacts, id: string, now: number): Step {
  const known = facts.entries.find((entry) => entry.id === id);
  if (!Object.hasOwn(ring.keys, id)) {
    return { refused: `${id} is not in this KEYRING.` };
  }
  if (ring.primary === id || known?.state === "primary" || facts.live.some((version) => version.primary === id)) {
    return { refused: `${id} is the primary, here or in a live version. Switch to another one first.` };
  }
  const blocked = known === undefined ? null : whyKept(known, now);
  const { [id]: _, ...keys } = ring.keys;
  return blocked === null ? { ring: { primary: ring.primary, keys } } : { refused: blocked };
}

/** The sentences of `status`, what to do next among them. */
export function describe(ring: Ring, facts: KeyringFacts, now: number): readonly string[] {
  const ids = [...new Set([...Object.keys(ring.keys), ...facts.entries.map(({ id }) => id)])];
  return [
    ...ids.map((id) =>
      describeEntry(
        ring,
        facts.entries.find((entry) => entry.id === id),
        id,
        now,
      ),
    ),
    ...facts.live.map(
      ({ version, ids: has, primary }) => `version ${version || "local"}: has ${has.join(", ")}, wants ${primary}`,
    ),
  ];
}

function describeEntry(ring: Ring, known: EntryFacts | undefined, id: string, now: number): string {
  const words = [
    Object.hasOwn(ring.keys, id) ? null : "NOT IN THIS KEYRING",
    ring.primary === id && known?.state !== "primary" ? "to become primary when every live version wants it" : null,
    known?.state === "primary" ? "primary, in force" : null,
    known === undefined ? "not seen by the service yet" : `${known.rows} data keys`,
    known === undefined || known.state === "primary" || ring.primary === id
      ? null
      : (whyKept(known, now) ?? "can be dropped"),
  ];
  return `${id}: ${words.filter((word) => word !== null).join("; ")}`;
}

function whyKept({ id, rows, used_at: usedAt, left_at: leftAt }: EntryFacts, now: number): string | null {
  if (rows > 0) {
    return `${rows} data keys are still wrapped under ${id}. They move by themselves, 50 a minute.`;
  }
  if (usedAt === null) {
    return null;
  }
  const until = leftAt === null ? null : leftAt + keptMs;
  if (until === null || now < until) {
    return `keep ${id} ${until === null ? "30 days from when the service has noticed that nothing is under it" : `until ${new Date(until).toISOString()}`}, for a restore of the database.`;
  }
  return null;
}
