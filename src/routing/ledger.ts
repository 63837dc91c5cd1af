/** The Router's tables: what must outlive its memory. Configuration is written before it counts, everything that moves at most a second behind. */
import { z } from "zod";
import { ConfigAddress, RouterCatalogue, RouterLimits, RouterRows, RouterShards } from "../snapshot/model.js";
import { indexConfig } from "./install.js";
import { leaseTables, loadLender } from "./ledger-leases.js";
import { loadSpread, shardTables, writeSpread } from "./ledger-shards.js";
import type { CarriedLane } from "./live.js";
import { hasEntries } from "./request-log.js";
import { hasUntold } from "./spread.js";
import { createState, type RouterState } from "./state.js";
import { loadMeters, meterTables, writeMeters } from "./ledger-meters.js";
import { enterRequest } from "./tickets.js";
import {
  loadCooldowns,
  packLanes,
  packRequest,
  parseText,
  unpackLanes,
  unpackRequest,
  writeCooldowns,
  type StoredLane,
} from "./ledger-rows.js";

/** The tables' own version. They only ever gain columns and tables within one, so that two neighbouring releases can take turns on an object. */
const schemaVersion = 1;

const tables = `
  CREATE TABLE IF NOT EXISTS schema_version (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS config (id INTEGER PRIMARY KEY CHECK (id = 1), workspace_id TEXT NOT NULL, active INTEGER NOT NULL,
    epoch INTEGER NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS config_rows (kind TEXT NOT NULL, id TEXT NOT NULL, place INTEGER NOT NULL, row TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS tombstones (key_id TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS lanes (pool_id TEXT PRIMARY KEY, lanes TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS cooldowns (key TEXT PRIMARY KEY, since INTEGER NOT NULL, until INTEGER NOT NULL, reason TEXT NOT NULL,
    streak INTEGER NOT NULL, lease_request TEXT, lease_until INTEGER) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS outs (credential_id TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS requests (request_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS closed (id INTEGER PRIMARY KEY CHECK (id = 1));
  CREATE TABLE IF NOT EXISTS due (task TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
`;

/** Characters of rows that one statement writes: at three bytes each its parameter stays below the platform's 2 MB. No single row comes near it. */
const chunkChars = 500_000;

/** Makes the tables of a new object; does nothing on one that has them. */
export function openLedger(sql: SqlStorage): void {
  sql.exec(tables);
  sql.exec(meterTables);
  sql.exec(shardTables);
  sql.exec(leaseTables);
  sql.exec("INSERT INTO schema_version (id, version) VALUES (1, ?) ON CONFLICT DO NOTHING", schemaVersion);
}

/** Keeps, in a ledger that was emptied, the one fact that must outlive a purged workspace: that it is closed. */
export function writeClosed(sql: SqlStorage): void {
  sql.exec("INSERT INTO closed (id) VALUES (1) ON CONFLICT DO NOTHING");
}

/** Everything that was on disk, as memory. A configuration that can't be read is left out: the Router then says `not_configured` and is sent a new one. */
export function loadState(sql: SqlStorage): RouterState {
  const state = createState();
  state.closed = sql.exec("SELECT id FROM closed").toArray().length > 0;
  for (const { key_id: id } of sql.exec<{ key_id: string }>("SELECT key_id FROM tombstones")) {
    state.tombstones.add(id);
  }
  loadConfig(sql, state);
  loadCooldowns(sql, state.cooldowns);
  loadSpread(sql, state.spread);
  loadLender(sql, state.leases.lender);
  for (const { body } of sql.exec<{ body: string }>("SELECT body FROM requests")) {
    const request = unpackRequest(body);
    if (request !== null) {
      enterRequest(state.tickets, request);
      state.tickets.stored.add(request.request_id);
    }
  }
  loadMeters(sql, state);
  return state;
}

/** Writes a version of the configuration and the tombstones it brings; rows that did not change are not touched. Run inside a transaction. */
export function writeConfig(sql: SqlStorage, address: ConfigAddress, rows: RouterRows): void {
  sql.exec(
    `INSERT INTO config (id, workspace_id, active, epoch, version, digest) VALUES (1, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET workspace_id = excluded.workspace_id, active = excluded.active, epoch = excluded.epoch,
       version = excluded.version, digest = excluded.digest`,
    rows.workspace_id,
    rows.active ? 1 : 0,
    address.epoch,
    address.version,
    address.digest,
  );
  writeRows(sql, "key", rows.keys);
  writeRows(sql, "pool", rows.pools);
  writeRows(sql, "credential", rows.credentials);
  writeRows(sql, "provider", rows.catalogue?.providers ?? []);
  writeRows(sql, "catalogue", rows.catalogue === undefined ? [] : [describeCatalogue(address, rows.catalogue)]);
  writeRows(sql, "limits", rows.limits === undefined ? [] : [{ id: "limits", ...rows.limits }]);
  writeRows(sql, "shards", rows.shards === undefined ? [] : [{ id: "shards", ...rows.shards }]);
  const revoked = JSON.stringify(rows.keys.filter((key) => key.revoked).map((key) => key.id));
  sql.exec("INSERT INTO tombstones (key_id) SELECT value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING", revoked);
}

/** Writes what the dirty sets name. Run inside a transaction; `markClean` follows when it has held. */
export function writeChanges(sql: SqlStorage, state: RouterState): void {
  for (const id of state.dirty_pools) {
    const pool = state.config?.pools_by_id.get(id);
    if (pool === undefined) {
      sql.exec("DELETE FROM lanes WHERE pool_id = ?", id);
    } else {
      const lanes = pool.instances.map((lane): StoredLane => [lane.row.id, lane.lag, lane.picks, lane.failures]);
      sql.exec("INSERT OR REPLACE INTO lanes (pool_id, lanes) VALUES (?, ?)", id, packLanes(lanes));
    }
  }
  writeCooldowns(sql, state.cooldowns);
  writeSpread(sql, state.spread);
  writeMeters(sql, state.meters);
  const { dirty, open, stored } = state.tickets;
  for (const id of dirty) {
    const request = open.get(id);
    if (request !== undefined) {
      stored.add(id);
      sql.exec("INSERT OR REPLACE INTO requests (request_id, body) VALUES (?, ?)", id, packRequest(request));
    } else if (stored.has(id)) {
      sql.exec("DELETE FROM requests WHERE request_id = ?", id);
    }
  }
}

/** Whether memory is ahead of the disk. */
export function isDirty(state: RouterState): boolean {
  const isSpreadBehind = state.spread.is_stored !== hasUntold(state.spread);
  return dirtySets(state).some((set) => set.size > 0) || isSpreadBehind || hasEntries(state.log);
}

/** Says that the disk has all of it. */
export function markClean(state: RouterState): void {
  const { dirty, open, stored } = state.tickets;
  for (const id of dirty) {
    if (!open.has(id)) {
      stored.delete(id);
    }
  }
  for (const set of dirtySets(state)) {
    set.clear();
  }
}

function dirtySets(state: RouterState): readonly Set<string>[] {
  const { cooldowns, meters, tickets } = state;
  return [
    state.dirty_pools,
    meters.dirty_requests,
    meters.dirty_tokens,
    meters.dirty_spend,
    meters.dirty_notices,
    cooldowns.dirty,
    cooldowns.dirty_outs,
    tickets.dirty,
  ];
}

function writeRows(sql: SqlStorage, kind: string, rows: readonly { readonly id: string }[]): void {
  for (const chunk of packChunks(rows)) {
    sql.exec(
      `INSERT INTO config_rows (kind, id, place, row)
       SELECT ?, value ->> '$.row.id', value ->> '$.place', value -> '$.row' FROM json_each(?) WHERE true
       ON CONFLICT (kind, id) DO UPDATE SET place = excluded.place, row = excluded.row
       WHERE place IS NOT excluded.place OR row IS NOT excluded.row`,
      kind,
      chunk,
    );
  }
  const ids = JSON.stringify(rows.map((row) => row.id));
  sql.exec("DELETE FROM config_rows WHERE kind = ? AND id NOT IN (SELECT value FROM json_each(?))", kind, ids);
}

/** The rows with their places, as JSON lists of bounded length. */
function* packChunks(rows: readonly unknown[]): Generator<string> {
  let chunk: string[] = [];
  let length = 0;
  for (const [place, row] of rows.entries()) {
    const text = JSON.stringify({ place, row });
    if (chunk.length > 0 && length + text.length > chunkChars) {
      yield `[${chunk.join(",")}]`;
      chunk = [];
      length = 0;
    }
    chunk.push(text);
    length += text.length + 1;
  }
  if (chunk.length > 0) {
    yield `[${chunk.join(",")}]`;
  }
}

const StoredConfig = ConfigAddress.extend({ workspace_id: z.string(), active: z.number() });

function loadConfig(sql: SqlStorage, state: RouterState): void {
  const [stored] = sql.exec("SELECT * FROM config").toArray();
  const config = StoredConfig.safeParse(stored);
  if (!config.success) {
    return;
  }
  const { active, workspace_id: workspaceId, ...address } = config.data;
  const rows = RouterRows.safeParse({
    workspace_id: workspaceId,
    active: active === 1,
    keys: readRows(sql, "key"),
    pools: readRows(sql, "pool"),
    credentials: readRows(sql, "credential"),
    ...readLimits(sql),
    ...readShards(sql),
    ...readCatalogue(sql, config.data),
  });
  if (!rows.success) {
    return;
  }
  const carried = new Map<string, CarriedLane>();
  for (const { lanes, pool_id: poolId } of sql.exec<{ pool_id: string; lanes: string }>("SELECT * FROM lanes")) {
    for (const [id, lag, picks, failures] of unpackLanes(lanes)) {
      carried.set(id, { pool_id: poolId, lag, picks, failures });
    }
  }
  state.config = indexConfig(ConfigAddress.parse(address), rows.data, carried);
}

const StoredCatalogue = RouterCatalogue.omit({ providers: true }).extend({
  id: z.string(),
  epoch: z.number(),
  version: z.number(),
});

/** Everything of the catalogue but its providers. The release before does not know these rows and leaves them when it writes a version: so they say whose they are. */
function describeCatalogue({ epoch, version }: ConfigAddress, { edition, defaults }: RouterCatalogue) {
  return { id: "catalogue", edition, defaults, epoch, version };
}

/** The catalogue as it was told with this very version; nothing else. */
function readCatalogue(sql: SqlStorage, address: Pick<ConfigAddress, "epoch" | "version">): { catalogue?: unknown } {
  const stored = StoredCatalogue.safeParse(readRows(sql, "catalogue")[0]).data;
  if (stored === undefined || stored.epoch !== address.epoch || stored.version !== address.version) {
    return {};
  }
  return {
    catalogue: { edition: stored.edition, defaults: stored.defaults, providers: readRows(sql, "provider") },
  };
}

/** The workspace's limits. Of an older version, too, for the release before leaves this row as it is: a limit stays until somebody takes it away. */
function readLimits(sql: SqlStorage): { limits?: RouterLimits } {
  const limits = RouterLimits.safeParse(readRows(sql, "limits")[0]).data;
  return limits === undefined ? {} : { limits };
}

/** Who shares the workspace. Of an older version, too: the first never changes, and the release before leaves this row as it is. */
function readShards(sql: SqlStorage): { shards?: RouterShards } {
  const shards = RouterShards.safeParse(readRows(sql, "shards")[0]).data;
  return shards === undefined ? {} : { shards };
}

type Kind = "key" | "pool" | "credential" | "provider" | "catalogue" | "limits" | "shards";

function readRows(sql: SqlStorage, kind: Kind): unknown[] {
  const found = sql.exec<{ row: string }>("SELECT row FROM config_rows WHERE kind = ? ORDER BY place", kind);
  return Array.from(found, ({ row }) => parseText(row));
}
