/** The audit log: append-only rows, held so by triggers. No foreign keys: it outlives what it speaks of. */
import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";

export const actorTypes = ["account", "key", "system", "setup"] as const;

export const auditLog = sqliteTable(
  "audit_log",
  {
    seq: integer("seq").primaryKey({ autoIncrement: true }),
    id: text("id").notNull().unique(),
    /** Null for what happens outside any workspace, such as set-up. */
    workspaceId: text("workspace_id"),
    time: integer("time").notNull(),
    actorType: text("actor_type", { enum: actorTypes }).notNull(),
    actorId: text("actor_id").notNull(),
    actorName: text("actor_name").notNull(),
    action: text("action").notNull(),
    targets: text("targets").notNull(),
    before: text("before"),
    after: text("after"),
    outcome: text("outcome", { enum: ["success", "denied", "failure"] }).notNull(),
    requestId: text("request_id").notNull(),
    ip: text("ip"),
    opId: text("op_id").notNull(),
  },
  (table) => [
    index("audit_of_workspace").on(table.workspaceId, table.seq),
    index("audit_by_actor").on(table.workspaceId, table.actorId, table.seq),
    index("audit_by_action").on(table.workspaceId, table.action, table.seq),
    index("audit_by_outcome")
      .on(table.workspaceId, table.outcome, table.seq)
      .where(sql`outcome <> 'success'`),
    index("audit_by_time").on(table.workspaceId, table.time),
  ],
);

/** Which rows speak of what, so that one thing's history is found by an index. A trigger on `audit_log` writes it. */
export const auditTargets = sqliteTable(
  "audit_targets",
  {
    workspaceId: text("workspace_id").notNull(),
    targetId: text("target_id").notNull(),
    seq: integer("seq").notNull(),
  },
  (table) => [primaryKey({ columns: [table.workspaceId, table.targetId, table.seq] })],
);

/** When something that may happen in a loop was last written down, and how often within an hour. Kept two hours. */
export const auditThrottle = sqliteTable(
  "audit_throttle",
  {
    workspaceId: text("workspace_id").notNull(),
    name: text("name").notNull(),
    at: integer("at").notNull(),
    count: integer("count").notNull().default(1),
  },
  (table) => [primaryKey({ columns: [table.workspaceId, table.name] }), index("audit_throttle_age").on(table.at)],
);

export const AuditEntry = z
  .object({
    id: z.string(),
    seq: z.number().int(),
    time: z.iso.datetime(),
    actor: z.object({ type: z.enum(actorTypes), id: z.string(), name: z.string() }),
    action: z.string(),
    targets: z.array(z.object({ type: z.string(), id: z.string() })),
    before: z.record(z.string(), z.unknown()).nullable(),
    after: z.record(z.string(), z.unknown()).nullable(),
    outcome: z.enum(["success", "denied", "failure"]),
    request_id: z.string(),
    ip: z.string().nullable(),
  })
  .openapi("AuditEntry");
export type AuditEntry = z.infer<typeof AuditEntry>;

const Targets = AuditEntry.shape.targets;
const Fields = AuditEntry.shape.before;

/** The answer's view of a row. */
export function toAuditEntry(row: typeof auditLog.$inferSelect): AuditEntry {
  return {
    id: row.id,
    seq: row.seq,
    time: new Date(row.time).toISOString(),
    actor: { type: row.actorType, id: row.actorId, name: row.actorName },
    action: row.action,
    targets: Targets.parse(JSON.parse(row.targets)),
    before: Fields.parse(row.before === null ? null : JSON.parse(row.before)),
    after: Fields.parse(row.after === null ? null : JSON.parse(row.after)),
    outcome: row.outcome,
    request_id: row.requestId,
    ip: row.ip,
  };
}
