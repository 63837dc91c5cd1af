/** Stored answers of requests that carried an Idempotency-Key. */
import { z } from "@hono/zod-openapi";
import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

export const idempotency = sqliteTable(
  "idempotency",
  {
    /** SHA-256 of principal, method, path and key. */
    id: text("id").primaryKey(),
    requestHash: text("request_hash").notNull(),
    /** The running claim's token; the change's own batch checks it. */
    token: text("token").notNull(),
    leaseUntil: integer("lease_until").notNull(),
    /** Null while running. */
    status: integer("status"),
    headers: text("headers"),
    /** JSON text, or its sealed form when `sealed`. */
    body: text("body"),
    sealed: integer("sealed", { mode: "boolean" }).notNull().default(false),
    workspaceId: text("workspace_id"),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [index("idempotency_age").on(table.createdAt), index("idempotency_of_workspace").on(table.workspaceId)],
);

/** Headers that a stored answer brings back, as the row's JSON holds them. */
export const StoredHeaders = z.record(z.string(), z.string());
