/** The sealer: gives rows their places in the tree and signs what grew, off every request, a little at a time, so that it can stop anywhere and go on. */
import { and, asc, eq, gt, sql } from "drizzle-orm";
import { auditLog } from "../audit/model.js";
import { unbounded, type Budget } from "../base/budget.js";
import { commit, guardChanged, hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { requireSettings } from "../base/settings.js";
import { hashRow } from "./leaf.js";
import type { LedgerApi } from "./ledger.do.js";
import { ledgerFor } from "./ledger-for.js";
import { auditTrees, type TreeFault } from "./model.js";
import { originOf, signNote, toBase64 } from "./note.js";
import { growTiles, nodeReader, planTiles, tileReader, tileWidth, type Leaf } from "./tiles.js";
import { proveConsistency, readRoot } from "./tree.js";

/** A workspace's tree as the record says it is. */
export type TreeRow = typeof auditTrees.$inferSelect;

/** Rows read, hashed and committed at once: few enough that no request waits for the record because of it. */
const rowsPerStep = 2 * tileWidth;
const rowsPerSweep = 20 * tileWidth;
const treesPerSweep = 50;

/** A workspace's tree, or null before its first audit row. */
export async function findTree(db: Database, workspaceId: string): Promise<TreeRow | null> {
  const [row] = await hideSql(db.select().from(auditTrees).where(eq(auditTrees.workspaceId, workspaceId)).all());
  return row ?? null;
}

/** Seals what is open, longest waiting first, at most 5,120 rows a run. Run by cron; a tree that fails is logged and waits for the next run. Answers how many rows it sealed. */
export async function sweepSeals(env: Env, db: Database, now: number, budget: Budget = unbounded): Promise<number> {
  const isOpen = sql`fault IS NULL AND (sealed_seq < newest_seq OR signed_size < size)`;
  const open = await hideSql(
    db
      .select({ workspaceId: auditTrees.workspaceId })
      .from(auditTrees)
      .where(isOpen)
      .orderBy(asc(auditTrees.sealedAt))
      .limit(treesPerSweep)
      .all(),
  );
  let sealed = 0;
  for (const { workspaceId } of open) {
    if (sealed >= rowsPerSweep || !budget.mayGoOn()) {
      break;
    }
    try {
      sealed += await sealWorkspace(env, db, workspaceId, now, rowsPerSweep - sealed, budget);
    } catch (error) {
      log("error", "sealing_failed", { workspace_id: workspaceId, cause: describeError(error) });
      await stepBack(db, workspaceId, now);
    }
  }
  return sealed;
}

/** Puts a tree that failed behind those that wait: fifty such must not hold up all others. */
async function stepBack(db: Database, workspaceId: string, now: number): Promise<void> {
  await commit(db, [db.update(auditTrees).set({ sealedAt: now }).where(eq(auditTrees.workspaceId, workspaceId))]);
}

/** Seals a workspace's rows, at most so many and a step more, and has the Ledger take the checkpoint. Answers how many. Two at once do it once: one of them fails with `conflict`. */
export async function sealWorkspace(
  env: Env,
  db: Database,
  workspaceId: string,
  now: number,
  limit: number,
  budget: Budget = unbounded,
): Promise<number> {
  let sealed = 0;
  let tree = await findTree(db, workspaceId);
  const mayGoOn = (): boolean => sealed === 0 || (sealed < limit && budget.mayGoOn());
  while (tree !== null && tree.fault !== "rolled_back" && tree.sealedSeq < tree.newestSeq && mayGoOn()) {
    const step = await sealStep(db, tree, now);
    if (step === 0) {
      // A trigger noted a row that is not there any more. It was never proved; what comes after it will be.
      log("error", "audit_row_lost_unsealed", { workspace_id: workspaceId, seq: tree.newestSeq });
      await stepBack(db, workspaceId, now);
      break;
    }
    sealed += step;
    tree = await findTree(db, workspaceId);
  }
  if (tree !== null && tree.fault !== "rolled_back" && tree.signedSize < tree.size) {
    await signTree(env, db, tree, now);
  }
  return sealed;
}

/** Notes a fault, the first one found, and says so in the service's log. */
export async function noteFault(
  db: Database,
  workspaceId: string,
  fault: TreeFault,
  seq: number | null,
  now: number,
): Promise<void> {
  log("error", "audit_log_fault", { workspace_id: workspaceId, fault, seq });
  const change = { fault, faultSeq: seq, faultAt: now };
  const isFirst = and(eq(auditTrees.workspaceId, workspaceId), sql`(fault IS NULL OR ${fault} = 'rolled_back')`);
  await commit(db, [db.update(auditTrees).set(change).where(isFirst)]);
}

async function sealStep(db: Database, tree: TreeRow, now: number): Promise<number> {
  const { workspaceId, size, sealedSeq } = tree;
  const isNext = and(eq(auditLog.workspaceId, workspaceId), gt(auditLog.seq, sealedSeq));
  const rows = await hideSql(
    db.select().from(auditLog).where(isNext).orderBy(asc(auditLog.seq)).limit(rowsPerStep).all(),
  );
  const last = rows.at(-1);
  if (last === undefined) {
    return 0;
  }
  const leaves: Leaf[] = [];
  for (const row of rows) {
    leaves.push({ seq: row.seq, hash: await hashRow(workspaceId, row) });
  }
  const tiles = await growTiles(size, leaves, tileReader(db, workspaceId));
  const isAsRead = and(
    eq(auditTrees.workspaceId, workspaceId),
    eq(auditTrees.size, size),
    eq(auditTrees.sealedSeq, sealedSeq),
  );
  await commit(db, [
    db
      .update(auditTrees)
      .set({ size: size + rows.length, sealedSeq: last.seq, sealedAt: now })
      .where(isAsRead),
    guardChanged(db, "conflict"),
    ...planTiles(db, workspaceId, tiles),
  ]);
  return rows.length;
}

/** Signs the tree as it is and has the Ledger take it, whatever a run before this one had got to. A tree that does not follow from what the Ledger has is at fault. */
async function signTree(env: Env, db: Database, tree: TreeRow, now: number): Promise<void> {
  const { workspaceId, size } = tree;
  const settings = requireSettings(env);
  const ledger: LedgerApi = ledgerFor(env, workspaceId);
  const latest = await ledger.latest();
  const read = nodeReader(tileReader(db, workspaceId));
  const root = await readRoot(size, read);
  if (latest !== null && (latest.size > size || (latest.size === size && latest.root !== toBase64(root)))) {
    await noteFault(db, workspaceId, "rolled_back", null, now);
    return;
  }
  if (latest === null || latest.size < size) {
    const proof = latest === null ? [] : await proveConsistency(latest.size, size, read);
    const note = await signNote(settings, { origin: originOf(settings, workspaceId), size, root });
    const checkpoint = { size, root: toBase64(root), note, signedAt: now };
    const result = await ledger.append(checkpoint, proof.map(toBase64));
    if (result.kind === "refused") {
      // Another run may have been faster; that is no fault.
      if (result.latest.size <= (latest?.size ?? 0)) {
        await noteFault(db, workspaceId, "rolled_back", null, now);
        return;
      }
      throw new AppError("conflict");
    }
  }
  await commit(db, [
    db
      .update(auditTrees)
      .set({ signedSize: sql`max(${auditTrees.signedSize}, ${size})` })
      .where(eq(auditTrees.workspaceId, workspaceId)),
  ]);
}

/** Lets a tree go on whose roll-back was mended: the Ledger has nothing that the tree does not lead to. */
export async function reviveTree(env: Env, db: Database, tree: TreeRow): Promise<void> {
  const latest = await (ledgerFor(env, tree.workspaceId) satisfies LedgerApi).latest();
  if (latest === null || latest.size > tree.size) {
    return;
  }
  const root = await readRoot(latest.size, nodeReader(tileReader(db, tree.workspaceId)));
  if (toBase64(root) === latest.root) {
    const mended = and(eq(auditTrees.workspaceId, tree.workspaceId), eq(auditTrees.fault, "rolled_back"));
    await commit(db, [db.update(auditTrees).set({ fault: null, faultSeq: null, faultAt: null }).where(mended)]);
  }
}
