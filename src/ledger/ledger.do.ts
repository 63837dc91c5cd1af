/** The Ledger: an object per workspace, outside D1, that keeps every checkpoint ever signed and takes none that does not follow from the last. */
import { DurableObject } from "cloudflare:workers";
import { fromBase64 } from "./note.js";
import { isConsistent, type Hash } from "./tree.js";

/** A checkpoint as it is kept. */
export interface KeptCheckpoint {
  readonly size: number;
  /** Base64. */
  readonly root: string;
  readonly note: string;
  /** Epoch milliseconds. */
  readonly signedAt: number;
}

/** What became of one. `known`: it is the last already. `refused`: it does not follow from `latest`. */
export type AppendResult =
  | { readonly kind: "kept" | "known" }
  | { readonly kind: "refused"; readonly latest: KeptCheckpoint };

/** What others call it by. */
export interface LedgerApi {
  append(checkpoint: KeptCheckpoint, proof: readonly string[]): Promise<AppendResult>;
  latest(): Promise<KeptCheckpoint | null>;
  at(size: number): Promise<KeptCheckpoint | null>;
}

/** Tables only ever gain columns, and others may stand beside them. */
const tables = `
  CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, root TEXT NOT NULL, note TEXT NOT NULL, signed_at INTEGER NOT NULL);
  CREATE TRIGGER IF NOT EXISTS checkpoints_no_update BEFORE UPDATE ON checkpoints BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END;
  CREATE TRIGGER IF NOT EXISTS checkpoints_no_delete BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END;
`;

/** A workspace's checkpoints. */
export class Ledger extends DurableObject<Env> implements LedgerApi {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(tables);
  }

  /** Keeps a checkpoint whose proof, base64 hashes, leads to it from the last one. */
  async append(checkpoint: KeptCheckpoint, proof: readonly string[]): Promise<AppendResult> {
    const before = this.#latest();
    if (before !== null) {
      if (before.size === checkpoint.size && before.root === checkpoint.root) {
        return { kind: "known" };
      }
      if (before.size === checkpoint.size || !(await follows(before, checkpoint, proof))) {
        return { kind: "refused", latest: before };
      }
      // Hashing awaits: another may have come first.
      const latest = this.#latest();
      if (latest !== null && latest.size !== before.size) {
        return { kind: "refused", latest };
      }
    }
    const { size, root, note, signedAt } = checkpoint;
    const insert = "INSERT INTO checkpoints (size, root, note, signed_at) VALUES (?, ?, ?, ?)";
    this.ctx.storage.sql.exec(insert, size, root, note, signedAt);
    return { kind: "kept" };
  }

  /** The last checkpoint, or null before the first. */
  async latest(): Promise<KeptCheckpoint | null> {
    return this.#latest();
  }

  /** The checkpoint of just this size, or null. */
  async at(size: number): Promise<KeptCheckpoint | null> {
    return this.#read("SELECT size, root, note, signed_at AS signedAt FROM checkpoints WHERE size = ?", size);
  }

  #latest(): KeptCheckpoint | null {
    return this.#read("SELECT size, root, note, signed_at AS signedAt FROM checkpoints ORDER BY size DESC LIMIT 1");
  }

  #read(query: string, ...params: readonly number[]): KeptCheckpoint | null {
    // A type and not an interface: those have no index signature, which the platform's own type asks for.
    type Row = { size: number; root: string; note: string; signedAt: number };
    return this.ctx.storage.sql.exec<Row>(query, ...params).toArray()[0] ?? null;
  }
}

async function follows(before: KeptCheckpoint, after: KeptCheckpoint, proof: readonly string[]): Promise<boolean> {
  const [older, younger, ...hashes] = [before.root, after.root, ...proof].map(fromBase64);
  if (older === undefined || older === null || younger === undefined || younger === null) {
    return false;
  }
  const whole = hashes.filter((hash): hash is Hash => hash !== null);
  return (
    whole.length === hashes.length &&
    (await isConsistent({ size: before.size, root: older }, { size: after.size, root: younger }, whole))
  );
}
