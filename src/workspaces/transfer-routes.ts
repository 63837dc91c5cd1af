/** The doors to handing a workspace on: offer, confirm by the mailed code, take back. For the owner's own session only. */
import { AppError, invalidField } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Call, type Endpoint } from "../http/endpoint.js";
import { noContent, reply } from "../http/reply.js";
import { askAgainMs } from "../identity/code-limits.js";
import { enqueueLetters } from "../mail/outbox.js";
import { findMember, type MemberRecord } from "./members.js";
import { findOffer, planCancel, planConfirm, planOffer, type Owner } from "./transfer.js";
import { ConfirmTransfer, OfferedTransfer, OfferOwnership, TransferredOwnership } from "./transfer-schema.js";

const path = "/workspaces/{ws}/ownership-transfer";
const permission = { kind: "workspace", scope: "workspace:manage", keys: false, least: "OWNER" } as const;

const offerEndpoint = endpoint(
  {
    method: "post",
    path,
    operation: "offerOwnership",
    summary: "Offer the ownership to a member",
    description: "A code goes to the owner's e-mail address. Nothing changes until it is confirmed, within 15 minutes.",
    tag: "Members",
    permission,
    body: OfferOwnership,
    responses: { 202: { description: "The code is on its way.", schema: OfferedTransfer } },
    errors: ["transfer_pending", "conflict", "rate_limited"],
  },
  async (call) => {
    const { id } = call.access();
    const { mailSecret } = requireSettings(call.env);
    const owner = ownerOf(call);
    const to = await findHeir(call, call.body.member_id);
    const plan = await planOffer(call.db, mailSecret, id, call.actor, owner, to);
    try {
      const answer = await call.commit(plan, reply(202, plan.value.offer));
      call.waitUntil(enqueueLetters(call.env, call.db, plan.value.messages, call.now));
      return answer;
    } catch (error) {
      if (error instanceof AppError && error.code === "rate_limited") {
        const retryAfterMs = await askAgainMs(call.db, "ownership_transfer", owner.email, call.actor.ip, call.now);
        throw new AppError("rate_limited", { retryAfterMs });
      }
      throw error;
    }
  },
);

const confirmEndpoint = endpoint(
  {
    method: "post",
    path: `${path}/confirm`,
    handsOver: true,
    operation: "confirmOwnershipTransfer",
    summary: "Confirm an ownership transfer",
    description: "The member becomes the owner, and the owner an admin, in one moment. A code is good for five tries.",
    tag: "Members",
    permission,
    publishes: true,
    body: ConfirmTransfer,
    responses: { 200: { description: "Handed on.", schema: TransferredOwnership } },
    errors: ["wrong_code", "code_refused", "no_transfer_pending", "transfer_over", "conflict", "rate_limited"],
  },
  async (call) => {
    const { id } = call.access();
    const { mailSecret } = requireSettings(call.env);
    const owner = ownerOf(call);
    const offer = await findOffer(call.db, id, call.now);
    const people = {
      from: await findMember(call.db, id, offer.fromMemberId),
      to: await findMember(call.db, id, offer.toMemberId),
    };
    const plan = await planConfirm(call.db, mailSecret, id, call.actor, owner, offer, people, call.body.code);
    return await call.commit(plan, reply(200, plan.value));
  },
);

const cancelEndpoint = endpoint(
  {
    method: "delete",
    path,
    operation: "cancelOwnershipTransfer",
    summary: "Take an offered ownership back",
    tag: "Members",
    permission,
    responses: { 204: { description: "No offer waits any more." } },
    errors: [],
  },
  async (call) => await call.commit(planCancel(call.db, call.access().id, call.actor), noContent()),
);

/** Every endpoint of the transfer. */
export const transferEndpoints: readonly Endpoint[] = [offerEndpoint, confirmEndpoint, cancelEndpoint];

function ownerOf(call: Pick<Call<unknown, unknown, unknown>, "access" | "session">): Owner {
  return { memberId: call.access().memberId, email: call.session().email };
}

/** A body that names nobody is the body's fault: 422, not 404. */
async function findHeir(
  call: Pick<Call<unknown, unknown, unknown>, "db" | "access">,
  id: string,
): Promise<MemberRecord> {
  try {
    const record = await findMember(call.db, call.access().id, id);
    if (record.row.removedAt === null) {
      return record;
    }
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "not_found") {
      throw error;
    }
  }
  throw invalidField("/member_id", "No member of this workspace has this id.");
}
