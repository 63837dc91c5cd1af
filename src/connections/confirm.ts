/** Looks in the background at credentials that calls could not use: takes them out, with a reason and an audit row, or lets them back in. */
import { and, inArray, isNull, lte, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { forEachWithin, unbounded, type Budget } from "../base/budget.js";
import { commitChange, hideSql, openDatabase, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { describeError, log } from "../base/log.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { workspaces } from "../tenancy/model.js";
import { planStateLetters } from "./credential-letters.js";
import { exhaustedStanding, lookedAgainStanding } from "./credential-standing.js";
import { findCredential } from "./credentials.js";
import { describeStanding, examineCredential, openStored, updateStanding } from "./examine.js";
import { credentials, type CredentialRow } from "./model.js";
import { backInUseAt, refusedStanding, undecryptableStanding, type Standing } from "./validation.js";

/** What a call met: its provider refused the credential, or served it no more for want of money, or the secret did not open. */
export interface CredentialDoubt {
  readonly kind: "refused" | "exhausted" | "undecryptable";
  /** When the call was issued, epoch milliseconds. */
  readonly issuedAt: number;
}

/** Brings a workspace's newest version into force. */
type Publish = (env: Env, workspaceId: string) => Promise<void>;

const outStatuses: ReadonlySet<CredentialRow["status"]> = new Set(["invalid", "disabled", "undecryptable"]);

/**
 * Looks at a credential that a call could not use. The Router has taken a refused one out by then: this takes it back at once
 * when it proves good, and else records why it is out, until when, and publishes that. Never throws: what goes wrong is logged.
 */
export async function confirmCredential(
  env: Env,
  workspaceId: string,
  credentialId: string,
  doubt: CredentialDoubt,
  publish: Publish,
): Promise<void> {
  try {
    const db = openDatabase(env.DB);
    const row = await findCredential(db, workspaceId, null, credentialId);
    const isKnown = doubt.kind === "exhausted" && row.status === "exhausted";
    if (isKnown || outStatuses.has(row.status) || doubt.issuedAt <= (backInUseAt(row) ?? -Infinity)) {
      // The Router, too, holds a call of before against nobody.
      return;
    }
    const standing = await findStanding(db, requireSettings(env), row, doubt);
    if (standing !== null) {
      await record(env, db, row, standing, publish);
    }
  } catch (error) {
    const fields = { workspace_id: workspaceId, credential_id: credentialId, cause: describeError(error) };
    log("error", "credential_not_confirmed", fields);
  }
}

/**
 * Lets up to `limit` credentials try again whose pause is over: each is asked for first, and stays out if that proves it bad.
 * Run by cron. Failures are logged; such a credential is due again at the next run.
 */
export async function sweepRefused(
  env: Env,
  publish: Publish,
  now: number,
  limit: number,
  budget: Budget = unbounded,
): Promise<void> {
  const db = openDatabase(env.DB);
  const isAlive = and(
    eq(workspaces.id, credentials.workspaceId),
    isNull(workspaces.deletedAt),
    isNull(workspaces.purgeState),
  );
  // In no order: some that keep failing must not stand before the others every time.
  const due = await hideSql(
    db
      .select({ row: credentials })
      .from(credentials)
      .innerJoin(workspaces, isAlive)
      .where(and(lte(credentials.retryAt, now), inArray(credentials.status, ["invalid", "exhausted"])))
      .orderBy(sql`random()`)
      .limit(limit)
      .all(),
  );
  await forEachWithin(budget, due, ({ row }) => retryCredential(env, db, row, publish));
}

async function retryCredential(env: Env, db: Database, row: CredentialRow, publish: Publish): Promise<void> {
  try {
    const standing = await examineCredential(db, requireSettings(env), row, lookedAgainStanding);
    await record(env, db, row, standing, publish);
  } catch (error) {
    const fields = { workspace_id: row.workspaceId, credential_id: row.id, cause: describeError(error) };
    log("error", "credential_not_retried", fields);
  }
}

/** The standing that a doubt leads to; null when there was no ground for it. */
async function findStanding(
  db: Database,
  settings: Settings,
  row: CredentialRow,
  doubt: CredentialDoubt,
): Promise<Standing | null> {
  if (doubt.kind === "undecryptable") {
    return (await openStored(db, settings, row)) === null ? undecryptableStanding(row) : null;
  }
  const judge = doubt.kind === "exhausted" ? exhaustedStanding : refusedStanding;
  try {
    return await examineCredential(db, settings, row, judge);
  } catch (error) {
    if (error instanceof AppError && error.code === "keyring_entry_missing") {
      return judge(row, { outcome: "unknown", reason: "It could not be checked just now.", at: Date.now() });
    }
    throw error;
  }
}

async function record(env: Env, db: Database, row: CredentialRow, standing: Standing, publish: Publish): Promise<void> {
  await commitChange(db, planRecord(db, row, standing));
  await publish(env, row.workspaceId);
  const fields = { workspace_id: row.workspaceId, credential_id: row.id, status: standing.status };
  log("warn", "credential_confirmed", { ...fields, refusals: standing.refusals });
}

function planRecord(db: Database, row: CredentialRow, standing: Standing): Change<null> {
  const actor: Actor = {
    type: "system",
    id: "gateway",
    name: "Gateway",
    requestId: newId("request"),
    ip: null,
    opId: newId("operation"),
    at: Date.now(),
  };
  const update = updateStanding(db, row.workspaceId, actor, row, standing);
  if (standing.status === row.status) {
    return { statements: [update], value: null };
  }
  const event = describeStanding(row.workspaceId, row, standing, actionOf(row, standing));
  const letters = planStateLetters(db, row, standing, actor.at);
  return { statements: [update, auditIfChanged(db, actor, event), ...letters], value: null };
}

/** What a look in the background is told as: a webhook hears by it that a pool's instances went out, or came back. */
function actionOf(row: CredentialRow, standing: Standing): string {
  switch (standing.status) {
    case "invalid":
      return "credential.refused";
    case "exhausted":
    case "undecryptable":
      return `credential.${standing.status}`;
    case "unverified":
      return "credential.restored";
    case "active":
    case "disabled":
      return row.status === "unverified" ? "credential.validated" : "credential.restored";
  }
}
