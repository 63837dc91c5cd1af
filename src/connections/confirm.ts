/** Is a stored credential still good: opens it, asks its provider, and records the answer, by hand or in the background. */
import { and, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged, auditRow } from "../audit/audit.js";
import { commitChange, guardChanged, openDatabase, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { findProvider } from "../providers/catalogue.js";
import { loadDataKey } from "../vault/data-keys.js";
import { openSecret } from "../vault/seal.js";
import { credentialBinding, findCredential } from "./credentials.js";
import { credentials, type CredentialRow } from "./model.js";
import { nextStanding, outboundRules, tryCredential, undecryptableStanding, type Standing } from "./validation.js";

/**
 * A credential that is proved good twice within this time, with a refused call in between, is not taken back by the second
 * proof: its provider refuses it for calls all the same (a server may list models to anyone). It stays out until a person
 * validates it, instead of failing every next call.
 */
const trustMs = 60_000;

/** Asks the provider about a stored credential: the standing it has from now on. Throws `keyring_entry_missing` (503). */
export async function examineCredential(db: Database, settings: Settings, row: CredentialRow): Promise<Standing> {
  const provider = findProvider(row.providerName, settings);
  if (provider === null) {
    return {
      status: row.status,
      isValid: null,
      reason: "This provider is not available here.",
      validatedAt: row.validatedAt,
    };
  }
  try {
    const dataKey = await loadDataKey(db, settings.keyring, row.workspaceId, row.dataKeyId);
    const secret = await openSecret(dataKey, credentialBinding(row), row.sealed);
    const input = { api_key: secret.reveal() === "" ? null : secret, base_url: row.baseUrl };
    return nextStanding(row, await tryCredential(outboundRules(settings), provider, input));
  } catch (error) {
    if (error instanceof AppError && error.code === "undecryptable") {
      log("error", "credential_undecryptable", { workspace_id: row.workspaceId, credential_id: row.id });
      return undecryptableStanding(row);
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
      auditRow(db, actor, describeStanding(workspaceId, row, standing)),
    ],
    value: { ...row, ...standing, revision: row.revision + 1, updatedAt: actor.at },
  };
}

/**
 * Confirms in the background that a credential which a provider refused is bad, or takes it back. Records the result, with an
 * audit row when the status changed, and publishes it. Never throws: what goes wrong is logged.
 */
export async function confirmCredential(
  env: Env,
  workspaceId: string,
  credentialId: string,
  publish: (env: Env, workspaceId: string) => Promise<void>,
): Promise<void> {
  try {
    const db = openDatabase(env.DB);
    const row = await findCredential(db, workspaceId, null, credentialId);
    if (row.status === "invalid" || row.status === "disabled") {
      return;
    }
    const standing = await examineCredential(db, requireSettings(env), row);
    const fields = { workspace_id: workspaceId, credential_id: credentialId, status: standing.status };
    if (standing.isValid === true && row.isValid === true && Date.now() - (row.validatedAt ?? 0) < trustMs) {
      log("warn", "credential_refused_again", fields);
      return;
    }
    await commitChange(db, planConfirmation(db, workspaceId, row, standing));
    await publish(env, workspaceId);
    log("warn", "credential_confirmed", fields);
  } catch (error) {
    const fields = { workspace_id: workspaceId, credential_id: credentialId, cause: describeError(error) };
    log("error", "credential_not_confirmed", fields);
  }
}

function planConfirmation(db: Database, workspaceId: string, row: CredentialRow, standing: Standing): Change<null> {
  const actor: Actor = {
    type: "system",
    id: "gateway",
    name: "Gateway",
    requestId: newId("request"),
    ip: null,
    opId: newId("operation"),
    at: Date.now(),
  };
  const update = updateStanding(db, workspaceId, actor, row, standing);
  const isNews = standing.status !== row.status;
  return {
    statements: isNews ? [update, auditIfChanged(db, actor, describeStanding(workspaceId, row, standing))] : [update],
    value: null,
  };
}

/** Only what was examined is judged: a credential that changed in between has another revision. */
function updateStanding(db: Database, workspaceId: string, actor: Actor, row: CredentialRow, standing: Standing) {
  const { status, isValid, reason, validatedAt } = standing;
  const isTried = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.id, row.id),
    eq(credentials.revision, row.revision),
  );
  return db
    .update(credentials)
    .set({ status, isValid, reason, validatedAt, updatedAt: actor.at, revision: sql`${credentials.revision} + 1` })
    .where(isTried);
}

function describeStanding(workspaceId: string, row: CredentialRow, standing: Standing) {
  return {
    workspaceId,
    action: "credential.validated",
    targets: [{ type: "credential", id: row.id }],
    before: { status: row.status, is_valid: row.isValid },
    after: { status: standing.status, is_valid: standing.isValid, reason: standing.reason },
  };
}
