/** Puts a version of the configuration into force, once and only upwards; what moves (lags, cool-downs, windows) is carried over. Pure. */
import type { ConfigAddress, RouterInstance, RouterKey, RouterPool, RouterRows } from "../snapshot/model.js";
import { cooldownKey, pruneCooldowns, restoreCredential } from "./cooldown.js";
import { spreadLag } from "./pick.js";
import type { LiveConfig, LiveInstance, LiveKey, LivePool, RouterState } from "./state.js";

/** What is carried of an instance from one version to the next. */
export interface CarriedLane {
  readonly pool_id: string;
  readonly lag: number;
  readonly picks: number;
  readonly failures: number;
}

/** Whether `address` is above what is in force; equal and lower ones are not applied. */
export function isNewer(state: RouterState, address: ConfigAddress): boolean {
  const present = state.config?.address;
  return (
    present === undefined ||
    address.epoch > present.epoch ||
    (address.epoch === present.epoch && address.version > present.version)
  );
}

/** Puts a version into force. The caller has asked `isNewer`, and written it to disk. */
export function installConfig(state: RouterState, address: ConfigAddress, rows: RouterRows, now: number): void {
  const carried = new Map<string, CarriedLane>(state.config?.instances);
  state.config = indexConfig(address, rows, carried);
  settleLeavers(state, carried);
  for (const key of rows.keys) {
    if (key.revoked) {
      state.tombstones.add(key.id);
    }
  }
  dropKeys(state);
  for (const credential of rows.credentials) {
    if (credential.validated_at_ms !== null) {
      restoreCredential(state.cooldowns, credential.id, credential.validated_at_ms);
    }
  }
  const { credentials, instances } = state.config;
  const used = new Set(Array.from(instances.values(), (instance) => instance.cooldown_key));
  pruneCooldowns(
    state.cooldowns,
    (key) => used.has(key),
    (id) => credentials.has(id),
    now,
  );
}

/** Indexes the rows and joins them with what the instances carry. */
export function indexConfig(
  address: ConfigAddress,
  rows: RouterRows,
  carried: ReadonlyMap<string, CarriedLane>,
): LiveConfig {
  const credentials = new Map(rows.credentials.map((credential) => [credential.id, credential]));
  const pools = rows.pools.map((row): LivePool => {
    const instances = row.instances.map((instance) =>
      toLiveInstance(row, instance, credentials.get(instance.credential_id)?.usable ?? false, carried.get(instance.id)),
    );
    return { row, instances };
  });
  return {
    address,
    rows,
    keys: new Map(rows.keys.flatMap(bySecret)),
    pools_by_name: new Map(pools.map((pool) => [pool.row.name, pool])),
    pools_by_id: new Map(pools.map((pool) => [pool.row.id, pool])),
    instances: new Map(pools.flatMap((pool) => pool.instances.map((instance) => [instance.row.id, instance] as const))),
    credentials,
  };
}

/** A key under each of its secrets. The one before a rotation is the same key, with the same id and so the same limits, but for its own end. */
function bySecret(row: RouterKey): [string, LiveKey][] {
  const { previous } = row;
  const key = toLiveKey(row);
  if (previous === undefined) {
    return [[row.digest, key]];
  }
  const end = Math.min(previous.expires_at_ms, row.expires_at_ms ?? Infinity);
  return [
    [previous.digest, { ...key, row: { ...row, expires_at_ms: end } }],
    [row.digest, key],
  ];
}

function toLiveKey(row: RouterKey): LiveKey {
  return { row, scopes: new Set(row.scopes), models: row.models === null ? null : new Set(row.models) };
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

/** Instances that left their pool leave its accounting; pools that changed or went are written anew. */
function settleLeavers(state: RouterState, before: ReadonlyMap<string, CarriedLane>): void {
  for (const [id, lane] of before) {
    const stays = state.config?.instances.get(id)?.pool_id === lane.pool_id;
    if (!stays) {
      spreadLag(state.config?.pools_by_id.get(lane.pool_id)?.instances ?? [], lane.lag);
      state.dirty_pools.add(lane.pool_id);
    }
  }
}

function dropKeys(state: RouterState): void {
  const ids = new Set(state.config?.rows.keys.map((key) => key.id));
  for (const id of state.windows.keys()) {
    if (!ids.has(id)) {
      state.windows.delete(id);
      state.dirty_windows.add(id);
    }
  }
  for (const id of state.uses.noted.keys()) {
    if (!ids.has(id)) {
      state.uses.noted.delete(id);
    }
  }
}
