/**
 * The job behind a change of data key: seals every secret anew, waits for the last call that can hold the old key, and
 * destroys it. All it knows stands in rows and every step can be repeated, so a crash anywhere is a pause.
 */
import { and, eq, isNull, lte, or, sql, type SQL } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { unbounded, type Budget } from "../base/budget.js";
import { commit, guardChanged, hideSql, openDatabase, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import { describeError, log } from "../base/log.js";
import { requireSettings } from "../base/settings.js";
import { credentials } from "../connections/model.js";
import { deleteSnapshots } from "../snapshot/store.js";
import { workspaces } from "../tenancy/model.js";
import { loadActiveDataKey, openDataKey, type DataKey } from "../vault/data-keys.js";
import { dataKeyRotations, dataKeys } from "../vault/model.js";
import { webhooks, webhookSecrets } from "../webhooks/model.js";
import type { DataKeyRow, RotationRow } from "./model.js";
import { planReseal, type OpenKeys } from "./reseal.js";
import { planResealWebhook, webhookSecretColumns } from "./reseal-webhooks.js";
import { isWebhookRetired, namesRetired } from "./rotation.js";

/** Brings a workspace's newest version into force. */
export type Publish = (env: Env, workspaceId: string) => Promise<void>;

/**
 * From the first version without the old key on, calls that hold an earlier one go on this long: the longest ticket (an hour
 * and a minute), and a minute for the data key that an isolate keeps open.
 */
export const waitMs = 62 * 60_000;

const rowsPerBatch = 20;
const batchesPerPass = 10;

interface Job {
  readonly env: Env;
  readonly db: Database;
  readonly keyring: Keyring;
  readonly workspaceId: string;
  readonly now: number;
  readonly publish: Publish;
  readonly budget: Budget;
}

/** A reason to stop that the workspace's owner should read. */
class Halt extends Error {}

/** Goes on with up to `limit` changes of data key. Run by cron; what stops one is logged, and stands in its `last_error`. */
export async function sweepRotations(
  env: Env,
  publish: Publish,
  now: number,
  limit: number,
  budget: Budget = unbounded,
): Promise<void> {
  const db = openDatabase(env.DB);
  const isAlive = and(eq(workspaces.id, dataKeyRotations.workspaceId), isNull(workspaces.purgeState));
  const isDue = or(isNull(dataKeyRotations.waitingUntil), lte(dataKeyRotations.waitingUntil, now));
  // In no order: some that keep failing must not stand before the others every time.
  const query = db
    .select({ id: dataKeyRotations.workspaceId })
    .from(dataKeyRotations)
    .innerJoin(workspaces, isAlive)
    .where(and(isOpen, isDue))
    .orderBy(sql`random()`);
  for (const { id } of await hideSql(query.limit(limit).all())) {
    if (!budget.mayGoOn()) {
      break;
    }
    await advanceRotation(env, id, publish, now, budget);
  }
}

/** Takes a workspace's change of data key as far as one pass may. Never throws: what stops it is logged and recorded. */
export async function advanceRotation(
  env: Env,
  workspaceId: string,
  publish: Publish,
  now: number,
  budget: Budget = unbounded,
): Promise<void> {
  const db = openDatabase(env.DB);
  let problem: string | null = null;
  try {
    await advance({ env, db, keyring: requireSettings(env).keyring, workspaceId, now, publish, budget });
  } catch (error) {
    log("error", "rotation_stopped", { workspace_id: workspaceId, cause: describeError(error) });
    problem = describeProblem(error);
  }
  try {
    await noteProblem(db, workspaceId, problem);
  } catch (error) {
    log("error", "rotation_problem_not_noted", { workspace_id: workspaceId, cause: describeError(error) });
  }
}

/** A literal, not a parameter: the index of open changes is found by it. */
const isOpen = sql`${dataKeyRotations.state} <> 'done'`;

async function advance(job: Job): Promise<void> {
  const { row, retired } = await readRotation(job);
  if (row === undefined || row.state === "done") {
    return;
  }
  if (row.state === "re_encrypting") {
    await reencrypt(job, retired);
  } else if (row.waitingUntil === null) {
    await startWaiting(job);
  } else if (job.now >= row.waitingUntil) {
    await destroy(job, row, retired);
  }
}

async function readRotation({
  db,
  workspaceId,
}: Job): Promise<{ readonly row: RotationRow | undefined; readonly retired: readonly DataKeyRow[] }> {
  const isRetired = and(eq(dataKeys.workspaceId, workspaceId), eq(dataKeys.state, "retired"));
  const [rows, retired] = await hideSql(
    db.batch([
      db.select().from(dataKeyRotations).where(eq(dataKeyRotations.workspaceId, workspaceId)),
      db.select().from(dataKeys).where(isRetired),
    ]),
  );
  return { row: rows[0], retired };
}

/** Seals anew batch by batch. What is sealed reaches the Routers at the end of the pass, whether or not all is done. */
async function reencrypt(job: Job, retired: readonly DataKeyRow[]): Promise<void> {
  const { db, env, keyring, workspaceId, publish, budget } = job;
  const opened = await Promise.all(retired.map(async (row) => [row.id, await openRetired(keyring, row)] as const));
  const keys: OpenKeys = {
    active: await loadActiveDataKey(db, keyring, workspaceId),
    retired: new Map(opened),
  };
  const query = db.select().from(credentials).where(namesRetired(workspaceId)).limit(rowsPerBatch);
  const ofWebhooks = db
    .select(webhookSecretColumns)
    .from(webhookSecrets)
    .innerJoin(
      webhooks,
      and(eq(webhooks.workspaceId, webhookSecrets.workspaceId), eq(webhooks.id, webhookSecrets.webhookId)),
    )
    .where(isWebhookRetired(workspaceId))
    .limit(rowsPerBatch);
  for (let batch = 0; batch < batchesPerPass; batch += 1) {
    const rows = await hideSql(query.all());
    const secrets = await hideSql(ofWebhooks.all());
    if (rows.length === 0 && secrets.length === 0) {
      await endReencrypting(job);
      return;
    }
    const actor = systemActor(Date.now());
    const plans = await Promise.all([
      ...rows.map((row) => planReseal(db, actor, keys, row)),
      ...secrets.map((row) => planResealWebhook(db, keys, row, actor.at)),
    ]);
    await commit(db, plans.flat());
    if (!budget.mayGoOn()) {
      break;
    }
  }
  await publish(env, workspaceId);
}

/** A key that does not open is a mistake in KEYRING, which can be mended: nothing under it may be given up for that. */
async function openRetired(keyring: Keyring, row: DataKeyRow): Promise<DataKey> {
  try {
    return await openDataKey(keyring, row);
  } catch (error) {
    if (error instanceof AppError && error.code === "undecryptable") {
      throw new Halt(
        `The data key ${row.id} does not open under entry ${row.keyringId} of KEYRING. Put back the entry that it was wrapped ` +
          "under, or enter the secrets that still need it again.",
      );
    }
    throw error;
  }
}

/**
 * `waiting` begins in the very statement that finds nothing under a retired key, with the version that this is true of. A
 * trigger sets it back when a change that was under way still brings such a row.
 */
async function endReencrypting(job: Job): Promise<void> {
  const { db, workspaceId } = job;
  const isClean = and(
    eq(dataKeyRotations.workspaceId, workspaceId),
    eq(dataKeyRotations.state, "re_encrypting"),
    sql`NOT EXISTS (SELECT 1 FROM ${credentials} WHERE ${namesRetired(workspaceId)})`,
    sql`NOT EXISTS (SELECT 1 FROM ${webhookSecrets} WHERE ${isWebhookRetired(workspaceId)})`,
  );
  const version = sql`(SELECT ${workspaces.configVersion} FROM ${workspaces} WHERE ${workspaces.id} = ${workspaceId})`;
  const begun = { state: "waiting", cleanVersion: version, waitingUntil: null } as const;
  await commit(db, [db.update(dataKeyRotations).set(begun).where(isClean)]);
  await startWaiting(job);
}

/** The time runs from when that version is in force everywhere. */
async function startWaiting({ db, env, workspaceId, now, publish }: Job): Promise<void> {
  await publish(env, workspaceId);
  const isPublished = and(
    eq(dataKeyRotations.workspaceId, workspaceId),
    eq(dataKeyRotations.state, "waiting"),
    isNull(dataKeyRotations.waitingUntil),
    lte(dataKeyRotations.cleanVersion, appliedVersion(workspaceId)),
  );
  const waitingUntil = Math.max(now, Date.now()) + waitMs;
  await commit(db, [db.update(dataKeyRotations).set({ waitingUntil }).where(isPublished)]);
}

/** Snapshots first: while the key's row is there, a failure leaves the whole step to be done again. */
async function destroy(job: Job, row: RotationRow, retired: readonly DataKeyRow[]): Promise<void> {
  const { db, env, workspaceId, now, publish } = job;
  const [place] = await hideSql(
    db.select({ epoch: workspaces.configEpoch }).from(workspaces).where(eq(workspaces.id, workspaceId)).all(),
  );
  if (place === undefined || row.cleanVersion === null) {
    return;
  }
  await deleteSnapshots(env.CONFIG, workspaceId, { epoch: place.epoch, version: row.cleanVersion });
  const isDue = and(
    eq(dataKeyRotations.workspaceId, workspaceId),
    eq(dataKeyRotations.state, "waiting"),
    lte(dataKeyRotations.waitingUntil, now),
  );
  await commit(db, [
    db.update(dataKeyRotations).set({ state: "done", finishedAt: now, lastError: null }).where(isDue),
    // Of two passes at once the second finds it done.
    guardChanged(db, "conflict"),
    db.delete(dataKeys).where(and(eq(dataKeys.workspaceId, workspaceId), eq(dataKeys.state, "retired"))),
    auditRow(db, systemActor(now), {
      workspaceId,
      action: "vault.rotation_finished",
      targets: retired.map(({ id }) => ({ type: "data_key", id })),
      after: { data_key_id: row.dataKeyId },
    }),
  ]);
  await publish(env, workspaceId);
}

function appliedVersion(workspaceId: string): SQL {
  return sql`(SELECT ${workspaces.appliedVersion} FROM ${workspaces} WHERE ${workspaces.id} = ${workspaceId})`;
}

/** Writes only what differs; a change that is done keeps no problem. */
async function noteProblem(db: Database, workspaceId: string, problem: string | null): Promise<void> {
  const isOther = sql`${dataKeyRotations.lastError} IS NOT ${problem}`;
  const isThis = and(eq(dataKeyRotations.workspaceId, workspaceId), isOpen, isOther);
  await commit(db, [db.update(dataKeyRotations).set({ lastError: problem }).where(isThis)]);
}

/** What the owner may read of a failure. */
function describeProblem(error: unknown): string {
  if (error instanceof Halt) {
    return error.message;
  }
  return error instanceof AppError ? error.detail : "Something failed inside the service; its log has the details.";
}

function systemActor(at: number): Actor {
  const opId = newId("operation");
  return { type: "system", id: "rotation", name: "Key rotation", requestId: "", ip: null, opId, at };
}
