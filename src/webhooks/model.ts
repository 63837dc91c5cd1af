/** Webhooks: where a workspace's events are told, what signs them, and what became of each telling. */
import { sql } from "drizzle-orm";
import { foreignKey, index, integer, sqliteTable, text, unique } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";
import { workspaces } from "../tenancy/model.js";
import { dataKeys } from "../vault/model.js";

/** Why a webhook is out. `by_hand`: somebody switched it off; `gone`: its address answered 410; `failing`: nothing arrived for five days; `undecryptable`: its secret does not open. */
export const disabledReasons = ["by_hand", "gone", "failing", "undecryptable"] as const;
export type DisabledReason = (typeof disabledReasons)[number];

/** Why an attempt failed without an answer that says so. */
export const deliveryErrors = [
  "status",
  "timeout",
  "network",
  "redirected",
  "refused",
  "disabled",
  "undecryptable",
  "event_gone",
  "internal",
] as const;
export type DeliveryError = (typeof deliveryErrors)[number];

/** What is posted, to who names it, without a row of the log: the newest checkpoint. */
export const checkpointEvent = "audit_log.checkpoint";

export const webhooks = sqliteTable(
  "webhooks",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id")
      .notNull()
      .references(() => workspaces.id),
    url: text("url").notNull(),
    description: text("description").notNull(),
    /** A JSON list of actions of the audit log, `family.*` and `*`. A trigger on `audit_log` reads it. */
    events: text("events").notNull(),
    state: text("state", { enum: ["active", "disabled"] }).notNull(),
    reason: text("reason", { enum: disabledReasons }),
    /** Since when no attempt has succeeded, epoch milliseconds; null when the last one did. */
    failingSince: integer("failing_since"),
    revision: integer("revision").notNull().default(1),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [
    unique("webhooks_in_workspace").on(table.workspaceId, table.id),
    index("webhooks_listed").on(table.workspaceId, table.createdAt, table.id),
    index("webhooks_of_checkpoints")
      .on(table.workspaceId)
      .where(sql`state = 'active' AND instr(events, 'audit_log.checkpoint') > 0`),
  ],
);

/** What signs for a webhook: the present secret, and the one before while it signs along. Sealed; no answer shows it again. */
export const webhookSecrets = sqliteTable(
  "webhook_secrets",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    webhookId: text("webhook_id").notNull(),
    sealed: text("sealed").notNull(),
    dataKeyId: text("data_key_id").notNull(),
    /** When it signs no more; null for the present one. */
    until: integer("until"),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    index("webhook_secrets_of_webhook").on(table.workspaceId, table.webhookId),
    index("webhook_secrets_by_data_key").on(table.workspaceId, table.dataKeyId),
    foreignKey({
      name: "webhook_secrets_webhook",
      columns: [table.workspaceId, table.webhookId],
      foreignColumns: [webhooks.workspaceId, webhooks.id],
    }).onDelete("cascade"),
    foreignKey({
      name: "webhook_secrets_data_key",
      columns: [table.workspaceId, table.dataKeyId],
      foreignColumns: [dataKeys.workspaceId, dataKeys.id],
    }),
  ],
);

/** One event for one webhook, written by a trigger with the audit row it tells. Kept 30 days. */
export const webhookDeliveries = sqliteTable(
  "webhook_deliveries",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    webhookId: text("webhook_id").notNull(),
    /** The audit row, from which the body is written at each attempt; of a checkpoint its size. */
    auditSeq: integer("audit_seq").notNull(),
    type: text("type").notNull(),
    state: text("state", { enum: ["queued", "delivered", "failed"] }).notNull(),
    attempts: integer("attempts").notNull().default(0),
    /** Of the last attempt; null when there was no answer. */
    status: integer("status"),
    error: text("error", { enum: deliveryErrors }),
    tookMs: integer("took_ms"),
    /** No attempt begins before. */
    dueAt: integer("due_at").notNull(),
    /** When the sweep hands it to the queue, should nothing have happened until then. */
    lookAt: integer("look_at").notNull(),
    attemptedAt: integer("attempted_at"),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    index("webhook_deliveries_listed").on(table.workspaceId, table.webhookId, table.createdAt, table.id),
    index("webhook_deliveries_open")
      .on(table.lookAt)
      .where(sql`state = 'queued'`),
    index("webhook_deliveries_open_here")
      .on(table.workspaceId, table.lookAt)
      .where(sql`state = 'queued'`),
    index("webhook_deliveries_age").on(table.createdAt),
    foreignKey({
      name: "webhook_deliveries_webhook",
      columns: [table.workspaceId, table.webhookId],
      foreignColumns: [webhooks.workspaceId, webhooks.id],
    }).onDelete("cascade"),
  ],
);

export type WebhookRow = typeof webhooks.$inferSelect;
export type WebhookSecretRow = typeof webhookSecrets.$inferSelect;
export type DeliveryRow = typeof webhookDeliveries.$inferSelect;

/** The queue's body: an id, nothing else. */
export const WebhookMessage = z.object({ id: z.string() });
export type WebhookMessage = z.infer<typeof WebhookMessage>;

/** The stored list of events. */
export function readEvents(row: Pick<WebhookRow, "events">): string[] {
  return z.array(z.string()).parse(JSON.parse(row.events));
}
