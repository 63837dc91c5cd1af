/** Puts a version of the configuration into force, once and only upwards; what moves (lags, cool-downs, windows) is carried over. Pure. */
import { readImplicitPool } from "../snapshot/implicit.js";
import type { ConfigAddress, RouterKey, RouterRows } from "../snapshot/model.js";
import { pruneCooldowns, restoreCredential } from "./cooldown.js";
import { implicitPool, indexCatalogue, tellsMore } from "./implicit.js";
import { toLivePool, type CarriedLane } from "./live.js";
import { noCaps, type Caps } from "./meters.js";
import { spreadLag } from "./pick.js";
import { placeShards } from "./spread.js";
import { workspaceScope, type LiveConfig, type LiveKey, type RouterState } from "./state.js";
import { keepUses } from "./uses.js";

/**
 * Whether `address` is above what is in force; lower ones are not applied, and the same one only when its `rows` tell a newer
 * catalogue of models, which moves with the release and not with the version.
 */
export function isNewer(state: RouterState, address: ConfigAddress, rows?: RouterRows): boolean {
  const { config } = state;
  if (config === null) {
    return true;
  }
  const { epoch, version } = config.address;
  if (address.epoch === epoch && address.version === version) {
    return rows !== undefined && tellsMore(config, rows);
  }
  return address.epoch > epoch || (address.epoch === epoch && address.version > version);
}

/** Puts a version into force. The caller has asked `isNewer`, and written it to disk. */
export function installConfig(state: RouterState, address: ConfigAddress, rows: RouterRows, now: number): void {
  const carried = new Map<string, CarriedLane>(state.config?.instances);
  state.config = indexConfig(address, rows, carried);
  settleLeavers(state, carried);
  placeShards(state.spread, state.cooldowns, rows.shards);
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
  keepUses(state.credential_uses, (id) => credentials.has(id));
  const used = new Set(Array.from(instances.values(), (instance) => instance.cooldown_key));
  for (const id of state.latencies.keys()) {
    if (!instances.has(id)) {
      state.latencies.delete(id);
      state.served.delete(id);
    }
  }
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
  const pools = rows.pools.map((row) => toLivePool(row, credentials, carried));
  const config: LiveConfig = {
    address,
    rows,
    keys: new Map(rows.keys.flatMap(bySecret)),
    keys_by_id: new Map(rows.keys.map((row) => [row.id, toLiveKey(row)])),
    caps: toCaps(rows.limits),
    pools_by_name: new Map(pools.map((pool) => [pool.row.name, pool])),
    pools_by_id: new Map(pools.map((pool) => [pool.row.id, pool])),
    instances: new Map(pools.flatMap((pool) => pool.instances.map((instance) => [instance.row.id, instance] as const))),
    credentials,
    catalogue: indexCatalogue(rows.catalogue),
  };
  for (const id of new Set(Array.from(carried.values(), (lane) => lane.pool_id))) {
    const place = readImplicitPool(id);
    if (place !== null) {
      // Also where a pool has taken the name: calls under way may still come for their next instance.
      implicitPool(config, place, carried);
    }
  }
  return config;
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

/** `noCaps` itself where nothing is limited, so that such calls are told by one comparison. */
function toCaps(limits: Pick<RouterKey, "rpm" | "concurrent" | "tpm" | "budget"> | undefined): Caps {
  const { budget, concurrent = null, rpm = null, tpm = null } = limits ?? {};
  const caps = { rpm, tpm, concurrent, day: budget?.day ?? null, month: budget?.month ?? null };
  return Object.values(caps).every((cap) => cap === null) ? noCaps : caps;
}

function toLiveKey(row: RouterKey): LiveKey {
  return {
    row,
    caps: toCaps(row),
    scopes: new Set(row.scopes),
    models: row.models === null ? null : new Set(row.models),
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

function dropKeys({ config, meters, uses }: RouterState): void {
  const ids = new Set(config?.rows.keys.map((key) => key.id));
  for (const id of meters.scopes.keys()) {
    if (id !== workspaceScope && !ids.has(id)) {
      meters.scopes.delete(id);
      meters.dirty_requests.add(id);
      meters.dirty_tokens.add(id);
      meters.dirty_spend.add(id);
    }
  }
  keepUses(uses, (id) => ids.has(id));
}
