/** The doors to one's own account. */
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { reply, type Reply } from "../http/reply.js";
import { digestMemberships, findMe, planUpdateMe, revisionOf, toMe, type SeenMe } from "./me.js";
import { Me, UpdateMe } from "./me-schema.js";

const readMe = endpoint(
  {
    method: "get",
    path: "/me",
    operation: "readMe",
    summary: "Read your account and memberships",
    tag: "You",
    permission: { kind: "session" },
    etag: true,
    responses: { 200: { description: "You.", schema: Me } },
    errors: [],
  },
  async (call) => await answer(await findMe(call.db, call.session().accountId)),
);

const updateMe = endpoint(
  {
    method: "patch",
    path: "/me",
    operation: "updateMe",
    summary: "Change your name, locale or time zone",
    tag: "You",
    permission: { kind: "session" },
    etag: true,
    body: UpdateMe,
    responses: { 200: { description: "You, as you are now.", schema: Me } },
    errors: ["conflict"],
  },
  async (call) => {
    const seen = await findMe(call.db, call.session().accountId);
    const change = planUpdateMe(call.db, seen, call.actor, call.body, call.ifMatch);
    return await call.commit(change, await answer(change.value));
  },
);

async function answer(seen: SeenMe): Promise<Reply> {
  return reply(200, toMe(seen), { etag: toEtag(revisionOf(seen.row), await digestMemberships(seen)) });
}

export const meEndpoints: readonly Endpoint[] = [readMe, updateMe];
