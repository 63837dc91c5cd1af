/**
 * Which entry of KEYRING is in force. An entry wraps and seals nothing before every live version of the Worker has said that it
 * has it and wants it: two versions run at every deploy, and what one seals the other has to open.
 */
import { and, eq, inArray, isNotNull, isNull, lt, ne, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { commit, hideSql, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import { describeError, log } from "../base/log.js";
import { dataKeys, keyringEntries, keyringReports } from "./model.js";

/** A version of the Worker that was heard of within this time may still be running. */
export const liveForMs = 10 * 60_000;

/** Each isolate says what it has at most this often. */
const reportEveryMs = 60_000;
const reportsKeptMs = 24 * 3_600_000;

/** The entry that wraps and seals: the one in force, or the ring's own primary before the first sweep. Throws `keyring_entry_missing` when this ring lacks it. */
export async function sealingEntry(db: Database, keyring: Keyring): Promise<string> {
  const query = db.select({ id: keyringEntries.id }).from(keyringEntries).where(eq(keyringEntries.state, "primary"));
  const [found] = await hideSql(query.all());
  const entry = found?.id ?? keyring.primary;
  if (!keyring.ids.includes(entry)) {
    throw new AppError("keyring_entry_missing", { retryAfterMs: 5000 });
  }
  return entry;
}

const reportedAt = new WeakMap<Keyring, number>();

/** Whether this isolate has not said for a minute which entries it has. */
export function isReportDue(keyring: Keyring, now: number): boolean {
  const last = reportedAt.get(keyring);
  return last === undefined || now - last >= reportEveryMs;
}

/** Says which entries this version has, unless it did within a minute. For after the answer: a failure is logged and made up for by the next. */
export async function reportKeyring(db: Database, versionId: string, keyring: Keyring, now: number): Promise<void> {
  if (!isReportDue(keyring, now)) {
    return;
  }
  reportedAt.set(keyring, now);
  try {
    await commit(db, [upsertReport(db, versionId, keyring, now)]);
  } catch (error) {
    log("warn", "keyring_not_reported", { cause: describeError(error) });
  }
}

/**
 * Reports, notes entries not seen before, and puts this ring's primary into force once every live version has it and wants it.
 * Notes when the last row has left an entry. One batch, by cron; running it twice is running it once.
 */
export async function sweepEntries(db: Database, versionId: string, keyring: Keyring, now: number): Promise<void> {
  const { primary } = keyring;
  const isOtherPrimary = and(eq(keyringEntries.state, "primary"), ne(keyringEntries.id, primary));
  const hasPrimary = sql`EXISTS (SELECT 1 FROM ${keyringEntries} WHERE ${keyringEntries.state} = 'primary')`;
  const wraps = sql`EXISTS (SELECT 1 FROM ${dataKeys} WHERE ${dataKeys.keyringId} = ${keyringEntries.id})`;
  await commit(db, [
    upsertReport(db, versionId, keyring, now),
    db.delete(keyringReports).where(lt(keyringReports.seenAt, now - reportsKeptMs)),
    db.insert(keyringEntries).select(
      sql`SELECT value, 'known', ${now}, NULL, NULL FROM json_each(${JSON.stringify(keyring.ids)})
        WHERE value NOT IN (SELECT ${keyringEntries.id} FROM ${keyringEntries})`,
    ),
    // Two statements: the index that holds the one primary is checked row by row.
    db
      .update(keyringEntries)
      .set({ state: "known" })
      .where(and(isOtherPrimary, allWant(primary, now))),
    db
      .update(keyringEntries)
      .set({ state: "primary", usedAt: sql`coalesce(${keyringEntries.usedAt}, ${now})`, leftAt: null })
      .where(and(eq(keyringEntries.id, primary), sql`NOT ${hasPrimary}`)),
    auditIfChanged(db, systemActor(now), {
      workspaceId: null,
      action: "keyring.primary_changed",
      targets: [{ type: "keyring_entry", id: primary }],
    }),
    db
      .update(keyringEntries)
      .set({ leftAt: now })
      .where(
        and(
          eq(keyringEntries.state, "known"),
          isNotNull(keyringEntries.usedAt),
          isNull(keyringEntries.leftAt),
          sql`NOT ${wraps}`,
        ),
      ),
  ]);
  reportedAt.set(keyring, now);
}

/** Entries that wrap data keys and are not in this ring: what is under them opens nowhere in this deployment. */
export async function findMissingEntries(db: Database, keyring: Keyring): Promise<readonly string[]> {
  const wrapping = db
    .select({ id: dataKeys.keyringId })
    .from(dataKeys)
    .where(eq(dataKeys.keyringId, keyringEntries.id));
  const query = db
    .select({ id: keyringEntries.id })
    .from(keyringEntries)
    .where(sql`EXISTS ${wrapping}`);
  const rows = await hideSql(query.all());
  return rows.map(({ id }) => id).filter((id) => !keyring.ids.includes(id));
}

/** Ids of the entries that some data key may be wrapped under although another is in force, as a subquery. */
export function supersededEntries(db: Database) {
  return inArray(
    dataKeys.keyringId,
    db.select({ id: keyringEntries.id }).from(keyringEntries).where(eq(keyringEntries.state, "known")),
  );
}

function allWant(primary: string, now: number) {
  const has = sql`EXISTS (SELECT 1 FROM json_each(${keyringReports.ids}) WHERE value = ${primary})`;
  return sql`NOT EXISTS (SELECT 1 FROM ${keyringReports} WHERE ${keyringReports.seenAt} > ${now - liveForMs}
    AND (${keyringReports.primaryId} <> ${primary} OR NOT ${has}))`;
}

function upsertReport(db: Database, versionId: string, keyring: Keyring, now: number): Statement {
  const report = { ids: JSON.stringify(keyring.ids), primaryId: keyring.primary, seenAt: now };
  return db
    .insert(keyringReports)
    .values({ versionId, ...report })
    .onConflictDoUpdate({ target: keyringReports.versionId, set: report });
}

function systemActor(now: number): Actor {
  const opId = newId("operation");
  return { type: "system", id: "keyring", name: "Keyring", requestId: "", ip: null, opId, at: now };
}
