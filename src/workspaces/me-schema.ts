/** One's own account on the wire. */
import { z } from "@hono/zod-openapi";
import { roles } from "../access/permissions.js";
import { Account, DisplayName } from "../identity/model.js";
import { Locale, TimeZone } from "../tenancy/model.js";

const Membership = z
  .object({
    member_id: z.string(),
    role: z.enum(roles),
    workspace: z.object({ id: z.string(), name: z.string(), slug: z.string() }),
    joined_at: z.iso.datetime(),
  })
  .openapi("Membership");

export const Me = Account.extend({
  email_verified: z.boolean(),
  locale: z.string().nullable().describe("Null: the workspace's, or en-US."),
  timezone: z.string().nullable().describe("Null: the workspace's, or UTC."),
  updated_at: z.iso.datetime(),
  memberships: z.array(Membership).describe("The one joined last first."),
}).openapi("Me");
export type Me = z.infer<typeof Me>;

export const UpdateMe = z
  .strictObject({
    name: DisplayName.optional(),
    locale: Locale.nullable().optional(),
    timezone: TimeZone.nullable().optional(),
  })
  .openapi("UpdateMe");
export type UpdateMe = z.infer<typeof UpdateMe>;
