/** Workspace data keys, wrapped under the keyring. The plaintext of a data key is in no row. */
import { foreignKey, index, integer, sqliteTable, text, unique } from "drizzle-orm/sqlite-core";
import { workspaces } from "../tenancy/model.js";

export const dataKeys = sqliteTable(
  "data_keys",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    /** The keyring entry that wraps it. */
    keyringId: text("keyring_id").notNull(),
    wrapped: text("wrapped").notNull(),
    /** `active` seals and opens; `retired` only opens. */
    state: text("state", { enum: ["active", "retired"] }).notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    unique("data_keys_in_workspace").on(table.workspaceId, table.id),
    index("data_keys_by_keyring").on(table.keyringId),
    foreignKey({ name: "data_keys_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
  ],
);
