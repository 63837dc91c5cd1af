/** What people send to make and change workspaces, and what the first run answers. */
import { z } from "@hono/zod-openapi";
import { CredentialFields, ProviderName } from "../connections/model.js";
import { Account, DisplayName, EmailAddress } from "../identity/model.js";
import { Locale, TimeZone, UpdateSettings, Workspace } from "../tenancy/model.js";
import { Slug } from "../tenancy/slug-schema.js";

/** `providers[]` of a new workspace: credentials to store along with it. */
const FirstProvider = z.strictObject({
  provider_name: ProviderName,
  name: DisplayName.optional().describe("The provider's name when left out."),
  credentials: CredentialFields,
  validate: z.boolean().default(true),
});

export const CreateWorkspace = z
  .strictObject({
    name: DisplayName,
    slug: Slug.optional().describe("Made from the name when left out."),
    locale: Locale.optional(),
    timezone: TimeZone.optional(),
    providers: z.array(FirstProvider).max(20).optional(),
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
