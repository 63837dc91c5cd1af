/** What the tests of keys have in common: making keys by HTTP, and asking every door what a secret is worth. */
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { auditLog } from "../../src/audit/model.js";
import { sha256Hex } from "../../src/base/bytes.js";
import { apiKeys, type ApiKeyRow } from "../../src/keys/model.js";
import { routerFor } from "../../src/routing/router-for.js";
import { call, type Answer } from "../support/client.js";
import { db, type SeededWorkspace } from "../support/seed.js";

export const day = 24 * 3_600_000;

type Caller = Pick<SeededWorkspace, "id" | "token">;

/** Makes a key with a name of its own. */
export function makeKey(caller: Caller, body: Record<string, unknown> = {}, headers = {}): Promise<Answer> {
  const full = { name: `key ${crypto.randomUUID()}`, scopes: ["models:invoke"], ...body };
  return call("POST", `/workspaces/${caller.id}/api-keys`, { token: caller.token, body: full, headers });
}

/** One request to a key, or to something below it. */
export function callKey(
  method: string,
  caller: Caller,
  keyId: string,
  body?: Record<string, unknown>,
  headers = {},
  below = "",
): Promise<Answer> {
  const path = `/workspaces/${caller.id}/api-keys/${keyId}${below}`;
  return call(method, path, { token: caller.token, headers, ...(body === undefined ? {} : { body }) });
}

export function rotate(caller: Caller, keyId: string, overlapSeconds = 0, headers = {}): Promise<Answer> {
  return callKey("POST", caller, keyId, { overlap_seconds: overlapSeconds }, headers, "/rotate");
}

/** What a digest meets at the Router of its region, which is what the gateway asks. There is no pool: `model_not_found` means let in. */
export async function admitted(workspaceId: string, digest: string, region = "auto"): Promise<string> {
  const request = { request_id: crypto.randomUUID(), key_digest: digest, scope: "models:invoke", model: "none" };
  const admission = await routerFor(env, workspaceId, region).admit(request);
  return admission.kind === "refused" ? admission.code : admission.kind;
}

/** What a secret is worth now: at the Router, and as a caller of the control plane (it needs `workspace:read` there). */
export async function worth(workspaceId: string, secret: string): Promise<[string, number]> {
  const router = await admitted(workspaceId, await sha256Hex(secret));
  return [router, (await call("GET", "/workspaces/current", { token: secret })).status];
}

/** A living secret of a key with `models:invoke` and `workspace:read`, as `worth` tells it. */
export const living = ["model_not_found", 200];

export async function rowOf(keyId: string): Promise<ApiKeyRow> {
  const [row] = await db.select().from(apiKeys).where(eq(apiKeys.id, keyId)).all();
  if (row === undefined) {
    throw new Error(`no key ${keyId}`);
  }
  return row;
}

/** The audit rows that name a key, oldest first. */
export async function auditOf(workspaceId: string, keyId: string) {
  const rows = await db
    .select()
    .from(auditLog)
    .where(eq(auditLog.workspaceId, workspaceId))
    .orderBy(auditLog.seq)
    .all();
  return rows.filter((row) => row.targets.includes(keyId));
}

/** One call through the gateway to the pool `chat`. */
export function chat(secret: string): Promise<Answer> {
  const body = { model: "chat", messages: [{ role: "user", content: "hello" }] };
  return call("POST", "/v1/chat/completions", { token: secret, body });
}
