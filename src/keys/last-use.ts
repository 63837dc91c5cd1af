/** When a key was last used: at most once a minute, never on a request's path, and never worth a failure. */
import { and, eq, sql } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { apiKeys } from "./model.js";

/** `last_used_at` moves at most this often. */
export const lastUsedStepMs = 60_000;

/**
 * Notes uses of a workspace's keys (epoch milliseconds by key id), in one statement; one that comes within a minute of what is
 * noted writes nothing. Never throws: nobody waits for it, and a failure costs a time in a list.
 */
export async function noteUses(db: Database, workspaceId: string, uses: ReadonlyMap<string, number>): Promise<void> {
  const list = JSON.stringify([...uses]);
  const usedAt = sql`(SELECT e.value ->> 1 FROM json_each(${list}) AS e WHERE e.value ->> 0 = ${apiKeys.id})`;
  const isNamed = sql`${apiKeys.id} IN (SELECT e.value ->> 0 FROM json_each(${list}) AS e)`;
  const isDue = sql`coalesce(${apiKeys.lastUsedAt}, 0) <= ${usedAt} - ${lastUsedStepMs}`;
  try {
    await hideSql(
      db
        .update(apiKeys)
        .set({ lastUsedAt: usedAt })
        .where(and(eq(apiKeys.workspaceId, workspaceId), isNamed, isDue))
        .run(),
    );
  } catch (error) {
    log("warn", "key_use_not_noted", { workspace_id: workspaceId, keys: uses.size, cause: describeError(error) });
  }
}
