/** The doors to members: list and find them, read one, change a role, remove somebody or leave. */
import { AppError } from "../base/errors.js";
import { endpoint, type Call, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { pageOf, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { planRemoveMember, planSetRole, refuseHighRole } from "./member-changes.js";
import { Member, MemberParams, MemberQuery, UpdateMember } from "./member-schema.js";
import { findMember, listMembers, toMember, type MemberRecord } from "./members.js";

const listPath = "/workspaces/{ws}/members";
const onePath = `${listPath}/{id}`;
const manage = { kind: "workspace", scope: "members:manage", keys: true } as const;
const read = { kind: "workspace", scope: "members:read", keys: true } as const;

const listEndpoint = endpoint(
  {
    method: "get",
    path: listPath,
    operation: "listMembers",
    summary: "List members",
    description:
      "In the order they joined. With `search`, whose name begins so comes first, by name; then whose e-mail address does.",
    tag: "Members",
    permission: read,
    query: MemberQuery,
    responses: { 200: { description: "Members.", schema: pageOf(Member) } },
    errors: [],
  },
  async (call) => {
    const { role, search, limit, cursor } = call.query;
    const listed = await listMembers(call.db, call.access().id, { role, search }, { limit, after: readCursor(cursor) });
    const page = toPage(
      listed,
      limit,
      (one) => one.position,
      (one) => toMember(one.record),
    );
    return reply(200, page);
  },
);

const readEndpoint = endpoint(
  {
    method: "get",
    path: onePath,
    operation: "readMember",
    summary: "Read one member",
    tag: "Members",
    permission: read,
    etag: true,
    params: MemberParams,
    responses: { 200: { description: "The member.", schema: Member } },
    errors: [],
  },
  async (call) => {
    const record = await findLiving(call);
    return reply(200, toMember(record), { etag: etagOf(record) });
  },
);

const updateEndpoint = endpoint(
  {
    method: "patch",
    path: onePath,
    operation: "updateMember",
    summary: "Change a member's role",
    description:
      "Keys they made never reach beyond their present role. Invites sent by somebody who is no admin any more are revoked.",
    tag: "Members",
    permission: manage,
    publishes: true,
    etag: true,
    params: MemberParams,
    body: UpdateMember,
    responses: { 200: { description: "The member as they are now.", schema: Member } },
    errors: ["role_too_high", "owner_role"],
  },
  async (call) => {
    const access = call.access();
    const { role } = call.body;
    if (role === "OWNER") {
      throw new AppError(access.role === "OWNER" ? "owner_role" : "role_too_high");
    }
    refuseHighRole(call.principal, role);
    const found = await findLiving(call);
    const plan = planSetRole(call.db, access.id, call.actor, access.memberId, found, role, call.ifMatch);
    const { member, record } = plan.value;
    return await call.commit(plan, reply(200, member, { etag: etagOf(record) }));
  },
);

const removeEndpoint = endpoint(
  {
    method: "delete",
    path: onePath,
    operation: "removeMember",
    summary: "Remove a member, or leave",
    description:
      "`me` leaves. From the answer on their sessions open nothing here, the keys they made or whose secret a rotation showed them are revoked, and so are the open invites they sent.",
    tag: "Members",
    permission: { ...manage, self: "id" },
    publishes: true,
    etag: true,
    params: MemberParams,
    responses: { 204: { description: "Gone, and in force everywhere." } },
    errors: ["last_owner"],
  },
  async (call) => {
    const access = call.access();
    // One who is gone already is no failure: the first answer may have been "not yet in force".
    const found = await findMember(call.db, access.id, idOf(call));
    const isSelf = call.principal?.kind === "session" && found.row.id === access.memberId;
    const manager = isSelf ? null : access.memberId;
    const plan = planRemoveMember(call.db, access.id, call.actor, manager, found, call.ifMatch);
    return await call.commit(plan, noContent());
  },
);

/** Every endpoint of members. */
export const memberEndpoints: readonly Endpoint[] = [listEndpoint, readEndpoint, updateEndpoint, removeEndpoint];

type MemberCall = Pick<Call<MemberParams, unknown, unknown>, "db" | "params" | "principal" | "access">;

async function findLiving(call: MemberCall): Promise<MemberRecord> {
  const record = await findMember(call.db, call.access().id, idOf(call));
  if (record.row.removedAt !== null) {
    throw new AppError("not_found");
  }
  return record;
}

/** A key is nobody: `me` would be whoever made it. */
function idOf(call: MemberCall): string {
  if (call.params.id !== "me") {
    return call.params.id;
  }
  if (call.principal?.kind === "key") {
    throw new AppError("not_found");
  }
  return call.access().memberId;
}

/** Name, address and last visit move without the row's revision, and the owner's role with the workspace. */
function etagOf(record: MemberRecord): string {
  const lastActive = record.row.lastActiveAt ?? "never";
  return toEtag(record.row.revision, `${toMember(record).role}.${Date.parse(record.account.updatedAt)}.${lastActive}`);
}
