/** API keys as deeds: made once with their secret, listed, found, revoked for good. No key can do more than its maker can now. */
import { and, desc, eq, isNull, sql } from "drizzle-orm";
import { roleHas, type Role, type Scope } from "../access/permissions.js";
import type { Actor } from "../access/principal.js";
import { auditIfChanged, auditRow } from "../audit/audit.js";
import { guardThat, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError, invalidField, type FieldError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Keyring } from "../base/keyring.js";
import type { Secret } from "../base/secret.js";
import type { Position } from "../http/page.js";
import { members, workspaces, type Region } from "../tenancy/model.js";
import { apiKeys, readLimits, readScopes, type ApiKeyRow, type CreateApiKey, type KeyLimits } from "./model.js";
import { mintKey } from "./token.js";

const defaultLifeMs = 90 * 24 * 3_600_000;

/** Who makes a key, and what they may hand on. */
export interface KeyMaker {
  readonly memberId: string;
  /** The maker's own scopes: of their role, or of the key they call with. */
  readonly grants: readonly Scope[];
}

/** A key row beside what tells whether its revocation is in force. */
export interface KeyRecord {
  readonly row: ApiKeyRow;
  /** The workspace's version in force in every Router. */
  readonly appliedVersion: number;
}

/**
 * Plans a new key. Throws `scope_too_high` for a scope its maker lacks, `limit_not_available` for `tpm` and `budget_usd`,
 * `validation_failed` for an expiry that is not ahead; the change may fail with `name_taken`, or `forbidden` when the
 * maker has lost their place meanwhile.
 */
export async function planCreateKey(
  db: Database,
  workspaceId: string,
  actor: Actor,
  keyring: Keyring,
  maker: KeyMaker,
  input: CreateApiKey,
): Promise<Change<{ readonly row: ApiKeyRow; readonly secret: Secret }>> {
  refuseHighScopes(input.scopes, maker.grants);
  refuseUnbuiltLimits(input.limits ?? {});
  const expiresAt = readExpiry(input.expires_at, actor.at);
  const region = input.region ?? (await findRegion(db, workspaceId));
  const minted = await mintKey(keyring, workspaceId, region);
  const row: ApiKeyRow = {
    id: newId("key"),
    workspaceId,
    name: input.name,
    digest: minted.digest,
    prefix: minted.prefix,
    lastFour: minted.lastFour,
    scopes: JSON.stringify([...new Set(input.scopes)]),
    limits: JSON.stringify(input.limits ?? {}),
    region,
    madeBy: maker.memberId,
    expiresAt,
    previousDigest: null,
    previousPrefix: null,
    previousLastFour: null,
    previousUntil: null,
    rotatedAt: null,
    warnedDays: null,
    revokedAt: null,
    revokedVersion: null,
    createdAt: actor.at,
    lastUsedAt: null,
    revision: 1,
  };
  const told = {
    workspaceId,
    action: "api_key.created",
    targets: [{ type: "api_key", id: row.id }],
    after: toAudit(row),
  };
  return {
    statements: [
      guardMaker(db, workspaceId, actor, maker.memberId),
      db.insert(apiKeys).values(row),
      auditRow(db, actor, told),
    ],
    value: { row, secret: minted.secret },
    conflicts: { "api_keys.name": "name_taken" },
  };
}

/** A page of the workspace's keys, newest first, revoked ones too: up to `limit + 1` records, the last one telling that there are more. */
export async function listKeys(
  db: Database,
  workspaceId: string,
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
      .where(and(eq(apiKeys.workspaceId, workspaceId), isAfter))
      .orderBy(desc(apiKeys.createdAt), desc(apiKeys.id))
      .limit(page.limit + 1)
      .all(),
  );
}

/** One key of the workspace. Throws `not_found` for an unknown one and for a neighbour's alike. */
export async function findKey(db: Database, workspaceId: string, keyId: string): Promise<KeyRecord> {
  const [record] = await hideSql(
    db
      .select({ row: apiKeys, appliedVersion: workspaces.appliedVersion })
      .from(apiKeys)
      .innerJoin(workspaces, eq(workspaces.id, apiKeys.workspaceId))
      .where(and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, keyId)))
      .all(),
  );
  if (record === undefined) {
    throw new AppError("not_found");
  }
  return record;
}

/**
 * Plans a revocation. Planned again it changes nothing and writes no audit row, whatever `ifMatch` says then (RFC 9110
 * §13.1.1: what was asked for is already so). Throws `not_found`; the change may fail with `precondition_failed`.
 */
export async function planRevokeKey(
  db: Database,
  workspaceId: string,
  actor: Actor,
  keyId: string,
  ifMatch: number | null,
): Promise<Change<undefined>> {
  const { row } = await findKey(db, workspaceId, keyId);
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
    statements: [...guardRevision(db, workspaceId, keyId, ifMatch), revoke, auditIfChanged(db, actor, told)],
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

function refuseHighScopes(wanted: readonly Scope[], grants: readonly Scope[]): void {
  const errors = wanted.flatMap((scope, index): FieldError[] =>
    grants.includes(scope) ? [] : [{ pointer: `/scopes/${index}`, detail: `You do not have ${scope} yourself.` }],
  );
  if (errors.length > 0) {
    throw new AppError("scope_too_high", { errors });
  }
}

function refuseUnbuiltLimits(limits: KeyLimits): void {
  const errors = (["tpm", "budget_usd"] as const).flatMap((name): FieldError[] =>
    limits[name] === undefined
      ? []
      : [{ pointer: `/limits/${name}`, detail: "This limit is not available yet. Leave it out." }],
  );
  if (errors.length > 0) {
    throw new AppError("limit_not_available", { errors });
  }
}

function readExpiry(given: string | null | undefined, now: number): number | null {
  if (given === undefined || given === null) {
    return given === null ? null : now + defaultLifeMs;
  }
  const time = Date.parse(given);
  if (!(time > now)) {
    throw invalidField("/expires_at", "Give a time in the future, or null for never.");
  }
  return time;
}

async function findRegion(db: Database, workspaceId: string): Promise<Region> {
  const [row] = await hideSql(
    db.select({ region: workspaces.region }).from(workspaces).where(eq(workspaces.id, workspaceId)).all(),
  );
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return row.region;
}

/** What let the caller in was read before this batch: a member removed or a key revoked in between must not leave a new key behind. */
function guardMaker(db: Database, workspaceId: string, actor: Actor, memberId: string): Statement {
  const stands = sql`EXISTS (SELECT 1 FROM ${members} JOIN ${workspaces} ON ${workspaces.id} = ${members.workspaceId}
    WHERE ${members.workspaceId} = ${workspaceId} AND ${members.id} = ${memberId}
    AND ${members.removedAt} IS NULL AND ${workspaces.deletedAt} IS NULL)`;
  const keyStands = sql`EXISTS (SELECT 1 FROM ${apiKeys}
    WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.id} = ${actor.id} AND ${apiKeys.revokedAt} IS NULL)`;
  return guardThat(db, actor.type === "key" ? sql`${stands} AND ${keyStands}` : stands, "forbidden");
}

function guardRevision(db: Database, workspaceId: string, keyId: string, ifMatch: number | null): Statement[] {
  if (ifMatch === null) {
    return [];
  }
  const matches = sql`EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${apiKeys.workspaceId} = ${workspaceId} AND ${apiKeys.id} = ${keyId}
    AND (${apiKeys.revision} = ${ifMatch} OR ${apiKeys.revokedAt} IS NOT NULL))`;
  return [guardThat(db, matches, "precondition_failed")];
}

/** What the audit log may know of a key. */
function toAudit(row: ApiKeyRow): Readonly<Record<string, unknown>> {
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
