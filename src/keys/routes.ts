/** The doors to API keys: make and rotate (a secret is shown this once), list, read, change, revoke. A MEMBER passes for their own keys. */
import { z } from "@hono/zod-openapi";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { PageQuery, pageOf, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { madeByFor, readCaller } from "./caller.js";
import { findKey, listKeys, planCreateKey, planRevokeKey } from "./keys.js";
import { ApiKey, CreateApiKey, CreatedApiKey, RotateApiKey, toApiKey, UpdateApiKey } from "./model.js";
import { planRotateKey } from "./rotation.js";
import { planUpdateKey } from "./update.js";

const permission = { kind: "workspace", scope: "keys:manage", keys: true, own: true } as const;
const KeyParams = z.object({ id: z.string().describe("The key's id, such as key_…") });
const listPath = "/workspaces/{ws}/api-keys";
const onePath = `${listPath}/{id}`;

const createEndpoint = endpoint(
  {
    method: "post",
    path: listPath,
    operation: "createApiKey",
    summary: "Make an API key",
    description:
      "The answer holds the key itself, this once. Its scopes never reach beyond what its maker may do now. A MEMBER makes keys with `models:invoke` and `tools:invoke` only, where the workspace's key policy lets members make any. Without `expires_at` it lives 90 days, or as long as the policy allows when that is less. A key or token makes none with a later end or looser limits than its own; what is left out is its own. A workspace has at most 1,000 keys that are not revoked, a MEMBER 50.",
    tag: "API keys",
    permission,
    publishes: true,
    storedAnswer: "sealed",
    body: CreateApiKey,
    etag: "told",
    responses: { 201: { description: "The key, with its secret.", schema: CreatedApiKey } },
    errors: ["scope_too_high", "limit_too_high", "name_taken", "limit_reached", "conflict"],
  },
  async (call) => {
    const access = call.access();
    const maker = await readCaller(call.db, call.principal, access);
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
    description:
      "Newest first, revoked ones too. Prefix and last four characters tell which is which. A MEMBER sees their own.",
    tag: "API keys",
    permission,
    query: PageQuery,
    responses: { 200: { description: "A page of keys.", schema: pageOf(ApiKey) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const records = await listKeys(call.db, call.access().id, madeByFor(call.access()), {
      limit,
      after: readCursor(cursor),
    });
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
    const { row, appliedVersion } = await findKey(call.db, call.access().id, call.params.id, madeByFor(call.access()));
    const key = toApiKey(row, call.now, appliedVersion);
    return reply(200, key, { etag: etagOf(row.revision, key) });
  },
);

const updateEndpoint = endpoint(
  {
    method: "patch",
    path: onePath,
    operation: "updateApiKey",
    summary: "Change an API key's name, limits or scopes",
    description:
      "What is left out stays. Scopes can only be taken away; the expiry never changes. Limits can only be tightened but by an admin who is signed in.",
    tag: "API keys",
    permission,
    publishes: true,
    etag: true,
    params: KeyParams,
    body: UpdateApiKey,
    responses: { 200: { description: "The key as it is now, in force everywhere.", schema: ApiKey } },
    errors: ["scope_too_high", "limit_too_high", "name_taken", "key_not_active", "conflict"],
  },
  async (call) => {
    const { id } = call.access();
    const caller = await readCaller(call.db, call.principal, call.access());
    const plan = await planUpdateKey(call.db, id, call.actor, call.params.id, caller, call.body, call.ifMatch);
    const { row, appliedVersion } = plan.value;
    const key = toApiKey(row, call.now, appliedVersion);
    return await call.commit(plan, reply(200, key, { etag: etagOf(row.revision, key) }));
  },
);

const rotateEndpoint = endpoint(
  {
    method: "post",
    path: `${onePath}/rotate`,
    operation: "rotateApiKey",
    summary: "Give an API key a new secret",
    description:
      "The answer holds the new secret, this once; it works from the answer on. The old one goes on for `overlap_seconds`, at most to the key's expiry, which stays where it is; id, limits and counters are shared by both. A secret left from an earlier rotation ends now. Send an `Idempotency-Key`: it is the way to the new secret when the answer is lost.",
    tag: "API keys",
    permission,
    publishes: true,
    storedAnswer: "sealed",
    etag: true,
    params: KeyParams,
    body: RotateApiKey,
    optionalBody: true,
    responses: { 200: { description: "The key, with its new secret.", schema: CreatedApiKey } },
    errors: ["scope_too_high", "key_not_active", "conflict"],
  },
  async (call) => {
    const { id } = call.access();
    const rotator = await readCaller(call.db, call.principal, call.access());
    const { tokenSecret } = requireSettings(call.env);
    const { overlap_seconds: overlap } = call.body;
    const plan = await planRotateKey(
      call.db,
      id,
      call.actor,
      tokenSecret,
      rotator,
      call.params.id,
      overlap,
      call.ifMatch,
    );
    const { row, appliedVersion, secret } = plan.value;
    const key = toApiKey(row, call.now, appliedVersion);
    const body: CreatedApiKey = { ...key, secret: secret.reveal() };
    return await call.commit(plan, reply(200, body, { etag: etagOf(row.revision, key) }));
  },
);

const revokeEndpoint = endpoint(
  {
    method: "delete",
    path: onePath,
    operation: "revokeApiKey",
    summary: "Revoke an API key",
    description:
      "No request that starts after the answer succeeds with it, anywhere, nor with the secret before a rotation. The key stays listed as revoked.",
    tag: "API keys",
    permission,
    publishes: true,
    etag: true,
    params: KeyParams,
    responses: { 204: { description: "Revoked, and in force everywhere." } },
    errors: [],
  },
  async (call) => {
    const { id } = call.access();
    const caller = await readCaller(call.db, call.principal, call.access());
    const plan = await planRevokeKey(call.db, id, call.actor, call.params.id, caller, call.ifMatch);
    return await call.commit(plan, noContent());
  },
);

/** Every endpoint of this room. */
export const keyEndpoints: readonly Endpoint[] = [
  createEndpoint,
  listEndpoint,
  getEndpoint,
  updateEndpoint,
  rotateEndpoint,
  revokeEndpoint,
];

/** Status, overlap and last use move without a change, so they stand in the tag: a cached answer must not keep saying `revoking`. */
function etagOf(revision: number, key: ApiKey): string {
  const lastUsed = key.last_used_at === null ? "never" : String(Date.parse(key.last_used_at));
  const secrets = key.previous_secret === null ? "1" : "2";
  return toEtag(revision, `${key.status}.${secrets}.${lastUsed}`);
}

function locate(workspaceId: string, keyId: string): string {
  return `/workspaces/${workspaceId}/api-keys/${keyId}`;
}
