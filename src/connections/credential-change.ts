/** Changing a credential: its name, whether it is in use, its date, and its form's fields, where an address is only ever changed together with the secret. */
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, type Change, type Database, type Statement } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import type { CredentialInput } from "../providers/contract.js";
import { loadActiveDataKey } from "../vault/data-keys.js";
import { fingerprintSecret } from "../vault/fingerprint.js";
import { sealSecret } from "../vault/seal.js";
import { mergeFields, proveEntered, readEntered, secretField, toTime, type Fields } from "./credential-entry.js";
import { isSameAddress, requireProvider, sealOriginOf, type CredentialProvider } from "./credential-form.js";
import type { UpdateCredential } from "./credential-schema.js";
import { disabledStanding, enabledStanding, secretStanding } from "./credential-standing.js";
import { credentialBinding, maskOf, publicFields, updateCredential, isUnchanged } from "./credentials.js";
import { openStored } from "./examine.js";
import { findOptions, type CredentialRow } from "./model.js";

/** A credential with its provider; null when that is not available here. */
export interface HeldCredential {
  readonly row: CredentialRow;
  readonly provider: CredentialProvider | null;
}

/** The columns that a change moves. */
type Moved = Partial<CredentialRow>;

/** No secret before: what a rollback would bring back belongs to the address and fields of its own time. */
export const noPrevious = {
  previousSealed: null,
  previousSecretVersion: null,
  previousDataKeyId: null,
  previousMasked: null,
  previousFingerprint: null,
  previousUntil: null,
  previousExpiresAt: null,
} as const;

/**
 * Plans a change; what it leaves out stays, and what already stands writes nothing. Throws `validation_failed` for fields that cannot be
 * accepted (`secret_required`: the address changes and the secret was not entered again; `refused`, `wrong_host`: tried and found bad),
 * `precondition_failed` when the credential is not at `ifMatch`, and `keyring_entry_missing`. The change may fail with `name_taken`, and
 * with `conflict` or `precondition_failed` when another change was faster.
 */
export async function planUpdateCredential(
  db: Database,
  settings: Settings,
  actor: Actor,
  { row, provider }: HeldCredential,
  input: UpdateCredential,
  ifMatch: number | null,
): Promise<Change<CredentialRow>> {
  if (ifMatch !== null && ifMatch !== row.revision) {
    throw new AppError("precondition_failed");
  }
  const fields =
    input.credentials === undefined
      ? {}
      : await reenter(db, settings, actor, { row, provider }, input.credentials, input);
  const entered: CredentialRow = { ...row, ...fields };
  const next: CredentialRow = { ...entered, ...renamed(row, input), ...switched(entered, input.enabled, actor.at) };
  const moved = movedColumns(row, next);
  if (Object.keys(moved).length === 0) {
    return { statements: guardIfMatch(db, row, ifMatch), value: row };
  }
  const value = { ...next, revision: row.revision + 1, updatedAt: actor.at };
  return {
    statements: [
      updateCredential(db, row, moved, actor.at),
      guardChanged(db, ifMatch === null ? "conflict" : "precondition_failed"),
      auditRow(db, actor, {
        workspaceId: row.workspaceId,
        action: "credential.updated",
        targets: [{ type: "credential", id: row.id }],
        before: publicFields(row),
        after: publicFields(value),
      }),
    ],
    value,
    conflicts: { "credentials.name": "name_taken" },
  };
}

function guardIfMatch(db: Database, row: CredentialRow, ifMatch: number | null): Statement[] {
  return ifMatch === null ? [] : [guardThat(db, isUnchanged(row), "precondition_failed")];
}

function renamed(row: CredentialRow, input: UpdateCredential): Moved {
  const expiresAt = input.expires_at === undefined ? row.expiresAt : toTime(input.expires_at);
  return {
    name: input.name ?? row.name,
    expiresAt,
    // A new date is reminded of anew, but for reminders whose time had come when it was entered.
    expiryWarnedAt: expiresAt === row.expiresAt ? row.expiryWarnedAt : expiresAt === null ? null : Date.now(),
  };
}

function switched(row: CredentialRow, enabled: boolean | undefined, at: number): Moved {
  if (enabled === undefined || enabled === (row.status !== "disabled")) {
    return {};
  }
  return enabled ? enabledStanding(row, at) : disabledStanding(row);
}

function movedColumns(before: CredentialRow, after: CredentialRow): Moved {
  const was = new Map<string, unknown>(Object.entries(before));
  return Object.fromEntries(Object.entries(after).filter(([column, value]) => was.get(column) !== value));
}

/** The columns after fields of the form were entered; nothing when they say what stands already. */
async function reenter(
  db: Database,
  settings: Settings,
  actor: Actor,
  held: HeldCredential,
  changes: Fields,
  { validate }: Pick<UpdateCredential, "validate">,
): Promise<Moved> {
  const { row } = held;
  const provider = requireProvider(held.provider);
  const name = secretField(provider);
  const isGiven = Object.hasOwn(changes, name);
  const stored = await openStored(db, settings, row);
  if (stored === null && !isGiven) {
    throw invalidField(
      `/credentials/${name}`,
      "The stored secret cannot be opened: enter it again.",
      "secret_required",
    );
  }
  const secret = stored ?? new Secret(changes[name] ?? "");
  const entered = readEntered(settings, provider, mergeFields(provider, row, secret, changes), "");
  const apiKey = entered.api_key ?? new Secret("");
  const isSameSecret = stored !== null && stored.reveal() === apiKey.reveal();
  const isHere = isSameAddress(provider, row, entered) && !movesAddress(provider, row, secret, entered);
  if (isSameSecret && isHere && isSameOptions(row, entered)) {
    return {};
  }
  if (!isGiven && !isHere && apiKey.reveal() !== "") {
    throw invalidField(
      `/credentials/${name}`,
      "The address changes: enter the secret again in the same call, so that it goes only where you mean it to.",
      "secret_required",
    );
  }
  const proved = await proveEntered(settings, provider, entered, validate, "");
  const standing = secretStanding(row, proved, actor.at);
  const options = JSON.stringify(entered.options);
  if (isSameSecret && isHere) {
    // The catalogue's own path may be another one since: this is the one that was tried.
    return { baseUrl: entered.base_url, options, ...standing };
  }
  return { options, ...standing, ...(await sealEntered(db, settings, row, provider, entered)), ...noPrevious };
}

/** Whether it is the change of fields that moves the address: where the form asks for none, those such as a project make its path. */
function movesAddress(provider: CredentialProvider, row: CredentialRow, secret: Secret, entered: CredentialInput) {
  const before = mergeFields(provider, row, secret, {});
  return provider.checkFormat(before).length > 0 || provider.parse(before).base_url !== entered.base_url;
}

/** The columns of a secret sealed anew under the workspace's active data key, one version up. Throws as `loadActiveDataKey`. */
export async function sealEntered(
  db: Database,
  settings: Settings,
  row: CredentialRow,
  provider: CredentialProvider,
  entered: Pick<CredentialInput, "api_key" | "base_url">,
) {
  const apiKey = entered.api_key ?? new Secret("");
  const dataKey = await loadActiveDataKey(db, settings.keyring, row.workspaceId);
  const origin = sealOriginOf(provider, entered.base_url);
  const secretVersion = row.secretVersion + 1;
  return {
    baseUrl: entered.base_url,
    origin,
    sealed: await sealSecret(dataKey, credentialBinding({ ...row, origin, secretVersion }), apiKey),
    secretVersion,
    dataKeyId: dataKey.id,
    masked: maskOf(apiKey),
    fingerprint: await fingerprintSecret(dataKey, apiKey),
  };
}

function isSameOptions(row: CredentialRow, { options }: CredentialInput): boolean {
  const before = findOptions(row);
  const names = Object.keys(options);
  return (
    before !== null &&
    names.length === Object.keys(before).length &&
    names.every((name) => before[name] === options[name])
  );
}
