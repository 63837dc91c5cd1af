/** API keys as deeds: made once with their secret, listed, found, revoked for good. No key can do more than its maker can now. */
import { and, desc, eq, isNull, sql, type SQL } from "drizzle-orm";
import { roleHas, type Role, type Scope } from "../access/permissions.js";
import type { Actor } from "../access/principal.js";
import { auditIfChanged, auditRow } from "../audit/audit.js";
import { guardThat, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import type { Secret } from "../base/secret.js";
import type { Position } from "../http/page.js";
import { workspaces, type Region } from "../tenancy/model.js";
import { boundExpiry, boundLimits, guardBounds, type KeyCaller, type KeyMaker } from "./caller.js";
import { apiKeys, readLimits, readScopes, type ApiKeyRow, type CreateApiKey, type KeyLimits } from "./model.js";
import {
  grantable,
  guardCaller,
  guardCount,
  guardPolicy,
  readExpiry,
  readPolicy,
  refuseHighScopes,
  refuseMemberKeys,
} from "./policy.js";
import { mintKey, type MintedKey } from "./token.js";

/** A key row beside what tells whether its revocation is in force. */
export interface KeyRecord {
  readonly row: ApiKeyRow;
  /** The workspace's version in force in every Router. */
  readonly appliedVersion: number;
}

/**
 * Plans a new key. Throws `scope_too_high` for a scope its maker lacks (a MEMBER's keys call models and tools, nothing else),
 * `limit_too_high` for an expiry or limit beyond those of the key or token that calls (what is left out is theirs),
 * `forbidden` for a MEMBER where members make none, `validation_failed` for an expiry that is not ahead or beyond the workspace's policy; the change may fail with `name_taken`, `conflict` when
 * the settings moved meanwhile, `limit_reached` when there are too many, or `forbidden` when the maker has lost their place.
 */
export async function planCreateKey(
  db: Database,
  workspaceId: string,
  actor: Actor,
  keyring: Keyring,
  maker: KeyMaker,
  input: CreateApiKey,
): Promise<Change<{ readonly row: ApiKeyRow; readonly secret: Secret }>> {
  const policy = await readPolicy(db, workspaceId, maker.memberId);
  refuseMemberKeys(policy);
  refuseHighScopes(input.scopes, grantable(policy.role, maker.grants), "You cannot give a key");
  const limits = boundLimits(input.limits ?? {}, maker.bounds);
  const asked = readExpiry(input.expires_at, actor.at, policy.maxDays);
  const expiresAt = boundExpiry(input.expires_at !== undefined, asked, maker.bounds);
  const region = input.region ?? policy.region;
  const minted = await mintKey(keyring, workspaceId, region);
  const row = newRow(workspaceId, actor, maker, input, { minted, region, expiresAt, limits });
  const told = {
    workspaceId,
    action: "api_key.created",
    targets: [{ type: "api_key", id: row.id }],
    after: toAudit(row),
  };
  return {
    statements: [
      guardCaller(db, workspaceId, actor, { ...maker, madeBy: policy.role === "MEMBER" ? maker.memberId : null }),
      ...guardBounds(db, workspaceId, maker),
      guardPolicy(db, workspaceId, policy),
      guardCount(db, workspaceId, maker.memberId, policy.role),
      db.insert(apiKeys).values(row),
      auditRow(db, actor, told),
    ],
    value: { row, secret: minted.secret },
    conflicts: { "api_keys.name": "name_taken" },
  };
}

function newRow(
  workspaceId: string,
  actor: Actor,
  maker: KeyMaker,
  input: CreateApiKey,
  made: {
    readonly minted: MintedKey;
    readonly region: Region;
    readonly expiresAt: number | null;
    readonly limits: KeyLimits;
  },
): ApiKeyRow {
  const { minted, region, expiresAt, limits } = made;
  return {
    id: newId("key"),
    workspaceId,
    name: input.name,
    digest: minted.digest,
    prefix: minted.prefix,
    lastFour: minted.lastFour,
    scopes: JSON.stringify([...new Set(input.scopes)]),
    limits: JSON.stringify(limits),
    region,
    madeBy: maker.memberId,
    expiresAt,
    previousDigest: null,
    previousPrefix: null,
    previousLastFour: null,
    previousUntil: null,
    rotatedAt: null,
    shownTo: maker.holderId ?? maker.memberId,
    previousShownTo: null,
    warnedDays: null,
    revokedAt: null,
    revokedVersion: null,
    createdAt: actor.at,
    lastUsedAt: null,
    revision: 1,
  };
}

/** A page of the workspace's keys, or of those that one member made, newest first, revoked ones too: up to `limit + 1` records, the last one telling that there are more. */
export async function listKeys(
  db: Database,
  workspaceId: string,
  madeBy: string | null,
  page: { readonly limit: number; readonly after: Position | null },
): Promise<KeyRecord[]> {
  const { after } = page;
  const isAfter =
    after === null ? undefined : sql`(${apiKeys.createdAt}, ${apiKeys.id}) < (${after.time}, ${after.id})`;
  return await hideSql(
    db
      .select({ row: apiKeys, appliedVersion: workspaces.appliedVersion })
      .from(apiKeys)
      .innerJoin(workspaces, eq(workspaces.id, apiKeys.workspaceId))
      .where(and(eq(apiKeys.workspaceId, workspaceId), isMadeBy(madeBy), isAfter))
      .orderBy(desc(apiKeys.createdAt), desc(apiKeys.id))
      .limit(page.limit + 1)
      .all(),
  );
}

/** One key of the workspace, or of those that one member made. Throws `not_found` for an unknown one and for somebody else's alike. */
export async function findKey(
  db: Database,
  workspaceId: string,
  keyId: string,
  madeBy: string | null,
): Promise<KeyRecord> {
  const [record] = await hideSql(
    db
      .select({ row: apiKeys, appliedVersion: workspaces.appliedVersion })
      .from(apiKeys)
      .innerJoin(workspaces, eq(workspaces.id, apiKeys.workspaceId))
      .where(and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, keyId), isMadeBy(madeBy)))
      .all(),
  );
  if (record === undefined) {
    throw new AppError("not_found");
  }
  return record;
}

/**
 * Plans a revocation; the secret of before dies with the present one. Planned again it changes nothing and writes no audit row, whatever `ifMatch` says then (RFC 9110
 * §13.1.1: what was asked for is already so). Throws `not_found`; the change may fail with `precondition_failed`, or with
 * `forbidden` when the caller (null: the service itself) has lost their place.
 */
export async function planRevokeKey(
  db: Database,
  workspaceId: string,
  actor: Actor,
  keyId: string,
  caller: KeyCaller | null,
  ifMatch: number | null,
): Promise<Change<undefined>> {
  const { row } = await findKey(db, workspaceId, keyId, caller?.madeBy ?? null);
  const isThis = and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, keyId));
  const told = {
    workspaceId,
    action: "api_key.revoked",
    targets: [{ type: "api_key", id: keyId }],
    before: toAudit(row),
  };
  const revoke = db
    .update(apiKeys)
    .set({ revokedAt: actor.at, revision: sql`${apiKeys.revision} + 1` })
    .where(and(isThis, isNull(apiKeys.revokedAt)));
  return {
    statements: [
      ...(caller === null ? [] : [guardCaller(db, workspaceId, actor, caller)]),
      ...guardRevision(db, workspaceId, keyId, ifMatch),
      revoke,
      auditIfChanged(db, actor, told),
    ],
    value: undefined,
  };
}

/** The scopes of a stored key that its maker's present role still has. */
export function cutScopes(stored: string, role: Role): Scope[] {
  return readScopes(stored).filter((scope) => roleHas(role, scope));
}

/** A member's role; OWNER is whoever the workspace names. */
export function roleOf(memberId: string, ownerMemberId: string, granted: Role): Role {
  return memberId === ownerMemberId ? "OWNER" : granted;
}

/** Holds a batch to the revision its caller read; on a revoked key it demands nothing, for a revocation repeated is done already. */
export function guardRevision(db: Database, workspaceId: string, keyId: string, ifMatch: number | null): Statement[] {
  if (ifMatch === null) {
    return [];
  }
  const matches = sql`EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.id} = ${keyId}
    AND (${apiKeys.revision} = ${ifMatch} OR ${apiKeys.revokedAt} IS NOT NULL))`;
  return [guardThat(db, matches, "precondition_failed")];
}

function isMadeBy(memberId: string | null): SQL | undefined {
  return memberId === null ? undefined : eq(apiKeys.madeBy, memberId);
}

/** What the audit log may know of a key. */
export function toAudit(row: ApiKeyRow): Readonly<Record<string, unknown>> {
  return {
    name: row.name,
    prefix: row.prefix,
    last_four: row.lastFour,
    scopes: readScopes(row.scopes),
    limits: readLimits(row.limits),
    region: row.region,
    made_by: row.madeBy,
    expires_at: row.expiresAt === null ? null : new Date(row.expiresAt).toISOString(),
  };
}
