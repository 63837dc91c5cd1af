/** What usage is forgotten: sums of hours that are long gone. */
import { lt, sql } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { usageHours } from "./model.js";

/** A question covers 400 days; what is older is in nobody's answer. */
const keptMs = 401 * 24 * 3_600_000;
const rowsPerSweep = 500;

/** Forgets the oldest rows, some at a time. Run by cron. */
export async function sweepUsage(db: Database, now: number): Promise<void> {
  const old = db
    .select({ row: sql`rowid` })
    .from(usageHours)
    .where(lt(usageHours.hour, now - keptMs))
    .limit(rowsPerSweep);
  await hideSql(
    db
      .delete(usageHours)
      .where(sql`rowid IN ${old}`)
      .run(),
  );
}
