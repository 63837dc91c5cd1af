/** Checkpoints posted to the webhooks that ask for them, so that they stand where the service can't reach. No row of the log tells of it: that would be something new to sign. */
import { and, asc, eq, inArray, lte, sql } from "drizzle-orm";
import { unbounded, type Budget } from "../base/budget.js";
import { commit, guardChanged, hideSql, type Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { ledgerFor } from "../ledger/ledger-for.js";
import type { LedgerApi } from "../ledger/ledger.do.js";
import { auditTrees } from "../ledger/model.js";
import { kickWebhooks } from "./deliveries.js";
import { checkpointEvent, webhookDeliveries, webhooks, type DeliveryRow } from "./model.js";

const hourMs = 3_600_000;
const treesPerSweep = 100;

/** The partial index of those who want checkpoints is found by these very words. */
const wantsCheckpoints = sql`state = 'active' AND instr(events, 'audit_log.checkpoint') > 0`;

/** Owes the newest checkpoint to who wants it, once an hour and only when the log grew. Run by cron; a failure is logged, and its tree comes again. */
export async function sweepCheckpoints(env: Env, db: Database, now: number, budget: Budget = unbounded): Promise<void> {
  const wanted = db.select({ id: webhooks.workspaceId }).from(webhooks).where(wantsCheckpoints);
  const isDue = and(lte(auditTrees.postedAt, now - hourMs), sql`posted_size < signed_size`);
  const due = await hideSql(
    db
      .select({ workspaceId: auditTrees.workspaceId, size: auditTrees.signedSize, postedAt: auditTrees.postedAt })
      .from(auditTrees)
      .where(and(inArray(auditTrees.workspaceId, wanted), isDue))
      .orderBy(asc(auditTrees.postedAt))
      .limit(treesPerSweep)
      .all(),
  );
  for (const tree of due) {
    if (!budget.mayGoOn()) {
      break;
    }
    try {
      await owe(db, tree, now);
      await kickWebhooks(env, db, tree.workspaceId, now);
    } catch (error) {
      log("error", "checkpoint_not_posted", { workspace_id: tree.workspaceId, cause: describeError(error) });
    }
  }
}

/** The body of a message that carries a checkpoint, out of the Ledger: the same bytes at every attempt. Null when the Ledger has none of that size. */
export async function writeCheckpoint(env: Env, delivery: DeliveryRow): Promise<string | null> {
  const { workspaceId, auditSeq: size } = delivery;
  const kept = await (ledgerFor(env, workspaceId) satisfies LedgerApi).at(size);
  if (kept === null) {
    return null;
  }
  const { note, root, signedAt } = kept;
  const data = { workspace_id: workspaceId, size, root, note };
  return JSON.stringify({ type: checkpointEvent, timestamp: new Date(signedAt).toISOString(), data });
}

interface DueTree {
  readonly workspaceId: string;
  readonly size: number;
  readonly postedAt: number;
}

async function owe(db: Database, { workspaceId, size, postedAt }: DueTree, now: number): Promise<void> {
  const isAsRead = and(eq(auditTrees.workspaceId, workspaceId), eq(auditTrees.postedAt, postedAt));
  await commit(db, [
    db.update(auditTrees).set({ postedAt: now, postedSize: size }).where(isAsRead),
    guardChanged(db, "conflict"),
    db.insert(webhookDeliveries).select(
      sql`SELECT 'whd_0' || substr(lower(hex(randomblob(13))), 2), ${workspaceId}, id, ${size}, ${checkpointEvent}, 'queued', 0, NULL, NULL, NULL, ${now}, ${now},
        NULL, ${now} FROM webhooks WHERE workspace_id = ${workspaceId} AND ${wantsCheckpoints}`,
    ),
  ]);
}
