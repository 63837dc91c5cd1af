/** An ownership transfer on the wire. */
import { z } from "@hono/zod-openapi";
import { Member } from "./member-schema.js";

export const OfferOwnership = z
  .strictObject({ member_id: z.string().max(100).describe("Who shall own the workspace: one of its members.") })
  .openapi("OfferOwnership");

export const OfferedTransfer = z
  .object({ id: z.string(), member: Member, expires_at: z.iso.datetime() })
  .openapi("OfferedTransfer");
export type OfferedTransfer = z.infer<typeof OfferedTransfer>;

export const ConfirmTransfer = z
  .strictObject({ code: z.string().min(1).max(40).describe("The eight digits of the letter to the owner.") })
  .openapi("ConfirmTransfer");

export const TransferredOwnership = z.object({ owner: Member, former_owner: Member }).openapi("TransferredOwnership");
export type TransferredOwnership = z.infer<typeof TransferredOwnership>;
