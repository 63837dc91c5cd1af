/** How many invites a workspace may send and keep open, and how many seats are left for them: read for the answer, held by guards in the batch. */
import { sql, type SQL } from "drizzle-orm";
import { guardThat, hideSql, type Database, type Statement } from "../base/database.js";
import type { ErrorCode } from "../base/errors.js";

/** Invites that a workspace may send in any hour, and have open at once. */
export const invitesPerHour = 100;
export const openInvites = 100;

/** Times that one invite may be sent again in any hour. */
export const resendsPerHour = 3;

const hourMs = 3_600_000;

/** How many more can be invited now, and what keeps it from being more. */
export interface InviteRoom {
  readonly left: number;
  readonly limit: Extract<ErrorCode, "seat_limit_reached" | "invite_limit_reached" | "rate_limited">;
  /** When the hour's limit is the one: until one more can be sent. */
  readonly retryAfterMs: number | null;
}

/** The room a workspace has for invites at `now`. */
export async function readRoom(db: Database, workspaceId: string, now: number): Promise<InviteRoom> {
  const [row] = await hideSql(
    db.all<{ sent: number; oldest: number | null; open: number; seats: number | null }>(
      sql`SELECT ${countSent(workspaceId, now)} AS sent, ${countOpen(workspaceId, now)} AS open,
        (SELECT min(i.created_at) FROM invites AS i WHERE i.workspace_id = ${workspaceId} AND i.created_at > ${now - hourMs}) AS oldest,
        (SELECT CASE w.seat_limit WHEN 0 THEN NULL ELSE w.seat_limit - w.living_members END FROM workspaces AS w WHERE w.id = ${workspaceId}) AS seats`,
    ),
  );
  const { sent = 0, open = 0, oldest = null, seats = null } = row ?? {};
  const rooms: readonly InviteRoom[] = [
    { left: seats === null ? Infinity : seats - open, limit: "seat_limit_reached", retryAfterMs: null },
    { left: openInvites - open, limit: "invite_limit_reached", retryAfterMs: null },
    { left: invitesPerHour - sent, limit: "rate_limited", retryAfterMs: (oldest ?? now) + hourMs - now },
  ];
  const tightest = rooms.reduce((one, two) => (two.left < one.left ? two : one));
  return { ...tightest, left: Math.max(0, tightest.left) };
}

/** Guards for right after new invites: `conflict` when others were faster, to be planned anew. */
export function guardRoom(db: Database, workspaceId: string, at: number): Statement[] {
  return [
    guardThat(db, hasSeats(workspaceId, at), "conflict"),
    guardThat(db, sql`${countOpen(workspaceId, at)} <= ${openInvites}`, "conflict"),
    guardThat(db, sql`${countSent(workspaceId, at)} <= ${invitesPerHour}`, "conflict"),
  ];
}

/** Guards for right after an expired invite was opened again: it takes a seat and a place anew. */
export function guardReopened(db: Database, workspaceId: string, at: number): Statement[] {
  return [
    guardThat(db, hasSeats(workspaceId, at), "seat_limit_reached"),
    guardThat(db, sql`${countOpen(workspaceId, at)} <= ${openInvites}`, "invite_limit_reached"),
  ];
}

/** A guard before a resend: `rate_limited` when this invite had its resends of the hour. Their letters are what is counted. */
export function guardResends(db: Database, inviteId: string, at: number): Statement {
  const resent = sql`(SELECT count(*) FROM outbox AS l WHERE l.subject_id = ${inviteId} AND l.version > 1 AND l.created_at > ${at - hourMs})`;
  return guardThat(db, sql`${resent} < ${resendsPerHour}`, "rate_limited");
}

/** How long until an invite may be sent again, in ms. */
export async function resendAgainMs(db: Database, inviteId: string, now: number): Promise<number> {
  const [row] = await hideSql(
    db.all<{ at: number }>(
      sql`SELECT l.created_at AS at FROM outbox AS l WHERE l.subject_id = ${inviteId} AND l.version > 1
        ORDER BY l.created_at DESC LIMIT 1 OFFSET ${resendsPerHour - 1}`,
    ),
  );
  return Math.max(1000, (row?.at ?? now) + hourMs - now);
}

function countSent(workspaceId: string, now: number): SQL {
  return sql`(SELECT count(*) FROM invites AS i WHERE i.workspace_id = ${workspaceId} AND i.created_at > ${now - hourMs})`;
}

function countOpen(workspaceId: string, now: number): SQL {
  return sql`(SELECT count(*) FROM invites AS i WHERE i.workspace_id = ${workspaceId} AND i.state = 'pending' AND i.expires_at > ${now})`;
}

function hasSeats(workspaceId: string, now: number): SQL {
  return sql`EXISTS (SELECT 1 FROM workspaces AS w WHERE w.id = ${workspaceId}
    AND (w.seat_limit = 0 OR w.living_members + ${countOpen(workspaceId, now)} <= w.seat_limit))`;
}
