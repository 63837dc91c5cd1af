/** Refused attempts of callers who are known, in a workspace that they are in: written down, so that trying doors is seen. */
import type { Actor } from "../access/principal.js";
import { commit, type Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { planThrottled } from "./throttle.js";

/** What was refused. */
export interface DeniedAttempt {
  readonly workspaceId: string;
  /** Method and path pattern, such as `DELETE /workspaces/{ws}/members/{id}`: no part of an address that the caller made up. */
  readonly operation: string;
  /** The error code of the answer. */
  readonly code: string;
}

/** Once a minute for each caller and operation. */
const windowMs = 60_000;

/** What this isolate has written down, and until when it needs no second look: a caller in a loop costs the record nothing. */
const written = new Map<string, number>();
const maxWritten = 10_000;

/** Writes a refused attempt down. Never throws: the answer is out already. */
export async function noteDenied(db: Database, actor: Actor, attempt: DeniedAttempt): Promise<void> {
  const { workspaceId, operation, code } = attempt;
  const event = {
    workspaceId,
    action: "request.denied",
    targets: [{ type: "operation", id: operation }],
    after: { code },
    outcome: "denied",
  } as const;
  const name = `${actor.id}|${operation}`;
  if ((written.get(`${workspaceId}|${name}`) ?? 0) > actor.at) {
    return;
  }
  try {
    await commit(db, planThrottled(db, actor, event, { name, kind: "denied", windowMs }));
    if (written.size >= maxWritten) {
      written.clear();
    }
    written.set(`${workspaceId}|${name}`, actor.at + windowMs);
  } catch (error) {
    log("warn", "denied_attempt_not_noted", { workspace_id: workspaceId, cause: describeError(error) });
  }
}
