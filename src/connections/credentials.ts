/** Credentials: entered, proved, sealed, listed and deleted. No function here gives a stored secret back. */
import { and, count, desc, eq, ne, sql, type SQL } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { maskSecret, type Secret } from "../base/secret.js";
import type { Position } from "../http/page.js";
import type { DataKey } from "../vault/data-keys.js";
import { fingerprintSecret } from "../vault/fingerprint.js";
import { sealSecret, type SealBinding } from "../vault/seal.js";
import type { PreparedCredential } from "./credential-entry.js";
import { credentials, findOptions, poolInstances, pools, type CredentialRow } from "./model.js";

/** What a new credential has not been through yet. */
const unused = {
  lastUsedAt: null,
  previousSealed: null,
  previousSecretVersion: null,
  previousDataKeyId: null,
  previousMasked: null,
  previousFingerprint: null,
  previousUntil: null,
  previousExpiresAt: null,
} as const;

/** A pool that uses a credential. */
export interface PoolName {
  readonly id: string;
  readonly name: string;
}

/** Where a credential's secret is sealed to. */
export function credentialBinding(
  row: Pick<CredentialRow, "workspaceId" | "id" | "secretVersion" | "origin">,
): SealBinding {
  const { workspaceId, secretVersion, origin } = row;
  return { workspaceId, table: "credentials", row: row.id, field: "api_key", secretVersion, origin };
}

/** Credentials of a workspace: all that may be used travel in every snapshot of it. */
const mostCredentials = 1_000;

/** Plans a credential under a data key, which may be stored in the same batch before it. Conflicts: `name_taken`, `limit_reached`. */
export async function planCredential(
  db: Database,
  workspaceId: string,
  actor: Actor,
  dataKey: DataKey,
  prepared: PreparedCredential,
  name: string,
): Promise<Change<CredentialRow>> {
  const { providerType, providerName, apiKey, baseUrl, options, origin, standing, expiresAt } = prepared;
  const place = { id: newId("credential"), workspaceId, origin, secretVersion: 1 };
  const row: CredentialRow = {
    ...place,
    ...standing,
    ...unused,
    providerType,
    providerName,
    name,
    baseUrl,
    options: JSON.stringify(options),
    sealed: await sealSecret(dataKey, credentialBinding(place), apiKey),
    dataKeyId: dataKey.id,
    masked: maskOf(apiKey),
    fingerprint: await fingerprintSecret(dataKey, apiKey),
    expiresAt,
    expiryWarnedAt: expiresAt === null ? null : actor.at,
    revision: 1,
    createdAt: actor.at,
    updatedAt: actor.at,
  };
  const owned = db.select({ number: count() }).from(credentials).where(eq(credentials.workspaceId, workspaceId));
  return {
    statements: [
      guardThat(db, sql`(${owned}) < ${mostCredentials}`, "limit_reached"),
      db.insert(credentials).values(row),
      auditRow(db, actor, {
        workspaceId,
        action: "credential.created",
        targets: [{ type: "credential", id: row.id }],
        after: publicFields(row),
      }),
    ],
    value: row,
    conflicts: { "credentials.name": "name_taken" },
  };
}

/** Writes columns of the very credential that was read: one that anything else changed meanwhile is left alone. */
export function updateCredential(
  db: Database,
  row: CredentialRow,
  moved: Partial<CredentialRow>,
  at: number,
): Statement {
  return db
    .update(credentials)
    .set({ ...moved, updatedAt: at, revision: sql`${credentials.revision} + 1` })
    .where(isRead(row));
}

/** Whether the credential is still as it was read. */
export function isUnchanged(row: CredentialRow): SQL {
  return sql`EXISTS (SELECT 1 FROM ${credentials} WHERE ${isRead(row)})`;
}

/** A data key's rotation seals again without a change that its callers see, so the secret's version counts beside the revision. */
function isRead(row: CredentialRow): SQL | undefined {
  return and(
    eq(credentials.workspaceId, row.workspaceId),
    eq(credentials.id, row.id),
    eq(credentials.revision, row.revision),
    eq(credentials.secretVersion, row.secretVersion),
  );
}

/** Another credential of the workspace with the same secret, the oldest; null when there is none or the secret is empty. */
export async function findDuplicate(db: Database, workspaceId: string, row: CredentialRow): Promise<string | null> {
  if (row.masked === "") {
    return null;
  }
  const isTwin = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.fingerprint, row.fingerprint),
    ne(credentials.id, row.id),
  );
  const query = db.select({ id: credentials.id }).from(credentials).where(isTwin);
  const [twin] = await hideSql(query.orderBy(credentials.createdAt, credentials.id).limit(1).all());
  return twin?.id ?? null;
}

/** A credential of the workspace. `providerName` null means any. Throws `not_found`. */
export async function findCredential(
  db: Database,
  workspaceId: string,
  providerName: string | null,
  credentialId: string,
  providerType: CredentialRow["providerType"] = "model",
): Promise<CredentialRow> {
  const isThis = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.providerType, providerType),
    eq(credentials.id, credentialId),
    providerName === null ? undefined : eq(credentials.providerName, providerName),
  );
  const [row] = await hideSql(db.select().from(credentials).where(isThis).limit(1).all());
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return row;
}

/** Credentials of one provider, newest first: up to `limit` rows after a position. */
export async function listCredentials(
  db: Database,
  workspaceId: string,
  providerName: string,
  after: Position | null,
  limit: number,
  providerType: CredentialRow["providerType"] = "model",
): Promise<CredentialRow[]> {
  const isListed = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.providerType, providerType),
    eq(credentials.providerName, providerName),
    after === null ? undefined : sql`(${credentials.createdAt}, ${credentials.id}) < (${after.time}, ${after.id})`,
  );
  const query = db.select().from(credentials).where(isListed);
  return hideSql(query.orderBy(desc(credentials.createdAt), desc(credentials.id)).limit(limit).all());
}

/** Names of the model providers that the workspace has a credential for. */
export async function listConfiguredProviders(db: Database, workspaceId: string): Promise<ReadonlySet<string>> {
  const query = db
    .selectDistinct({ name: credentials.providerName })
    .from(credentials)
    .where(and(eq(credentials.workspaceId, workspaceId), eq(credentials.providerType, "model")));
  return new Set((await hideSql(query.all())).map((row) => row.name));
}

/** Plans the end of a credential. Conflict: `in_use` while a pool has it, held by the foreign key. `ifMatch`: the revision it must have. */
export function planCredentialDeletion(
  db: Database,
  workspaceId: string,
  actor: Actor,
  row: CredentialRow,
  ifMatch: number | null,
): Change<null> {
  const isThis = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.id, row.id),
    ifMatch === null ? undefined : eq(credentials.revision, ifMatch),
  );
  return {
    statements: [
      db.delete(credentials).where(isThis),
      guardChanged(db, ifMatch === null ? "not_found" : "precondition_failed"),
      auditRow(db, actor, {
        workspaceId,
        action: "credential.deleted",
        targets: [{ type: "credential", id: row.id }],
        before: publicFields(row),
      }),
    ],
    value: null,
    conflicts: { foreign_key: "in_use" },
  };
}

/** The pools that use a credential, by name. */
export async function listPoolsUsing(db: Database, workspaceId: string, credentialId: string): Promise<PoolName[]> {
  const isUsing = and(eq(poolInstances.workspaceId, workspaceId), eq(poolInstances.credentialId, credentialId));
  const query = db
    .selectDistinct({ id: pools.id, name: pools.name })
    .from(poolInstances)
    .innerJoin(pools, and(eq(pools.workspaceId, poolInstances.workspaceId), eq(pools.id, poolInstances.poolId)))
    .where(isUsing);
  return hideSql(query.orderBy(pools.name).all());
}

/** The mask that stands beside a sealed secret; empty for none. */
export function maskOf(secret: Secret): string {
  return secret.reveal() === "" ? "" : maskSecret(secret.reveal());
}

/** What the audit log may tell of a credential. */
export function publicFields(row: CredentialRow): Readonly<Record<string, unknown>> {
  return {
    provider_name: row.providerName,
    name: row.name,
    base_url: row.baseUrl,
    options: findOptions(row),
    masked: row.masked,
    status: row.status,
    is_valid: row.isValid,
    expires_at: row.expiresAt === null ? null : new Date(row.expiresAt).toISOString(),
  };
}
