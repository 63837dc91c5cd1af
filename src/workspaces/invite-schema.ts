/** Invites on the wire: asking for them, what became of each, and what their links answer. */
import { z } from "@hono/zod-openapi";
import { Account, DisplayName } from "../identity/model.js";
import { grantableRoles, Locale, Workspace } from "../tenancy/model.js";
import { Member } from "./member-schema.js";

export const InviteMembers = z
  .strictObject({
    emails: z.array(z.string().max(1000)).min(1).max(100).describe("1 to 100 e-mail addresses."),
    role: z.enum(grantableRoles).default("MEMBER"),
    locale: Locale.optional().describe("Language of the letter; the workspace's when left out."),
  })
  .openapi("InviteMembers");
export type InviteMembers = z.infer<typeof InviteMembers>;

/** What became of one address of `emails[]`. */
export const InviteResult = z
  .object({
    email: z.string(),
    status: z.enum(["invited", "already_member", "already_invited", "invalid", "limit"]),
    invite_id: z.string().optional(),
    detail: z.string().optional(),
  })
  .openapi("InviteResult");
export type InviteResult = z.infer<typeof InviteResult>;

export const InviteResults = z.object({ results: z.array(InviteResult) }).openapi("InviteResults");

/** States as people read them: the row's, its letter's and the clock's in one word. */
const inviteWireStates = ["pending", "sent", "delivery_failed", "accepted", "declined", "revoked", "expired"] as const;

export const Invite = z
  .object({
    id: z.string(),
    email: z.string(),
    role: z.enum(grantableRoles),
    locale: z.string(),
    state: z.enum(inviteWireStates),
    reason: z.string().nullable().describe("Why the letter could not be delivered; null otherwise."),
    invited_by: z.object({ id: z.string(), name: z.string() }),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
  })
  .openapi("Invite");
export type Invite = z.infer<typeof Invite>;

/** What the bearer of an invite's link is asked to join. */
export const InviteOffer = z
  .object({
    workspace: z.object({ name: z.string() }),
    invited_by: z.object({ name: z.string() }),
    email: z.string(),
    role: z.enum(grantableRoles),
    has_account: z.boolean().describe("Whether this address must sign in before it can accept."),
    expires_at: z.iso.datetime(),
  })
  .openapi("InviteOffer");
export type InviteOffer = z.infer<typeof InviteOffer>;

export const InviteParams = z.object({ id: z.string().describe("The invite's id, such as inv_…") });

/** Any text: what is no token of ours is the same 404 as a used one. */
export const InviteTokenParams = z.object({ token: z.string().describe("The token of the invite's link.") });

export const AcceptInvite = z
  .strictObject({
    name: DisplayName.optional().describe("Name of a new account; made from the address when left out."),
  })
  .openapi("AcceptInvite");
export type AcceptInvite = z.infer<typeof AcceptInvite>;

export const AcceptedInvite = z
  .object({
    workspace: Workspace,
    member: Member,
    account: Account,
    session_token: z
      .string()
      .nullable()
      .describe("A new account's session, shown this once; null for someone signed in already."),
  })
  .openapi("AcceptedInvite");
export type AcceptedInvite = z.infer<typeof AcceptedInvite>;

export const DeclinedInvite = z.object({ state: z.literal("declined") }).openapi("DeclinedInvite");
