/** A credential's secret replaced while calls run: the new one is proved first and swapped in by one statement; the one before is kept, sealed, for a rollback. */
import { and, inArray, lte } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, hideSql, type Change, type Database } from "../base/database.js";
import { AppError, invalidField, type FieldError } from "../base/errors.js";
import { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import type { CredentialInput } from "../providers/contract.js";
import { loadDataKey } from "../vault/data-keys.js";
import { openSecret } from "../vault/seal.js";
import { noPrevious, sealEntered, type HeldCredential } from "./credential-change.js";
import { mergeFields, proveEntered, readEntered, secretField, toTime, type Fields } from "./credential-entry.js";
import { isSameAddress, requireProvider, takesAddress, type CredentialProvider } from "./credential-form.js";
import type { RollbackCredential, RotateCredential } from "./credential-schema.js";
import { secretStanding } from "./credential-standing.js";
import { credentialBinding, publicFields, updateCredential } from "./credentials.js";
import { openStored } from "./examine.js";
import { credentials, type CredentialRow } from "./model.js";

/** Secrets erased in one run; one run a minute. */
const erasedPerSweep = 500;

/**
 * Plans a rotation. What is there still from an earlier one goes; so does a present secret that no longer opens. Throws `validation_failed` and
 * leaves the present one in use when the new one cannot be accepted, `precondition_failed` when the credential is not at `ifMatch`, and
 * `keyring_entry_missing`; the change may fail with `conflict` or `precondition_failed` when another change was faster.
 */
export async function planRotateCredential(
  db: Database,
  settings: Settings,
  actor: Actor,
  held: HeldCredential,
  input: RotateCredential,
  ifMatch: number | null,
): Promise<Change<CredentialRow>> {
  const { row } = held;
  refuseStale(row, ifMatch);
  const provider = requireProvider(held.provider);
  refuseOtherFields(provider, input.credentials);
  const stored = await openStored(db, settings, row);
  const entered = readRotated(settings, provider, row, input.credentials, stored);
  const proved = await proveEntered(settings, provider, entered, input.validate, "");
  const expiresAt = toTime(input.expires_at ?? null);
  // A secret that was sealed to another origin has no way back.
  const isKept = stored !== null && input.grace_seconds > 0 && isSameAddress(provider, row, entered);
  const kept = isKept ? actor.at + input.grace_seconds * 1000 : null;
  const next = {
    ...(await sealEntered(db, settings, row, provider, entered)),
    ...secretStanding(row, proved, actor.at),
    options: JSON.stringify(entered.options),
    ...(kept === null ? noPrevious : keptPrevious(row, kept)),
    expiresAt,
    expiryWarnedAt: expiresAt === null ? null : actor.at,
  };
  return planSwap(db, actor, row, next, "credential.rotated", ifMatch);
}

/**
 * Plans the way back to the secret before. The one it replaces takes its place for what is left of the grace, so that a rollback can be
 * rolled back. Throws `no_previous_secret` when there is none, its time is over, or it no longer opens; `validation_failed` when it was
 * tried and refused; the rest as a rotation.
 */
export async function planRollbackCredential(
  db: Database,
  settings: Settings,
  actor: Actor,
  held: HeldCredential,
  input: RollbackCredential,
  ifMatch: number | null,
): Promise<Change<CredentialRow>> {
  const { row } = held;
  refuseStale(row, ifMatch);
  const provider = requireProvider(held.provider);
  const { secret, until } = await openPrevious(db, settings, row, actor.at);
  const [present, entered] = [
    await openStored(db, settings, row),
    readEntered(settings, provider, mergeFields(provider, row, secret, {}), ""),
  ];
  if (!isSameAddress(provider, row, entered)) {
    throw new AppError("no_previous_secret", {
      detail: "The secret before belongs to another address. Rotate instead.",
    });
  }
  const proved = await proveEntered(settings, provider, entered, input.validate, "");
  const next = {
    ...(await sealEntered(db, settings, row, provider, entered)),
    ...secretStanding(row, proved, actor.at),
    ...(present === null ? noPrevious : keptPrevious(row, until)),
    expiresAt: row.previousExpiresAt,
    expiryWarnedAt: row.previousExpiresAt === null ? null : actor.at,
  };
  return planSwap(db, actor, row, next, "credential.rolled_back", ifMatch);
}

/** Erases secrets before whose time is over, and answers how many. Run by cron. */
export async function sweepPreviousSecrets(db: Database, now: number): Promise<number> {
  const isOver = lte(credentials.previousUntil, now);
  const some = db.select({ id: credentials.id }).from(credentials).where(isOver).limit(erasedPerSweep);
  const erase = db.update(credentials).set(noPrevious);
  const { meta } = await hideSql(erase.where(and(inArray(credentials.id, some), isOver)).run());
  return meta.changes;
}

function refuseStale(row: CredentialRow, ifMatch: number | null): void {
  if (ifMatch !== null && ifMatch !== row.revision) {
    throw new AppError("precondition_failed");
  }
}

function refuseOtherFields(provider: CredentialProvider, fields: Fields): void {
  const name = secretField(provider);
  const errors: FieldError[] = Object.keys(fields)
    .filter((field) => field !== name)
    .map((field) => ({
      pointer: `/credentials/${field.replaceAll("~", "~0").replaceAll("/", "~1")}`,
      detail: "A rotation changes the secret alone. Change this field, with the secret, by PATCH.",
      code: "secret_only",
    }));
  if ((fields[name] ?? "").trim() === "") {
    errors.push({ pointer: `/credentials/${name}`, detail: "Enter the new secret.", code: "required" });
  }
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
}

function readRotated(
  settings: Settings,
  provider: CredentialProvider,
  row: CredentialRow,
  fields: Fields,
  stored: Secret | null,
): CredentialInput {
  const name = secretField(provider);
  const merged = mergeFields(provider, row, stored ?? new Secret(fields[name] ?? ""), fields);
  const entered = readEntered(settings, provider, merged, "");
  const isHere = isSameAddress(provider, row, entered);
  if (isHere && stored !== null && stored.reveal() === (entered.api_key?.reveal() ?? "")) {
    throw invalidField(`/credentials/${name}`, "It is the secret that stands here already.", "same_secret");
  }
  if (takesAddress(provider) && entered.base_url !== row.baseUrl) {
    const detail = "This secret belongs to another address. Enter it with its other fields by PATCH.";
    throw invalidField(`/credentials/${name}`, detail, "other_address");
  }
  return entered;
}

/** The present secret as the one before, sealed as it is. */
function keptPrevious(row: CredentialRow, until: number) {
  return {
    previousSealed: row.sealed,
    previousSecretVersion: row.secretVersion,
    previousDataKeyId: row.dataKeyId,
    previousMasked: row.masked,
    previousFingerprint: row.fingerprint,
    previousUntil: until,
    previousExpiresAt: row.expiresAt,
  };
}

async function openPrevious(
  db: Database,
  settings: Settings,
  row: CredentialRow,
  now: number,
): Promise<{ readonly secret: Secret; readonly until: number }> {
  const { previousSealed: sealed, previousSecretVersion: secretVersion, previousDataKeyId: dataKeyId } = row;
  const until = row.previousUntil;
  if (sealed === null || secretVersion === null || dataKeyId === null || until === null || until <= now) {
    throw new AppError("no_previous_secret");
  }
  try {
    const dataKey = await loadDataKey(db, settings.keyring, row.workspaceId, dataKeyId);
    return { secret: await openSecret(dataKey, credentialBinding({ ...row, secretVersion }), sealed), until };
  } catch (error) {
    if (error instanceof AppError && error.code === "undecryptable") {
      throw new AppError("no_previous_secret", { detail: "The secret before can no longer be opened.", cause: error });
    }
    throw error;
  }
}

function planSwap(
  db: Database,
  actor: Actor,
  row: CredentialRow,
  next: Partial<CredentialRow>,
  action: string,
  ifMatch: number | null,
): Change<CredentialRow> {
  const value: CredentialRow = { ...row, ...next, revision: row.revision + 1, updatedAt: actor.at };
  const until = value.previousUntil === null ? null : new Date(value.previousUntil).toISOString();
  return {
    statements: [
      updateCredential(db, row, next, actor.at),
      guardChanged(db, ifMatch === null ? "conflict" : "precondition_failed"),
      auditRow(db, actor, {
        workspaceId: row.workspaceId,
        action,
        targets: [{ type: "credential", id: row.id }],
        before: publicFields(row),
        after: { ...publicFields(value), previous_until: until },
      }),
    ],
    value,
  };
}
