/** The log as a list: by who, what, on what, how it ended and when; every filter by an index. */
import { and, asc, desc, eq, gt, gte, inArray, lt, sql, type SQL } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { auditLog, auditTargets } from "./model.js";
import type { AuditFilter } from "./query-schema.js";

/** A row of the log. */
export type AuditRow = typeof auditLog.$inferSelect;

/** Rows before a place, newest first, `limit + 1` of them. */
export async function listNewest(
  db: Database,
  workspaceId: string,
  filter: AuditFilter,
  before: number | null,
  limit: number,
): Promise<AuditRow[]> {
  const isBefore = before === null ? undefined : lt(auditLog.seq, before);
  const query = db
    .select()
    .from(auditLog)
    .where(and(matches(db, workspaceId, filter), isBefore))
    .orderBy(desc(auditLog.seq));
  return await hideSql(query.limit(limit + 1).all());
}

/** Rows after a place, oldest first. */
export async function listOldest(
  db: Database,
  workspaceId: string,
  filter: AuditFilter,
  after: number,
  limit: number,
): Promise<AuditRow[]> {
  const query = db
    .select()
    .from(auditLog)
    .where(and(matches(db, workspaceId, filter), gt(auditLog.seq, after)))
    .orderBy(asc(auditLog.seq));
  return await hideSql(query.limit(limit).all());
}

function matches(db: Database, workspaceId: string, filter: AuditFilter): SQL | undefined {
  const { actor, action, target, outcome, from, to } = filter;
  return and(
    eq(auditLog.workspaceId, workspaceId),
    actor === undefined ? undefined : eq(auditLog.actorId, actor),
    action === undefined ? undefined : isAction(action),
    target === undefined ? undefined : inArray(auditLog.seq, rowsOn(db, workspaceId, target)),
    outcome === undefined ? undefined : isOutcome(outcome),
    from === undefined ? undefined : gte(auditLog.time, Date.parse(from)),
    to === undefined ? undefined : lt(auditLog.time, Date.parse(to)),
  );
}

function isAction(action: string): SQL | undefined {
  if (!action.endsWith("*")) {
    return eq(auditLog.action, action);
  }
  const start = action.slice(0, -1);
  // What comes right after everything that begins so; actions are ASCII.
  return and(gte(auditLog.action, start), lt(auditLog.action, `${start}\u007f`));
}

function rowsOn(db: Database, workspaceId: string, target: string) {
  return db
    .select({ seq: auditTargets.seq })
    .from(auditTargets)
    .where(and(eq(auditTargets.workspaceId, workspaceId), eq(auditTargets.targetId, target)));
}

/** The index holds the few that were no success, and is only used when the query says that it wants one of them. */
function isOutcome(outcome: NonNullable<AuditFilter["outcome"]>): SQL | undefined {
  const isThis = eq(auditLog.outcome, outcome);
  return outcome === "success" ? isThis : and(isThis, sql`outcome <> 'success'`);
}
