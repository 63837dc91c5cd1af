/** When a credential was last used: at most once a minute, never on a call's path, and never worth a failure. */
import { and, eq, sql } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { credentials } from "./model.js";

/** `last_used_at` moves at most this often. */
const lastUsedStepMs = 60_000;

/**
 * Notes uses of a workspace's credentials (epoch milliseconds by credential id), in one statement; one that comes within a minute
 * of what is noted writes nothing. Moves neither revision nor configuration. Never throws: a failure costs a time in a list.
 */
export async function noteCredentialUses(
  db: Database,
  workspaceId: string,
  uses: ReadonlyMap<string, number>,
): Promise<void> {
  const list = JSON.stringify([...uses]);
  const usedAt = sql`(SELECT e.value ->> 1 FROM json_each(${list}) AS e WHERE e.value ->> 0 = ${credentials.id})`;
  const isNamed = sql`${credentials.id} IN (SELECT e.value ->> 0 FROM json_each(${list}) AS e)`;
  const isDue = sql`coalesce(${credentials.lastUsedAt}, 0) <= ${usedAt} - ${lastUsedStepMs}`;
  try {
    await hideSql(
      db
        .update(credentials)
        .set({ lastUsedAt: usedAt })
        .where(and(eq(credentials.workspaceId, workspaceId), isNamed, isDue))
        .run(),
    );
  } catch (error) {
    const fields = { workspace_id: workspaceId, credentials: uses.size, cause: describeError(error) };
    log("warn", "credential_use_not_noted", fields);
  }
}
