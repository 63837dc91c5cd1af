/**
 * The purge: 30 days after its deletion a workspace's keys, data, snapshots and Router storage are destroyed for good. A
 * job in steps, each of which can be repeated, so that a crash anywhere is only a pause. What stays is the audit log and a
 * stub: id, name, owner and times.
 */
import { and, eq, isNotNull, isNull, lte, ne, sql } from "drizzle-orm";
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { auditThrottle } from "../audit/model.js";
import { unbounded, type Budget } from "../base/budget.js";
import { commit, hideSql, type Database, type Statement } from "../base/database.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import { within } from "../base/flight.js";
import { credentials, poolInstances, pools } from "../connections/model.js";
import { idempotency } from "../http/model.js";
import { apiKeys, budgetNotices } from "../keys/model.js";
import { outbox } from "../mail/model.js";
import { defaultModels, models } from "../models/model.js";
import { deleteSnapshots } from "../snapshot/store.js";
import { currentWorkspaces, invites, members, regions, restoreMs, toDeletion, workspaces } from "../tenancy/model.js";
import type { PurgeState, Region, WorkspaceRow } from "../tenancy/model.js";
import { toolProviders, tools } from "../toolbox/model.js";
import { usageHours } from "../usage/model.js";
import { dataKeyRotations, dataKeys } from "../vault/model.js";
import { webhookDeliveries, webhooks, webhookSecrets } from "../webhooks/model.js";
import { ownershipTransfers } from "./model.js";

/** The part of a Router that the purge needs. */
interface Purgeable {
  purge(tombstone: boolean): Promise<void>;
}

/** Finds the Router of a workspace and region, made anew for every call. */
export type PurgeableFor = (env: Env, workspaceId: string, region: Region) => Purgeable;

interface Job {
  readonly env: Env;
  readonly db: Database;
  readonly now: number;
  readonly routerFor: PurgeableFor;
}

/** Between claiming a workspace and touching it: publishing that had read it before has ended by then. It also keeps two runs apart. */
const settleMs = 60_000;
const workspacesPerSweep = 5;
const rowsPerDelete = 500;
const routerPatienceMs = 10_000;

/** Tables emptied by a purge, in an order that foreign keys allow. A test finds the one that is forgotten. */
const purgedTables: readonly (readonly [SQLiteTable, SQLiteColumn])[] = [
  [defaultModels, defaultModels.workspaceId],
  [models, models.workspaceId],
  [pools, pools.workspaceId],
  [poolInstances, poolInstances.workspaceId],
  [credentials, credentials.workspaceId],
  [tools, tools.workspaceId],
  [toolProviders, toolProviders.workspaceId],
  [usageHours, usageHours.workspaceId],
  [webhookDeliveries, webhookDeliveries.workspaceId],
  [webhookSecrets, webhookSecrets.workspaceId],
  [webhooks, webhooks.workspaceId],
  [dataKeyRotations, dataKeyRotations.workspaceId],
  [dataKeys, dataKeys.workspaceId],
  [budgetNotices, budgetNotices.workspaceId],
  [apiKeys, apiKeys.workspaceId],
  [invites, invites.workspaceId],
  [ownershipTransfers, ownershipTransfers.workspaceId],
  [outbox, outbox.workspaceId],
  [auditThrottle, auditThrottle.workspaceId],
  [idempotency, idempotency.workspaceId],
  [currentWorkspaces, currentWorkspaces.workspaceId],
];

/** Goes on with purges that have begun and begins those that are due. Run by cron; a failure is logged and tried again. Answers how many ended. */
export async function sweepPurges(
  env: Env,
  db: Database,
  now: number,
  routerFor: PurgeableFor,
  budget: Budget = unbounded,
): Promise<number> {
  const job = { env, db, now, routerFor };
  let ended = 0;
  for (const row of await findBegun(db, now)) {
    if (!budget.mayGoOn()) {
      break;
    }
    try {
      await purge(job, row);
      ended += 1;
    } catch (error) {
      log("error", "purge_failed", { workspace_id: row.id, cause: describeError(error) });
    }
  }
  await claimDue(db, now);
  return ended;
}

async function findBegun(db: Database, now: number): Promise<readonly WorkspaceRow[]> {
  const isBegun = and(
    isNotNull(workspaces.deletedAt),
    isNotNull(workspaces.purgeState),
    ne(workspaces.purgeState, "purged"),
    lte(workspaces.purgeStateAt, now - settleMs),
  );
  // In no order: one that keeps failing must not stand before the others every time.
  const query = db
    .select()
    .from(workspaces)
    .where(isBegun)
    .orderBy(sql`random()`);
  return await hideSql(query.limit(workspacesPerSweep).all());
}

async function claimDue(db: Database, now: number): Promise<void> {
  const isDue = and(lte(workspaces.deletedAt, now - restoreMs), isNull(workspaces.purgeState));
  await commit(db, [db.update(workspaces).set({ purgeState: "claimed", purgeStateAt: now }).where(isDue)]);
}

/** From wherever it stands to the end. */
async function purge(job: Job, row: WorkspaceRow): Promise<void> {
  const { db, env, now } = job;
  const state = row.purgeState;
  if (state === "claimed") {
    await purgeRouters(job, row);
    await commit(db, [advance(db, row.id, "cut_off", now)]);
  }
  if (state === "claimed" || state === "cut_off") {
    await deleteRows(db, row);
    await commit(db, [advance(db, row.id, "emptied", now)]);
  }
  await deleteSnapshots(env.CONFIG, row.id);
  await commit(db, endPurge(db, row, now));
}

/** Every region's: the workspace's own may have changed since its Router was told. Only shards with keys have callers to refuse for ever. */
async function purgeRouters({ db, env, routerFor }: Job, row: WorkspaceRow): Promise<void> {
  const ofKeys = await hideSql(
    db.selectDistinct({ region: apiKeys.region }).from(apiKeys).where(eq(apiKeys.workspaceId, row.id)).all(),
  );
  const known = new Set([row.region, ...ofKeys.map(({ region }) => region)]);
  const purgeOne = (region: Region) =>
    within(routerPatienceMs, routerFor(env, row.id, region).purge(known.has(region)));
  await Promise.all(regions.map(purgeOne));
}

async function deleteRows(db: Database, row: WorkspaceRow): Promise<void> {
  for (const [table, column] of purgedTables) {
    await deleteAll(db, table, sql`${column} = ${row.id}`);
  }
  await deleteAll(db, members, sql`${members.workspaceId} = ${row.id} AND ${members.id} <> ${row.ownerMemberId}`);
}

/** In parts, so that no statement runs long, until nothing is left. */
async function deleteAll(db: Database, table: SQLiteTable, condition: ReturnType<typeof sql>): Promise<void> {
  const part = sql`rowid IN (SELECT rowid FROM ${table} WHERE ${condition} LIMIT ${rowsPerDelete})`;
  for (;;) {
    const { meta } = await hideSql(db.delete(table).where(part).run());
    if (meta.changes === 0) {
      return;
    }
  }
}

function advance(db: Database, workspaceId: string, state: PurgeState, now: number): Statement {
  return db
    .update(workspaces)
    .set({ purgeState: state, purgeStateAt: now })
    .where(and(eq(workspaces.id, workspaceId), ne(workspaces.purgeState, "purged")));
}

/** Frees the slug (no slug has the form of an id) and says so once, outside the workspace. */
function endPurge(db: Database, row: WorkspaceRow, now: number): Statement[] {
  const actor: Actor = {
    type: "system",
    id: "purge",
    name: "Purge",
    requestId: "",
    ip: null,
    opId: newId("operation"),
    at: now,
  };
  return [
    db
      .update(workspaces)
      .set({ purgeState: "purged", purgeStateAt: now, slug: row.id, settings: "{}", updatedAt: now })
      .where(and(eq(workspaces.id, row.id), ne(workspaces.purgeState, "purged"))),
    auditIfChanged(db, actor, {
      workspaceId: null,
      action: "workspace.purged",
      targets: [{ type: "workspace", id: row.id }],
      before: { name: row.name, slug: row.slug },
      after: { ...toDeletion({ purgeState: "purged", purgeStateAt: now }, row.deletedAt ?? now) },
    }),
  ];
}
