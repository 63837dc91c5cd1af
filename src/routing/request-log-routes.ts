/** The doors to the request log: the last calls as the workspace's Routers keep them, and one of them with its decision trace. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { PageQuery, pageOf, readCursor, writeCursor } from "../http/page.js";
import { reply } from "../http/reply.js";
import { logResults } from "./request-log-entry.js";
import { mergeAnswers } from "./request-log-pages.js";
import { RequestLine, RequestTrace, toRequestLine, toRequestTrace } from "./request-log-schema.js";
import { askShards } from "./shards.js";
import { readSight } from "./usage-sight.js";

const permission = { kind: "workspace", scope: "usage:read", keys: true, least: "ADMIN" } as const;
const path = "/workspaces/{ws}/requests";
const tag = "Usage";
const keeping =
  "Each of the workspace's shards keeps its last 10,000 calls and 2,000 refusals for 7 days. No text of a prompt or an answer is kept.";

const RequestQuery = PageQuery.extend({
  key_id: z.string().max(200).optional().describe("Only calls with this key."),
  pool_id: z.string().max(300).optional().describe("The pool that was asked for."),
  instance_id: z.string().max(300).optional().describe("Any of its attempts went there."),
  endpoint: z.string().max(100).optional().describe("Such as `chat/completions`, or `tool`."),
  model: z.string().max(300).optional().describe("The name that was asked for."),
  result: z.enum(logResults).optional().describe("Only calls that ended so."),
  status: z.coerce.number().int().min(100).max(599).optional().describe("Only calls answered with this status."),
  from: z.iso.datetime({ offset: true }).optional().describe("Ended then or later."),
  to: z.iso.datetime({ offset: true }).optional().describe("Ended before."),
});

const listRequests = endpoint(
  {
    method: "get",
    path,
    operation: "listRequests",
    summary: "List the last requests",
    description: `Newest end first. ${keeping} A page of a rare filter may be short or empty and still have a next one.`,
    tag,
    permission,
    query: RequestQuery,
    responses: { 200: { description: "A page of requests.", schema: pageOf(RequestLine) } },
    errors: ["router_unavailable"],
  },
  async (call) => {
    const access = call.access();
    await requireAdmin(call);
    const { cursor, from, limit, to, ...filters } = call.query;
    const query = {
      ...filters,
      limit,
      after: readCursor(cursor),
      from: from === undefined ? 0 : Date.parse(from),
      to: to === undefined ? Number.MAX_SAFE_INTEGER : Date.parse(to),
    };
    const answers = await askShards(call.env, call.db, access.id, "requests", (router) => router.requests(query));
    const { entries, known_to: knownTo } = mergeAnswers(answers, limit);
    const next = knownTo === null ? null : writeCursor(knownTo);
    return reply(200, { data: entries.map(toRequestLine), next_cursor: next });
  },
);

const getRequest = endpoint(
  {
    method: "get",
    path: `${path}/{id}`,
    operation: "getRequest",
    summary: "Read one request with its decision trace",
    description: `Who could have served it, who was left out and why, what each attempt met. ${keeping}`,
    tag,
    permission,
    params: z.object({ id: z.string().max(200).describe("The request's id, from `x-request-id`.") }),
    responses: { 200: { description: "The request.", schema: RequestTrace } },
    errors: ["router_unavailable"],
  },
  async (call) => {
    const access = call.access();
    await requireAdmin(call);
    const { id } = call.params;
    const found = await askShards(call.env, call.db, access.id, "request", (router) => router.request(id));
    const entry = found.find((one) => one !== null);
    if (entry === undefined || entry === null) {
      throw new AppError("not_found");
    }
    return reply(200, toRequestTrace(entry));
  },
);

/** A key's scopes alone do not tell an admin's from one whose maker is none any more. */
async function requireAdmin(call: Parameters<typeof readSight>[0]): Promise<void> {
  if ((await readSight(call)) !== null) {
    throw new AppError("forbidden", { detail: "This needs usage:read, ADMIN." });
  }
}

/** Every door of this file. */
export const requestLogEndpoints: readonly Endpoint[] = [listRequests, getRequest];
