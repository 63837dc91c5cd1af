/**
 * The request log on disk: entries in pages, one row for all that ended within a second, because the platform counts rows. Calls and refusals
 * have a table each, so that a caller in a loop of refusals pushes nothing out. Times are epoch milliseconds.
 */
import { LogEntry, type LogResult } from "./request-log-entry.js";
import { parseText } from "./ledger-rows.js";
import type { LateEnd, LogBatch, LogPage } from "./request-log.js";

/** Where a list goes on: an entry by its end and id. Later ends come first. */
export interface LogPosition {
  readonly time: number;
  readonly id: string;
}

/** What entries are asked for. Times are of their ends; `to` is not included. */
export interface LogQuery {
  readonly limit: number;
  /** Only entries after this one in the list; null from the newest on. */
  readonly after: LogPosition | null;
  readonly from: number;
  readonly to: number;
  readonly key_id?: string | undefined;
  readonly pool_id?: string | undefined;
  readonly instance_id?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly model?: string | undefined;
  readonly result?: LogResult | undefined;
  readonly status?: number | undefined;
}

/** Entries, newest first. All of them down to `known_to` are here; null: there are no others. */
export interface LogAnswer {
  readonly entries: readonly LogEntry[];
  readonly known_to: LogPosition | null;
}

/** `upto` counts the entries ever written, this page's included. */
export const logTables = `
  CREATE TABLE IF NOT EXISTS log_calls (upto INTEGER PRIMARY KEY, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS log_refusals (upto INTEGER PRIMARY KEY, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, body TEXT NOT NULL);
`;

type Table = "log_calls" | "log_refusals";

/** Entries that are kept. A page leaves as a whole, so there may be one page more. */
const kept: Readonly<Record<Table, number>> = { log_calls: 10_000, log_refusals: 2_000 };
/** Older entries are shown to nobody, and leave the disk. */
export const keptMs = 7 * 24 * 3_600_000;
/** Pages that one flush takes away at most: more than it ever writes. */
const prunedPages = 24;
/** Entries that one question looks through at most; a list goes on from there. */
const maxLookedAt = 2_000;
/** Pages whose entries are remembered after a restart. */
const recentPages = 10;
/** A call is not settled again later than this. */
const recentMs = 180_000;

interface Page extends Record<string, SqlStorageValue> {
  upto: number;
  first_at: number;
  last_at: number;
  body: string;
}

/** Writes entries and takes away what is too old or too much. Run inside a transaction. */
export function writeLog(sql: SqlStorage, batch: Pick<LogBatch, "calls" | "refusals">, now: number): void {
  writePages(sql, "log_calls", batch.calls, now);
  writePages(sql, "log_refusals", batch.refusals, now);
}

/** What a lost call was, and what it is after all. */
export interface Correction {
  readonly was: LogEntry;
  readonly is: LogEntry;
}

/**
 * Puts a call that was lost in its place as it ended after all, and answers how it stood there; as memory knows it where the log does not have
 * it any more; null where it was settled before. Run inside a transaction.
 */
export function correctLost(sql: SqlStorage, { after, before, since }: LateEnd): Correction | null {
  const { id } = after;
  const page = sql
    .exec<Page>(
      "SELECT * FROM log_calls WHERE last_at >= ? AND instr(body, ?) > 0 ORDER BY upto LIMIT 1",
      since,
      `"id":${JSON.stringify(id)}`,
    )
    .toArray()[0];
  const list = page === undefined ? [] : listPage(page);
  const place = list.findIndex((one) => one["id"] === id);
  const was = LogEntry.safeParse(list[place]).data;
  if (page === undefined || was === undefined) {
    return { was: before, is: after };
  }
  if (was.result !== "lost") {
    return null;
  }
  const is = complete(after, was);
  list[place] = is;
  sql.exec("UPDATE log_calls SET body = ? WHERE upto = ?", JSON.stringify(list), page.upto);
  return { was, is };
}

/** An end in the place of the one that stood there, with the trace that memory may have forgotten. */
function complete(after: LogEntry, was: LogEntry): LogEntry {
  const { attempts, at, ended_at: endedAt, endpoint, model, picks } = was;
  const first = after.attempts[0]?.attempt ?? 1;
  const earlier = attempts.filter(({ attempt }) => attempt < first);
  return after.picks.length > 0
    ? { ...after, ended_at: endedAt }
    : { ...after, at, ended_at: endedAt, endpoint, model, picks, attempts: [...earlier, ...after.attempts] };
}

/** Takes away what has become too old, for an object that nobody calls; answers when the next entry will, null when there is none. */
export function ageLog(sql: SqlStorage, now: number): number | null {
  const oldest = (["log_calls", "log_refusals"] as const).flatMap((table) => {
    prune(sql, table, now);
    return sql.exec<{ last_at: number }>(`SELECT last_at FROM ${table} ORDER BY upto LIMIT 1`).toArray();
  });
  return oldest.length === 0 ? null : Math.min(...oldest.map(({ last_at: at }) => at)) + keptMs;
}

/** Requests that ended in the last minutes, with whether they were lost, and the newest end, as the disk tells. */
export function readRecent(
  sql: SqlStorage,
  now: number,
): { readonly ended: ReadonlyMap<string, boolean>; readonly last_at: number } {
  const pages = sql.exec<Page>("SELECT * FROM log_calls ORDER BY upto DESC LIMIT ?", recentPages).toArray();
  const ended = pages
    .filter((page) => page.last_at > now - recentMs)
    .flatMap((page) => listPage(page).map(({ id, result }) => [String(id), result === "lost"] as const));
  const refused = sql
    .exec<{ last_at: number }>("SELECT last_at FROM log_refusals ORDER BY upto DESC LIMIT 1")
    .toArray();
  return { ended: new Map(ended), last_at: Math.max(0, ...[...pages, ...refused].map((page) => page.last_at)) };
}

/** Entries by a query. Looks through 2,000 of each kind at most, and says how far it came. */
export function queryLog(sql: SqlStorage, query: LogQuery, now: number): LogAnswer {
  const tables: readonly Table[] =
    query.result === undefined
      ? ["log_calls", "log_refusals"]
      : [query.result === "refused" ? "log_refusals" : "log_calls"];
  const from = Math.max(query.from, now - keptMs);
  return mergeAnswers(
    tables.map((table) => queryTable(sql, table, { ...query, from })),
    query.limit,
  );
}

/** One entry by its request's id; null when the log does not have it, or not any more. */
export function findEntry(sql: SqlStorage, id: string, now: number): LogEntry | null {
  for (const table of ["log_calls", "log_refusals"] as const) {
    const found = sql.exec<Page>(
      `SELECT * FROM ${table} WHERE last_at >= ? AND instr(body, ?) > 0 ORDER BY upto DESC LIMIT 1`,
      now - keptMs,
      `"id":${JSON.stringify(id)}`,
    );
    const [entry] = readEntries(
      found
        .toArray()
        .flatMap(listPage)
        .filter((one) => one["id"] === id),
    );
    if (entry !== undefined) {
      return entry;
    }
  }
  return null;
}

/** One list of several: cut where the first of them stops knowing, and to `limit` entries. */
export function mergeAnswers(answers: readonly LogAnswer[], limit: number): LogAnswer {
  const horizon = answers
    .flatMap(({ known_to: knownTo }) => knownTo ?? [])
    .reduce<LogPosition | null>((first, one) => (first === null || isBefore(one, first) ? one : first), null);
  const entries = answers
    .flatMap((answer) => answer.entries)
    .filter((entry) => horizon === null || !isBefore(horizon, positionOf(entry)))
    .toSorted((a, b) => (isBefore(positionOf(a), positionOf(b)) ? -1 : 1));
  const last = entries[limit - 1];
  return entries.length > limit && last !== undefined
    ? { entries: entries.slice(0, limit), known_to: positionOf(last) }
    : { entries, known_to: horizon };
}

/** An entry's place in a list. */
function positionOf({ ended_at: time, id }: LogEntry): LogPosition {
  return { time, id };
}

/** Whether one stands before another in a list, newest first. */
function isBefore(one: LogPosition, other: LogPosition): boolean {
  return one.time === other.time ? one.id > other.id : one.time > other.time;
}

function writePages(sql: SqlStorage, table: Table, pages: readonly LogPage[], now: number): void {
  if (pages.length === 0) {
    return;
  }
  let { upto } = sql.exec<{ upto: number }>(`SELECT coalesce(max(upto), 0) AS upto FROM ${table}`).one();
  for (const { count, first_at: firstAt, last_at: lastAt, text } of pages) {
    upto += count;
    const insert = `INSERT INTO ${table} (upto, first_at, last_at, body) VALUES (?, ?, ?, ?)`;
    sql.exec(insert, upto, firstAt, lastAt, `[${text}]`);
  }
  prune(sql, table, now);
}

function prune(sql: SqlStorage, table: Table, now: number): void {
  sql.exec(
    `DELETE FROM ${table} WHERE upto IN (SELECT upto FROM ${table} ORDER BY upto LIMIT ?)
       AND (upto <= (SELECT max(upto) FROM ${table}) - ? OR last_at < ?)`,
    prunedPages,
    kept[table],
    now - keptMs,
  );
}

function queryTable(sql: SqlStorage, table: Table, query: LogQuery): LogAnswer {
  const { after, from, limit, to } = query;
  const entries: LogEntry[] = [];
  let lookedAt = 0;
  let last: LogPosition | null = null;
  // A place without an id stands behind all that ended in its millisecond: those pages are not gone through again.
  const until = Math.min(to - 1, after === null ? Infinity : after.id === "" ? after.time - 1 : after.time);
  // Backwards through pages: their ends never step back, so a page that ends before `from` is followed by none that does not.
  for (const page of sql.exec<Page>(`SELECT * FROM ${table} WHERE first_at <= ? ORDER BY upto DESC`, until)) {
    if (page.last_at < from) {
      break;
    }
    const isOver = last !== null && page.last_at < last.time;
    if (isOver && (entries.length > limit || lookedAt >= maxLookedAt)) {
      return { entries, known_to: last };
    }
    const found = listPage(page);
    lookedAt += found.length;
    entries.push(...readEntries(found.filter((entry) => isAsked(entry, query))));
    last = { time: page.first_at, id: "" };
  }
  return { entries, known_to: null };
}

/** Before it is read, which costs more: most entries that a rare filter looks through are not asked for. */
function isAsked(entry: Stored, query: LogQuery): boolean {
  const { after } = query;
  const { attempts, ended_at: time, id } = entry;
  if (typeof time !== "number" || typeof id !== "string" || time < query.from || time >= query.to) {
    return false;
  }
  return (
    (after === null || isBefore(after, { time, id })) &&
    isSame(query.key_id, entry["key_id"]) &&
    isSame(query.pool_id, entry["pool_id"]) &&
    isSame(query.endpoint, entry["endpoint"]) &&
    isSame(query.model, entry["model"]) &&
    isSame(query.result, entry["result"]) &&
    isSame(query.status, entry["status"]) &&
    (query.instance_id === undefined || JSON.stringify(attempts).includes(`"id":${JSON.stringify(query.instance_id)}`))
  );
}

function isSame(asked: unknown, found: unknown): boolean {
  return asked === undefined || asked === found;
}

type Stored = Readonly<Record<string, unknown>>;

/** What a page holds; nothing where it cannot be read. */
function listPage({ body }: Pick<Page, "body">): Stored[] {
  const list: unknown = parseText(body);
  return Array.isArray(list) ? list.filter(isStored) : [];
}

function isStored(one: unknown): one is Stored {
  return typeof one === "object" && one !== null;
}

/** Entries as they were written; one that cannot be read is passed over. */
function readEntries(list: readonly Stored[]): LogEntry[] {
  return list.flatMap((one) => LogEntry.safeParse(one).data ?? []);
}
