/** Warns a key's maker by mail before it expires: seven days and one day ahead, each once, whatever runs twice or late. */
import { and, eq, gt, isNotNull, isNull, lte, or, sql, type SQL } from "drizzle-orm";
import { commit, hideSql, type Database } from "../base/database.js";
import { newId } from "../base/ids.js";
import { users } from "../identity/model.js";
import { outbox } from "../mail/model.js";
import { members, workspaces } from "../tenancy/model.js";
import { apiKeys } from "./model.js";

const dayMs = 24 * 3_600_000;

/** Days ahead, soonest first. The letter's version is its warning. */
const warnings = [1, 7] as const;

/** Keys warned in one run; one run a minute. */
const keysPerSweep = 50;

/** Whether a warning of so many days still says something: the key lives, and no later warning is due. */
export function isWarnable(expiresAt: number, days: number, now: number): boolean {
  return now < expiresAt && warningDue(expiresAt, now) === days;
}

/** The warning that is due for an expiry that is ahead, in days; null for none yet. */
function warningDue(expiresAt: number, now: number): number | null {
  return warnings.find((days) => expiresAt <= now + days * dayMs) ?? null;
}

/**
 * Writes the letters that are due, for the outbox sweep to send, and answers how many keys it found. A key that was made for
 * less time than a warning's is not warned by it. Run by cron.
 */
export async function sweepExpiringKeys(db: Database, now: number): Promise<number> {
  const found = await hideSql(
    db
      .select({ id: apiKeys.id, expiresAt: apiKeys.expiresAt })
      .from(apiKeys)
      .innerJoin(members, makerOfKey)
      .innerJoin(workspaces, eq(workspaces.id, apiKeys.workspaceId))
      .where(isDue(now))
      .orderBy(apiKeys.expiresAt)
      .limit(keysPerSweep)
      .all(),
  );
  const due = found.map(({ id, expiresAt }) => ({
    id,
    letter: newId("letter"),
    days: warningDue(expiresAt ?? 0, now),
  }));
  if (due.length === 0) {
    return 0;
  }
  const list = JSON.stringify(due);
  const daysOf = sql`(SELECT e.value ->> 'days' FROM json_each(${list}) AS e WHERE e.value ->> 'id' = ${apiKeys.id})`;
  const isListed = sql`${apiKeys.id} IN (SELECT e.value ->> 'id' FROM json_each(${list}) AS e)`;
  // One transaction: a sweep beside this one finds the keys marked, and writes nothing.
  await commit(db, [
    db.insert(outbox).select(
      sql`SELECT e.value ->> 'letter', 'key_expiring', ${apiKeys.workspaceId}, ${apiKeys.id}, e.value ->> 'days', ${users.email},
        'queued', NULL, 0, ${now}, NULL, NULL FROM json_each(${list}) AS e JOIN ${apiKeys} ON ${apiKeys.id} = e.value ->> 'id'
        JOIN ${members} ON ${makerOfKey} JOIN ${users} ON ${users.id} = ${members.userId}
        JOIN ${workspaces} ON ${workspaces.id} = ${apiKeys.workspaceId} WHERE ${isDue(now)}`,
    ),
    db
      .update(apiKeys)
      .set({ warnedDays: daysOf })
      .where(and(isListed, or(isNull(apiKeys.warnedDays), gt(apiKeys.warnedDays, daysOf)))),
  ]);
  return due.length;
}

const makerOfKey = and(eq(members.workspaceId, apiKeys.workspaceId), eq(members.id, apiKeys.madeBy));

function isDue(now: number): SQL | undefined {
  const stands = and(isNull(apiKeys.revokedAt), isNull(members.removedAt), isNull(workspaces.deletedAt));
  const ahead = and(isNotNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, now));
  const each = warnings.map((days) =>
    and(
      lte(apiKeys.expiresAt, now + days * dayMs),
      gt(sql`${apiKeys.expiresAt} - ${apiKeys.createdAt}`, days * dayMs),
      or(isNull(apiKeys.warnedDays), gt(apiKeys.warnedDays, days)),
    ),
  );
  return and(stands, ahead, or(...each));
}
