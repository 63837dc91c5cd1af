/** What the Router holds in memory: the configuration in force, indexed for look-ups without scans, and everything that moves. */
import type { UpstreamEndpoint } from "../providers/contract.js";
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
import { createLeases, type Leases } from "./lease-room.js";
import type { Caps, Meter } from "./meters.js";
import type { Lane } from "./pick.js";
import { createRequestLog, type RequestLog } from "./request-log.js";
import { createSpread, type Spread } from "./spread.js";
import type { Span } from "./spend.js";
import { createTickets, type Tickets } from "./tickets.js";
import { createUses, type Uses } from "./uses.js";

/** A key with its lists as sets. */
export interface LiveKey {
  readonly row: RouterKey;
  readonly caps: Caps;
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
  /** By digest. */
  readonly keys: ReadonlyMap<string, LiveKey>;
  readonly keys_by_id: ReadonlyMap<string, LiveKey>;
  /** Of all calls of the workspace together. */
  readonly caps: Caps;
  readonly pools_by_name: ReadonlyMap<string, LivePool>;
  /** Also the pools of models that are called by their names, as soon as one was. */
  readonly pools_by_id: Map<string, LivePool>;
  readonly instances: Map<string, LiveInstance>;
  readonly credentials: ReadonlyMap<string, RouterRows["credentials"][number]>;
  readonly catalogue: LiveCatalogue;
}

/** A budget's threshold that was passed, until the record knows. Micro-dollars; `start` is when the span began, epoch milliseconds. */
export interface BudgetNotice {
  /** A key's id, or `workspaceScope`. */
  readonly scope: string;
  readonly span: Span;
  readonly start: number;
  /** Percent. */
  readonly threshold: number;
  readonly spent: number;
  readonly budget: number;
}

/** What keys and the workspace have used of their limits. The sets name what changed since the ledger last wrote. */
export interface Meters {
  /** By key id, and the workspace's own under `workspaceScope`. */
  readonly scopes: Map<string, Meter>;
  readonly dirty_requests: Set<string>;
  readonly dirty_tokens: Set<string>;
  readonly dirty_spend: Set<string>;
  /** By their own names. */
  readonly notices: Map<string, BudgetNotice>;
  readonly dirty_notices: Set<string>;
  /** When quiet scopes were last looked for. */
  swept_at: number;
}

/** The name of the workspace among the scopes that are metered; no key has it. */
export const workspaceScope = "workspace";

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
  /** What of the workspace's limits is leased, to others or from the first. */
  readonly leases: Leases;
  readonly tickets: Tickets;
  readonly meters: Meters;
  /** How long instances lately took, by id. Memory only: it is learned again within a few calls. */
  readonly latencies: Map<string, Latency>;
  /** The endpoint that instances last answered on, by id. Memory only: learned again by the next answer. */
  readonly served: Map<string, UpstreamEndpoint>;
  /** When keys were used; see `noteUse`. */
  readonly uses: Uses;
  /** When credentials were sent, at the picks that sent them. */
  readonly credential_uses: Uses;
  /** What the request log and the sums are about to be told. */
  readonly log: RequestLog;
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
    leases: createLeases(),
    tickets: createTickets(),
    meters: createMeters(),
    latencies: new Map(),
    served: new Map(),
    uses: createUses(),
    credential_uses: createUses(),
    log: createRequestLog(),
    dirty_pools: new Set(),
  };
}

function createMeters(): Meters {
  return {
    scopes: new Map(),
    dirty_requests: new Set(),
    dirty_tokens: new Set(),
    dirty_spend: new Set(),
    notices: new Map(),
    dirty_notices: new Set(),
    swept_at: 0,
  };
}
