/** Members on the wire: who belongs to a workspace, what may be changed of them, and how a list is asked for. */
import { z } from "@hono/zod-openapi";
import { roles } from "../access/permissions.js";
import { PageQuery } from "../http/page.js";

export const Member = z
  .object({
    id: z.string(),
    account: z.object({ id: z.string(), name: z.string(), email: z.string() }),
    role: z.enum(roles),
    joined_at: z.iso.datetime(),
    last_active_at: z.iso.datetime().nullable().describe("To five minutes; null for somebody who has not come yet."),
  })
  .openapi("Member");
export type Member = z.infer<typeof Member>;

export const MemberQuery = PageQuery.extend({
  role: z.enum(roles).optional().describe("Only members with this role."),
  search: z
    .string()
    .trim()
    .max(100)
    .optional()
    .describe("The beginning of a name or e-mail address; A–Z and a–z are alike."),
});
export type MemberQuery = z.infer<typeof MemberQuery>;

export const MemberParams = z.object({ id: z.string().describe("The member's id (mem_…), or `me`.") });
export type MemberParams = z.infer<typeof MemberParams>;

/** OWNER is a word people may send, to be told that it moves by a transfer. */
export const UpdateMember = z
  .strictObject({ role: z.enum(roles).describe("ADMIN or MEMBER. OWNER moves by an ownership transfer only.") })
  .openapi("UpdateMember");
export type UpdateMember = z.infer<typeof UpdateMember>;
