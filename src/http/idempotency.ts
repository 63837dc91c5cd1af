/** Safe retries: a claim with a lease and a token, checked by a guard in the change's own batch, so the loser of a takeover commits nothing. */
import { and, eq, inArray, isNull, lt, sql } from "drizzle-orm";
import { sha256Hex, toBase32, randomBytes } from "../base/bytes.js";
import { commit, guardThat, hideSql, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { idempotency, StoredHeaders } from "./model.js";
import type { Reply } from "./reply.js";

const usualLeaseMs = 60_000;

/** Stored answers are kept this long. */
const keptMs = 24 * 3_600_000;

/** A running claim on one Idempotency-Key. */
export interface Claim {
  readonly id: string;
  readonly token: string;
}

/** An answer stored by an earlier request. `body` is JSON text, sealed when `sealed`; null for an empty body. */
export interface StoredAnswer {
  /** The claim's id, which its seal is bound to. */
  readonly id: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly sealed: boolean;
  readonly workspaceId: string | null;
}

/** The key header, checked: 1–255 printable ASCII characters; null when absent. Throws `invalid_header`. */
export function readIdempotencyKey(request: Request): string | null {
  const key = request.headers.get("idempotency-key");
  if (key !== null && !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new AppError("invalid_header", {
      detail: "Idempotency-Key takes 1 to 255 printable characters without spaces.",
    });
  }
  return key;
}

/**
 * Claims the key for this request, or gives what an earlier one answered. Throws `idempotency_key_reused` for another
 * body under the same key and `idempotency_in_progress` while the first is running (`leaseMs`, 60 s when not given).
 */
export async function claimKey(
  db: Database,
  scope: readonly string[],
  requestHash: string,
  now: number,
  leaseMs = usualLeaseMs,
): Promise<{ claim: Claim } | { stored: StoredAnswer }> {
  const { id, salted } = await nameRequest(scope, requestHash);
  // The release before stored the bare one.
  const known = [salted, requestHash];
  const token = toBase32(randomBytes(16));
  const fresh = { token, requestHash: salted, leaseUntil: now + leaseMs, createdAt: now };
  const takeable = and(
    isNull(idempotency.status),
    lt(idempotency.leaseUntil, now),
    inArray(idempotency.requestHash, known),
  );
  const outdated = lt(idempotency.createdAt, now - keptMs);
  await hideSql(
    db
      .insert(idempotency)
      .values({ id, ...fresh })
      .onConflictDoUpdate({
        target: idempotency.id,
        set: { ...fresh, status: null, headers: null, body: null, sealed: false, workspaceId: null },
        setWhere: sql`(${takeable}) OR (${outdated})`,
      })
      .run(),
  );
  const [row] = await hideSql(db.select().from(idempotency).where(eq(idempotency.id, id)).all());
  if (row === undefined || !known.includes(row.requestHash)) {
    throw new AppError("idempotency_key_reused");
  }
  if (row.token === token) {
    return { claim: { id, token } };
  }
  if (row.status === null) {
    throw new AppError("idempotency_in_progress", { retryAfterMs: Math.max(1000, row.leaseUntil - now) });
  }
  return { stored: toStored(row, row.status) };
}

/** The success that an earlier request of this caller with this key and body was answered with; null when there is none. Claims nothing. */
export async function findSuccess(
  db: Database,
  scope: readonly string[],
  requestHash: string,
  now: number,
): Promise<StoredAnswer | null> {
  const { id, salted } = await nameRequest(scope, requestHash);
  const [row] = await hideSql(db.select().from(idempotency).where(eq(idempotency.id, id)).all());
  if (row?.requestHash !== salted || row.status === null || row.status >= 300 || row.createdAt < now - keptMs) {
    return null;
  }
  return toStored(row, row.status);
}

async function nameRequest(scope: readonly string[], requestHash: string): Promise<{ id: string; salted: string }> {
  const id = await sha256Hex(JSON.stringify(scope));
  // Salted by the scope, the caller's key among it, which is stored nowhere: a body may hold a password that its bare hash would let one guess.
  const salted = await sha256Hex(JSON.stringify([requestHash, ...scope]));
  return { id, salted };
}

function toStored(row: typeof idempotency.$inferSelect, status: number): StoredAnswer {
  const headers = StoredHeaders.parse(JSON.parse(row.headers ?? "{}"));
  return { id: row.id, status, headers, body: row.body, sealed: row.sealed, workspaceId: row.workspaceId };
}

/** First statement of the change's batch: refuses it when another request has taken the claim over. */
export function guardClaim(db: Database, claim: Claim): Statement {
  const held = sql`EXISTS (SELECT 1 FROM ${idempotency} WHERE ${idempotency.id} = ${claim.id} AND ${idempotency.token} = ${claim.token})`;
  return guardThat(db, held, "idempotency_in_progress");
}

/** Last statement of the change's batch: the answer that a retry will get. */
export function storeAnswer(
  db: Database,
  claim: Claim,
  answer: Pick<Reply, "headers"> & { readonly status: number },
  body: { readonly text: string | null; readonly sealed: boolean },
  workspaceId: string | null,
): Statement {
  return db
    .update(idempotency)
    .set({
      status: answer.status,
      headers: JSON.stringify(answer.headers),
      body: body.text,
      sealed: body.sealed,
      workspaceId,
    })
    .where(and(eq(idempotency.id, claim.id), eq(idempotency.token, claim.token)));
}

/** Gives the claim back after a failure that is not kept, so that a retry runs anew. */
export async function releaseClaim(db: Database, claim: Claim): Promise<void> {
  const mine = and(eq(idempotency.id, claim.id), eq(idempotency.token, claim.token), isNull(idempotency.status));
  await commit(db, [db.delete(idempotency).where(mine)]);
}

/** Drops answers older than they are kept. Run by cron. */
export async function sweepAnswers(db: Database, now: number): Promise<void> {
  await commit(db, [db.delete(idempotency).where(lt(idempotency.createdAt, now - keptMs))]);
}
