/** The signed tree head and proofs for whoever may read the log. */
import { and, count, eq, gt } from "drizzle-orm";
import { auditLog } from "../audit/model.js";
import { hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import type { KeptCheckpoint, LedgerApi } from "./ledger.do.js";
import { ledgerFor } from "./ledger-for.js";
import type { AuditCheckpoint, AuditProof, ProofQuery } from "./model.js";
import { originOf, toBase64, verifierKey } from "./note.js";
import { findTree, type TreeRow } from "./seal.js";
import { findTileOf, nodeReader, tileReader, tileWidth } from "./tiles.js";
import { proveConsistency, proveInclusion, readRoot, type ReadNode } from "./tree.js";

/** The tree of a workspace with its newest checkpoint. */
export interface SignedTree {
  readonly tree: TreeRow;
  readonly latest: KeptCheckpoint;
}

/** The tree and the newest checkpoint that the Ledger has. Throws `not_found` before the first. */
export async function readSignedTree(env: Env, db: Database, workspaceId: string): Promise<SignedTree> {
  const ledger: LedgerApi = ledgerFor(env, workspaceId);
  const [tree, latest] = await Promise.all([findTree(db, workspaceId), ledger.latest()]);
  if (tree === null || latest === null) {
    throw new AppError("not_found", {
      detail: "Nothing is sealed yet. Rows are sealed within a minute or two of being written.",
    });
  }
  return { tree, latest };
}

/** The checkpoint's answer. */
export async function describeCheckpoint(
  env: Env,
  db: Database,
  { tree, latest }: SignedTree,
): Promise<AuditCheckpoint> {
  const settings = requireSettings(env);
  const isOpen = and(eq(auditLog.workspaceId, tree.workspaceId), gt(auditLog.seq, tree.sealedSeq));
  const [open] = await hideSql(db.select({ rows: count() }).from(auditLog).where(isOpen).all());
  const origin = latest.note.slice(0, latest.note.indexOf("\n"));
  const { fault, faultSeq, faultAt, prunedNote, prunedSize } = tree;
  return {
    origin,
    size: latest.size,
    root: latest.root,
    note: latest.note,
    public_key: await verifierKey(settings, originOf(settings, tree.workspaceId)),
    signed_at: new Date(latest.signedAt).toISOString(),
    pending: Math.max(0, tree.size - latest.size) + (open?.rows ?? 0),
    pruned: prunedNote === null ? null : { size: prunedSize, note: prunedNote },
    fault: fault === null ? null : { kind: fault, seq: faultSeq, found_at: new Date(faultAt ?? 0).toISOString() },
  };
}

/** The proof that was asked for. Throws `validation_failed` for a question that makes no sense, `not_found` for a row that is in no tree yet. */
export async function readProof(env: Env, db: Database, workspaceId: string, query: ProofQuery): Promise<AuditProof> {
  const asked = [query.seq, query.index, query.from].filter((one) => one !== undefined).length;
  if (asked !== 1) {
    throw invalid("/", "Give one of seq, index and from.");
  }
  const { latest } = await readSignedTree(env, db, workspaceId);
  const read = nodeReader(tileReader(db, workspaceId));
  if (query.from !== undefined) {
    return await readConsistency(query.from, query.to ?? latest.size, latest.size, read);
  }
  const size = query.size ?? latest.size;
  if (size > latest.size) {
    throw invalid("/size", `The newest checkpoint covers ${latest.size} rows.`);
  }
  const at = query.seq === undefined ? await findSeqOf(db, workspaceId, query.index ?? 0) : query.seq;
  const index = query.index ?? (await findIndexOf(db, workspaceId, at));
  if (at === null || index === null || index >= size) {
    throw new AppError("not_found", { detail: "That row is not in that tree: it is younger, or it was never there." });
  }
  const hashes = await proveInclusion(index, size, read);
  return {
    kind: "inclusion",
    size,
    index,
    seq: at,
    leaf: toBase64(await read(0, index)),
    root: toBase64(await readRoot(size, read)),
    hashes: hashes.map(toBase64),
  };
}

/** The place of a row among the leaves, or null. */
async function findIndexOf(db: Database, workspaceId: string, seq: number | null): Promise<number | null> {
  const tile = seq === null ? null : await findTileOf(db, workspaceId, seq);
  const place = tile === null || seq === null ? -1 : tile.seqs.indexOf(seq);
  return tile === null || place === -1 ? null : tile.tile * tileWidth + place;
}

async function findSeqOf(db: Database, workspaceId: string, index: number): Promise<number | null> {
  const tile = await tileReader(db, workspaceId)(0, Math.floor(index / tileWidth));
  return tile?.seqs[index % tileWidth] ?? null;
}

async function readConsistency(from: number, to: number, newest: number, read: ReadNode): Promise<AuditProof> {
  if (to > newest) {
    throw invalid("/to", `The newest checkpoint covers ${newest} rows.`);
  }
  if (from > to) {
    throw invalid("/from", "Give the older tree's size, which is not above `to`.");
  }
  const hashes = await proveConsistency(from, to, read);
  return {
    kind: "consistency",
    from,
    size: to,
    root: toBase64(await readRoot(to, read)),
    hashes: hashes.map(toBase64),
  };
}

function invalid(pointer: string, detail: string): AppError {
  return new AppError("validation_failed", { errors: [{ in: "query", pointer, detail }] });
}
