/** The doors to pools. */
import { z } from "@hono/zod-openapi";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { pageOf, PageQuery, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { requireNoFallback } from "./fallbacks.js";
import { CreatePool, Pool, ReplacePool, toPool, type PoolRows } from "./pool-schema.js";
import { findPool, listPools, planPool, planPoolDeletion, planPoolReplacement } from "./pools.js";

const readPools = { kind: "workspace", scope: "pools:read", keys: true } as const;
const managePools = { kind: "workspace", scope: "pools:manage", keys: true } as const;
const ofPools = "Pools";

const PoolParams = z.object({ pool: z.string().describe("The pool's id or name; a / in a name is written %2F.") });

const listWorkspacePools = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/pools",
    operation: "listPools",
    summary: "List pools",
    tag: ofPools,
    permission: readPools,
    query: PageQuery,
    responses: { 200: { description: "Pools with their instances, newest first.", schema: pageOf(Pool) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const rows = await listPools(call.db, call.access().id, readCursor(cursor), limit + 1);
    return reply(
      200,
      toPage(rows, limit, ({ pool }) => ({ time: pool.createdAt, id: pool.id }), toPool),
    );
  },
);

const createPool = endpoint(
  {
    method: "post",
    path: "/workspaces/{ws}/pools",
    operation: "createPool",
    summary: "Create a pool",
    description:
      "A pool's name is the model name that clients ask for; its instances share the calls by its strategy. A workspace has at most 1,000 pools, with 5,000 instances together.",
    tag: ofPools,
    permission: managePools,
    publishes: true,
    body: CreatePool,
    etag: "told",
    responses: { 201: { description: "The pool.", schema: Pool } },
    errors: ["name_taken", "limit_reached", "conflict", "in_use"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const plan = await planPool(call.db, workspaceId, call.actor, call.body);
    const location = `/workspaces/${workspaceId}/pools/${plan.value.pool.id}`;
    return call.commit(plan, reply(201, toPool(plan.value), { location, etag: etagOf(plan.value) }));
  },
);

const readPool = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/pools/{pool}",
    operation: "readPool",
    summary: "Read a pool",
    tag: ofPools,
    permission: readPools,
    etag: true,
    params: PoolParams,
    responses: { 200: { description: "The pool.", schema: Pool } },
    errors: [],
  },
  async (call) => {
    const found = await findPool(call.db, call.access().id, call.params.pool);
    return reply(200, toPool(found), { etag: etagOf(found) });
  },
);

const replacePool = endpoint(
  {
    method: "put",
    path: "/workspaces/{ws}/pools/{pool}",
    operation: "replacePool",
    summary: "Replace a pool",
    description:
      "Instances given by `id`, or under an alias they have, stay the same instances: their counts and cool-downs go on.",
    tag: ofPools,
    permission: managePools,
    publishes: true,
    etag: true,
    params: PoolParams,
    body: ReplacePool,
    responses: { 200: { description: "The pool as it now is.", schema: Pool } },
    errors: ["name_taken", "limit_reached", "conflict", "in_use"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const before = await findPool(call.db, workspaceId, call.params.pool);
    const plan = await planPoolReplacement(call.db, workspaceId, call.actor, before, call.body, call.ifMatch);
    return call.commit(plan, reply(200, toPool(plan.value), { etag: etagOf(plan.value) }));
  },
);

const deletePool = endpoint(
  {
    method: "delete",
    path: "/workspaces/{ws}/pools/{pool}",
    operation: "deletePool",
    summary: "Delete a pool",
    description: "Refused while another pool falls back on it; `pools` names them.",
    tag: ofPools,
    permission: managePools,
    publishes: true,
    etag: true,
    params: PoolParams,
    responses: { 204: { description: "It is gone." } },
    errors: ["conflict", "in_use"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const before = await findPool(call.db, workspaceId, call.params.pool);
    await requireNoFallback(call.db, workspaceId, before.pool.name);
    return call.commit(planPoolDeletion(call.db, workspaceId, call.actor, before, call.ifMatch), noContent());
  },
);

/** Every endpoint on pools that asks the record alone. */
export const poolEndpoints: readonly Endpoint[] = [listWorkspacePools, createPool, readPool, replacePool, deletePool];

function etagOf({ pool }: PoolRows): string {
  return toEtag(pool.revision);
}
