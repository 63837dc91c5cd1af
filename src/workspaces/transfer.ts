/** Handing a workspace on: offered by the owner, confirmed by the code mailed to them, done in one statement. There is one owner at every moment. */
import { and, eq, gt, inArray, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged, auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import { triesPerCode } from "../identity/code-limits.js";
import { planCode, tryCode } from "../identity/codes.js";
import { emailCodes, users } from "../identity/model.js";
import type { MailMessage } from "../mail/model.js";
import { members, workspaces } from "../tenancy/model.js";
import { toMember, type MemberRecord } from "./members.js";
import { ownershipTransfers } from "./model.js";
import type { OfferedTransfer, TransferredOwnership } from "./transfer-schema.js";

type TransferRow = typeof ownershipTransfers.$inferSelect;

/** How long an offer waits for its code. */
const offerMs = 15 * 60_000;

/** The owner as an offer needs them. */
export interface Owner {
  readonly memberId: string;
  /** Where the code goes. */
  readonly email: string;
}

/**
 * Plans an offer to a living member, and the letter with its code. An earlier offer that ran out of time or tries makes
 * room. `transfer_pending` while one waits, `rate_limited`; `conflict` when owner or member changed meanwhile.
 */
export async function planOffer(
  db: Database,
  mailSecret: Keyring,
  workspaceId: string,
  actor: Actor,
  owner: Owner,
  to: MemberRecord,
): Promise<Change<{ readonly offer: OfferedTransfer; readonly messages: readonly MailMessage[] }>> {
  if (to.row.id === owner.memberId) {
    throw invalidField("/member_id", "This member owns the workspace already.");
  }
  const row: TransferRow = {
    id: newId("transfer"),
    workspaceId,
    fromMemberId: owner.memberId,
    toMemberId: to.row.id,
    state: "pending",
    createdAt: actor.at,
    expiresAt: actor.at + offerMs,
    closedAt: null,
  };
  const code = await planCode(db, mailSecret, actor, {
    purpose: "ownership_transfer",
    email: owner.email,
    locale: await findLocale(db, workspaceId, owner.email),
    letter: "ownership_transfer",
    workspaceId,
    subjectId: row.id,
    lifeMs: offerMs,
  });
  const statements = [
    guardThat(db, mayHandOver(workspaceId, owner.memberId, to.row.id), "conflict"),
    closeOutdated(db, workspaceId, actor.at),
    db.insert(ownershipTransfers).values(row),
    ...code.statements,
    auditRow(db, actor, {
      workspaceId,
      action: "ownership.offered",
      targets: [{ type: "member", id: to.row.id }],
      after: { transfer_id: row.id, email: to.account.email },
    }),
  ];
  const offer = { id: row.id, member: toMember(to), expires_at: new Date(row.expiresAt).toISOString() };
  const conflicts = { "ownership_transfers.workspace_id": "transfer_pending" } as const;
  return { statements, value: { offer, messages: code.value.messages }, conflicts };
}

/** The offer that waits for its code. Throws `no_transfer_pending`, and `transfer_over` for one that has run out of time. */
export async function findOffer(db: Database, workspaceId: string, now: number): Promise<TransferRow> {
  const isThis = and(eq(ownershipTransfers.workspaceId, workspaceId), sql`${ownershipTransfers.state} = 'pending'`);
  const [row] = await hideSql(db.select().from(ownershipTransfers).where(isThis).all());
  if (row === undefined) {
    throw new AppError("no_transfer_pending");
  }
  if (row.expiresAt <= now) {
    throw new AppError("transfer_over");
  }
  return row;
}

/**
 * Plans the transfer itself, once the code was typed right: the try is counted first. Both stay on, the former owner as
 * an admin. Throws `wrong_code`, `transfer_over` when its tries are used up; the change may fail with `transfer_over`
 * or `conflict`.
 */
export async function planConfirm(
  db: Database,
  mailSecret: Keyring,
  workspaceId: string,
  actor: Actor,
  owner: Owner,
  offer: TransferRow,
  people: { readonly from: MemberRecord; readonly to: MemberRecord },
  code: string,
): Promise<Change<TransferredOwnership>> {
  const use = await proveCode(db, mailSecret, actor, owner, offer, code);
  const { from, to } = people;
  const both = and(eq(members.workspaceId, workspaceId), inArray(members.id, [from.row.id, to.row.id]));
  const isOpen = and(
    eq(ownershipTransfers.workspaceId, workspaceId),
    eq(ownershipTransfers.id, offer.id),
    sql`${ownershipTransfers.state} = 'pending'`,
    gt(ownershipTransfers.expiresAt, actor.at),
  );
  const statements = [
    ...use,
    db.update(ownershipTransfers).set({ state: "confirmed", closedAt: actor.at }).where(isOpen),
    guardChanged(db, "transfer_over"),
    db
      .update(workspaces)
      .set({ ownerMemberId: to.row.id, revision: sql`${workspaces.revision} + 1`, updatedAt: actor.at })
      .where(and(eq(workspaces.id, workspaceId), mayHandOver(workspaceId, from.row.id, to.row.id))),
    guardChanged(db, "conflict"),
    db
      .update(members)
      .set({ role: "ADMIN", revision: sql`${members.revision} + 1` })
      .where(and(both, sql`${members.role} IS NOT 'ADMIN'`)),
    auditRow(db, actor, {
      workspaceId,
      action: "ownership.transferred",
      targets: [{ type: "workspace", id: workspaceId }],
      before: { owner_member_id: from.row.id, email: from.account.email },
      after: { owner_member_id: to.row.id, email: to.account.email },
    }),
  ];
  const asAdmin = (record: MemberRecord): MemberRecord => {
    return { ...record, row: { ...record.row, role: "ADMIN" }, ownerMemberId: to.row.id };
  };
  const value = { owner: toMember(asAdmin(to)), former_owner: toMember(asAdmin(from)) };
  return { statements, value };
}

/** Plans taking the offer back. With none waiting it changes nothing and writes nothing. */
export function planCancel(db: Database, workspaceId: string, actor: Actor): Change<undefined> {
  const isPending = and(eq(ownershipTransfers.workspaceId, workspaceId), sql`${ownershipTransfers.state} = 'pending'`);
  const statements = [
    db.update(ownershipTransfers).set({ state: "cancelled", closedAt: actor.at }).where(isPending),
    auditIfChanged(db, actor, {
      workspaceId,
      action: "ownership.offer_cancelled",
      targets: [{ type: "workspace", id: workspaceId }],
    }),
  ];
  return { statements, value: undefined };
}

async function proveCode(
  db: Database,
  mailSecret: Keyring,
  actor: Actor,
  owner: Owner,
  offer: TransferRow,
  code: string,
): Promise<readonly Statement[]> {
  try {
    const given = { subjectId: offer.id, email: owner.email, code };
    return (await tryCode(db, mailSecret, actor, "ownership_transfer", given)).use;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "code_refused") {
      throw error;
    }
    // 401 would tell a signed-in owner that their session is at fault.
    throw new AppError((await hasTriesLeft(db, owner, offer)) ? "wrong_code" : "transfer_over", { cause: error });
  }
}

async function hasTriesLeft(db: Database, owner: Owner, offer: TransferRow): Promise<boolean> {
  const [row] = await hideSql(
    db
      .select({ tries: emailCodes.tries, usedAt: emailCodes.usedAt })
      .from(emailCodes)
      .where(and(eq(emailCodes.email, owner.email), eq(emailCodes.subjectId, offer.id)))
      .all(),
  );
  return row !== undefined && row.usedAt === null && row.tries < triesPerCode;
}

/** That one owns the living workspace and the other belongs to it, in the batch's own moment. */
function mayHandOver(workspaceId: string, fromMemberId: string, toMemberId: string) {
  return sql`EXISTS (SELECT 1 FROM ${workspaces} AS house JOIN ${members} AS heir ON heir.workspace_id = house.id
    WHERE house.id = ${workspaceId} AND house.owner_member_id = ${fromMemberId} AND house.deleted_at IS NULL
    AND heir.id = ${toMemberId} AND heir.removed_at IS NULL)`;
}

/** An offer that nobody can confirm any more does not keep another from being made. */
function closeOutdated(db: Database, workspaceId: string, at: number): Statement {
  const isSpent = sql`EXISTS (SELECT 1 FROM ${emailCodes} AS code JOIN ${members} AS owner ON owner.id = ${ownershipTransfers.fromMemberId}
    JOIN ${users} AS person ON person.id = owner.user_id
    WHERE code.email = person.email AND code.purpose = 'ownership_transfer' AND code.subject_id = ${ownershipTransfers.id}
    AND code.tries >= ${triesPerCode})`;
  const isOutdated = sql`(${ownershipTransfers.expiresAt} <= ${at} OR ${isSpent})`;
  return db
    .update(ownershipTransfers)
    .set({ state: "expired", closedAt: at })
    .where(
      and(eq(ownershipTransfers.workspaceId, workspaceId), sql`${ownershipTransfers.state} = 'pending'`, isOutdated),
    );
}

async function findLocale(db: Database, workspaceId: string, email: string): Promise<string> {
  const ofWorkspace = sql<string | null>`(SELECT settings ->> 'locale' FROM workspaces WHERE id = ${workspaceId})`;
  const [row] = await hideSql(
    db.select({ own: users.locale, ofWorkspace }).from(users).where(eq(users.email, email)).all(),
  );
  return row?.own ?? row?.ofWorkspace ?? "en-US";
}
