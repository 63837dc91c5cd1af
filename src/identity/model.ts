/** Accounts and sessions. The first four tables are better-auth's own, in its names and types (times are ISO 8601 text), so that its code and ours read the same rows. */
import { sql } from "drizzle-orm";
import { check, index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";

export const users = sqliteTable("user", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  email: text("email").notNull().unique(),
  emailVerified: integer("emailVerified", { mode: "boolean" }).notNull().default(false),
  image: text("image"),
  createdAt: text("createdAt").notNull(),
  updatedAt: text("updatedAt").notNull(),
});

export const sessions = sqliteTable(
  "session",
  {
    id: text("id").primaryKey(),
    expiresAt: text("expiresAt").notNull(),
    /** Counts only together with its signature under AUTH_SECRET, which no row holds. */
    token: text("token").notNull().unique(),
    createdAt: text("createdAt").notNull(),
    updatedAt: text("updatedAt").notNull(),
    ipAddress: text("ipAddress"),
    userAgent: text("userAgent"),
    userId: text("userId")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
  },
  (table) => [index("session_user").on(table.userId)],
);

export const accounts = sqliteTable(
  "account",
  {
    id: text("id").primaryKey(),
    accountId: text("accountId").notNull(),
    providerId: text("providerId").notNull(),
    userId: text("userId")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    accessToken: text("accessToken"),
    refreshToken: text("refreshToken"),
    idToken: text("idToken"),
    accessTokenExpiresAt: text("accessTokenExpiresAt"),
    refreshTokenExpiresAt: text("refreshTokenExpiresAt"),
    scope: text("scope"),
    password: text("password"),
    createdAt: text("createdAt").notNull(),
    updatedAt: text("updatedAt").notNull(),
  },
  (table) => [index("account_user").on(table.userId)],
);

export const verifications = sqliteTable(
  "verification",
  {
    id: text("id").primaryKey(),
    identifier: text("identifier").notNull(),
    value: text("value").notNull(),
    expiresAt: text("expiresAt").notNull(),
    createdAt: text("createdAt").notNull(),
    updatedAt: text("updatedAt").notNull(),
  },
  (table) => [index("verification_identifier").on(table.identifier)],
);

/** The singleton row that holds the first run: once it is there, no set-up token opens anything. */
export const setup = sqliteTable(
  "setup",
  {
    id: integer("id").primaryKey(),
    accountId: text("account_id").notNull(),
    at: integer("at").notNull(),
  },
  (table) => [check("setup_once", sql`${table.id} = 1`)],
);

/** Lower-cased, trimmed address; one spelling per mailbox. */
export const EmailAddress = z
  .string()
  .trim()
  .toLowerCase()
  .max(254)
  .pipe(z.email({ error: "Give an e-mail address such as ada@example.com." }));

/** A name that people read: printable, 1–100 characters. */
export const DisplayName = z
  .string()
  .trim()
  .min(1, "Give a name.")
  .max(100, "At most 100 characters.")
  .regex(/^[^\p{Cc}]*$/u, "Leave out control characters.");

export const Account = z
  .object({
    id: z.string(),
    email: z.string(),
    name: z.string(),
    created_at: z.iso.datetime(),
  })
  .openapi("Account");
export type Account = z.infer<typeof Account>;

type UserRow = typeof users.$inferSelect;

/** The answer's view of an account row. */
export function toAccount(row: Pick<UserRow, "id" | "email" | "name" | "createdAt">): Account {
  return { id: row.id, email: row.email, name: row.name, created_at: row.createdAt };
}
