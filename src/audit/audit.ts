/** Audit rows, built as statements for the batch of the change they tell of. */
import { sql, type SQL } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import type { Database, Statement } from "../base/database.js";
import { newId } from "../base/ids.js";
import { auditLog } from "./model.js";

/** What happened. `before` and `after` hold public fields only: never a secret, a digest or a sealed value. */
export interface AuditEvent {
  readonly workspaceId: string | null;
  /** Noun and past tense, such as `member.invited`. */
  readonly action: string;
  readonly targets: readonly { readonly type: string; readonly id: string }[];
  readonly before?: Readonly<Record<string, unknown>>;
  readonly after?: Readonly<Record<string, unknown>>;
  readonly outcome?: "success" | "denied" | "failure";
}

/** The audit row of a change, unconditional: a guard before it rolls it back with the change. */
export function auditRow(db: Database, actor: Actor, event: AuditEvent): Statement {
  return db.insert(auditLog).values(toRow(actor, event));
}

/** The audit rows of a change to many things, in one statement and as unconditional as `auditRow`. */
export function auditRows(db: Database, actor: Actor, events: readonly AuditEvent[]): Statement {
  const rows = JSON.stringify(events.map((event) => toRow(actor, event)));
  return db.insert(auditLog).select(
    sql`SELECT NULL, e.value ->> 'id', e.value ->> 'workspaceId', e.value ->> 'time', e.value ->> 'actorType', e.value ->> 'actorId',
      e.value ->> 'actorName', e.value ->> 'action', e.value ->> 'targets', e.value ->> 'before', e.value ->> 'after', e.value ->> 'outcome',
      e.value ->> 'requestId', e.value ->> 'ip', e.value ->> 'opId' FROM json_each(${rows}) AS e`,
  );
}

/** What happened to each of many rows. `id`, `before` and `after` are expressions over those rows. */
export interface AuditOfMany {
  readonly workspaceId: string | null;
  readonly action: string;
  readonly target: { readonly type: string; readonly id: SQL };
  readonly before?: SQL;
  readonly after?: SQL;
}

/** One audit row for each row that `from` (`table WHERE …`) finds: put it right before the statement that changes those rows. */
export function auditEach(db: Database, actor: Actor, event: AuditOfMany, from: SQL): Statement {
  const { target } = event;
  // The ids are made where the rows are: TypeID's alphabet holds all of hexadecimal.
  return db.insert(auditLog).select(
    sql`SELECT NULL, 'aud_0' || substr(lower(hex(randomblob(13))), 2), ${event.workspaceId}, ${actor.at}, ${actor.type}, ${actor.id},
      ${actor.name}, ${event.action}, json_array(json_object('type', ${target.type}, 'id', ${target.id})), ${event.before ?? null},
      ${event.after ?? null}, 'success', ${actor.requestId}, ${actor.ip}, ${actor.opId} FROM ${from}`,
  );
}

/** The audit row of a change that may find nothing to do: written only when the statement right before it changed a row. */
export function auditIfChanged(db: Database, actor: Actor, event: AuditEvent): Statement {
  const row = toRow(actor, event);
  return db.insert(auditLog).select(
    sql`SELECT NULL, ${row.id}, ${row.workspaceId}, ${row.time}, ${row.actorType}, ${row.actorId}, ${row.actorName}, ${row.action},
      ${row.targets}, ${row.before}, ${row.after}, ${row.outcome}, ${row.requestId}, ${row.ip}, ${row.opId} WHERE changes() > 0`,
  );
}

function toRow(actor: Actor, event: AuditEvent) {
  return {
    id: newId("audit"),
    workspaceId: event.workspaceId,
    time: actor.at,
    actorType: actor.type,
    actorId: actor.id,
    actorName: actor.name,
    action: event.action,
    targets: JSON.stringify(event.targets),
    before: event.before === undefined ? null : JSON.stringify(event.before),
    after: event.after === undefined ? null : JSON.stringify(event.after),
    outcome: event.outcome ?? "success",
    requestId: actor.requestId,
    ip: actor.ip,
    opId: actor.opId,
  } as const;
}
