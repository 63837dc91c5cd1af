/** The demo account of a local run: it owns the workspace that the start's curl line calls, so that a first routed call needs no set-up. */
import { eq } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import type { Change, Database } from "../base/database.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import { sessions, users } from "../identity/model.js";
import { planSession } from "../identity/sessions.js";
import { demoAccountId } from "./setup.js";

/** Plans a new session for the demo account, which is made when missing; its earlier sessions end. */
export async function planDemoSession(db: Database, settings: Settings, actor: Actor): Promise<Change<Secret>> {
  const at = new Date(actor.at).toISOString();
  const from = { ip: actor.ip, userAgent: "npm start", requestId: actor.requestId };
  const session = await planSession(settings.authSecret, db, demoAccountId, from, actor.at);
  const account = {
    id: demoAccountId,
    name: "Demo",
    email: "demo@gatehouse.invalid",
    createdAt: at,
    updatedAt: at,
  };
  return {
    statements: [
      db.insert(users).values(account).onConflictDoNothing({ target: users.id }),
      auditIfChanged(db, actor, {
        workspaceId: null,
        action: "account.created",
        targets: [{ type: "account", id: demoAccountId }],
      }),
      db.delete(sessions).where(eq(sessions.userId, demoAccountId)),
      session.statement,
    ],
    value: session.token,
  };
}
