/** A key's secret replaced under the same id, limits and windows. A rotation neither revives a key nor lets any secret of it live longer than it had. */
import { and, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import type { Keyring } from "../base/keyring.js";
import type { Secret } from "../base/secret.js";
import { refuseHigherKey, type KeyCaller } from "./caller.js";
import { findKey, guardRevision } from "./keys.js";
import { apiKeys, type ApiKeyRow } from "./model.js";
import { guardCaller } from "./policy.js";
import { mintKey } from "./token.js";

/** What a rotation leaves behind. */
export interface RotatedKey {
  readonly row: ApiKeyRow;
  readonly appliedVersion: number;
  readonly secret: Secret;
}

/**
 * Plans a rotation. The present secret goes on for `overlapSeconds`, at most to the key's own expiry; a secret still left from
 * an earlier rotation ends now. Throws `not_found`, `key_not_active` for a revoked or expired key, and `scope_too_high` when
 * the key may do what the caller may not, `forbidden` for the secret before it that rotates its own key; the change may fail with `key_not_active`, with `conflict` when another change
 * was faster (its secret stands), with `precondition_failed`, or with `forbidden` when the caller has lost their place.
 */
export async function planRotateKey(
  db: Database,
  workspaceId: string,
  actor: Actor,
  keyring: Keyring,
  rotator: KeyCaller,
  keyId: string,
  overlapSeconds: number,
  ifMatch: number | null,
): Promise<Change<RotatedKey>> {
  const { row, appliedVersion } = await findKey(db, workspaceId, keyId, rotator.madeBy);
  if (row.revokedAt !== null || (row.expiresAt !== null && row.expiresAt <= actor.at)) {
    throw new AppError("key_not_active");
  }
  refuseRotator(row, actor, rotator);
  const minted = await mintKey(keyring, workspaceId, row.region);
  const next = {
    digest: minted.digest,
    prefix: minted.prefix,
    lastFour: minted.lastFour,
    previousDigest: row.digest,
    previousPrefix: row.prefix,
    previousLastFour: row.lastFour,
    previousUntil: overlapEnd(row, overlapSeconds, actor.at),
    rotatedAt: actor.at,
    shownTo: rotator.holderId ?? rotator.memberId,
    previousShownTo: row.shownTo ?? row.madeBy,
  };
  const told = {
    workspaceId,
    action: "api_key.rotated",
    targets: [{ type: "api_key", id: keyId }],
    before: { prefix: row.prefix, last_four: row.lastFour },
    after: { prefix: next.prefix, last_four: next.lastFour, overlap_seconds: overlapSeconds },
  };
  return {
    statements: [
      guardCaller(db, workspaceId, actor, rotator),
      ...guardRevision(db, workspaceId, keyId, ifMatch),
      guardActive(db, workspaceId, keyId, actor.at),
      db
        .update(apiKeys)
        .set({ ...next, revision: sql`${apiKeys.revision} + 1` })
        // The very state that was read: of two rotations at once the slower one must not end the secret that the faster one shows.
        .where(and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, keyId), eq(apiKeys.revision, row.revision))),
      guardChanged(db, "conflict"),
      auditRow(db, actor, told),
    ],
    value: { row: { ...row, ...next, revision: row.revision + 1 }, appliedVersion, secret: minted.secret },
  };
}

/** Who rotates a key holds it from then on: nobody gets more than they have, but a maker their own key. */
function refuseRotator(row: ApiKeyRow, actor: Actor, rotator: KeyCaller): void {
  if (!(rotator.isPerson && row.madeBy === rotator.memberId)) {
    refuseHigherKey(row, rotator);
  }
  const secretEnd = rotator.bounds?.expiresAt ?? null;
  if (actor.type === "key" && actor.id === row.id && secretEnd !== row.expiresAt) {
    throw new AppError("forbidden", {
      detail: "A secret that was rotated away makes no new one. Use the present one.",
    });
  }
}

function guardActive(db: Database, workspaceId: string, keyId: string, now: number): Statement {
  const isActive = sql`EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.id} = ${keyId}
    AND ${apiKeys.revokedAt} IS NULL AND (${apiKeys.expiresAt} IS NULL OR ${apiKeys.expiresAt} > ${now}))`;
  return guardThat(db, isActive, "key_not_active");
}

/** Epoch milliseconds; 0 for no overlap, which is over whatever the Router's clock says. */
function overlapEnd(row: ApiKeyRow, overlapSeconds: number, now: number): number {
  return overlapSeconds === 0 ? 0 : Math.min(now + overlapSeconds * 1000, row.expiresAt ?? Infinity);
}
