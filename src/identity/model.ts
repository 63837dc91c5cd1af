/** Accounts, sessions, codes and personal tokens. The first four tables are better-auth's own, in its names and types (times are ISO 8601 text), so that its code and ours read the same rows. */
import { sql } from "drizzle-orm";
import { check, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";
import { isTokenScope, tokenScopes, type TokenScope } from "../access/permissions.js";

export const users = sqliteTable("user", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  email: text("email").notNull().unique(),
  emailVerified: integer("emailVerified", { mode: "boolean" }).notNull().default(false),
  image: text("image"),
  createdAt: text("createdAt").notNull(),
  updatedAt: text("updatedAt").notNull(),
  /** Null: the workspace's, or the service's default. */
  locale: text("locale"),
  timezone: text("timezone"),
  /** The provider that a sign-up came through. A trigger audits those: better-auth writes them outside our batches. */
  signedUpBy: text("signedUpBy"),
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
    /** The request that started it, for the audit row that a trigger writes. */
    requestId: text("requestId"),
  },
  (table) => [index("session_user").on(table.userId), index("session_expiry").on(table.expiresAt)],
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
  (table) => [
    index("account_user").on(table.userId),
    uniqueIndex("account_of_provider").on(table.providerId, table.accountId),
  ],
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

/** What a mailed code proves: that its bearer reads the mailbox, for one purpose. */
export const codePurposes = ["sign_in", "ownership_transfer"] as const;
export type CodePurpose = (typeof codePurposes)[number];

/** One row for each code that was asked for, also for addresses that nobody has. The code itself is derived and stands nowhere. */
export const emailCodes = sqliteTable(
  "email_codes",
  {
    id: text("id").primaryKey(),
    purpose: text("purpose", { enum: codePurposes }).notNull(),
    /** What the code is for, when that is more than signing in: such as the transfer it confirms. */
    subjectId: text("subject_id"),
    email: text("email").notNull(),
    locale: text("locale").notNull(),
    /** The MAIL_SECRET entry that derives it. */
    secretId: text("secret_id").notNull(),
    /** SHA-256 of the handle that only the asking browser has, hex. */
    handleDigest: text("handle_digest").notNull(),
    /** Where the ask came from: an IPv4 address, an IPv6 /64, or `unknown`. */
    network: text("network").notNull(),
    tries: integer("tries").notNull().default(0),
    createdAt: integer("created_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
    usedAt: integer("used_at"),
  },
  (table) => [
    uniqueIndex("email_codes_handle").on(table.handleDigest),
    index("email_codes_of_address").on(table.email, table.purpose, table.createdAt),
    index("email_codes_of_network").on(table.network, table.createdAt),
    index("email_codes_age").on(table.createdAt),
  ],
);

/** Where codes of an address were asked for that came back right: ceilings that strangers can fill do not stop these places. */
export const codeNetworks = sqliteTable(
  "code_networks",
  {
    email: text("email").notNull(),
    /** As in `email_codes`. */
    network: text("network").notNull(),
    seenAt: integer("seen_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.email, table.network] }), index("code_networks_age").on(table.seenAt)],
);

/** Public keys of passkeys. No row opens anything: the private key never leaves its authenticator. */
export const passkeys = sqliteTable(
  "passkeys",
  {
    id: text("id").primaryKey(),
    userId: text("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    name: text("name").notNull(),
    /** As authenticators name it, base64url. */
    credentialId: text("credential_id").notNull().unique(),
    /** COSE key, base64url. */
    publicKey: text("public_key").notNull(),
    /** Counts signatures, so that a copied authenticator shows; 0 for ever where one does not count. */
    counter: integer("counter").notNull(),
    isBackedUp: integer("is_backed_up", { mode: "boolean" }).notNull(),
    createdAt: integer("created_at").notNull(),
    lastUsedAt: integer("last_used_at"),
  },
  (table) => [index("passkeys_of_user").on(table.userId, table.createdAt, table.id)],
);

/** Challenges that were answered: each works once. */
export const usedChallenges = sqliteTable(
  "used_challenges",
  {
    /** SHA-256 of the challenge, hex. */
    digest: text("digest").primaryKey(),
    usedAt: integer("used_at").notNull(),
  },
  (table) => [index("used_challenges_age").on(table.usedAt)],
);

/** Tokens that a person makes for automation. They act as that person, cut to their scopes. */
export const personalTokens = sqliteTable(
  "personal_tokens",
  {
    id: text("id").primaryKey(),
    userId: text("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    name: text("name").notNull(),
    /** SHA-256 of the whole token, hex. */
    digest: text("digest").notNull().unique(),
    lastFour: text("last_four").notNull(),
    scopes: text("scopes").notNull(),
    expiresAt: integer("expires_at").notNull(),
    revokedAt: integer("revoked_at"),
    createdAt: integer("created_at").notNull(),
    lastUsedAt: integer("last_used_at"),
  },
  (table) => [
    uniqueIndex("personal_tokens_living_name")
      .on(table.userId, table.name)
      .where(sql`revoked_at IS NULL`),
    index("personal_tokens_listed").on(table.userId, table.createdAt, table.id),
  ],
);

/** Lower-cased, trimmed address; one spelling per mailbox. */
export const EmailAddress = z
  .string()
  .trim()
  .toLowerCase()
  .max(254)
  .pipe(z.email({ error: "Give an e-mail address such as ada@example.com." }));

/** A name that people read: 1–100 characters, some of them visible, and none that turns the direction of what follows it. */
export const DisplayName = z
  .string()
  .trim()
  .min(1, { error: "Give a name.", abort: true })
  .max(100, "At most 100 characters.")
  .regex(/^[^\p{Cc}\p{Bidi_Control}]*$/u, "Leave out control characters, those for the writing direction too.")
  .refine((name) => /[^\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u.test(name), "Give a name that can be seen.")
  // The generator would write the expression with its flag, as `…$/u`, which nothing matches.
  .openapi({ pattern: String.raw`^[^\p{Cc}\p{Bidi_Control}]*$` });

/** A language tag, RFC 5646. */
export const LanguageTag = z
  .string()
  .max(35)
  .regex(/^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, "Give a language tag such as en-US.");

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

export const Session = z
  .object({
    id: z.string(),
    current: z.boolean().describe("Whether it is the one that asks."),
    ip: z.string().nullable(),
    user_agent: z.string().nullable(),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
  })
  .openapi("Session");
export type Session = z.infer<typeof Session>;

export type SessionRow = typeof sessions.$inferSelect;

/** The answer's view of a session row: never its token. */
export function toSession(row: SessionRow, currentId: string | null): Session {
  return {
    id: row.id,
    current: row.id === currentId,
    ip: row.ipAddress,
    user_agent: row.userAgent,
    created_at: row.createdAt,
    expires_at: row.expiresAt,
  };
}

export const CreatePersonalToken = z
  .strictObject({
    name: DisplayName,
    scopes: z
      .array(z.enum(tokenScopes))
      .min(1, "Give at least one scope.")
      .max(tokenScopes.length)
      .describe("What it may do where you may: in each of your workspaces at most what your role there allows."),
    expires_at: z.iso
      .datetime({ offset: true })
      .optional()
      .describe("At most 90 days from now, and then when left out."),
  })
  .openapi("CreatePersonalToken");
export type CreatePersonalToken = z.infer<typeof CreatePersonalToken>;

export const PersonalToken = z
  .object({
    id: z.string(),
    name: z.string(),
    last_four: z.string(),
    scopes: z.array(z.enum(tokenScopes)),
    status: z.enum(["active", "expired"]),
    expires_at: z.iso.datetime(),
    last_used_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
  })
  .openapi("PersonalToken");
export type PersonalToken = z.infer<typeof PersonalToken>;

export const CreatedPersonalToken = PersonalToken.extend({
  secret: z.string().describe("The token itself. It is shown this once."),
}).openapi("CreatedPersonalToken");

export type PersonalTokenRow = typeof personalTokens.$inferSelect;

/** The answer's view of a token row. `now` is epoch milliseconds. */
export function toPersonalToken(row: PersonalTokenRow, now: number): PersonalToken {
  return {
    id: row.id,
    name: row.name,
    last_four: row.lastFour,
    scopes: readTokenScopes(row.scopes),
    status: row.expiresAt <= now ? "expired" : "active",
    expires_at: new Date(row.expiresAt).toISOString(),
    last_used_at: row.lastUsedAt === null ? null : new Date(row.lastUsedAt).toISOString(),
    created_at: new Date(row.createdAt).toISOString(),
  };
}

/** A row's scopes. A word of another release is left out, so an unknown scope never gives anything. */
export function readTokenScopes(stored: string): TokenScope[] {
  return z.array(z.string()).parse(JSON.parse(stored)).filter(isTokenScope);
}

export const Passkey = z
  .object({
    id: z.string(),
    name: z.string(),
    backed_up: z.boolean().describe("Whether its maker keeps a copy, so that it outlives the device."),
    last_used_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
  })
  .openapi("Passkey");
export type Passkey = z.infer<typeof Passkey>;

export type PasskeyRow = typeof passkeys.$inferSelect;

/** The answer's view of a passkey row. */
export function toPasskey(row: PasskeyRow): Passkey {
  return {
    id: row.id,
    name: row.name,
    backed_up: row.isBackedUp,
    last_used_at: row.lastUsedAt === null ? null : new Date(row.lastUsedAt).toISOString(),
    created_at: new Date(row.createdAt).toISOString(),
  };
}
