/** Doors of invites: sending and listing them in a workspace, and answering one by its link. */
import { AppError, invalidField } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Call, type Endpoint, type EndpointSpec } from "../http/endpoint.js";
import { PageQuery, pageOf, readCursor, toPage } from "../http/page.js";
import { noContent, reply, type Reply } from "../http/reply.js";
import { enqueueLetters } from "../mail/outbox.js";
import {
  chooseInvitee,
  findInviteByToken,
  planAcceptance,
  planDecline,
  refuseStranger,
  toOffer,
  type OpenInvite,
} from "./invite-acceptance.js";
import { findInvite, planResend, planRevokeInvite } from "./invite-changes.js";
import { resendAgainMs } from "./invite-limits.js";
import {
  AcceptInvite,
  AcceptedInvite,
  DeclinedInvite,
  Invite,
  InviteMembers,
  InviteOffer,
  InviteParams,
  InviteResults,
  InviteTokenParams,
  type InviteResult,
} from "./invite-schema.js";
import { listInvites, planInvites } from "./invites.js";
import { refuseHighRole } from "./member-changes.js";

/** Races lost to other requests for the same addresses before the caller is told; each loss means that somebody else won. */
const maxRounds = 10;

const manage = { kind: "workspace", scope: "members:manage", keys: true } as const;

const inviteSpec: EndpointSpec<unknown, unknown, InviteMembers> = {
  method: "post",
  path: "/workspaces/{ws}/members/invite",
  operation: "inviteMembers",
  summary: "Invite people by e-mail",
  description:
    "Each address gets its own result. A link in the letter lets its reader join, with a new account if need be.",
  tag: "Members",
  permission: manage,
  body: InviteMembers,
  responses: { 200: { description: "A result for each address, in the order given.", schema: InviteResults } },
  errors: [
    "already_member",
    "already_invited",
    "conflict",
    "role_too_high",
    "seat_limit_reached",
    "invite_limit_reached",
    "rate_limited",
  ],
};

const inviteMembers = endpoint(inviteSpec, invite);

const inviteMembersOfCurrent = endpoint(
  {
    ...inviteSpec,
    path: "/workspaces/members/invite",
    operation: "inviteMembersOfCurrent",
    summary: "Invite people by e-mail to the current workspace",
  },
  invite,
);

async function invite(call: Call<unknown, unknown, InviteMembers>): Promise<Reply> {
  const access = call.access();
  refuseHighRole(call.principal, call.body.role);
  for (let round = 1; ; round += 1) {
    const change = await planInvites(call.db, access.id, call.actor, access.memberId, call.body);
    const { results, messages, limited } = change.value;
    refuseSingle(results, limited);
    try {
      const answer = await call.commit(change, reply(200, { results }));
      call.waitUntil(enqueueLetters(call.env, call.db, messages, call.now));
      return answer;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "conflict" || round === maxRounds) {
        throw error;
      }
    }
  }
}

/** A single address that cannot be invited is the whole request's failure; so is a list that comes too early from first to last. */
function refuseSingle(results: readonly InviteResult[], limited: AppError | null): void {
  const [result, second] = results;
  const isTooEarly = limited?.code === "rate_limited" && results.every(({ status }) => status === "limit");
  if (limited !== null && (isTooEarly || (result?.status === "limit" && second === undefined))) {
    throw limited;
  }
  if (result === undefined || second !== undefined) {
    return;
  }
  if (result.status === "invalid") {
    throw invalidField("/emails/0", result.detail ?? "Give an e-mail address such as ada@example.com.");
  }
  if (result.status === "already_member" || result.status === "already_invited") {
    const extra = result.invite_id === undefined ? {} : { invite_id: result.invite_id };
    throw new AppError(result.status, { extra });
  }
}

const listOfWorkspace = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/invites",
    operation: "listInvites",
    summary: "List invites",
    tag: "Members",
    permission: { kind: "workspace", scope: "members:read", keys: true, least: "ADMIN" },
    query: PageQuery,
    responses: { 200: { description: "Invites, newest first, with what became of them.", schema: pageOf(Invite) } },
    errors: [],
  },
  async (call) => {
    const from = readCursor(call.query.cursor);
    const rows = await listInvites(call.db, call.access().id, from, call.query.limit, call.now);
    return reply(
      200,
      toPage(
        rows,
        call.query.limit,
        (row) => row.position,
        (row) => row.answer,
      ),
    );
  },
);

const resendInvite = endpoint(
  {
    method: "post",
    path: "/workspaces/{ws}/invites/{id}/resend",
    operation: "resendInvite",
    summary: "Send an invite again",
    description: "By a new link, good for the whole time again; the old one is dead. An expired invite is opened anew.",
    tag: "Members",
    permission: manage,
    params: InviteParams,
    responses: { 202: { description: "The letter is on its way.", schema: Invite } },
    errors: [
      "invite_closed",
      "already_member",
      "role_too_high",
      "seat_limit_reached",
      "invite_limit_reached",
      "rate_limited",
      "conflict",
    ],
  },
  async (call) => {
    const access = call.access();
    for (let round = 1; ; round += 1) {
      const found = await findInvite(call.db, access.id, access.memberId, call.params.id);
      refuseHighRole(call.principal, found.row.role);
      const plan = planResend(call.db, access.id, call.actor, access.memberId, found);
      try {
        const answer = await call.commit(plan, reply(202, plan.value.invite));
        call.waitUntil(enqueueLetters(call.env, call.db, plan.value.messages, call.now));
        return answer;
      } catch (error) {
        const code = error instanceof AppError ? error.code : null;
        if (code === "rate_limited") {
          const retryAfterMs = await resendAgainMs(call.db, access.id, found.row, call.now);
          throw new AppError("rate_limited", { retryAfterMs });
        }
        if (code !== "conflict" || round === maxRounds) {
          throw error;
        }
      }
    }
  },
);

const revokeInvite = endpoint(
  {
    method: "delete",
    path: "/workspaces/{ws}/invites/{id}",
    operation: "revokeInvite",
    summary: "Revoke an invite",
    tag: "Members",
    permission: manage,
    params: InviteParams,
    responses: { 204: { description: "Revoked; its link is dead." } },
    errors: ["invite_closed"],
  },
  async (call) => {
    const access = call.access();
    const found = await findInvite(call.db, access.id, access.memberId, call.params.id);
    return await call.commit(planRevokeInvite(call.db, access.id, call.actor, access.memberId, found), noContent());
  },
);

const readInvite = endpoint(
  {
    method: "get",
    path: "/invites/{token}",
    operation: "readInvite",
    summary: "What an invite's link asks to join",
    description:
      "Unknown, used, revoked and expired links are one and the same 404. Where `Accept` prefers HTML the answer is the page that the letter's link leads to.",
    tag: "Invites",
    permission: { kind: "public" },
    params: InviteTokenParams,
    responses: { 200: { description: "The invite.", schema: InviteOffer, contentType: "text/html" } },
    errors: ["not_found"],
  },
  async (call) => reply(200, toOffer(await openInvite(call))),
);

const acceptInvite = endpoint(
  {
    method: "post",
    path: "/invites/{token}/accept",
    operation: "acceptInvite",
    summary: "Accept an invite",
    description:
      "Signed in, the account of the invited address joins. With nobody signed in, a new account is made for the address and its session is answered; an address that has an account signs in first.",
    tag: "Invites",
    permission: { kind: "public" },
    storedAnswer: "never",
    params: InviteTokenParams,
    body: AcceptInvite,
    optionalBody: true,
    responses: { 200: { description: "Joined.", schema: AcceptedInvite } },
    errors: ["not_found", "wrong_account", "unauthenticated", "forbidden", "already_member", "seat_limit_reached"],
  },
  async (call) => {
    const { authSecret } = requireSettings(call.env);
    const open = await openInvite(call);
    const invitee = chooseInvitee(open, call.principal, call.body.name, call.now);
    const userAgent = call.request.headers.get("user-agent");
    const change = await planAcceptance(call.db, authSecret, open, invitee, call.actor, userAgent);
    const { result, token } = change.value;
    const answer = { ...result, session_token: token === null ? null : token.reveal() };
    return await call.commit(change, reply(200, answer));
  },
);

const declineInvite = endpoint(
  {
    method: "post",
    path: "/invites/{token}/decline",
    operation: "declineInvite",
    summary: "Decline an invite",
    tag: "Invites",
    permission: { kind: "public" },
    params: InviteTokenParams,
    responses: { 200: { description: "Declined; the link is dead.", schema: DeclinedInvite } },
    errors: ["not_found", "wrong_account", "forbidden"],
  },
  async (call) => {
    const open = await openInvite(call);
    refuseStranger(open, call.principal);
    const change = planDecline(call.db, open, call.principal, call.actor);
    return await call.commit(change, reply(200, { state: "declined" }));
  },
);

async function openInvite<Q, B>(call: Call<{ token: string }, Q, B>): Promise<OpenInvite> {
  return await findInviteByToken(call.db, requireSettings(call.env).mailSecret, call.params.token, call.now);
}

export const inviteEndpoints: readonly Endpoint[] = [
  inviteMembers,
  inviteMembersOfCurrent,
  listOfWorkspace,
  resendInvite,
  revokeInvite,
  readInvite,
  acceptInvite,
  declineInvite,
];
