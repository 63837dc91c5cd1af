/** How many invites a workspace may send and keep open, and how many seats are left for them: read for the answer, held by guards in the batch. */
import { sql, type SQL } from "drizzle-orm";
import { guardThat, hideSql, type Database, type Statement } from "../base/database.js";
import type { ErrorCode } from "../base/errors.js";

/** Invites that a workspace may send in any hour, and have open at once. */
const invitesPerHour = 100;
const openInvites = 100;

/** Times that one invite may be sent again in any hour. */
const resendsPerHour = 3;

/** Letters that one address may get from a workspace in any hour, by however many invites: the first and as many again as one invite may be resent. */
const lettersPerHour = 1 + resendsPerHour;

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

/**
 * Guards for right after letters of invites were written: `code` when one of their addresses had its letters of the
 * hour. Revoking and inviting anew does not get around it, for the letters stay counted.
 */
export function guardLetters(
  db: Database,
  workspaceId: string,
  recipients: readonly string[],
  at: number,
  code: ErrorCode,
): Statement {
  const tooMany = sql`EXISTS (SELECT 1 FROM json_each(${JSON.stringify(recipients)}) AS e
    WHERE ${nthNewest(workspaceId, sql`e.value`, at, lettersPerHour + 1)} IS NOT NULL)`;
  return guardThat(db, sql`NOT ${tooMany}`, code);
}

/** When the oldest of an address's letters of the hour was written, if it had as many as it may have; else null. */
export function fullSince(workspaceId: string, recipient: SQL, now: number): SQL {
  return nthNewest(workspaceId, recipient, now, lettersPerHour);
}

/** How long until one more may be sent when the oldest of the hour is from `at`, in ms. */
export function againMs(at: number, now: number): number {
  return Math.max(1000, at + hourMs - now);
}

/** How long until an invite may be sent again to its address, in ms. */
export async function resendAgainMs(
  db: Database,
  workspaceId: string,
  invite: { readonly id: string; readonly email: string },
  now: number,
): Promise<number> {
  const ofInvite = sql`(SELECT l.created_at FROM outbox AS l WHERE l.subject_id = ${invite.id} AND l.version > 1 AND l.created_at > ${now - hourMs}
    ORDER BY l.created_at DESC LIMIT 1 OFFSET ${resendsPerHour - 1})`;
  const [row] = await hideSql(
    db.all<{ invite: number | null; address: number | null }>(
      sql`SELECT ${ofInvite} AS invite, ${fullSince(workspaceId, sql`${invite.email}`, now)} AS address`,
    ),
  );
  const times = [row?.invite ?? null, row?.address ?? null].filter((at) => at !== null);
  return againMs(times.length === 0 ? now : Math.max(...times), now);
}

/** When the n-th newest of the letters was written that invite to a workspace at this address within the last hour; null when there are fewer. */
function nthNewest(workspaceId: string, recipient: SQL, now: number, n: number): SQL {
  return sql`(SELECT l.created_at FROM outbox AS l WHERE l.workspace_id = ${workspaceId} AND l.recipient = ${recipient}
    AND l.kind = 'invite' AND l.created_at > ${now - hourMs} ORDER BY l.created_at DESC LIMIT 1 OFFSET ${n - 1})`;
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
