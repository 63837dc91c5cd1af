/** The doors that ask the Router itself: how a pool stands right now, summed over the workspace's shards. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import type { PoolInstanceRow } from "../connections/pool-schema.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { reply } from "../http/reply.js";
import type { InstanceState, InstanceStatus } from "./model.js";
import { handEndpoints } from "./hand-routes.js";
import { findNamedPool } from "./named-pool.js";
import { askShards } from "./shards.js";

/** What one shard says wins over the others in this order: trouble anywhere is worth seeing. */
const statuses = ["out", "cooling", "probing", "drained", "ready"] as const satisfies readonly InstanceStatus[];

const PoolInstanceState = z
  .object({
    id: z.string(),
    alias: z.string(),
    status: z
      .enum(statuses)
      .describe("`out`: its credential is refused or unusable; `drained`: disabled or without a weight."),
    cooling_until: z.iso.datetime().nullable(),
    reason: z.string().nullable().describe("Why it is cooling or out."),
    probe_due: z.boolean().describe("The cool-down is over: the next request tries it."),
    picks: z.number().int().describe("Calls it was chosen for since the pool was made."),
    share: z.number().describe("Its picks over all picks; 0 when there are none."),
    in_flight: z.number().int(),
    failures: z.number().int(),
  })
  .openapi("PoolInstanceState");
type PoolInstanceState = z.infer<typeof PoolInstanceState>;

const PoolState = z.object({ instances: z.array(PoolInstanceState) }).openapi("PoolState");

const readPoolState = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/pools/{pool}/state",
    operation: "readPoolState",
    summary: "Read a pool's live state",
    tag: "Pools",
    permission: { kind: "workspace", scope: "pools:read", keys: true },
    params: z.object({
      pool: z
        .string()
        .describe(
          "The pool's id or name; a / in a name is written %2F. `model:openai%2Fgpt-5-mini` is that model, called by its own name.",
        ),
    }),
    responses: { 200: { description: "Each instance as the Router has it at this moment.", schema: PoolState } },
    errors: ["router_unavailable"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const { id: poolId, rows } = await findNamedPool(call.db, workspaceId, call.params.pool);
    const shards = await askShards(call.env, call.db, workspaceId, "state", (router) => router.state(poolId));
    const told = shards.flat();
    const instances = rows?.instances ?? toldInstances(told);
    if (instances.length === 0) {
      throw new AppError("not_found");
    }
    return reply(200, { instances: sumStates(instances, told) });
  },
);

/** Every endpoint of this room. */
export const routingEndpoints: readonly Endpoint[] = [readPoolState, ...handEndpoints];

/** What of an instance's row the state shows. */
type KnownInstance = Pick<PoolInstanceRow, "id" | "alias" | "enabled" | "weight">;

/** The instances that shards tell of, where no row does. */
function toldInstances(told: readonly InstanceState[]): readonly KnownInstance[] {
  return [...new Map(told.map(({ id, alias }) => [id, { id, alias, enabled: true, weight: 1 }])).values()];
}

/** One line for each instance of the record, from what the shards say; a shard that does not know it yet says nothing. */
export function sumStates(
  instances: readonly KnownInstance[],
  told: readonly InstanceState[],
): readonly PoolInstanceState[] {
  const byInstance = Map.groupBy(told, (state) => state.id);
  const lines = instances.map((row) => sumInstance(row, byInstance.get(row.id) ?? []));
  const total = lines.reduce((sum, line) => sum + line.picks, 0);
  return lines.map((line) => ({ ...line, share: total === 0 ? 0 : line.picks / total }));
}

function sumInstance(row: KnownInstance, told: readonly InstanceState[]): PoolInstanceState {
  const unheard = !row.enabled || row.weight === 0 ? "drained" : "ready";
  // Where one shard probes, the others' cool-downs are over and wait for what it finds.
  const isProbed = told.some((state) => state.status === "probing");
  const heard = told.filter((state) => !(isProbed && state.probe_due === true));
  const status = statuses.find((word) => heard.some((state) => state.status === word)) ?? unheard;
  const telling = told.filter((state) => state.status === status);
  const until = telling.flatMap((state) => state.cooling_until ?? []).toSorted();
  const sum = (count: (state: InstanceState) => number): number => told.reduce((all, state) => all + count(state), 0);
  return {
    id: row.id,
    alias: row.alias,
    status,
    cooling_until: until.at(-1) ?? null,
    reason: telling.find((state) => state.reason !== null)?.reason ?? null,
    probe_due: telling.some((state) => state.probe_due === true),
    picks: sum((state) => state.picks),
    share: 0,
    in_flight: sum((state) => state.in_flight),
    failures: sum((state) => state.failures),
  };
}
