/** The models that a workspace may call: what differs from the catalogue, the models of its own, and the default of each type. */
import { foreignKey, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { pools } from "../connections/model.js";
import type { ModelType } from "../providers/known-models.js";
import { workspaces } from "../tenancy/model.js";

/** What a model is for. */
export const modelTypes = [
  "llm",
  "embedding",
  "rerank",
  "speech",
  "image",
  "moderation",
] as const satisfies readonly ModelType[];

/** One row for each model that differs from the catalogue: an override of one that it knows, or a model of the workspace's own. */
export const models = sqliteTable(
  "models",
  {
    workspaceId: text("workspace_id").notNull(),
    providerName: text("provider_name").notNull(),
    model: text("model").notNull(),
    /** Of the workspace's own; else it changes what the catalogue says, field by field where not null. */
    isCustom: integer("is_custom", { mode: "boolean" }).notNull(),
    type: text("type", { enum: modelTypes }).notNull(),
    title: text("title"),
    contextWindow: integer("context_window"),
    maxOutput: integer("max_output"),
    /** A `ModelPrice` as JSON. */
    price: text("price"),
    enabled: integer("enabled", { mode: "boolean" }).notNull(),
    /** A JSON list of the credentials that it is called with; null for all of its provider's. One that was deleted counts no more. */
    credentialIds: text("credential_ids"),
    revision: integer("revision").notNull(),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [
    primaryKey({ name: "models_name", columns: [table.workspaceId, table.providerName, table.model] }),
    foreignKey({ name: "models_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
  ],
);

/** What a workspace uses when nobody says which: a provider's model or a pool for each type, or nothing. A workspace that chose once has a row for each type. */
export const defaultModels = sqliteTable(
  "default_models",
  {
    workspaceId: text("workspace_id").notNull(),
    type: text("type", { enum: modelTypes }).notNull(),
    providerName: text("provider_name"),
    model: text("model"),
    /** A trigger empties it when the pool is deleted. */
    poolId: text("pool_id"),
    /** The same in all rows of a workspace. */
    revision: integer("revision").notNull(),
  },
  (table) => [
    primaryKey({ name: "default_models_type", columns: [table.workspaceId, table.type] }),
    foreignKey({ name: "default_models_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
    foreignKey({
      name: "default_models_pool",
      columns: [table.workspaceId, table.poolId],
      foreignColumns: [pools.workspaceId, pools.id],
    }),
  ],
);

export type ModelRow = typeof models.$inferSelect;
export type DefaultModelRow = typeof defaultModels.$inferSelect;
