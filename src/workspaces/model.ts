/** What people send to make and change workspaces, and what the first run answers. */
import { sql } from "drizzle-orm";
import { foreignKey, index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";
import { CredentialFields, ProviderName } from "../connections/model.js";
import { Account, DisplayName, EmailAddress } from "../identity/model.js";
import { Locale, members, TimeZone, UpdateSettings, Workspace } from "../tenancy/model.js";
import { Slug } from "../tenancy/slug-schema.js";

/** `expired`: out of time or of tries, written when the next offer is made. */
export const transferStates = ["pending", "confirmed", "cancelled", "expired"] as const;

/** Offers of a workspace's ownership; the mailed code that confirms one names it as its subject. */
export const ownershipTransfers = sqliteTable(
  "ownership_transfers",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    fromMemberId: text("from_member_id").notNull(),
    toMemberId: text("to_member_id").notNull(),
    state: text("state", { enum: transferStates }).notNull().default("pending"),
    createdAt: integer("created_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
    closedAt: integer("closed_at"),
  },
  (table) => [
    uniqueIndex("ownership_transfers_one_pending")
      .on(table.workspaceId)
      .where(sql`state = 'pending'`),
    index("ownership_transfers_of_workspace").on(table.workspaceId, table.createdAt, table.id),
    foreignKey({
      name: "ownership_transfers_from",
      columns: [table.workspaceId, table.fromMemberId],
      foreignColumns: [members.workspaceId, members.id],
    }).onDelete("cascade"),
    foreignKey({
      name: "ownership_transfers_to",
      columns: [table.workspaceId, table.toMemberId],
      foreignColumns: [members.workspaceId, members.id],
    }).onDelete("cascade"),
  ],
);

/** `providers[]` of a new workspace: credentials to store along with it. */
const FirstProvider = z.strictObject({
  provider_name: ProviderName,
  name: DisplayName.optional().describe("The provider's name when left out."),
  credentials: CredentialFields,
  validate: z.boolean().default(true),
});

/** Names are unique among a provider's credentials, here as in the record. */
function refuseTwins(given: readonly z.infer<typeof FirstProvider>[], context: z.RefinementCtx): void {
  const seen = new Set<string>();
  for (const [at, { provider_name, name = provider_name }] of given.entries()) {
    const identity = `${provider_name} ${name}`;
    if (seen.has(identity)) {
      context.addIssue({
        code: "custom",
        path: [at, "name"],
        message: "Another provider of this list has that name.",
      });
    }
    seen.add(identity);
  }
}

export const CreateWorkspace = z
  .strictObject({
    name: DisplayName,
    slug: Slug.optional().describe("Made from the name when left out."),
    locale: Locale.optional(),
    timezone: TimeZone.optional(),
    providers: z.array(FirstProvider).max(20).superRefine(refuseTwins).optional(),
  })
  .openapi("CreateWorkspace");
export type CreateWorkspace = z.infer<typeof CreateWorkspace>;

export const UpdateWorkspace = z
  .strictObject({
    name: DisplayName.optional(),
    slug: Slug.optional(),
    settings: UpdateSettings.optional(),
  })
  .refine((change) => Object.keys(change).length > 0, "Name at least one thing to change.")
  .openapi("UpdateWorkspace");
export type UpdateWorkspace = z.infer<typeof UpdateWorkspace>;

export const Setup = z
  .strictObject({
    email: EmailAddress,
    name: DisplayName,
    workspace: z.strictObject({ name: DisplayName, slug: Slug.optional() }),
  })
  .openapi("Setup");
export type Setup = z.infer<typeof Setup>;

export const SetupResult = z
  .object({
    account: Account,
    workspace: Workspace,
    session_token: z.string().describe("Send it as `Authorization: Bearer …`. It is shown this once."),
  })
  .openapi("SetupResult");
export type SetupResult = z.infer<typeof SetupResult>;

export const DemoSession = z.object({ session_token: z.string() }).openapi("DemoSession");
