/** Credentials: entered, proved, sealed, listed and deleted. No function here gives a stored secret back. */
import { and, desc, eq, ne, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, hideSql, type Change, type Database } from "../base/database.js";
import { AppError, invalidField, type FieldError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { checkOutboundUrl } from "../base/outbound.js";
import { maskSecret, Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import type { Position } from "../http/page.js";
import { findProvider } from "../providers/catalogue.js";
import type { CredentialInput, CredentialOptions, Provider } from "../providers/contract.js";
import type { DataKey } from "../vault/data-keys.js";
import { fingerprintSecret } from "../vault/fingerprint.js";
import { sealSecret, type SealBinding } from "../vault/seal.js";
import { credentials, poolInstances, pools, readOptions, type CreateCredential, type CredentialRow } from "./model.js";
import { firstStanding, outboundRules, tryCredential, type Standing } from "./validation.js";

/** What the checks of a new credential depend on. */
type ProviderSettings = Pick<Settings, "sandbox" | "outboundAllow" | "publicUrl">;

/** A credential that was checked and, when asked for, tried: ready to be sealed. */
export interface PreparedCredential {
  readonly providerName: string;
  /** Empty for a provider that asks for none. */
  readonly apiKey: Secret;
  readonly baseUrl: string;
  readonly options: CredentialOptions;
  /** Where the secret may be sent. */
  readonly origin: string;
  readonly standing: Standing;
}

/** What a new credential has not been through yet. */
const unused = {
  expiresAt: null,
  expiryWarnedAt: null,
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

/**
 * Checks what was entered and tries it with one live call when `validate` says so. Stores nothing. Throws `validation_failed`
 * with pointers below `pointerPrefix` ("" for a body that is the credential, `/providers/0` for one of a list).
 */
export async function prepareCredential(
  settings: ProviderSettings,
  providerName: string,
  input: Pick<CreateCredential, "credentials" | "validate">,
  pointerPrefix: string,
): Promise<PreparedCredential> {
  const provider = findProvider(providerName, settings);
  if (provider === null) {
    throw invalidField(`${pointerPrefix}/provider_name`, "There is no such provider.", "unknown_provider");
  }
  const entered = readEntered(settings, provider, input.credentials, pointerPrefix);
  const verdict = input.validate ? await tryCredential(outboundRules(settings), provider, entered) : null;
  if (verdict?.outcome === "invalid") {
    const reason = verdict.reason ?? "The provider refused it.";
    throw invalidField(`${pointerPrefix}/credentials/api_key`, reason, "refused");
  }
  if (verdict?.outcome === "wrong_host") {
    const reason = verdict.reason ?? "This is not the provider's address.";
    throw invalidField(`${pointerPrefix}/credentials/base_url`, reason, "wrong_host");
  }
  return {
    providerName: provider.name,
    apiKey: entered.api_key ?? new Secret(""),
    baseUrl: entered.base_url,
    options: entered.options,
    origin: new URL(entered.base_url).origin,
    standing: firstStanding(verdict),
  };
}

/** Where a credential's secret is sealed to. */
export function credentialBinding(
  row: Pick<CredentialRow, "workspaceId" | "id" | "secretVersion" | "origin">,
): SealBinding {
  const { workspaceId, secretVersion, origin } = row;
  return { workspaceId, table: "credentials", row: row.id, field: "api_key", secretVersion, origin };
}

/** Plans a credential under a data key, which may be stored in the same batch before it. Conflict: `name_taken`. */
export async function planCredential(
  db: Database,
  workspaceId: string,
  actor: Actor,
  dataKey: DataKey,
  prepared: PreparedCredential,
  name: string,
): Promise<Change<CredentialRow>> {
  const { providerName, apiKey, baseUrl, options, origin, standing } = prepared;
  const place = { id: newId("credential"), workspaceId, origin, secretVersion: 1 };
  const row: CredentialRow = {
    ...place,
    ...standing,
    ...unused,
    providerType: "model",
    providerName,
    name,
    baseUrl,
    options: JSON.stringify(options),
    sealed: await sealSecret(dataKey, credentialBinding(place), apiKey),
    dataKeyId: dataKey.id,
    masked: apiKey.reveal() === "" ? "" : maskSecret(apiKey.reveal()),
    fingerprint: await fingerprintSecret(dataKey, apiKey),
    revision: 1,
    createdAt: actor.at,
    updatedAt: actor.at,
  };
  return {
    statements: [
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
): Promise<CredentialRow> {
  const isThis = and(
    eq(credentials.workspaceId, workspaceId),
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
): Promise<CredentialRow[]> {
  const isListed = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.providerName, providerName),
    after === null ? undefined : sql`(${credentials.createdAt}, ${credentials.id}) < (${after.time}, ${after.id})`,
  );
  const query = db.select().from(credentials).where(isListed);
  return hideSql(query.orderBy(desc(credentials.createdAt), desc(credentials.id)).limit(limit).all());
}

/** Names of the providers that the workspace has a credential for. */
export async function listConfiguredProviders(db: Database, workspaceId: string): Promise<ReadonlySet<string>> {
  const query = db
    .selectDistinct({ name: credentials.providerName })
    .from(credentials)
    .where(eq(credentials.workspaceId, workspaceId));
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

/** What the audit log may tell of a credential. */
function publicFields(row: CredentialRow): Readonly<Record<string, unknown>> {
  return {
    provider_name: row.providerName,
    name: row.name,
    base_url: row.baseUrl,
    options: readOptions(row),
    masked: row.masked,
    status: row.status,
    is_valid: row.isValid,
  };
}

/** The entered fields, parsed. Throws `validation_failed` for what the form or the outbound guard refuses. */
function readEntered(
  settings: ProviderSettings,
  provider: Provider,
  fields: Readonly<Record<string, string>>,
  pointerPrefix: string,
): CredentialInput {
  const errors: readonly FieldError[] = provider.checkFormat(fields);
  if (errors.length > 0) {
    const prefixed = errors.map((error) => ({ ...error, pointer: `${pointerPrefix}${error.pointer}` }));
    throw new AppError("validation_failed", { errors: prefixed });
  }
  const entered = provider.parse(fields);
  if (provider.transport !== undefined) {
    return entered;
  }
  const checked = checkOutboundUrl(entered.base_url, outboundRules(settings));
  if ("error" in checked) {
    throw invalidField(`${pointerPrefix}/credentials/base_url`, checked.error, "address_refused");
  }
  return entered;
}
