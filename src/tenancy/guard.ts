/** The tenancy guard: resolves the path's workspace for the caller before any endpoint runs. Foreign and absent are one 404. */
import type { MiddlewareHandler } from "hono";
import { AppError } from "../base/errors.js";
import type { HttpEnv } from "../http/context.js";
import { findAccess, findDeletedAccess, findDepartedAccess, noteActivity } from "./tenancy.js";

/** Paths whose first segment below /workspaces means `current`: the contract's short forms. */
const shortForms: ReadonlySet<string> = new Set(["/workspaces/members/invite"]);

/**
 * What an owner may still ask of a workspace that they deleted: to have it back, and the deletion again, whose answer may
 * have been "not yet in force".
 */
const afterDeletion: readonly RegExp[] = [/^POST \/workspaces\/[^/]+\/restore$/, /^DELETE \/workspaces\/[^/]+$/];

/** What one who has left may still ask: to leave, again, for the same reason. The group is the membership. */
const afterLeaving = /^DELETE \/workspaces\/[^/]+\/members\/([^/]+)$/;

/** Middleware for `/workspaces/:ws` and everything below it. */
export const guardWorkspace: MiddlewareHandler<HttpEnv> = async (context, next) => {
  const principal = context.get("principal");
  if (principal === null) {
    throw new AppError("unauthenticated");
  }
  const reference = shortForms.has(context.req.path) ? "current" : (context.req.param("ws") ?? "");
  const chosen = context.req.header("x-workspace") ?? null;
  const db = context.get("db");
  const asked = `${context.req.method} ${context.req.path}`;
  const leaver = afterLeaving.exec(asked)?.[1];
  const access =
    (await findAccess(db, principal, reference, chosen)) ??
    (afterDeletion.some((pattern) => pattern.test(asked)) ? await findDeletedAccess(db, principal, reference) : null) ??
    (leaver === undefined ? null : await findDepartedAccess(db, principal, reference, chosen, leaver));
  if (access === null) {
    throw new AppError("not_found");
  }
  context.set("access", access);
  await next();
  // A refused request changes nothing, not even this.
  if (principal.kind !== "key" && context.res.status < 400) {
    context.executionCtx.waitUntil(noteActivity(db, access, Date.now()));
  }
};
