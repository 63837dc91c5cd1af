/** The first run: the set-up token makes the first account, its session and its workspace, once. */
import { ne, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { equalBytes, utf8 } from "../base/bytes.js";
import { guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { setup, toAccount, users } from "../identity/model.js";
import { planSession } from "../identity/sessions.js";
import { toWorkspace } from "../tenancy/model.js";
import { planWorkspace, slugOf } from "./create.js";
import type { Setup, SetupResult } from "./model.js";

/** The account that owns the local demo workspace; it has no session and no mailbox, and does not count as set up. */
export const demoAccountId = "usr_00000000000000000000000000";

const anyAccount = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${ne(users.id, demoAccountId)})`;

/** Checks the set-up token. Throws `invalid_setup_token` when it is not the one in the settings, or none is set. */
export function checkSetupToken(settings: Settings, given: string | null): void {
  const expected = settings.setupToken;
  if (expected === null || given === null || !equalBytes(utf8(given), utf8(expected.reveal()))) {
    throw new AppError("invalid_setup_token");
  }
}

/** Throws `already_set_up` once any account exists. The batch's own guard holds it under a race. */
export async function refuseSecondSetup(db: Database): Promise<void> {
  const [row] = await hideSql(
    db.select({ id: users.id }).from(users).where(ne(users.id, demoAccountId)).limit(1).all(),
  );
  if (row !== undefined) {
    throw new AppError("already_set_up");
  }
}

/** Plans the first account with its session and workspace. `already_set_up` when another first run came first. */
export async function planSetup(
  db: Database,
  settings: Settings,
  actor: Actor,
  userAgent: string | null,
  input: Setup,
): Promise<Change<{ readonly result: Omit<SetupResult, "session_token">; readonly token: Secret }>> {
  const at = new Date(actor.at).toISOString();
  const account = {
    id: newId("account"),
    email: input.email,
    name: input.name,
    emailVerified: false,
    createdAt: at,
    updatedAt: at,
  };
  const from = { ip: actor.ip, userAgent, requestId: actor.requestId };
  const session = await planSession(settings.authSecret, db, account.id, from, actor.at);
  const by: Actor = { ...actor, type: "setup", id: account.id, name: account.name };
  const { name, slug } = input.workspace;
  const named = { name, slug: slug ?? slugOf(name), seatLimit: settings.seatLimit };
  const workspace = await planWorkspace(db, settings.keyring, account.id, by, named, []);
  const statements = [
    guardThat(db, sql`NOT ${anyAccount}`, "already_set_up"),
    db.insert(setup).values({ id: 1, accountId: account.id, at: actor.at }),
    db.insert(users).values(account),
    auditRow(db, by, {
      workspaceId: workspace.value.row.id,
      action: "account.created",
      targets: [{ type: "account", id: account.id }],
      after: { email: account.email, name: account.name },
    }),
    session.statement,
    ...workspace.statements,
  ];
  const result = { account: toAccount(account), workspace: toWorkspace(workspace.value.row, "OWNER", 1) };
  return {
    statements,
    value: { result, token: session.token },
    conflicts: { ...workspace.conflicts, "setup.id": "already_set_up" },
  };
}
