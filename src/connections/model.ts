/** Connections to upstreams: sealed credentials, pools of weighted instances, and their answers. */
import { sql } from "drizzle-orm";
import { foreignKey, index, integer, sqliteTable, text, unique } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { workspaces } from "../tenancy/model.js";
import { dataKeys } from "../vault/model.js";

export const credentialStatuses = [
  "active",
  "unverified",
  "invalid",
  "exhausted",
  "disabled",
  "undecryptable",
] as const;

export const credentials = sqliteTable(
  "credentials",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    /** What kind of provider it is for: models or tools. */
    providerType: text("provider_type", { enum: ["model", "tool"] })
      .notNull()
      .default("model"),
    providerName: text("provider_name").notNull(),
    name: text("name").notNull(),
    baseUrl: text("base_url").notNull(),
    /** Its plain fields beside the base URL, as a JSON object of texts. */
    options: text("options").notNull().default("{}"),
    /** The origin the secret may be sent to; part of the seal. */
    origin: text("origin").notNull(),
    sealed: text("sealed").notNull(),
    /** Moved by sealing alone; part of the seal. */
    secretVersion: integer("secret_version").notNull().default(1),
    dataKeyId: text("data_key_id").notNull(),
    masked: text("masked").notNull(),
    /** Keyed hash of the secret, to find the same secret again in this workspace. */
    fingerprint: text("fingerprint").notNull(),
    status: text("status", { enum: credentialStatuses }).notNull(),
    /** Last validation's result; null when it told nothing. */
    isValid: integer("is_valid", { mode: "boolean" }),
    reason: text("reason"),
    /** When a validation last proved the secret good or bad; one that told nothing leaves it. */
    validatedAt: integer("validated_at"),
    /** When it was last let back into use, proved good or not; the Router takes it back if that is later than its refusal. */
    restoredAt: integer("restored_at"),
    /** Set while it is out because a call was refused and no check could say why: when the cron sweep lets it try again. */
    retryAt: integer("retry_at"),
    /** How often it went out that way, one soon after the other: the back-off's exponent. */
    refusals: integer("refusals").notNull().default(0),
    /** When its owner said that it runs out; reminders count from it, nothing else does. */
    expiresAt: integer("expires_at"),
    expiryWarnedAt: integer("expiry_warned_at"),
    /** When a call last used it, to the minute. */
    lastUsedAt: integer("last_used_at"),
    /** The secret before the last rotation, kept for a rollback until `previousUntil`; all null when there is none. */
    previousSealed: text("previous_sealed"),
    previousSecretVersion: integer("previous_secret_version"),
    previousDataKeyId: text("previous_data_key_id"),
    previousMasked: text("previous_masked"),
    previousFingerprint: text("previous_fingerprint"),
    previousUntil: integer("previous_until"),
    /** What `expiresAt` said of the secret before. */
    previousExpiresAt: integer("previous_expires_at"),
    revision: integer("revision").notNull().default(1),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [
    unique("credentials_in_workspace").on(table.workspaceId, table.id),
    unique("credentials_name").on(table.workspaceId, table.providerName, table.name),
    index("credentials_listed").on(table.workspaceId, table.providerName, table.createdAt, table.id),
    index("credentials_same").on(table.workspaceId, table.fingerprint),
    index("credentials_to_retry")
      .on(table.retryAt)
      .where(sql`retry_at IS NOT NULL`),
    index("credentials_to_forget")
      .on(table.previousUntil)
      .where(sql`previous_until IS NOT NULL`),
    index("credentials_to_remind")
      .on(table.expiresAt)
      .where(sql`expires_at IS NOT NULL`),
    foreignKey({ name: "credentials_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
    foreignKey({
      name: "credentials_data_key",
      columns: [table.workspaceId, table.dataKeyId],
      foreignColumns: [dataKeys.workspaceId, dataKeys.id],
    }),
  ],
);

export const poolStrategies = ["weighted", "round_robin", "priority", "least_busy", "latency", "cost"] as const;

export const pools = sqliteTable(
  "pools",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    name: text("name").notNull(),
    strategy: text("strategy", { enum: poolStrategies }).notNull(),
    policy: text("policy").notNull(),
    fallbacks: text("fallbacks").notNull(),
    revision: integer("revision").notNull().default(1),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [
    unique("pools_in_workspace").on(table.workspaceId, table.id),
    unique("pools_name").on(table.workspaceId, table.name),
    index("pools_listed").on(table.workspaceId, table.createdAt, table.id),
    foreignKey({ name: "pools_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
  ],
);

export const poolInstances = sqliteTable(
  "pool_instances",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    poolId: text("pool_id").notNull(),
    position: integer("position").notNull(),
    alias: text("alias").notNull(),
    providerName: text("provider_name").notNull(),
    model: text("model").notNull(),
    credentialId: text("credential_id").notNull(),
    weight: integer("weight").notNull(),
    priority: integer("priority").notNull().default(0),
    enabled: integer("enabled", { mode: "boolean" }).notNull().default(true),
  },
  (table) => [
    unique("pool_instances_alias").on(table.workspaceId, table.poolId, table.alias),
    index("pool_instances_by_credential").on(table.workspaceId, table.credentialId),
    foreignKey({
      name: "pool_instances_pool",
      columns: [table.workspaceId, table.poolId],
      foreignColumns: [pools.workspaceId, pools.id],
    }).onDelete("cascade"),
    foreignKey({
      name: "pool_instances_credential",
      columns: [table.workspaceId, table.credentialId],
      foreignColumns: [credentials.workspaceId, credentials.id],
    }),
  ],
);

/** Lists look the catalogue's word up themselves; here it only has to be one. */
export const ProviderName = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/);

/** What the form of a provider asks for, by field name. */
export const CredentialFields = z.record(z.string().max(64), z.string().max(20_000));

export type CredentialRow = typeof credentials.$inferSelect;

const Options = z.record(z.string(), z.string());

/** A credential's plain fields beside its base URL, by the form's names; null when they cannot be read. */
export function findOptions(row: Pick<CredentialRow, "options">): Readonly<Record<string, string>> | null {
  try {
    return Options.safeParse(JSON.parse(row.options)).data ?? null;
  } catch {
    return null;
  }
}

/** The same for a use that needs them: without a field that was entered nothing may be sent. Throws `undecryptable`. */
export function readOptions(row: Pick<CredentialRow, "options">): Readonly<Record<string, string>> {
  const options = findOptions(row);
  if (options === null) {
    throw new AppError("undecryptable", { cause: new Error("the credential's options cannot be read") });
  }
  return options;
}
