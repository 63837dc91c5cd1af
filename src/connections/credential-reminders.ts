/** Reminds a workspace's owner and admins of a credential whose entered date comes near: 14 and 3 days ahead and when it has come, each once. */
import { and, asc, gt, lte, ne, or, sql, type SQL } from "drizzle-orm";
import { commit, hideSql, type Database } from "../base/database.js";
import { users } from "../identity/model.js";
import { outbox } from "../mail/model.js";
import { members, workspaces } from "../tenancy/model.js";
import { isAdmin, newLetterId } from "./credential-admins.js";
import { credentials } from "./model.js";

const dayMs = 24 * 3_600_000;

/** Days ahead, soonest first. The letter's version is its reminder. */
const reminders = [0, 3, 14] as const;

const longestMs = 14 * dayMs;

/** A date that is past by more than this is nobody's news. */
const staleMs = 7 * dayMs;

/** Credentials reminded of in one run; one run a minute. */
const credentialsPerSweep = 50;

/** Whether a reminder of so many days still says something: no later one is due, and the date is not long past. */
export function isRemindable(expiresAt: number, days: number, now: number): boolean {
  return now < expiresAt + staleMs && reminders.find((ahead) => expiresAt <= now + ahead * dayMs) === days;
}

/** Writes the letters that are due, for the outbox sweep to send, and answers how many credentials it found. Run by cron. */
export async function sweepExpiringCredentials(db: Database, now: number): Promise<number> {
  const found = await hideSql(
    db
      .select({ id: credentials.id, expiresAt: credentials.expiresAt })
      .from(credentials)
      .where(isDue(now))
      .orderBy(asc(credentials.expiresAt))
      .limit(credentialsPerSweep)
      .all(),
  );
  const due = found.map(({ id, expiresAt }) => ({
    id,
    days: reminders.find((days) => (expiresAt ?? 0) <= now + days * dayMs),
  }));
  if (due.length === 0) {
    return 0;
  }
  const list = JSON.stringify(due);
  // One transaction: a sweep beside this one finds the credentials marked, and writes nothing.
  await commit(db, [
    db.insert(outbox).select(
      sql`SELECT ${newLetterId}, 'credential_expiring', ${credentials.workspaceId}, ${credentials.id}, e.value ->> 'days', ${users.email},
        'queued', NULL, 0, ${now}, NULL, NULL FROM json_each(${list}) AS e JOIN ${credentials} ON ${credentials.id} = e.value ->> 'id'
        JOIN ${members} ON ${members.workspaceId} = ${credentials.workspaceId} JOIN ${users} ON ${users.id} = ${members.userId}
        JOIN ${workspaces} ON ${workspaces.id} = ${credentials.workspaceId} WHERE ${isDue(now)} AND ${isAdmin}`,
    ),
    db
      .update(credentials)
      .set({ expiryWarnedAt: now })
      .where(and(sql`${credentials.id} IN (SELECT e.value ->> 'id' FROM json_each(${list}) AS e)`, isDue(now))),
  ]);
  return due.length;
}

/** A reminder whose time had come when the date was entered is not written: `expiryWarnedAt` begins with that moment. */
function isDue(now: number): SQL | undefined {
  const warnedAt = sql`coalesce(${credentials.expiryWarnedAt}, 0)`;
  const each = reminders.map((days) =>
    and(lte(credentials.expiresAt, now + days * dayMs), sql`${warnedAt} < ${credentials.expiresAt} - ${days * dayMs}`),
  );
  return and(
    gt(credentials.expiresAt, now - staleMs),
    lte(credentials.expiresAt, now + longestMs),
    ne(credentials.status, "disabled"),
    or(...each),
  );
}
