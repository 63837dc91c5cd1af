/** API keys: the row (a digest, never the key) and its answers. */
import { sql } from "drizzle-orm";
import {
  foreignKey,
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  unique,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";
import { isScope, scopes, type Scope } from "../access/permissions.js";
import { DisplayName } from "../identity/model.js";
import { BudgetUsd, ChangedBudgetUsd, TokensPerMinute } from "../tenancy/limits-schema.js";
import { members, regions } from "../tenancy/model.js";

export const apiKeys = sqliteTable(
  "api_keys",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    name: text("name").notNull(),
    /** SHA-256 of the whole key, hex. */
    digest: text("digest").notNull().unique(),
    prefix: text("prefix").notNull(),
    lastFour: text("last_four").notNull(),
    scopes: text("scopes").notNull(),
    limits: text("limits").notNull(),
    region: text("region", { enum: regions }).notNull(),
    madeBy: text("made_by").notNull(),
    /** Never moves up; a trigger holds that. */
    expiresAt: integer("expires_at"),
    /** The secret before the last rotation; its digest stays when its time is over, so that it is refused as expired. */
    previousDigest: text("previous_digest").unique(),
    previousPrefix: text("previous_prefix"),
    previousLastFour: text("previous_last_four"),
    /** When the secret before ends, at most the key's own expiry; 0 when it ended with the rotation. */
    previousUntil: integer("previous_until"),
    rotatedAt: integer("rotated_at"),
    /** The member who was shown the present secret, and so holds it; null for the maker. */
    shownTo: text("shown_to"),
    /** Who holds the secret before. */
    previousShownTo: text("previous_shown_to"),
    /** The last warning of its expiry that was written, by days ahead. */
    warnedDays: integer("warned_days"),
    revokedAt: integer("revoked_at"),
    /** The workspace's version that says so; set by the trigger that moves it. */
    revokedVersion: integer("revoked_version"),
    createdAt: integer("created_at").notNull(),
    lastUsedAt: integer("last_used_at"),
    revision: integer("revision").notNull().default(1),
  },
  (table) => [
    unique("api_keys_in_workspace").on(table.workspaceId, table.id),
    /** A revoked key gives its name back; an expired one keeps it, for it can be seen and revoked. */
    uniqueIndex("api_keys_living_name")
      .on(table.workspaceId, table.name)
      .where(sql`revoked_at IS NULL`),
    index("api_keys_listed").on(table.workspaceId, table.createdAt, table.id),
    index("api_keys_of_member").on(table.workspaceId, table.madeBy),
    index("api_keys_expiring")
      .on(table.expiresAt)
      .where(sql`revoked_at IS NULL`),
    foreignKey({
      name: "api_keys_made_by",
      columns: [table.workspaceId, table.madeBy],
      foreignColumns: [members.workspaceId, members.id],
    }),
  ],
);

/** The spans that a budget is given for, by UTC. */
export const budgetSpans = ["day", "month"] as const;
export type BudgetSpan = (typeof budgetSpans)[number];

/** A budget of a key, or of the workspace, that people were told of: once for each threshold and span. Kept as long as a letter may say it. */
export const budgetNotices = sqliteTable(
  "budget_notices",
  {
    workspaceId: text("workspace_id").notNull(),
    /** A key's id, or `workspace`. */
    scope: text("scope").notNull(),
    span: text("span", { enum: budgetSpans }).notNull(),
    /** When the span began. */
    spanStart: integer("span_start").notNull(),
    /** Percent. */
    threshold: integer("threshold").notNull(),
    id: text("id").notNull().unique(),
    /** Micro-dollars. */
    spent: integer("spent").notNull(),
    budget: integer("budget").notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [
    primaryKey({
      name: "budget_notices_once",
      columns: [table.workspaceId, table.scope, table.span, table.spanStart, table.threshold],
    }),
    index("budget_notices_age").on(table.workspaceId, table.createdAt),
  ],
);

/** Limits of a key. */
export const KeyLimits = z
  .strictObject({
    rpm: z.number().int().min(1).max(100_000).optional().describe("Requests in any 60 s."),
    tpm: TokensPerMinute.optional(),
    concurrent: z.number().int().min(1).max(10_000).optional().describe("Requests running at once."),
    budget_usd: BudgetUsd.optional(),
    models: z
      .array(z.string().min(1).max(128))
      .min(1)
      .max(100)
      .optional()
      .describe("Names of pools and models that the key may call; all when left out."),
    tools: z
      .array(z.string().min(1).max(129))
      .min(1)
      .max(100)
      .optional()
      .describe("Tools the key may invoke, as `provider/tool` or `provider/*`; all when left out."),
  })
  .openapi("KeyLimits");
export type KeyLimits = z.infer<typeof KeyLimits>;

/** A tool by its provider's and its own wire name, or all of a provider's. */
const ToolName = z
  .string()
  .regex(
    /^[a-z0-9_-]{1,64}\/(?:\*|[a-zA-Z0-9_-]{1,64})$/,
    "Write provider/tool, or provider/* for all tools of a provider.",
  );

/** Limits as they are entered; what is stored is read more leniently. */
const EnteredLimits = KeyLimits.extend({
  tools: z.array(ToolName).min(1).max(100).optional().describe("Tools the key may invoke; all when left out."),
}).openapi("EnteredKeyLimits");

export const CreateApiKey = z
  .strictObject({
    name: DisplayName,
    scopes: z.array(z.enum(scopes)).min(1, "Give at least one scope.").max(scopes.length),
    expires_at: z.iso
      .datetime({ offset: true })
      .nullable()
      .optional()
      .describe("90 days from now when left out; null for never."),
    limits: EnteredLimits.optional(),
    region: z
      .enum(regions)
      .optional()
      .describe("Where its callers are; the workspace's region when left out. It never changes."),
  })
  .openapi("CreateApiKey");
export type CreateApiKey = z.infer<typeof CreateApiKey>;

/** A change of limits: what is left out stays, null takes a limit away. */
const ChangedLimits = z.strictObject({
  rpm: KeyLimits.shape.rpm.nullable(),
  tpm: KeyLimits.shape.tpm.nullable(),
  concurrent: KeyLimits.shape.concurrent.nullable(),
  budget_usd: ChangedBudgetUsd.optional(),
  models: KeyLimits.shape.models.nullable(),
  tools: EnteredLimits.shape.tools.nullable(),
});
export type ChangedLimits = z.infer<typeof ChangedLimits>;

export const UpdateApiKey = z
  .strictObject({
    name: DisplayName.optional(),
    scopes: z
      .array(z.enum(scopes))
      .min(1, "Leave at least one scope, or revoke the key.")
      .max(scopes.length)
      .optional()
      .describe("The scopes to keep. A key gains none."),
    limits: ChangedLimits.optional().describe("What is left out stays; null takes a limit away."),
  })
  .openapi("UpdateApiKey");
export type UpdateApiKey = z.infer<typeof UpdateApiKey>;

const longestOverlapSeconds = 30 * 24 * 3_600;

export const RotateApiKey = z
  .strictObject({
    overlap_seconds: z
      .number()
      .int()
      .min(0)
      .max(longestOverlapSeconds)
      .default(0)
      .describe("How long the old secret goes on working, 0 to 30 days; never beyond the key's own expiry."),
  })
  .openapi("RotateApiKey");

export const ApiKey = z
  .object({
    id: z.string(),
    name: z.string(),
    prefix: z.string(),
    last_four: z.string(),
    scopes: z.array(z.enum(scopes)),
    limits: KeyLimits,
    region: z.enum(regions),
    status: z
      .enum(["active", "expired", "revoking", "revoked"])
      .describe("`revoking`: recorded, not yet in force everywhere."),
    made_by: z.string().describe("The member who made it."),
    expires_at: z.iso.datetime().nullable(),
    rotated_at: z.iso.datetime().nullable(),
    previous_secret: z
      .object({ prefix: z.string(), last_four: z.string(), expires_at: z.iso.datetime() })
      .nullable()
      .describe("The secret before the last rotation, while it still works beside the present one."),
    revoked_at: z.iso.datetime().nullable(),
    last_used_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
  })
  .openapi("ApiKey");
export type ApiKey = z.infer<typeof ApiKey>;

export const CreatedApiKey = ApiKey.extend({
  secret: z.string().describe("The key itself. It is shown this once."),
}).openapi("CreatedApiKey");
export type CreatedApiKey = z.infer<typeof CreatedApiKey>;

export type ApiKeyRow = typeof apiKeys.$inferSelect;

/** The answer's view of a key row. `appliedVersion` is the workspace's version in force in every Router; `now` is epoch milliseconds. */
export function toApiKey(row: ApiKeyRow, now: number, appliedVersion: number): ApiKey {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    last_four: row.lastFour,
    scopes: readScopes(row.scopes),
    limits: readLimits(row.limits),
    region: row.region,
    status: statusOf(row, now, appliedVersion),
    made_by: row.madeBy,
    expires_at: toIso(row.expiresAt),
    rotated_at: toIso(row.rotatedAt),
    previous_secret: toPreviousSecret(row, now),
    revoked_at: toIso(row.revokedAt),
    last_used_at: toIso(row.lastUsedAt),
    created_at: new Date(row.createdAt).toISOString(),
  };
}

/** A row's scopes. A word of another release is left out, so an unknown scope never gives anything. */
export function readScopes(stored: string): Scope[] {
  return z.array(z.string()).parse(JSON.parse(stored)).filter(isScope);
}

/** A row's limits. Throws when they cannot be read whole: a limit that is not understood must not be dropped. */
export function readLimits(stored: string): KeyLimits {
  return KeyLimits.parse(JSON.parse(stored));
}

function statusOf(row: ApiKeyRow, now: number, appliedVersion: number): ApiKey["status"] {
  if (row.revokedAt !== null) {
    return row.revokedVersion !== null && row.revokedVersion <= appliedVersion ? "revoked" : "revoking";
  }
  return row.expiresAt !== null && row.expiresAt <= now ? "expired" : "active";
}

function toPreviousSecret(row: ApiKeyRow, now: number): ApiKey["previous_secret"] {
  const { previousLastFour: lastFour, previousPrefix: prefix, previousUntil: until } = row;
  if (prefix === null || lastFour === null || until === null || until <= now || row.revokedAt !== null) {
    return null;
  }
  return { prefix, last_four: lastFour, expires_at: new Date(until).toISOString() };
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
