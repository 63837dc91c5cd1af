/** A person's own sessions: listed by id, ended one by one or all at once. A deleted row is a refused token from the answer on, since every request reads it. */
import { and, desc, eq, gt, lt, ne, or, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { auditLog } from "../audit/model.js";
import { commit, guardChanged, hideSql, type Change, type Database } from "../base/database.js";
import type { Position } from "../http/page.js";
import { sessions, type SessionRow } from "./model.js";

/** A person's living sessions, newest first, one more than `limit`. */
export async function listSessions(
  db: Database,
  accountId: string,
  now: number,
  page: { readonly limit: number; readonly after: Position | null },
): Promise<SessionRow[]> {
  const at = page.after === null ? "" : new Date(page.after.time).toISOString();
  const isAfter =
    page.after === null
      ? undefined
      : or(lt(sessions.createdAt, at), and(eq(sessions.createdAt, at), lt(sessions.id, page.after.id)));
  return await hideSql(
    db
      .select()
      .from(sessions)
      .where(and(eq(sessions.userId, accountId), gt(sessions.expiresAt, new Date(now).toISOString()), isAfter))
      .orderBy(desc(sessions.createdAt), desc(sessions.id))
      .limit(page.limit + 1)
      .all(),
  );
}

/** Plans the end of one of a person's sessions. `not_found` when it is not theirs, or has ended. */
export function planEndSession(db: Database, actor: Actor, accountId: string, sessionId: string): Change<undefined> {
  const statements = [
    db.delete(sessions).where(and(eq(sessions.userId, accountId), eq(sessions.id, sessionId))),
    guardChanged(db, "not_found"),
    auditRow(db, actor, {
      workspaceId: null,
      action: "session.revoked",
      targets: [{ type: "session", id: sessionId }],
    }),
  ];
  return { statements, value: undefined };
}

/** Plans the end of all of a person's sessions, but for `kept`. One audit row for each. */
export function planEndSessions(db: Database, actor: Actor, accountId: string, kept: string | null): Change<undefined> {
  const theirs = and(eq(sessions.userId, accountId), kept === null ? undefined : ne(sessions.id, kept));
  const told = db.insert(auditLog).select(
    // The ids are made where the rows are: TypeID's alphabet holds all of hexadecimal.
    sql`SELECT NULL, 'aud_0' || substr(lower(hex(randomblob(13))), 2), NULL, ${actor.at}, ${actor.type}, ${actor.id}, ${actor.name},
      'session.revoked', json_array(json_object('type', 'session', 'id', ${sessions.id})), NULL, NULL, 'success', ${actor.requestId},
      ${actor.ip}, ${actor.opId} FROM ${sessions} WHERE ${theirs}`,
  );
  return { statements: [told, db.delete(sessions).where(theirs)], value: undefined };
}

/** Drops sessions that are over, which open nothing any more. Run by cron. */
export async function sweepSessions(db: Database, now: number): Promise<void> {
  await commit(db, [db.delete(sessions).where(lt(sessions.expiresAt, new Date(now).toISOString()))]);
}
