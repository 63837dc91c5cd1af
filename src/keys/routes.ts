/** The doors to API keys: make (the secret is shown this once), list, read, revoke. */
import { z } from "@hono/zod-openapi";
import { roleHas, scopes, type Scope } from "../access/permissions.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Call, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { PageQuery, pageOf, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { findKey, listKeys, planCreateKey, planRevokeKey } from "./keys.js";
import { ApiKey, CreateApiKey, CreatedApiKey, toApiKey } from "./model.js";

const permission = { kind: "workspace", scope: "keys:manage", keys: true } as const;
const KeyParams = z.object({ id: z.string().describe("The key's id, such as key_…") });
const listPath = "/workspaces/{ws}/api-keys";
const onePath = `${listPath}/{id}`;

const createEndpoint = endpoint(
  {
    method: "post",
    path: listPath,
    operation: "createApiKey",
    summary: "Make an API key",
    description: "The answer holds the key itself, this once. Its scopes never reach beyond what its maker may do now.",
    tag: "API keys",
    permission,
    publishes: true,
    storedAnswer: "sealed",
    body: CreateApiKey,
    responses: { 201: { description: "The key, with its secret.", schema: CreatedApiKey } },
    errors: ["scope_too_high", "name_taken", "limit_not_available"],
  },
  async (call) => {
    const access = call.access();
    const maker = { memberId: access.memberId, grants: grantsOf(call) };
    const { tokenSecret } = requireSettings(call.env);
    const plan = await planCreateKey(call.db, access.id, call.actor, tokenSecret, maker, call.body);
    const { row, secret } = plan.value;
    const key = toApiKey(row, call.now, 0);
    const body: CreatedApiKey = { ...key, secret: secret.reveal() };
    return await call.commit(
      plan,
      reply(201, body, { etag: etagOf(row.revision, key), location: locate(access.id, row.id) }),
    );
  },
);

const listEndpoint = endpoint(
  {
    method: "get",
    path: listPath,
    operation: "listApiKeys",
    summary: "List API keys",
    description: "Newest first, revoked ones too. Prefix and last four characters tell which is which.",
    tag: "API keys",
    permission,
    query: PageQuery,
    responses: { 200: { description: "A page of keys.", schema: pageOf(ApiKey) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const records = await listKeys(call.db, call.access().id, { limit, after: readCursor(cursor) });
    const page = toPage(
      records,
      limit,
      ({ row }) => ({ time: row.createdAt, id: row.id }),
      ({ row, appliedVersion }) => toApiKey(row, call.now, appliedVersion),
    );
    return reply(200, page);
  },
);

const getEndpoint = endpoint(
  {
    method: "get",
    path: onePath,
    operation: "getApiKey",
    summary: "Read one API key",
    tag: "API keys",
    permission,
    etag: true,
    params: KeyParams,
    responses: { 200: { description: "The key, without its secret.", schema: ApiKey } },
    errors: [],
  },
  async (call) => {
    const { row, appliedVersion } = await findKey(call.db, call.access().id, call.params.id);
    const key = toApiKey(row, call.now, appliedVersion);
    return reply(200, key, { etag: etagOf(row.revision, key) });
  },
);

const revokeEndpoint = endpoint(
  {
    method: "delete",
    path: onePath,
    operation: "revokeApiKey",
    summary: "Revoke an API key",
    description: "No request that starts after the answer succeeds with it, anywhere. The key stays listed as revoked.",
    tag: "API keys",
    permission,
    publishes: true,
    etag: true,
    params: KeyParams,
    responses: { 204: { description: "Revoked, and in force everywhere." } },
    errors: [],
  },
  async (call) => {
    const plan = await planRevokeKey(call.db, call.access().id, call.actor, call.params.id, call.ifMatch);
    return await call.commit(plan, noContent());
  },
);

/** Every endpoint of this room. */
export const keyEndpoints: readonly Endpoint[] = [createEndpoint, listEndpoint, getEndpoint, revokeEndpoint];

/** What the caller may hand on to a key: a key its own scopes, a member the scopes of their role, a personal token what both have. */
function grantsOf(call: Pick<Call<unknown, unknown, unknown>, "principal" | "access">): readonly Scope[] {
  if (call.principal?.kind === "key") {
    return call.principal.scopes;
  }
  const { role } = call.access();
  const granted = role === null ? [] : scopes.filter((scope) => roleHas(role, scope));
  const token = call.principal?.kind === "token" ? call.principal : null;
  return token === null ? granted : granted.filter((scope) => token.scopes.includes(scope));
}

/** Status and last use move without a change, so they stand in the tag: a cached answer must not keep saying `revoking`. */
function etagOf(revision: number, key: ApiKey): string {
  const lastUsed = key.last_used_at === null ? "never" : String(Date.parse(key.last_used_at));
  return toEtag(revision, `${key.status}.${lastUsed}`);
}

function locate(workspaceId: string, keyId: string): string {
  return `/workspaces/${workspaceId}/api-keys/${keyId}`;
}
