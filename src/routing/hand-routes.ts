/** The doors through which a person meddles with routing: taking an instance out and back, ending its cool-down, and asking what would happen. */
import { z } from "@hono/zod-openapi";
import { auditRow } from "../audit/audit.js";
import { AppError, invalidField } from "../base/errors.js";
import { Pool, toPool } from "../connections/pool-schema.js";
import { findInstance, planInstanceSwitch } from "../connections/pool-switch.js";
import { findPool } from "../connections/pools.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { reply } from "../http/reply.js";
import { regions } from "../tenancy/model.js";
import { findNamedInstance, findNamedPool } from "./named-pool.js";
import { callRouter } from "./call.js";
import { routerFor } from "./router-for.js";
import { askShards, listRegions, readHomeRegion } from "./shards.js";

const ofPools = "Pools";
const managePools = { kind: "workspace", scope: "pools:manage", keys: true } as const;

const PoolParam = z.string().describe("The pool's id or name; a / in a name is written %2F.");
const NamedPoolParam = PoolParam.describe(
  "The pool's id or name; a / in a name is written %2F. `model:openai%2Fgpt-5-mini` is that model, called by its own name.",
);
const InstanceParams = z.object({ pool: PoolParam, id: z.string().describe("The instance's id or alias.") });

function switchInstance(deed: "drain" | "resume", summary: string, description: string): Endpoint {
  return endpoint(
    {
      method: "post",
      path: `/workspaces/{ws}/pools/{pool}/instances/{id}/${deed}`,
      operation: `${deed}PoolInstance`,
      summary,
      description,
      tag: ofPools,
      permission: managePools,
      publishes: true,
      etag: true,
      params: InstanceParams,
      responses: { 200: { description: "The pool as it now is.", schema: Pool } },
      errors: ["conflict"],
    },
    async (call) => {
      const { id: workspaceId } = call.access();
      const before = await findPool(call.db, workspaceId, call.params.pool);
      const instance = findInstance(before, call.params.id);
      const plan = planInstanceSwitch(
        call.db,
        workspaceId,
        call.actor,
        before,
        instance,
        deed === "resume",
        call.ifMatch,
      );
      return call.commit(plan, reply(200, toPool(plan.value), { etag: toEtag(plan.value.pool.revision) }));
    },
  );
}

const clearInstanceCooldown = endpoint(
  {
    method: "post",
    path: "/workspaces/{ws}/pools/{pool}/instances/{id}/clear-cooldown",
    operation: "clearPoolInstanceCooldown",
    summary: "End an instance's cool-down",
    description:
      "The next call may go to it at once, in every pool that uses its credential with its model. A credential that its provider refused stays out until it is validated.",
    tag: ofPools,
    permission: managePools,
    params: InstanceParams.extend({ pool: NamedPoolParam }),
    responses: { 200: { description: "It does not cool any more.", schema: z.object({ cleared: z.literal(true) }) } },
    errors: ["router_unavailable"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const pool = await findNamedPool(call.db, workspaceId, call.params.pool);
    const instance = await findNamedInstance(call.env, call.db, workspaceId, pool, call.params.id);
    const { alias, credential_id: credentialId, model } = instance;
    // Before the audit row: one that tells of a deed that failed would be a lie, and clearing twice harms nobody.
    await askShards(call.env, call.db, workspaceId, "clearCooldown", (router) =>
      router.clearCooldown(credentialId, model),
    );
    const row = auditRow(call.db, call.actor, {
      workspaceId,
      action: "pool.instance_cooldown_cleared",
      targets: [
        { type: "pool", id: pool.id },
        { type: "instance", id: instance.id },
      ],
      after: { alias, credential_id: credentialId, model },
    });
    return call.commit({ statements: [row], value: null }, reply(200, { cleared: true }));
  },
);

const DryRunInput = z
  .strictObject({
    requests: z
      .number()
      .int()
      .min(1)
      .max(100)
      .default(10)
      .describe("How many calls to imagine; all begin now and stay under way."),
    sticky: z
      .string()
      .max(256)
      .optional()
      .describe("The `user` or `x-gatehouse-sticky` of an imagined caller, for a sticky pool."),
    region: z.enum(regions).optional().describe("Whose shard to ask; the workspace's own when left out."),
  })
  .openapi("DryRunInput");

const DryRun = z
  .object({
    steps: z
      .array(
        z.object({
          pool_id: z.string().describe("Another than the asked one where a fallback stands in."),
          instance_id: z.string(),
          alias: z.string(),
          cause: z.enum(["strategy", "sticky", "probe"]).describe("What decided."),
        }),
      )
      .describe("In order; fewer than asked for when nobody is left."),
    excluded: z.array(z.object({ instance_id: z.string(), alias: z.string(), reason: z.string() })),
    retry_after_ms: z
      .number()
      .int()
      .nullable()
      .describe("Until somebody could be had, when the steps ended early; null when waiting does not help."),
  })
  .openapi("DryRun");

const dryRunPool = endpoint(
  {
    method: "post",
    path: "/workspaces/{ws}/pools/{pool}/dry-run",
    operation: "dryRunPool",
    summary: "See where the next calls would go",
    description:
      "The decisions of real calls on a copy that is thrown away: no weight, cool-down, limit or count moves, and no provider is called.",
    tag: ofPools,
    permission: { kind: "workspace", scope: "pools:read", keys: true },
    params: z.object({ pool: NamedPoolParam }),
    body: DryRunInput,
    responses: { 200: { description: "Where they would go, who is left out, and why.", schema: DryRun } },
    errors: ["router_unavailable"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const { id: poolId, rows } = await findNamedPool(call.db, workspaceId, call.params.pool);
    const { requests, sticky = null } = call.body;
    const isSticky = rows !== null && toPool(rows).policy.sticky !== "none";
    const region = call.body.region ?? (await readHomeRegion(call.db, workspaceId));
    if (call.body.region !== undefined && !(await listRegions(call.db, workspaceId)).includes(region)) {
      throw invalidField(
        "/region",
        "This workspace has no shard there: it is another region's, and none of its keys is of this one.",
      );
    }
    const request = { pool_id: poolId, requests, sticky: isSticky ? sticky : null };
    const told = await callRouter(
      "dryRun",
      () => routerFor(call.env, workspaceId, region),
      (router) => router.dryRun(request),
    );
    if (rows === null && told.steps.length + told.excluded.length === 0) {
      throw new AppError("not_found");
    }
    return reply(200, told);
  },
);

/** Every door of this file. */
export const handEndpoints: readonly Endpoint[] = [
  switchInstance(
    "drain",
    "Take an instance out",
    "It gets no further calls; those under way go on. `resume` takes it back.",
  ),
  switchInstance(
    "resume",
    "Take an instance back",
    "It gets calls again, unless its weight is 0. What it was owed before does not burst.",
  ),
  clearInstanceCooldown,
  dryRunPool,
];
