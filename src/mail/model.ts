/** The outbox: one row per letter, which says what became of it, and the queue's message, which holds nothing secret. */
import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";

export const letterKinds = [
  "invite",
  "sign_in_code",
  "ownership_transfer",
  "key_expiring",
  "credential_state",
  "credential_expiring",
  "budget",
  "audit_checkpoint",
  "webhook_disabled",
] as const;
export type LetterKind = (typeof letterKinds)[number];

export const outbox = sqliteTable(
  "outbox",
  {
    id: text("id").primaryKey(),
    kind: text("kind", { enum: letterKinds }).notNull(),
    workspaceId: text("workspace_id"),
    /** The row the letter is about, such as the invite's id. */
    subjectId: text("subject_id").notNull(),
    /** The subject's version when the letter was asked for; a letter whose subject moved on is not sent. */
    version: integer("version").notNull(),
    recipient: text("recipient").notNull(),
    state: text("state", { enum: ["queued", "sent", "superseded", "failed"] })
      .notNull()
      .default("queued"),
    reason: text("reason"),
    attempts: integer("attempts").notNull().default(0),
    createdAt: integer("created_at").notNull(),
    /** When it was last handed to the queue; null means never, and the sweep does it. */
    enqueuedAt: integer("enqueued_at"),
    sentAt: integer("sent_at"),
  },
  (table) => [
    index("outbox_open")
      .on(table.createdAt)
      .where(sql`state = 'queued'`),
    index("outbox_subject").on(table.subjectId, table.version),
    index("outbox_of_address").on(table.workspaceId, table.recipient, table.createdAt),
    index("outbox_newest").on(table.createdAt, table.id),
    index("outbox_of_workspace").on(table.workspaceId, table.id),
    index("outbox_age").on(table.workspaceId, table.createdAt),
  ],
);

/** The queue's body. */
export const MailMessage = z.object({
  kind: z.enum(letterKinds),
  id: z.string(),
  version: z.number().int(),
});
export type MailMessage = z.infer<typeof MailMessage>;
