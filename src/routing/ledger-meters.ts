/** The meters' rows on disk: what keys and the workspace have used of their limits, and the notices that the record does not have yet. Run inside the ledger's transactions. */
import { z } from "zod";
import { packWindow, parseText, unpackWindow } from "./ledger-rows.js";
import { restoreHold, meterOf } from "./holds.js";
import { trimWindow, type RateWindow } from "./limits.js";
import { spans, type SpanSpend } from "./spend.js";
import type { BudgetNotice, Meters, RouterState } from "./state.js";

/** Tables beside the ledger's own. Windows of requests stand in `windows`, which is older. */
export const meterTables = `
  CREATE TABLE IF NOT EXISTS windows (key_id TEXT PRIMARY KEY, start_ms INTEGER NOT NULL, slots BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS token_windows (key_id TEXT PRIMARY KEY, start_ms INTEGER NOT NULL, slots BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS spends (scope TEXT NOT NULL, span TEXT NOT NULL, start INTEGER NOT NULL, spent INTEGER NOT NULL,
    told INTEGER NOT NULL, PRIMARY KEY (scope, span)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS budget_notices (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
`;

/** As it is on disk, where it may be damaged. */
interface StoredWindow extends Record<string, SqlStorageValue> {
  key_id: string;
}

interface StoredSpend extends Record<string, SqlStorageValue> {
  scope: string;
  span: string;
  start: number;
  spent: number;
  told: number;
}

const StoredNotice = z.object({
  scope: z.string(),
  span: z.enum(spans),
  start: z.number(),
  threshold: z.number(),
  spent: z.number(),
  budget: z.number(),
});

/** Reads the meters back. The open requests are there already: what they hold is counted anew. */
export function loadMeters(sql: SqlStorage, state: RouterState): void {
  for (const [table, name] of [
    ["windows", "requests"],
    ["token_windows", "tokens"],
  ] as const) {
    for (const { key_id: id, slots, start_ms: start } of sql.exec<StoredWindow>(`SELECT * FROM ${table}`)) {
      const window = unpackWindow(start, slots);
      if (window !== null) {
        Object.assign(meterOf(state, id)[name], window);
      }
    }
  }
  for (const { scope, span, spent, start, told } of sql.exec<StoredSpend>("SELECT * FROM spends")) {
    const known = spans.find((one) => one === span);
    if (known !== undefined) {
      Object.assign(meterOf(state, scope).spend[known], { start, spent, told } satisfies SpanSpend);
    }
  }
  for (const { name, body } of sql.exec<{ name: string; body: string }>("SELECT * FROM budget_notices")) {
    const notice: BudgetNotice | undefined = StoredNotice.safeParse(parseText(body)).data;
    if (notice !== undefined) {
      state.meters.notices.set(name, notice);
    }
  }
  for (const request of state.tickets.open.values()) {
    restoreHold(state, request);
  }
}

/** Windows of scopes that have gone quiet are looked for this often. */
const sweepMs = 60_000;

/** Drops what has left the windows of scopes that have gone quiet, on disk too; once a minute, however often it is asked. */
export function sweepMeters(meters: Meters, now: number): void {
  if (now - meters.swept_at < sweepMs) {
    return;
  }
  meters.swept_at = now;
  for (const [id, { requests, tokens }] of meters.scopes) {
    for (const [window, dirty] of [
      [requests, meters.dirty_requests],
      [tokens, meters.dirty_tokens],
    ] as const) {
      if (window.times.length > 0) {
        trimWindow(window, now);
        if (window.total === 0) {
          dirty.add(id);
        }
      }
    }
  }
}

/** Writes the meters that changed. */
export function writeMeters(sql: SqlStorage, meters: Meters): void {
  for (const id of meters.dirty_requests) {
    writeWindow(sql, "windows", id, meters.scopes.get(id)?.requests);
  }
  for (const id of meters.dirty_tokens) {
    writeWindow(sql, "token_windows", id, meters.scopes.get(id)?.tokens);
  }
  for (const scope of meters.dirty_spend) {
    writeSpend(sql, meters, scope);
  }
  for (const name of meters.dirty_notices) {
    const notice = meters.notices.get(name);
    if (notice === undefined) {
      sql.exec("DELETE FROM budget_notices WHERE name = ?", name);
    } else {
      sql.exec("INSERT OR REPLACE INTO budget_notices (name, body) VALUES (?, ?)", name, JSON.stringify(notice));
    }
  }
}

function writeSpend(sql: SqlStorage, meters: Meters, scope: string): void {
  const spend = meters.scopes.get(scope)?.spend;
  if (spend === undefined) {
    sql.exec("DELETE FROM spends WHERE scope = ?", scope);
    return;
  }
  for (const span of spans) {
    const { spent, start, told } = spend[span];
    sql.exec(
      "INSERT OR REPLACE INTO spends (scope, span, start, spent, told) VALUES (?, ?, ?, ?, ?)",
      scope,
      span,
      start,
      spent,
      told,
    );
  }
}

function writeWindow(
  sql: SqlStorage,
  table: "windows" | "token_windows",
  id: string,
  window: RateWindow | undefined,
): void {
  if (window === undefined || window.total === 0) {
    sql.exec(`DELETE FROM ${table} WHERE key_id = ?`, id);
  } else {
    const { slots, start } = packWindow(window);
    sql.exec(`INSERT OR REPLACE INTO ${table} (key_id, start_ms, slots) VALUES (?, ?, ?)`, id, start, slots);
  }
}
