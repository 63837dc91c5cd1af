/** What the Router holds in memory: the configuration in force, indexed for look-ups without scans, and everything that moves. */
import type {
  ConfigAddress,
  RouterDefault,
  RouterInstance,
  RouterKey,
  RouterPool,
  RouterPrice,
  RouterRows,
} from "../snapshot/model.js";
import { createCooldowns, type Cooldowns } from "./cooldown.js";
import type { Latency } from "./latency.js";
import type { RateWindow } from "./limits.js";
import type { Lane } from "./pick.js";
import { createSpread, type Spread } from "./spread.js";
import { createTickets, type Tickets } from "./tickets.js";
import { createUses, type Uses } from "./uses.js";

/** A key with its lists as sets. */
export interface LiveKey {
  readonly row: RouterKey;
  readonly scopes: ReadonlySet<string>;
  /** Null means all. */
  readonly models: ReadonlySet<string> | null;
}

/** An instance with its lane. Built anew by every `apply`; lag and counters are carried over by id. */
export interface LiveInstance extends Lane {
  readonly row: RouterInstance;
  readonly pool_id: string;
  readonly cooldown_key: string;
  /** Enabled, with a weight, on a usable credential: may serve unless it cools. */
  readonly is_candidate: boolean;
  readonly is_credential_usable: boolean;
  picks: number;
  failures: number;
}

/** A pool with its live instances, in the configuration's order. */
export interface LivePool {
  readonly row: RouterPool;
  readonly instances: readonly LiveInstance[];
}

/** One provider's models that are called by their names, indexed. */
export interface LiveProvider {
  readonly models: ReadonlySet<string>;
  readonly credentials: readonly string[];
  /** Models that only some of the credentials have. */
  readonly held: ReadonlyMap<string, readonly string[]>;
  /** What its models cost, as far as anybody knows. */
  readonly prices: ReadonlyMap<string, RouterPrice>;
  /** Most tokens of one answer, as far as anybody knows. */
  readonly max_outputs: ReadonlyMap<string, number>;
}

/** What may be called without a pool, indexed. */
export interface LiveCatalogue {
  /** Null where the Router was told none: by the release before. */
  readonly edition: number | null;
  readonly providers: ReadonlyMap<string, LiveProvider>;
  /** The providers that have a model of a name. */
  readonly names: ReadonlyMap<string, readonly string[]>;
  /** By type of model. */
  readonly defaults: ReadonlyMap<string, RouterDefault>;
}

/** One applied version, indexed. */
export interface LiveConfig {
  readonly address: ConfigAddress;
  readonly rows: RouterRows;
  readonly keys: ReadonlyMap<string, LiveKey>;
  readonly pools_by_name: ReadonlyMap<string, LivePool>;
  /** Also the pools of models that are called by their names, as soon as one was. */
  readonly pools_by_id: Map<string, LivePool>;
  readonly instances: Map<string, LiveInstance>;
  readonly credentials: ReadonlyMap<string, RouterRows["credentials"][number]>;
  readonly catalogue: LiveCatalogue;
}

/** Everything. The decision files change it in place, the ledger reads what the dirty sets name. */
export interface RouterState {
  /** The workspace was purged: no version is ever taken again and every key is refused. */
  closed: boolean;
  /** Null until the first `apply`. */
  config: LiveConfig | null;
  /** Ids of keys that were ever revoked; they stay refused whatever a later version says. */
  readonly tombstones: Set<string>;
  readonly cooldowns: Cooldowns;
  /** This shard among the workspace's others. */
  readonly spread: Spread;
  readonly tickets: Tickets;
  /** Request windows by key id. */
  readonly windows: Map<string, RateWindow>;
  readonly dirty_windows: Set<string>;
  /** How long instances lately took, by id. Memory only: it is learned again within a few calls. */
  readonly latencies: Map<string, Latency>;
  /** When keys were used; see `noteUse`. */
  readonly uses: Uses;
  /** When credentials were sent, at the picks that sent them. */
  readonly credential_uses: Uses;
  /** Pools whose lags or counters changed. */
  readonly dirty_pools: Set<string>;
}

/** A Router that knows nothing yet. */
export function createState(): RouterState {
  return {
    closed: false,
    config: null,
    tombstones: new Set(),
    cooldowns: createCooldowns(),
    spread: createSpread(),
    tickets: createTickets(),
    windows: new Map(),
    dirty_windows: new Set(),
    latencies: new Map(),
    uses: createUses(),
    credential_uses: createUses(),
    dirty_pools: new Set(),
  };
}
