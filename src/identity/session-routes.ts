/** The doors to one's own sessions. */
import { z } from "@hono/zod-openapi";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { PageQuery, pageOf, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { clearedCookie } from "./cookie.js";
import { Session, toSession } from "./model.js";
import { listSessions, planEndSession, planEndSessions } from "./own-sessions.js";

const permission = { kind: "session" } as const;

const listOwn = endpoint(
  {
    method: "get",
    path: "/auth/sessions",
    operation: "listSessions",
    summary: "List your sessions",
    description: "Newest first, by id: no list holds a token.",
    tag: "Sign-in",
    permission,
    query: PageQuery,
    responses: { 200: { description: "Your sessions.", schema: pageOf(Session) } },
    errors: [],
  },
  async (call) => {
    const { accountId, sessionId } = call.session();
    const { limit, cursor } = call.query;
    const rows = await listSessions(call.db, accountId, call.now, { limit, after: readCursor(cursor) });
    const page = toPage(
      rows,
      limit,
      (row) => ({ time: Date.parse(row.createdAt), id: row.id }),
      (row) => toSession(row, sessionId),
    );
    return reply(200, page);
  },
);

const endOne = endpoint(
  {
    method: "delete",
    path: "/auth/sessions/{id}",
    operation: "revokeSession",
    summary: "End one of your sessions",
    description: "No request that starts after the answer succeeds with it, nor with an access token of it.",
    tag: "Sign-in",
    permission,
    storedAnswer: "never",
    params: z.object({ id: z.string().describe("The session's id, such as ses_…") }),
    responses: { 204: { description: "Ended." } },
    errors: ["not_found"],
  },
  async (call) => {
    return await call.commit(
      planEndSession(call.db, call.actor, call.session().accountId, call.params.id),
      noContent(),
    );
  },
);

const endAll = endpoint(
  {
    method: "delete",
    path: "/auth/sessions",
    operation: "revokeSessions",
    summary: "End all of your sessions",
    description: "Everywhere, the one that asks included, unless `keep_current` is `true`.",
    tag: "Sign-in",
    permission,
    storedAnswer: "never",
    query: z.object({
      keep_current: z.enum(["true", "false"]).default("false").describe("Whether the session that asks stays."),
    }),
    responses: { 204: { description: "Ended." } },
    errors: [],
  },
  async (call) => {
    const { accountId, sessionId } = call.session();
    const isKept = call.query.keep_current === "true";
    const change = planEndSessions(call.db, call.actor, accountId, isKept ? sessionId : null);
    return await call.commit(change, isKept ? noContent() : signedOut(call.env));
  },
);

const signOut = endpoint(
  {
    method: "post",
    path: "/auth/sign-out",
    operation: "signOut",
    summary: "End this session",
    tag: "Sign-in",
    permission,
    storedAnswer: "never",
    responses: { 204: { description: "Signed out." } },
    errors: ["not_found"],
  },
  async (call) => {
    const { accountId, sessionId } = call.session();
    if (sessionId === null) {
      return signedOut(call.env);
    }
    return await call.commit(planEndSession(call.db, call.actor, accountId, sessionId), signedOut(call.env));
  },
);

function signedOut(env: Env) {
  return noContent({ cookie: clearedCookie(requireSettings(env).publicUrl) });
}

export const sessionEndpoints: readonly Endpoint[] = [listOwn, endOne, endAll, signOut];
