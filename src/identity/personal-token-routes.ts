/** The doors to one's own personal tokens. Only a session opens them: no token makes, sees or ends another. */
import { z } from "@hono/zod-openapi";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { PageQuery, pageOf, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { CreatedPersonalToken, CreatePersonalToken, PersonalToken, toPersonalToken } from "./model.js";
import { listTokens, planCreateToken, planRevokeToken } from "./personal-tokens.js";

const permission = { kind: "session" } as const;
const path = "/me/tokens";

const createOne = endpoint(
  {
    method: "post",
    path,
    operation: "createPersonalToken",
    summary: "Make a personal token",
    description:
      "For your own automation. It acts as you, cut to its scopes and to your role where it is used; the answer holds it, this once. You may have 50 that are not revoked.",
    tag: "You",
    permission: { ...permission, own: true },
    storedAnswer: "sealed",
    body: CreatePersonalToken,
    responses: { 201: { description: "The token, with its secret.", schema: CreatedPersonalToken } },
    errors: ["name_taken", "limit_reached"],
  },
  async (call) => {
    const { tokenSecret } = requireSettings(call.env);
    const { accountId } = call.ownSession();
    const plan = await planCreateToken(call.db, tokenSecret, call.actor, accountId, call.body);
    const { row, secret } = plan.value;
    const body = { ...toPersonalToken(row, call.now), secret: secret.reveal() };
    return await call.commit(plan, reply(201, body, { location: `${path}/${row.id}` }));
  },
);

const listOwn = endpoint(
  {
    method: "get",
    path,
    operation: "listPersonalTokens",
    summary: "List your personal tokens",
    tag: "You",
    permission,
    query: PageQuery,
    responses: {
      200: { description: "Your tokens, newest first, without their secrets.", schema: pageOf(PersonalToken) },
    },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const rows = await listTokens(call.db, call.session().accountId, { limit, after: readCursor(cursor) });
    const page = toPage(
      rows,
      limit,
      (row) => ({ time: row.createdAt, id: row.id }),
      (row) => toPersonalToken(row, call.now),
    );
    return reply(200, page);
  },
);

const revokeOne = endpoint(
  {
    method: "delete",
    path: `${path}/{id}`,
    operation: "revokePersonalToken",
    summary: "Revoke one of your personal tokens",
    tag: "You",
    permission,
    params: z.object({ id: z.string().describe("The token's id, such as pat_…") }),
    responses: { 204: { description: "Revoked: no request that starts after this answer succeeds with it." } },
    errors: ["not_found"],
  },
  async (call) => {
    const { accountId } = call.session();
    return await call.commit(planRevokeToken(call.db, call.actor, accountId, call.params.id), noContent());
  },
);

export const personalTokenEndpoints: readonly Endpoint[] = [createOne, listOwn, revokeOne];
