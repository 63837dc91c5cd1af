/** Audit rows of what may happen in a loop: refused attempts and reads of the log. One a while for each name, and so many an hour for each workspace. */
import { inArray, lt, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { commit, type Database, type Statement } from "../base/database.js";
import { auditIfChanged, type AuditEvent } from "./audit.js";
import { auditThrottle } from "./model.js";

/** How often something is written down. */
export interface Throttle {
  /** What counts as the same again, within its kind. */
  readonly name: string;
  /** What shares the hourly ceiling. */
  readonly kind: "denied" | "read";
  readonly windowMs: number;
}

const hourMs = 3_600_000;
/** Rows of one kind that a workspace gets in an hour. */
const rowsPerHour = { denied: 100, read: 1_000 } as const;
const dropsPerSweep = 5_000;

/** Plans the row, unless the same was written within the window or the workspace has had its share of this hour. */
export function planThrottled(
  db: Database,
  actor: Actor,
  event: AuditEvent & { readonly workspaceId: string },
  { name, kind, windowMs }: Throttle,
): readonly Statement[] {
  const { workspaceId } = event;
  const own = `${kind}|${name}`;
  const hour = `${kind}-hour|${Math.floor(actor.at / hourMs)}`;
  const target = [auditThrottle.workspaceId, auditThrottle.name];
  const soFar = sql`coalesce((SELECT count FROM audit_throttle WHERE workspace_id = ${workspaceId} AND name = ${hour}), 0)`;
  return [
    db
      .insert(auditThrottle)
      .select(sql`SELECT ${workspaceId}, ${own}, ${actor.at}, 1 WHERE ${soFar} < ${rowsPerHour[kind]}`)
      .onConflictDoUpdate({ target, set: { at: actor.at }, setWhere: sql`at <= ${actor.at - windowMs}` }),
    auditIfChanged(db, actor, event),
    db
      .insert(auditThrottle)
      .select(sql`SELECT ${workspaceId}, ${hour}, ${actor.at}, 1 WHERE changes() > 0`)
      .onConflictDoUpdate({ target, set: { at: actor.at, count: sql`count + 1` } }),
  ];
}

/** Drops what no throttle looks at any more. Run by cron. */
export async function sweepThrottles(db: Database, now: number): Promise<void> {
  const old = db
    .select({ id: sql`rowid` })
    .from(auditThrottle)
    .where(lt(auditThrottle.at, now - 2 * hourMs))
    .limit(dropsPerSweep);
  await commit(db, [db.delete(auditThrottle).where(inArray(sql`rowid`, old))]);
}
