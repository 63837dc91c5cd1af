/** Looks at a stored credential: opens it, asks its provider, and plans the record of what that showed. */
import { and, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow, type AuditEvent } from "../audit/audit.js";
import { guardChanged, type Change, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { log } from "../base/log.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { findProvider } from "../providers/catalogue.js";
import { loadDataKey } from "../vault/data-keys.js";
import { openSecret } from "../vault/seal.js";
import type { CredentialProvider } from "./credential-form.js";
import { planStateLetters } from "./credential-letters.js";
import { credentialBinding } from "./credentials.js";
import { credentials, findOptions, type CredentialRow } from "./model.js";
import {
  nextStanding,
  outboundRules,
  strandedStanding,
  tryCredential,
  undecryptableStanding,
  type DatedVerdict,
  type Standing,
} from "./validation.js";

/**
 * Asks the provider about a stored credential: the standing it has from now on, as `judge` reads the verdict. Throws
 * `keyring_entry_missing` (503).
 */
export async function examineCredential(
  db: Database,
  settings: Settings,
  row: CredentialRow,
  judge: (before: Standing, verdict: DatedVerdict) => Standing = nextStanding,
  provider: CredentialProvider | null = findProvider(row.providerName, settings),
): Promise<Standing> {
  const secret = await openStored(db, settings, row);
  if (secret === null) {
    return undecryptableStanding(row);
  }
  if (provider?.isHome?.(row.origin) === false) {
    return strandedStanding(row);
  }
  if (provider === null) {
    return judge(row, { outcome: "unknown", reason: "This provider is not available here.", at: Date.now() });
  }
  const options = findOptions(row);
  if (options === null) {
    return undecryptableStanding(row);
  }
  const input = { api_key: secret.reveal() === "" ? null : secret, base_url: row.baseUrl, options };
  return judge(row, await tryCredential(outboundRules(settings), provider, input));
}

/** A credential's secret; null, with an alert, for one that does not open where it stands. Throws `keyring_entry_missing` (503). */
export async function openStored(db: Database, settings: Settings, row: CredentialRow): Promise<Secret | null> {
  try {
    if (URL.parse(row.baseUrl)?.origin !== row.origin.split(" ")[0]) {
      // The seal binds the origin, not the address that is called: the two must be one.
      throw new AppError("undecryptable");
    }
    const dataKey = await loadDataKey(db, settings.keyring, row.workspaceId, row.dataKeyId);
    return await openSecret(dataKey, credentialBinding(row), row.sealed);
  } catch (error) {
    if (error instanceof AppError && error.code === "undecryptable") {
      log("error", "credential_undecryptable", { workspace_id: row.workspaceId, credential_id: row.id });
      return null;
    }
    throw error;
  }
}

/** Plans what a validation by hand found. Refused with `conflict` when the credential changed in between, or is gone. */
export function planStanding(
  db: Database,
  workspaceId: string,
  actor: Actor,
  row: CredentialRow,
  standing: Standing,
): Change<CredentialRow> {
  return {
    statements: [
      updateStanding(db, workspaceId, actor, row, standing),
      guardChanged(db, "conflict"),
      auditRow(db, actor, describeStanding(workspaceId, row, standing, "credential.validated")),
      // What is invalid or exhausted, who validates sees for themselves; this one is an alarm.
      ...(standing.status === "undecryptable" ? planStateLetters(db, row, standing, actor.at) : []),
    ],
    value: { ...row, ...standing, revision: row.revision + 1, updatedAt: actor.at },
  };
}

/** Writes a standing. Only what was examined is judged: a credential that changed in between has another revision. */
export function updateStanding(
  db: Database,
  workspaceId: string,
  actor: Actor,
  row: CredentialRow,
  standing: Standing,
): Statement {
  const { status, isValid, reason, validatedAt, restoredAt, retryAt, refusals } = standing;
  const fields = { status, isValid, reason, validatedAt, restoredAt, retryAt, refusals };
  const isTried = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.id, row.id),
    eq(credentials.revision, row.revision),
  );
  return db
    .update(credentials)
    .set({ ...fields, updatedAt: actor.at, revision: sql`${credentials.revision} + 1` })
    .where(isTried);
}

/** What the audit log tells of a standing. */
export function describeStanding(
  workspaceId: string,
  row: CredentialRow,
  standing: Standing,
  action: string,
): AuditEvent {
  return {
    workspaceId,
    action,
    targets: [{ type: "credential", id: row.id }],
    before: { status: row.status, is_valid: row.isValid },
    after: { status: standing.status, is_valid: standing.isValid, reason: standing.reason },
  };
}
