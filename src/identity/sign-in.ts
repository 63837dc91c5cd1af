/** Signing in by a proven address: its account, made when it may be, and a new session. */
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import type { Change, Database, Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { newId } from "../base/ids.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { eq } from "drizzle-orm";
import type { ProvenCode } from "./codes.js";
import { toAccount, users, type Account } from "./model.js";
import { planSession } from "./sessions.js";
import { findAccountByEmail, maySignUp } from "./sign-up.js";

/** A sign-in about to happen. */
export interface PlannedSignIn {
  readonly account: Account;
  readonly token: Secret;
}

/** Plans the session of whoever proved the code's address. `code_refused` when the code was used meanwhile, or the address may have no account. */
export async function planSignIn(
  db: Database,
  settings: Settings,
  actor: Actor,
  proven: ProvenCode,
  from: { readonly name: string | undefined; readonly userAgent: string | null },
): Promise<Change<PlannedSignIn>> {
  const { email } = proven;
  const found = await findAccountByEmail(db, email);
  if (found === undefined && !maySignUp(settings.signIn, email)) {
    throw new AppError("code_refused");
  }
  const at = new Date(actor.at).toISOString();
  const fallback = email.slice(0, email.indexOf("@")).slice(0, 100);
  const account = found ?? { id: newId("account"), email, name: from.name ?? fallback, createdAt: at };
  const source = { ip: actor.ip, userAgent: from.userAgent, requestId: actor.requestId };
  const session = await planSession(settings.authSecret, db, account.id, source, actor.at);
  const made = found === undefined ? insertAccount(db, actor, account, at) : verifyAddress(db, found, at);
  return {
    statements: [...proven.use, ...made, session.statement],
    value: { account: toAccount(account), token: session.token },
    conflicts: { "user.email": "conflict" },
  };
}

function insertAccount(
  db: Database,
  actor: Actor,
  account: Pick<typeof users.$inferSelect, "id" | "email" | "name" | "createdAt">,
  at: string,
): Statement[] {
  const by: Actor = { ...actor, type: "account", id: account.id, name: account.name };
  return [
    db.insert(users).values({ ...account, emailVerified: true, updatedAt: at }),
    auditRow(db, by, {
      workspaceId: null,
      action: "account.created",
      targets: [{ type: "account", id: account.id }],
      after: { email: account.email, name: account.name },
    }),
  ];
}

/** Set-up takes an address at its word; the first code that comes back from it proves it. */
function verifyAddress(db: Database, account: typeof users.$inferSelect, at: string): Statement[] {
  return account.emailVerified
    ? []
    : [db.update(users).set({ emailVerified: true, updatedAt: at }).where(eq(users.id, account.id))];
}
