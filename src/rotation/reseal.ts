/** Seals a credential's secrets anew under the active data key, the present and the previous one, so that nothing names the retired one. */
import { and, eq, sql, type SQL } from "drizzle-orm";
import type { SQLiteColumn } from "drizzle-orm/sqlite-core";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import type { Database, Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { log } from "../base/log.js";
import type { Secret } from "../base/secret.js";
import { noPrevious } from "../connections/credential-change.js";
import { planStateLetters } from "../connections/credential-letters.js";
import { credentialBinding } from "../connections/credentials.js";
import { describeStanding } from "../connections/examine.js";
import { credentials, type CredentialRow } from "../connections/model.js";
import { undecryptableStanding, type Standing } from "../connections/validation.js";
import type { DataKey } from "../vault/data-keys.js";
import { fingerprintSecret } from "../vault/fingerprint.js";
import { openSecret, sealSecret } from "../vault/seal.js";

/** The data keys of one change, open. */
export interface OpenKeys {
  readonly active: DataKey;
  /** By id. */
  readonly retired: ReadonlyMap<string, DataKey>;
}

type Fields = Partial<Omit<CredentialRow, "id" | "workspaceId">>;

/**
 * The statements for one credential. They change it only if its secrets are those that were read: of two writers the other
 * wins, and the row is met again. Revision and time stay, for nothing changed that its people can see, and so does the secret's
 * version: it is the same secret, and a change that was planned meanwhile must neither fail nor take a version that is taken. A
 * secret that does not open is left as it is and the credential named `undecryptable`; one kept for a rollback is dropped.
 */
export async function planReseal(db: Database, actor: Actor, keys: OpenKeys, row: CredentialRow): Promise<Statement[]> {
  const present = await resealPresent(keys, row);
  const previous = await resealPrevious(keys, row);
  if (present !== null) {
    return [
      db
        .update(credentials)
        .set({ ...present, ...previous })
        .where(isAsRead(row)),
    ];
  }
  log("error", "credential_undecryptable", { workspace_id: row.workspaceId, credential_id: row.id });
  const moved = { dataKeyId: keys.active.id, ...previous };
  if (row.status === "undecryptable") {
    return [db.update(credentials).set(moved).where(isAsRead(row))];
  }
  const standing = undecryptableStanding(row);
  const revised = { updatedAt: actor.at, revision: sql`${credentials.revision} + 1` };
  return [
    db
      .update(credentials)
      .set({ ...moved, ...fieldsOf(standing), ...revised })
      .where(isAsRead(row)),
    auditIfChanged(db, actor, describeStanding(row.workspaceId, row, standing, "credential.undecryptable")),
    ...planStateLetters(db, row, standing, actor.at),
  ];
}

/** Null for a secret that does not open. */
async function resealPresent(keys: OpenKeys, row: CredentialRow): Promise<Fields | null> {
  const old = keys.retired.get(row.dataKeyId);
  if (old === undefined) {
    return {};
  }
  const secret = await open(old, row, row.sealed);
  if (secret === null) {
    return null;
  }
  return {
    sealed: await sealSecret(keys.active, credentialBinding(row), secret),
    dataKeyId: keys.active.id,
    fingerprint: await fingerprintSecret(keys.active, secret),
  };
}

async function resealPrevious(keys: OpenKeys, row: CredentialRow): Promise<Fields> {
  const { previousSealed, previousSecretVersion: secretVersion, previousDataKeyId } = row;
  const old = previousDataKeyId === null ? undefined : keys.retired.get(previousDataKeyId);
  if (old === undefined) {
    return {};
  }
  const place = secretVersion === null ? null : { ...row, secretVersion };
  const secret = place === null || previousSealed === null ? null : await open(old, place, previousSealed);
  if (place === null || secret === null) {
    log("error", "previous_secret_undecryptable", { workspace_id: row.workspaceId, credential_id: row.id });
    return noPrevious;
  }
  return {
    previousSealed: await sealSecret(keys.active, credentialBinding(place), secret),
    previousDataKeyId: keys.active.id,
    previousFingerprint: await fingerprintSecret(keys.active, secret),
  };
}

async function open(
  key: DataKey,
  place: Parameters<typeof credentialBinding>[0],
  sealed: string,
): Promise<Secret | null> {
  try {
    return await openSecret(key, credentialBinding(place), sealed);
  } catch (error) {
    if (error instanceof AppError && error.code === "undecryptable") {
      return null;
    }
    throw error;
  }
}

/** All that is sealed, and all that it is sealed to. */
function isAsRead(row: CredentialRow): SQL | undefined {
  return and(
    eq(credentials.workspaceId, row.workspaceId),
    eq(credentials.id, row.id),
    eq(credentials.sealed, row.sealed),
    eq(credentials.secretVersion, row.secretVersion),
    eq(credentials.dataKeyId, row.dataKeyId),
    eq(credentials.origin, row.origin),
    is(credentials.previousSealed, row.previousSealed),
    is(credentials.previousSecretVersion, row.previousSecretVersion),
    is(credentials.previousDataKeyId, row.previousDataKeyId),
  );
}

function is(column: SQLiteColumn, value: string | number | null): SQL {
  return sql`${column} IS ${value}`;
}

function fieldsOf({ status, isValid, reason, validatedAt, restoredAt, retryAt, refusals }: Standing): Standing {
  return { status, isValid, reason, validatedAt, restoredAt, retryAt, refusals };
}
