/** Workspace data keys, wrapped under the keyring, and what is known of the keyring's entries. The plaintext of a key is in no row. */
import { sql } from "drizzle-orm";
import { foreignKey, index, integer, sqliteTable, text, unique, uniqueIndex } from "drizzle-orm/sqlite-core";
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
    uniqueIndex("data_keys_one_active")
      .on(table.workspaceId)
      .where(sql`state = 'active'`),
    foreignKey({ name: "data_keys_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
  ],
);

export const rotationStates = ["re_encrypting", "waiting", "done"] as const;

/** A workspace's last change of data key. How far it is shows in the rows that still name a retired one. */
export const dataKeyRotations = sqliteTable(
  "data_key_rotations",
  {
    workspaceId: text("workspace_id").primaryKey(),
    /** The key that seals from this change on. */
    dataKeyId: text("data_key_id").notNull(),
    /** `waiting`: nothing is sealed under a retired key, but a call under way may hold a snapshot that is. */
    state: text("state", { enum: rotationStates }).notNull(),
    /** Secrets under retired keys at its start. */
    total: integer("total").notNull(),
    /** From this configuration version on no snapshot names a retired key; null while rows do. */
    cleanVersion: integer("clean_version"),
    /** When the last call that can hold an older snapshot has ended. */
    waitingUntil: integer("waiting_until"),
    startedAt: integer("started_at").notNull(),
    finishedAt: integer("finished_at"),
    /** One sentence on what stops it; null while it goes on. */
    lastError: text("last_error"),
  },
  (table) => [
    index("data_key_rotations_open")
      .on(table.waitingUntil)
      .where(sql`state <> 'done'`),
    foreignKey({ name: "data_key_rotations_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
  ],
);

/** What is known of an entry of KEYRING, by its id; never its key. */
export const keyringEntries = sqliteTable(
  "keyring_entries",
  {
    id: text("id").primaryKey(),
    /** `primary` wraps and seals; the others only open. */
    state: text("state", { enum: ["primary", "known"] }).notNull(),
    firstSeenAt: integer("first_seen_at").notNull(),
    /** When it first sealed something; null for one that never did. */
    usedAt: integer("used_at"),
    /** Since when no row is wrapped under it; null while one is, or it is primary. */
    leftAt: integer("left_at"),
  },
  (table) => [
    uniqueIndex("keyring_entries_one_primary")
      .on(table.state)
      .where(sql`state = 'primary'`),
  ],
);

/** Which entries each version of the Worker has, said by its isolates once a minute. */
export const keyringReports = sqliteTable("keyring_reports", {
  versionId: text("version_id").primaryKey(),
  /** JSON list of ids. */
  ids: text("ids").notNull(),
  /** Its ring's own primary: what it wants to be in force. */
  primaryId: text("primary_id").notNull(),
  seenAt: integer("seen_at").notNull(),
});
