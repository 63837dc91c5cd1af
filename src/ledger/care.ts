/** What is done for every tree in turn: sealed rows are compared with their hashes, old ones are pruned, and checkpoints are mailed. A little at a time. */
import { and, asc, eq, gt, inArray, lte, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { auditLog } from "../audit/model.js";
import { unbounded, type Budget } from "../base/budget.js";
import { commit, guardChanged, hideSql, type Database } from "../base/database.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import { requireSettings } from "../base/settings.js";
import { outbox } from "../mail/model.js";
import { planLetters } from "../mail/outbox.js";
import { readSettingsOf, workspaces, type WorkspaceSettings } from "../tenancy/model.js";
import { hashRow } from "./leaf.js";
import { ledgerFor } from "./ledger-for.js";
import type { KeptCheckpoint, LedgerApi } from "./ledger.do.js";
import { auditTrees, type TreeFault } from "./model.js";
import { fromBase64, originOf, signNote } from "./note.js";
import { findTree, noteFault, reviveTree, sealWorkspace, type TreeRow } from "./seal.js";
import { nodeReader, tileReader, tileWidth, type ReadTile, type Tile } from "./tiles.js";
import { isIncluded, isSame, proveInclusion, readRoot } from "./tree.js";

const treesPerSweep = 50;
const tilesPrunedPerVisit = 4;
const rowsSealedPerVisit = 1_000;
const dayMs = 24 * 3_600_000;

/** Looks after the trees that were looked after longest ago, 50 a run. Run by cron; a failure is logged, and its tree comes again in its turn. */
export async function sweepCare(env: Env, db: Database, now: number, budget: Budget = unbounded): Promise<void> {
  const due = await hideSql(
    db
      .select({ tree: auditTrees, workspace: workspaces })
      .from(auditTrees)
      .leftJoin(workspaces, eq(workspaces.id, auditTrees.workspaceId))
      .where(gt(auditTrees.caredAt, -1))
      .orderBy(asc(auditTrees.caredAt))
      .limit(treesPerSweep)
      .all(),
  );
  for (const { tree, workspace } of due) {
    if (!budget.mayGoOn()) {
      break;
    }
    try {
      const settings = workspace === null || workspace.deletedAt !== null ? null : readSettingsOf(workspace);
      await careFor(env, db, tree, settings, now);
    } catch (error) {
      log("error", "audit_care_failed", { workspace_id: tree.workspaceId, cause: describeError(error) });
    }
  }
}

/** One visit. `settings` is null for a workspace that is deleted: nothing of its log goes. */
export async function careFor(
  env: Env,
  db: Database,
  seen: TreeRow,
  settings: WorkspaceSettings | null,
  now: number,
): Promise<void> {
  const { workspaceId } = seen;
  await commit(db, [db.update(auditTrees).set({ caredAt: now }).where(eq(auditTrees.workspaceId, workspaceId))]);
  if (seen.fault === "rolled_back") {
    await reviveTree(env, db, seen);
    return;
  }
  if (seen.fault !== null) {
    // Whatever was done to old rows, those that still come are sealed.
    await sealWorkspace(env, db, workspaceId, now, rowsSealedPerVisit);
  }
  // In this order: what the Ledger has was in the record before, so a record that has less was set back.
  const latest = await (ledgerFor(env, workspaceId) satisfies LedgerApi).latest();
  const tree = await findTree(db, workspaceId);
  if (tree === null || latest === null) {
    return;
  }
  if (latest.size > tree.size) {
    await noteFault(db, workspaceId, "rolled_back", null, now);
    return;
  }
  await compareNext(db, tree, latest, now);
  const days = settings?.audit_retention_days ?? null;
  if (days !== null) {
    await pruneOld(env, db, { tree, latest, cut: now - days * dayMs, now });
  }
  if (settings !== null) {
    await mailCheckpoint(db, tree, settings.audit_checkpoint_email, now);
  }
}

/** Compares one tile's rows with their hashes, and the hashes with what the Ledger has signed. The next visit takes the next tile. */
async function compareNext(db: Database, tree: TreeRow, latest: KeptCheckpoint, now: number): Promise<void> {
  const { workspaceId, prunedSize, comparedTo, signedSize } = tree;
  const from = comparedTo >= signedSize || comparedTo < prunedSize ? prunedSize : comparedTo;
  if (from >= signedSize) {
    return;
  }
  const readTile = tileReader(db, workspaceId);
  const tile = await readTile(0, from / tileWidth);
  const found =
    tile === null
      ? { fault: "tree_changed" as const, seq: null }
      : await compareTile(db, workspaceId, latest, tile, readTile);
  const last = tile?.seqs.at(-1) ?? 0;
  if (found !== null && (await isPruned(db, workspaceId, from))) {
    return;
  }
  if (found !== null) {
    await noteFault(db, workspaceId, found.fault, found.seq, now);
  }
  const isThis = eq(auditTrees.workspaceId, workspaceId);
  // What was put right again is no fault any more.
  const isMended = and(isThis, gt(auditTrees.faultSeq, (tile?.seqs[0] ?? 0) - 1), lte(auditTrees.faultSeq, last));
  await commit(db, [
    ...(found === null
      ? [db.update(auditTrees).set({ fault: null, faultSeq: null, faultAt: null }).where(isMended)]
      : []),
    db
      .update(auditTrees)
      .set({ comparedTo: from + tileWidth })
      .where(isThis),
  ]);
}

/** Whether another visit dropped the rows of a tile while this one looked at them. */
async function isPruned(db: Database, workspaceId: string, index: number): Promise<boolean> {
  return ((await findTree(db, workspaceId))?.prunedSize ?? 0) > index;
}

async function compareTile(
  db: Database,
  workspaceId: string,
  latest: KeptCheckpoint,
  tile: Tile,
  readTile: ReadTile,
): Promise<{ readonly fault: TreeFault; readonly seq: number | null } | null> {
  const root = fromBase64(latest.root);
  const index = tile.tile * tileWidth;
  const [first] = tile.hashes;
  if (root === null || first === undefined) {
    return { fault: "tree_changed", seq: null };
  }
  // A proof takes its neighbours from the tile itself, so it speaks for all of the tile's hashes.
  const proof = await proveInclusion(index, latest.size, nodeReader(readTile));
  if (!(await isIncluded({ index, hash: first }, { size: latest.size, root }, proof))) {
    return { fault: "tree_changed", seq: tile.seqs[0] ?? null };
  }
  const before = tile.tile === 0 ? 0 : ((await readTile(0, tile.tile - 1))?.seqs.at(-1) ?? 0);
  const isHere = and(
    eq(auditLog.workspaceId, workspaceId),
    gt(auditLog.seq, before),
    lte(auditLog.seq, tile.seqs.at(-1) ?? before),
  );
  const rows = await hideSql(db.select().from(auditLog).where(isHere).orderBy(asc(auditLog.seq)).all());
  const bySeq = new Map(rows.map((row) => [row.seq, row]));
  for (const [at, seq] of tile.seqs.entries()) {
    const row = bySeq.get(seq);
    if (row === undefined) {
      return { fault: "row_lost", seq };
    }
    const hash = tile.hashes[at];
    if (hash === undefined || !isSame(await hashRow(workspaceId, row), hash)) {
      return { fault: "row_changed", seq };
    }
    bySeq.delete(seq);
  }
  const [stranger] = bySeq.keys();
  return stranger === undefined ? null : { fault: "row_slipped_in", seq: stranger };
}

interface Pruning {
  readonly tree: TreeRow;
  readonly latest: KeptCheckpoint;
  /** Rows before this may go; epoch milliseconds. */
  readonly cut: number;
  readonly now: number;
}

/** Drops rows before `cut`, whole tiles only and only as they were sealed, so that what is left stays provable; says so signed, in the tree's row and in the log itself. */
async function pruneOld(env: Env, db: Database, { tree, latest, cut, now }: Pruning): Promise<void> {
  const { workspaceId, prunedSize, prunedSeq, signedSize } = tree;
  const readTile = tileReader(db, workspaceId);
  let [size, seq] = [prunedSize, prunedSeq];
  for (let tiles = 0; tiles < tilesPrunedPerVisit && size + tileWidth <= signedSize; tiles += 1) {
    const tile = await readTile(0, size / tileWidth);
    const last = tile?.seqs.at(-1);
    if (tile === null || last === undefined || (await newestBetween(db, workspaceId, seq, last)) >= cut) {
      break;
    }
    // Nobody makes a row old, or its change unseen, by writing another time into it.
    const found = await compareTile(db, workspaceId, latest, tile, readTile);
    if (found !== null) {
      if (!(await isPruned(db, workspaceId, size))) {
        await noteFault(db, workspaceId, found.fault, found.seq, now);
      }
      break;
    }
    [size, seq] = [size + tileWidth, last];
  }
  if (size === prunedSize) {
    return;
  }
  const settings = requireSettings(env);
  const root = await readRoot(size, nodeReader(readTile));
  const head = { origin: originOf(settings, workspaceId), size, root };
  const note = await signNote(settings, head, [`pruned ${new Date(now).toISOString()}`]);
  const isOld = and(eq(auditLog.workspaceId, workspaceId), gt(auditLog.seq, prunedSeq), lte(auditLog.seq, seq));
  const isAsRead = and(eq(auditTrees.workspaceId, workspaceId), eq(auditTrees.prunedSize, prunedSize));
  await commit(db, [
    db.update(auditTrees).set({ prunedSize: size, prunedSeq: seq, prunedNote: note }).where(isAsRead),
    guardChanged(db, "conflict"),
    db.delete(auditLog).where(isOld),
    auditRow(db, keeper(now), {
      workspaceId,
      action: "audit_log.pruned",
      targets: [{ type: "workspace", id: workspaceId }],
      after: { size, seq, note },
    }),
  ]);
}

async function newestBetween(db: Database, workspaceId: string, after: number, last: number): Promise<number> {
  const isHere = and(eq(auditLog.workspaceId, workspaceId), gt(auditLog.seq, after), lte(auditLog.seq, last));
  const newest = sql<number | null>`max(${auditLog.time})`;
  const [row] = await hideSql(db.select({ newest }).from(auditLog).where(isHere).all());
  return row?.newest ?? 0;
}

/** Mails the newest checkpoint to who wants it, once a day and only when they have not got it. */
async function mailCheckpoint(db: Database, tree: TreeRow, recipient: string | null, now: number): Promise<void> {
  const { workspaceId, signedSize, mailedAt } = tree;
  if (recipient === null || signedSize === 0 || mailedAt > now - dayMs) {
    return;
  }
  const isOfTree = and(eq(outbox.subjectId, workspaceId), eq(outbox.version, signedSize));
  const isToThem = and(eq(outbox.kind, "audit_checkpoint"), eq(outbox.recipient, recipient));
  const hasIt = and(isOfTree, isToThem, inArray(outbox.state, ["queued", "sent"]));
  if ((await hideSql(db.select({ id: outbox.id }).from(outbox).where(hasIt).limit(1).all())).length > 0) {
    return;
  }
  const order = {
    kind: "audit_checkpoint",
    workspaceId,
    subjectId: workspaceId,
    version: signedSize,
    recipient,
  } as const;
  const isAsRead = and(eq(auditTrees.workspaceId, workspaceId), eq(auditTrees.mailedAt, mailedAt));
  await commit(db, [
    db.update(auditTrees).set({ mailedAt: now }).where(isAsRead),
    guardChanged(db, "conflict"),
    planLetters(db, [order], now).statement,
  ]);
}

function keeper(now: number): Actor {
  const opId = newId("operation");
  return { type: "system", id: "audit_retention", name: "Retention", requestId: "", ip: null, opId, at: now };
}
