/** After a change of the KEYRING's primary: wraps every data key under the entry in force. No secret is opened, and a crash anywhere is a pause. */
import { and, eq, sql } from "drizzle-orm";
import { commit, hideSql, type Database, type Statement } from "../base/database.js";
import type { Keyring } from "../base/keyring.js";
import { describeError, log } from "../base/log.js";
import { sealingEntry, supersededEntries } from "./entries.js";
import { rewrapDataKey } from "./keyring.js";
import { dataKeys } from "./model.js";

type DataKeyRow = typeof dataKeys.$inferSelect;

/**
 * Wraps up to `limit` data keys anew, in one batch. A key that does not open is logged and left as it is, and so is one that
 * changed meanwhile. Answers how many it found; 0 means done. Throws `keyring_entry_missing` when this ring lacks the entry in force.
 */
export async function sweepWrappings(db: Database, keyring: Keyring, limit: number): Promise<number> {
  const entry = await sealingEntry(db, keyring);
  // In no order: some that never open must not stand before the others every time.
  const query = db
    .select()
    .from(dataKeys)
    .where(supersededEntries(db))
    .orderBy(sql`random()`);
  const rows = await hideSql(query.limit(limit).all());
  const planned = await Promise.all(rows.map((row) => planRewrap(db, keyring, entry, row)));
  await commit(
    db,
    planned.flatMap((plan) => (plan === null ? [] : [plan.statement])),
  );
  return rows.length;
}

async function planRewrap(
  db: Database,
  keyring: Keyring,
  entry: string,
  row: DataKeyRow,
): Promise<{ readonly statement: Statement } | null> {
  try {
    const name = { workspaceId: row.workspaceId, dataKeyId: row.id };
    const wrapped = await rewrapDataKey(keyring, entry, name, row.wrapped);
    const isSame = and(eq(dataKeys.id, row.id), eq(dataKeys.wrapped, row.wrapped));
    return { statement: db.update(dataKeys).set({ wrapped, keyringId: entry }).where(isSame) };
  } catch (error) {
    const fields = { workspace_id: row.workspaceId, data_key_id: row.id, entry: row.keyringId };
    log("error", "data_key_not_rewrapped", { ...fields, cause: describeError(error) });
    return null;
  }
}
