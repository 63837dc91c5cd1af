/** Reads of the log, which are themselves told of in it. */
import type { Actor } from "../access/principal.js";
import type { Change, Database } from "../base/database.js";
import { auditRow } from "./audit.js";
import { planThrottled } from "./throttle.js";

/** Once in ten minutes for each caller: a page is no deed of its own. */
const windowMs = 10 * 60_000;

/** Plans the row of a look at the log or at its proofs. */
export function planRead(
  db: Database,
  workspaceId: string,
  actor: Actor,
  action: "audit_log.read" | "audit_log.proof_read",
): Change<undefined> {
  const event = { workspaceId, action, targets: [{ type: "workspace", id: workspaceId }] };
  const statements = planThrottled(db, actor, event, { name: `${actor.id}|${action}`, kind: "read", windowMs });
  return { statements, value: undefined };
}

/** Plans the row of an export, each time: it is committed before the first byte is read. */
export function planExported(
  db: Database,
  workspaceId: string,
  actor: Actor,
  asked: Readonly<Record<string, unknown>>,
): Change<undefined> {
  const targets = [{ type: "workspace", id: workspaceId }];
  const row = auditRow(db, actor, { workspaceId, action: "audit_log.exported", targets, after: asked });
  return { statements: [row], value: undefined };
}
