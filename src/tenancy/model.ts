/** The facts of tenancy: workspaces, members, invites, and their answers. Times are epoch milliseconds in rows, ISO 8601 on the wire. */
import { sql } from "drizzle-orm";
import { foreignKey, index, integer, sqliteTable, text, unique, uniqueIndex } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";
import { roles } from "../access/permissions.js";
import { EmailAddress, users } from "../identity/model.js";
import { ChangedWorkspaceLimits, WorkspaceLimits } from "./limits-schema.js";

/** Regions a key can be made for: the platform's location hints, and `auto` for none. */
export const regions = ["auto", "wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"] as const;
export type Region = (typeof regions)[number];

/** Roles a member row can hold. OWNER is derived from `workspaces.owner_member_id`. */
export const grantableRoles = ["ADMIN", "MEMBER"] as const;

/** How far the purge of a deleted workspace has come. Every step can be repeated, so a crash between two costs nothing. */
export const purgeStates = ["claimed", "cut_off", "emptied", "purged"] as const;
export type PurgeState = (typeof purgeStates)[number];

/**
 * `owner_member_id` has a deferred composite foreign key to members, which drizzle cannot express: it stands in the
 * first migration by hand. `config_version` is moved by triggers on every table that the hot path reads.
 */
export const workspaces = sqliteTable(
  "workspaces",
  {
    id: text("id").primaryKey(),
    slug: text("slug").notNull().unique(),
    name: text("name").notNull(),
    /** Lower-cased name: a person has one workspace of a name. */
    nameKey: text("name_key").notNull(),
    createdBy: text("created_by")
      .notNull()
      .references(() => users.id),
    ownerMemberId: text("owner_member_id").notNull(),
    settings: text("settings").notNull(),
    /** How many people it may have; 0 for no limit. Triggers hold it. */
    seatLimit: integer("seat_limit").notNull().default(0),
    /** Counted by triggers on `members`, so that nothing has to count them. */
    livingMembers: integer("living_members").notNull().default(0),
    region: text("region", { enum: regions }).notNull().default("auto"),
    /** The region of the first key ever made, set by a trigger and never changed: the shard there leases limits and grants probes to the others. Null until then. */
    firstRegion: text("first_region", { enum: regions }),
    configEpoch: integer("config_epoch").notNull().default(1),
    configVersion: integer("config_version").notNull().default(1),
    appliedVersion: integer("applied_version").notNull().default(0),
    revision: integer("revision").notNull().default(1),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
    deletedAt: integer("deleted_at"),
    /** Null until the purge begins; from then on there is no way back. */
    purgeState: text("purge_state", { enum: purgeStates }),
    /** When `purge_state` moved last. */
    purgeStateAt: integer("purge_state_at"),
  },
  (table) => [
    index("workspaces_deleted")
      .on(table.deletedAt)
      .where(sql`deleted_at IS NOT NULL`),
    index("workspaces_unapplied")
      .on(table.id)
      .where(sql`applied_version < config_version`),
  ],
);

export const members = sqliteTable(
  "members",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id")
      .notNull()
      .references(() => workspaces.id),
    userId: text("user_id")
      .notNull()
      .references(() => users.id),
    role: text("role", { enum: grantableRoles }).notNull(),
    createdAt: integer("created_at").notNull(),
    removedAt: integer("removed_at"),
    /** Moves at most every five minutes, off the request's path. */
    lastActiveAt: integer("last_active_at"),
    /** The account's name and address with A–Z lower-cased, kept by triggers: a prefix is found by an index of one workspace. */
    searchName: text("search_name").notNull().default(""),
    searchEmail: text("search_email").notNull().default(""),
    revision: integer("revision").notNull().default(1),
  },
  (table) => [
    unique("members_in_workspace").on(table.workspaceId, table.id),
    index("members_listed")
      .on(table.workspaceId, table.createdAt, table.id)
      .where(sql`removed_at IS NULL`),
    index("members_by_role")
      .on(table.workspaceId, table.role, table.createdAt, table.id)
      .where(sql`removed_at IS NULL`),
    index("members_by_name")
      .on(table.workspaceId, table.searchName, table.id)
      .where(sql`removed_at IS NULL`),
    index("members_by_email")
      .on(table.workspaceId, table.searchEmail, table.id)
      .where(sql`removed_at IS NULL`),
    uniqueIndex("members_once")
      .on(table.workspaceId, table.userId)
      .where(sql`removed_at IS NULL`),
    index("members_of_user").on(table.userId, table.workspaceId),
  ],
);

/** The workspace a person switched to last; where they no longer belong to it, the one joined last counts. */
export const currentWorkspaces = sqliteTable(
  "current_workspaces",
  {
    userId: text("user_id")
      .primaryKey()
      .references(() => users.id, { onDelete: "cascade" }),
    workspaceId: text("workspace_id")
      .notNull()
      .references(() => workspaces.id),
    chosenAt: integer("chosen_at").notNull(),
  },
  (table) => [index("current_workspaces_of_workspace").on(table.workspaceId)],
);

/** `expired` is written only when the address is invited again; until then it shows as `pending` past its time. */
export const inviteStates = ["pending", "accepted", "declined", "revoked", "expired"] as const;

export const invites = sqliteTable(
  "invites",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id")
      .notNull()
      .references(() => workspaces.id),
    email: text("email").notNull(),
    role: text("role", { enum: grantableRoles }).notNull(),
    locale: text("locale").notNull(),
    state: text("state", { enum: inviteStates }).notNull().default("pending"),
    /** Part of the link's mac: a resend moves it and so kills the old link. */
    version: integer("version").notNull().default(1),
    invitedBy: text("invited_by").notNull(),
    acceptedBy: text("accepted_by"),
    createdAt: integer("created_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
    closedAt: integer("closed_at"),
  },
  (table) => [
    uniqueIndex("invites_one_pending")
      .on(table.workspaceId, table.email)
      .where(sql`state = 'pending'`),
    index("invites_of_workspace").on(table.workspaceId, table.createdAt, table.id),
    index("invites_by_id").on(table.workspaceId, table.id),
    index("invites_open")
      .on(table.workspaceId, table.expiresAt)
      .where(sql`state = 'pending'`),
    index("invites_sent_by")
      .on(table.workspaceId, table.invitedBy)
      .where(sql`state = 'pending'`),
    foreignKey({
      name: "invites_invited_by",
      columns: [table.workspaceId, table.invitedBy],
      foreignColumns: [members.workspaceId, members.id],
    }),
  ],
);

export const Locale = z
  .string()
  .max(35)
  .regex(/^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, "Give a language tag such as en-US.");
export const TimeZone = z.string().max(64).refine(isTimeZone, "Give an IANA time zone such as Europe/Berlin.");

const expiryDays = z.number().int().min(1).max(30).describe("How long an invite can be accepted.");
const seatLimit = z
  .number()
  .int()
  .min(0)
  .max(1_000_000)
  .describe("How many people it may have, open invites counted when inviting; 0 for no limit.");
const maxDays = z
  .number()
  .int()
  .min(1)
  .max(3650)
  .nullable()
  .describe("The longest that a key made from now on may live; null for no limit.");
const retentionDays = z
  .number()
  .int()
  .min(30)
  .max(36_500)
  .nullable()
  .describe(
    "How long audit rows are kept, in days; null for ever. Only sealed rows go, and what is left stays provable.",
  );
const checkpointEmail = EmailAddress.nullable().describe(
  "Where the audit log's newest checkpoint is mailed, once a day at most; null for nowhere.",
);
const memberKeys = z.boolean().describe("Whether a MEMBER may make keys for their own calls.");

/** Settings with every default filled in. */
export const WorkspaceSettings = z
  .object({
    // Checked where they are entered. What an earlier release took, or a runtime's list of zones knew, must stay readable.
    locale: z.string().default("en-US"),
    timezone: z.string().default("UTC"),
    region: z.enum(regions).default("auto"),
    seat_limit: seatLimit.default(0),
    invite_policy: z.object({ expiry_days: expiryDays.default(7) }).prefault({}),
    key_policy: z.object({ max_days: maxDays.default(365), member_keys: memberKeys.default(true) }).prefault({}),
    audit_retention_days: retentionDays.default(null),
    audit_checkpoint_email: checkpointEmail.default(null),
    limits: WorkspaceLimits.prefault({}).describe("Of all calls of the workspace together; null means none."),
  })
  .openapi("WorkspaceSettings");
export type WorkspaceSettings = z.infer<typeof WorkspaceSettings>;

/** A change of settings: what is left out stays as it is, inside the policies too. */
export const UpdateSettings = z.strictObject({
  locale: Locale.optional(),
  timezone: TimeZone.optional(),
  region: z.enum(regions).optional(),
  seat_limit: seatLimit.optional(),
  invite_policy: z.strictObject({ expiry_days: expiryDays.optional() }).optional(),
  key_policy: z.strictObject({ max_days: maxDays.optional(), member_keys: memberKeys.optional() }).optional(),
  audit_retention_days: retentionDays.optional(),
  audit_checkpoint_email: checkpointEmail.optional(),
  limits: ChangedWorkspaceLimits.optional().describe("What is left out stays; null takes a limit away."),
});
export type UpdateSettings = z.infer<typeof UpdateSettings>;

/** How long a deleted workspace can be restored, and how long after its purge a backup could still hold it. */
export const restoreMs = 30 * 24 * 3_600_000;

export const WorkspaceDeletion = z
  .object({
    deleted_at: z.iso.datetime(),
    restore_until: z.iso.datetime().describe("After this it is purged: its data key is destroyed, its slug is free."),
    purged_at: z.iso.datetime().nullable(),
    purged_final_at: z.iso.datetime().nullable().describe("From here on no backup holds it either."),
  })
  .openapi("WorkspaceDeletion");
export type WorkspaceDeletion = z.infer<typeof WorkspaceDeletion>;

export const Workspace = z
  .object({
    id: z.string(),
    name: z.string(),
    slug: z.string(),
    role: z.enum(roles).nullable().describe("The caller's role; null for an API key."),
    settings: WorkspaceSettings,
    members: z.number().int().describe("How many people belong to it."),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    deletion: WorkspaceDeletion.nullable().describe("Null for a workspace that lives."),
  })
  .openapi("Workspace");
export type Workspace = z.infer<typeof Workspace>;

export type WorkspaceRow = typeof workspaces.$inferSelect;

/** A workspace's settings, from where each of them is kept: the seat limit has a column, for triggers hold it. */
export function readSettingsOf(row: Pick<WorkspaceRow, "settings" | "seatLimit">): WorkspaceSettings {
  return { ...WorkspaceSettings.parse(JSON.parse(row.settings)), seat_limit: row.seatLimit };
}

/** The answer's view of a workspace row. */
export function toWorkspace(row: WorkspaceRow, role: Workspace["role"], memberCount: number): Workspace {
  return {
    id: row.id,
    name: row.name,
    slug: row.slug,
    role,
    settings: readSettingsOf(row),
    members: memberCount,
    created_at: new Date(row.createdAt).toISOString(),
    updated_at: new Date(row.updatedAt).toISOString(),
    deletion: row.deletedAt === null ? null : toDeletion(row, row.deletedAt),
  };
}

/** What a workspace deleted at `deletedAt` has before it. */
export function toDeletion(
  row: Pick<WorkspaceRow, "purgeState" | "purgeStateAt">,
  deletedAt: number,
): WorkspaceDeletion {
  const purgedAt = row.purgeState === "purged" ? row.purgeStateAt : null;
  return {
    deleted_at: new Date(deletedAt).toISOString(),
    restore_until: new Date(deletedAt + restoreMs).toISOString(),
    purged_at: purgedAt === null ? null : new Date(purgedAt).toISOString(),
    purged_final_at: purgedAt === null ? null : new Date(purgedAt + restoreMs).toISOString(),
  };
}

function isTimeZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: zone }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}
