/** Makes live pools of the configuration's rows, joined with what their instances carry from before. Pure. */
import type { RouterInstance, RouterPool, RouterRows } from "../snapshot/model.js";
import { cooldownKey } from "./cooldown.js";
import type { LiveInstance, LivePool } from "./state.js";

/** What is carried of an instance from one version to the next. */
export interface CarriedLane {
  readonly pool_id: string;
  readonly lag: number;
  readonly picks: number;
  readonly failures: number;
}

/** Credentials by id, as the Router is told of them. */
export type LiveCredentials = ReadonlyMap<string, RouterRows["credentials"][number]>;

/** A pool with its instances, each with its lane: the one it had in this pool, or a fresh one. */
export function toLivePool(
  row: RouterPool,
  credentials: LiveCredentials,
  carried: ReadonlyMap<string, CarriedLane>,
): LivePool {
  const instances = row.instances.map((instance) =>
    toLiveInstance(row, instance, credentials.get(instance.credential_id)?.usable ?? false, carried.get(instance.id)),
  );
  return { row, instances };
}

function toLiveInstance(
  pool: RouterPool,
  row: RouterInstance,
  isUsable: boolean,
  carried: CarriedLane | undefined,
): LiveInstance {
  const lane = carried?.pool_id === pool.id ? carried : { lag: 0, picks: 0, failures: 0 };
  return {
    row,
    pool_id: pool.id,
    cooldown_key: cooldownKey(row.credential_id, row.model),
    is_candidate: row.enabled && row.weight > 0 && isUsable,
    is_credential_usable: isUsable,
    weight: row.weight,
    lag: lane.lag,
    picks: lane.picks,
    failures: lane.failures,
  };
}
