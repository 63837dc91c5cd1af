/** Who invokes tools, and whether they may: an API key is asked of the Router, for its allow-list and its rate; a person is held by their role alone. */
import type { Principal } from "../access/principal.js";
import { and, eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import type { Settings } from "../base/settings.js";
import { bearerToken } from "../http/authenticate.js";
import { apiKeys, readLimits } from "../keys/model.js";
import { parseKey } from "../keys/token.js";
import { callRouter } from "../routing/call.js";
import type { RateState, Refusal, ToolAdmitted } from "../routing/model.js";
import { refusalError } from "../routing/refusal.js";
import { routerFor } from "../routing/router-for.js";
import { republish } from "../snapshot/publish.js";

/** The caller of a tool. A personal token counts as the person who made it. */
export type ToolCaller =
  | { readonly kind: "person" }
  | { readonly kind: "key"; readonly keyId: string; readonly digest: string; readonly region: string };

/** The caller behind a request that was let in as `principal`. Throws `unauthenticated` for a key that the request does not show. */
export async function toolCaller(
  settings: Pick<Settings, "tokenSecret">,
  request: Request,
  principal: Principal | null,
): Promise<ToolCaller> {
  if (principal?.kind !== "key") {
    return { kind: "person" };
  }
  const parsed = await parseKey(bearerToken(request) ?? "", settings.tokenSecret);
  if (parsed === null) {
    throw new AppError("unauthenticated");
  }
  return { kind: "key", keyId: principal.keyId, digest: parsed.digest, region: parsed.region };
}

/** The tools that a caller may see and invoke, as `provider/tool` or `provider/*`; null for all. */
export async function allowedTools(
  db: Database,
  workspaceId: string,
  caller: ToolCaller,
): Promise<readonly string[] | null> {
  if (caller.kind === "person") {
    return null;
  }
  const isThis = and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, caller.keyId));
  const [row] = await hideSql(db.select({ limits: apiKeys.limits }).from(apiKeys).where(isThis).all());
  if (row === undefined) {
    throw new AppError("unauthenticated");
  }
  return readLimits(row.limits).tools ?? null;
}

/**
 * Takes leave for one invocation of `provider/tool`; the answer is the key's window, null without a limit. A refusal stands in the request log
 * under the request's id. Throws `unauthenticated`,
 * `scope_missing`, `tool_not_allowed`, `rate_limited` and `router_unavailable`.
 */
export async function admitCaller(
  env: Env,
  workspaceId: string,
  caller: ToolCaller,
  tool: string,
  requestId: string,
): Promise<RateState | null> {
  if (caller.kind === "person") {
    return null;
  }
  let answer = await askRouter(env, workspaceId, caller, tool, requestId);
  if (answer.kind === "refused" && answer.code === "not_configured") {
    await republish(env, workspaceId, routerFor);
    answer = await askRouter(env, workspaceId, caller, tool, requestId);
  }
  if (answer.kind === "refused") {
    throw refusalError(answer);
  }
  return answer.rate;
}

function askRouter(
  env: Env,
  workspaceId: string,
  caller: Extract<ToolCaller, { kind: "key" }>,
  tool: string,
  requestId: string,
): Promise<ToolAdmitted | Refusal> {
  const makeStub = () => routerFor(env, workspaceId, caller.region);
  const request = { key_digest: caller.digest, scope: "tools:invoke", tool, request_id: requestId };
  return callRouter("admitTool", makeStub, (router) => router.admitTool(request));
}
