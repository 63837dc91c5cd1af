/** Inviting: any number of addresses in one batch, a result for each, and never two pending invites of one address. */
import { and, desc, eq, lt, lte, or, sql, type SQL } from "drizzle-orm";
import type { AnySQLiteColumn } from "drizzle-orm/sqlite-core";
import type { Actor } from "../access/principal.js";
import { auditRows } from "../audit/audit.js";
import { guardThat, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Position } from "../http/page.js";
import { EmailAddress, users } from "../identity/model.js";
import { outbox, type MailMessage } from "../mail/model.js";
import { planLetters } from "../mail/outbox.js";
import { invites, members } from "../tenancy/model.js";
import { againMs, fullSince, guardLetters, guardRoom, readRoom, type InviteRoom } from "./invite-limits.js";
import type { Invite, InviteMembers, InviteResult } from "./invite-schema.js";

/** How long an invite can be accepted: what the workspace's settings say, in days; `w` is its row. */
const expiryMs = sql.raw("coalesce(w.settings ->> '$.invite_policy.expiry_days', 7) * 86400000");

/** Planned invites: what each address gets, in the order given, and the letters to enqueue once they are committed. */
export interface PlannedInvites {
  readonly results: readonly InviteResult[];
  readonly messages: readonly MailMessage[];
  /** The limit that kept addresses out; null when none did. */
  readonly limited: AppError | null;
}

/** What the record knows of an address: `memberId` of a living member, `inviteId` of a pending invite that has not expired, since when it had its letters of the hour. */
interface Known {
  readonly email: string;
  readonly memberId: string | null;
  readonly inviteId: string | null;
  readonly fullSince: number | null;
}

interface FreshInvite {
  readonly id: string;
  readonly email: string;
}

/**
 * Plans invites by the member `invitedBy`. The results hold when the batch commits: where another request was faster
 * with one of the addresses, the batch fails with `conflict` as a whole, to be planned anew. `forbidden` when the
 * inviter may no longer invite.
 */
export async function planInvites(
  db: Database,
  workspaceId: string,
  actor: Actor,
  invitedBy: string,
  input: InviteMembers,
): Promise<Change<PlannedInvites>> {
  const addresses = input.emails.map((given) => ({ given, email: EmailAddress.safeParse(given).data ?? null }));
  const distinct = [...new Set(addresses.flatMap(({ email }) => email ?? []))];
  const known = await readKnown(db, workspaceId, distinct, actor.at);
  const { fresh, kept, limited } = await choose(db, workspaceId, known, actor.at);
  const first = new Map([...known.flatMap(toKnownResult), ...fresh.map(toFreshResult), ...kept]);
  const seen = new Set<string>();
  const results = addresses.map(({ given, email }) => toResult(given, email, first, seen));
  if (fresh.length === 0) {
    return { statements: [], value: { results, messages: [], limited } };
  }
  const orders = fresh.map(({ id, email }) => {
    return { kind: "invite", workspaceId, subjectId: id, version: 1, recipient: email } as const;
  });
  const letters = planLetters(db, orders, actor.at);
  const audit = fresh.map(({ id, email }) => ({
    workspaceId,
    action: "member.invited",
    targets: [{ type: "invite", id }],
    after: { email, role: input.role },
  }));
  const statements = [
    ...insertInvites(db, workspaceId, actor.at, invitedBy, input, fresh),
    ...guardRoom(db, workspaceId, actor.at),
    auditRows(db, actor, audit),
    letters.statement,
    guardLetters(
      db,
      workspaceId,
      fresh.map(({ email }) => email),
      actor.at,
      "conflict",
    ),
  ];
  return { statements, value: { results, messages: letters.messages, limited } };
}

/** Who of the addresses is invited, and what those get who are kept out: the workspace has no room, or the address had its letters. */
async function choose(db: Database, workspaceId: string, known: readonly Known[], now: number) {
  const unknown = known.filter(({ memberId, inviteId }) => memberId === null && inviteId === null);
  const full = unknown.flatMap((one) => (one.fullSince === null ? [] : { email: one.email, since: one.fullSince }));
  const free = unknown.filter((one) => one.fullSince === null);
  const room = await readRoom(db, workspaceId, now);
  const fresh = free.slice(0, room.left).map(({ email }): FreshInvite => ({ id: newId("invite"), email }));
  const noRoom = fresh.length === free.length ? null : toLimit(room);
  const firstFree = Math.min(...full.map(({ since }) => since));
  const noLetter = full.length === 0 ? null : toLetterLimit(againMs(firstFree, now));
  const kept = [
    ...(noRoom === null ? [] : free.slice(room.left).map(({ email }) => toLimitedResult(email, noRoom))),
    ...(noLetter === null ? [] : full.map(({ email }) => toLimitedResult(email, noLetter))),
  ];
  return { fresh, kept, limited: noRoom ?? noLetter };
}

/** Whether a member, given as values or columns, still stands in a living workspace with the right to give any grantable role. */
export function mayInvite(workspaceId: string | AnySQLiteColumn, memberId: string | AnySQLiteColumn): SQL<number> {
  return sql<number>`EXISTS (SELECT 1 FROM members AS inviter JOIN workspaces AS house ON house.id = inviter.workspace_id
    WHERE inviter.workspace_id = ${workspaceId} AND inviter.id = ${memberId} AND inviter.removed_at IS NULL
    AND house.deleted_at IS NULL AND (inviter.role = 'ADMIN' OR house.owner_member_id = inviter.id))`;
}

/** A workspace's invites, newest first, `limit + 1` of them from a position on. */
export async function listInvites(
  db: Database,
  workspaceId: string,
  from: Position | null,
  limit: number,
  now: number,
): Promise<readonly { readonly position: Position; readonly answer: Invite }[]> {
  const after =
    from === null
      ? undefined
      : or(lt(invites.createdAt, from.time), and(eq(invites.createdAt, from.time), lt(invites.id, from.id)));
  const rows = await hideSql(
    db
      .select({ invite: invites, inviter: users.name, letter: { state: outbox.state, reason: outbox.reason } })
      .from(invites)
      .innerJoin(members, and(eq(members.workspaceId, invites.workspaceId), eq(members.id, invites.invitedBy)))
      .innerJoin(users, eq(users.id, members.userId))
      .leftJoin(outbox, and(eq(outbox.subjectId, invites.id), eq(outbox.version, invites.version)))
      .where(and(eq(invites.workspaceId, workspaceId), after))
      .orderBy(desc(invites.createdAt), desc(invites.id))
      .limit(limit + 1)
      .all(),
  );
  return rows.map(({ invite, inviter, letter }) => ({
    position: { time: invite.createdAt, id: invite.id },
    answer: toInvite(invite, inviter, letter, now),
  }));
}

async function readKnown(
  db: Database,
  workspaceId: string,
  emails: readonly string[],
  now: number,
): Promise<readonly Known[]> {
  return await hideSql(
    db.all<Known>(
      sql`SELECT e.value AS email,
        (SELECT m.id FROM members AS m JOIN user AS u ON u.id = m.user_id
          WHERE m.workspace_id = ${workspaceId} AND m.removed_at IS NULL AND u.email = e.value) AS "memberId",
        (SELECT i.id FROM invites AS i
          WHERE i.workspace_id = ${workspaceId} AND i.email = e.value AND i.state = 'pending' AND i.expires_at > ${now}) AS "inviteId",
        ${fullSince(workspaceId, sql.raw("e.value"), now)} AS "fullSince"
        FROM json_each(${JSON.stringify(emails)}) AS e`,
    ),
  );
}

function insertInvites(
  db: Database,
  workspaceId: string,
  at: number,
  invitedBy: string,
  input: InviteMembers,
  fresh: readonly FreshInvite[],
): Statement[] {
  const emails = JSON.stringify(fresh.map(({ email }) => email));
  const isOutdated = and(
    eq(invites.workspaceId, workspaceId),
    eq(invites.state, "pending"),
    lte(invites.expiresAt, at),
    sql`${invites.email} IN (SELECT value FROM json_each(${emails}))`,
  );
  return [
    guardThat(db, mayInvite(workspaceId, invitedBy), "forbidden"),
    db.update(invites).set({ state: "expired", closedAt: at }).where(isOutdated),
    db
      .insert(invites)
      .select(
        sql`SELECT e.value ->> 'id', w.id, e.value ->> 'email', ${input.role}, coalesce(${input.locale ?? null}, w.settings ->> 'locale', 'en-US'),
          'pending', 1, ${invitedBy}, NULL, ${at}, ${at} + ${expiryMs}, NULL
          FROM json_each(${JSON.stringify(fresh)}) AS e JOIN workspaces AS w ON w.id = ${workspaceId}
          WHERE NOT EXISTS (SELECT 1 FROM members AS m JOIN user AS u ON u.id = m.user_id
            WHERE m.workspace_id = w.id AND m.removed_at IS NULL AND u.email = e.value ->> 'email')`,
      )
      .onConflictDoNothing(),
    guardThat(db, sql`changes() = ${fresh.length}`, "conflict"),
  ];
}

function toKnownResult({ email, memberId, inviteId }: Known): [string, InviteResult][] {
  if (memberId !== null) {
    return [[email, { email, status: "already_member" }]];
  }
  return inviteId === null ? [] : [[email, { email, status: "already_invited", invite_id: inviteId }]];
}

function toFreshResult({ id, email }: FreshInvite): [string, InviteResult] {
  return [email, { email, status: "invited", invite_id: id }];
}

function toLimitedResult(email: string, limited: AppError): [string, InviteResult] {
  return [email, { email, status: "limit", detail: limited.detail }];
}

function toLimit({ limit, retryAfterMs }: InviteRoom): AppError {
  return new AppError(limit, retryAfterMs === null ? {} : { retryAfterMs });
}

function toLetterLimit(retryAfterMs: number): AppError {
  return new AppError("rate_limited", {
    detail: "This address had its letters of the hour from this workspace. Wait, then try again.",
    retryAfterMs,
  });
}

/** The result of one place in the list; an address that stands there again is invited only once. */
function toResult(
  given: string,
  email: string | null,
  first: ReadonlyMap<string, InviteResult>,
  seen: Set<string>,
): InviteResult {
  const result = email === null ? undefined : first.get(email);
  if (email === null || result === undefined) {
    return { email: given, status: "invalid", detail: "Give an e-mail address such as ada@example.com." };
  }
  if (seen.has(email) && result.status === "invited") {
    return { ...result, status: "already_invited", detail: "This address stands in the list more than once." };
  }
  seen.add(email);
  return result;
}

/** The answer's view of an invite; `letter` is what became of its present version's. */
export function toInvite(
  row: typeof invites.$inferSelect,
  inviter: string,
  letter: { readonly state: string; readonly reason: string | null } | null,
  now: number,
): Invite {
  const isOpen = row.state === "pending" && row.expiresAt > now;
  const hasFailed = isOpen && letter?.state === "failed";
  return {
    id: row.id,
    email: row.email,
    role: row.role,
    locale: row.locale,
    state: toState(row.state, isOpen, letter?.state),
    reason: hasFailed ? (letter?.reason ?? null) : null,
    invited_by: { id: row.invitedBy, name: inviter },
    created_at: new Date(row.createdAt).toISOString(),
    expires_at: new Date(row.expiresAt).toISOString(),
  };
}

function toState(
  state: (typeof invites.$inferSelect)["state"],
  isOpen: boolean,
  letter: string | undefined,
): Invite["state"] {
  if (state !== "pending") {
    return state;
  }
  if (!isOpen) {
    return "expired";
  }
  return letter === "sent" ? "sent" : letter === "failed" ? "delivery_failed" : "pending";
}
