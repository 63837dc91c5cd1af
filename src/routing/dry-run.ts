/** Where the next calls would go: the same decisions as `admit` makes, on a copy that is thrown away. Pure. */
import { leaseEnd } from "./decide.js";
import { findPoolById } from "./implicit.js";
import type { DryRun, DryRunRequest, DryRunStep } from "./model.js";
import { selectAcross, withFallbacks, type Seeker } from "./select.js";
import { createSpread } from "./spread.js";
import type { LiveConfig, LiveInstance, LivePool, RouterState } from "./state.js";
import { spreadHash } from "./sticky.js";
import { surveyInstances } from "./survey.js";

/** Imagines `requests` calls that all begin now and stay under way. No step for a pool that this Router does not know. */
export function dryRun(state: RouterState, request: DryRunRequest, now: number): DryRun {
  const { config } = state;
  const pool = config === null ? undefined : findPoolById(config, request.pool_id);
  if (config === null || pool === undefined) {
    return { steps: [], excluded: [], retry_after_ms: null };
  }
  const real = withFallbacks(config, pool);
  const copy = copyState(state, config, real);
  const pools = withFallbacks(copy.config, copy.pool);
  const seeker: Omit<Seeker, "request_id"> = {
    tried: [],
    sticky: request.sticky === null ? null : spreadHash(request.sticky.slice(0, 256)),
    // As a call that is not streamed: an imagined probe stays under way as long as a real one may.
    lease_until: leaseEnd(pool.row.policy, false, now + pool.row.policy.total_timeout_ms, now),
  };
  const steps: DryRunStep[] = [];
  for (let number = 1; number <= request.requests; number += 1) {
    const selection = selectAcross(copy.state, pools, { ...seeker, request_id: `dry-run-${number}` }, now);
    if (selection.kind === "none") {
      return { steps, excluded: listExcluded(state, real, now), retry_after_ms: selection.wait_ms };
    }
    const { row, pool_id } = selection.instance;
    const { by_instance } = copy.state.tickets;
    by_instance.set(row.id, (by_instance.get(row.id) ?? 0) + 1);
    steps.push({ pool_id, instance_id: row.id, alias: row.alias, cause: selection.cause });
  }
  return { steps, excluded: listExcluded(state, real, now), retry_after_ms: null };
}

/** What a selection moves is copied: lags and counters, leases, calls under way. The rest is shared. */
function copyState(
  state: RouterState,
  config: LiveConfig,
  pools: readonly LivePool[],
): { readonly state: RouterState; readonly config: LiveConfig; readonly pool: LivePool } {
  const copies = pools.map((pool): LivePool => ({ ...pool, instances: pool.instances.map(copyInstance) }));
  const byName = new Map(copies.map((pool) => [pool.row.name, pool]));
  const copied = { ...config, pools_by_name: byName };
  const entries = new Map(Array.from(state.cooldowns.entries, ([key, entry]) => [key, { ...entry }]));
  const [pool] = copies;
  if (pool === undefined) {
    throw new Error("a pool comes with itself");
  }
  return {
    state: {
      ...state,
      config: copied,
      cooldowns: { ...state.cooldowns, entries, dirty: new Set() },
      // As if it stood alone: what another shard would grant is not to be asked for an imagined call.
      spread: createSpread(),
      tickets: { ...state.tickets, by_instance: new Map(state.tickets.by_instance) },
      dirty_pools: new Set(),
    },
    config: copied,
    pool,
  };
}

function copyInstance(instance: LiveInstance): LiveInstance {
  return { ...instance };
}

function listExcluded(state: RouterState, pools: readonly LivePool[], now: number): DryRun["excluded"] {
  return pools.flatMap((pool) =>
    surveyInstances(state, pool.row.id, now)
      .filter(({ probe_due, status }) => status !== "ready" && probe_due !== true)
      .map(({ alias, id, reason, status }) => ({
        instance_id: id,
        alias,
        reason: reason === null ? status : `${status}: ${reason}`,
      })),
  );
}
