/** The Router's books: its request log and its sums on disk, and telling the record of the sums. The record never waits for a call, nor a call for the record. */
import type { Database } from "../base/database.js";
import { describeError, log as logLine } from "../base/log.js";
import { tellUsage, type UsageTeller } from "../usage/tell.js";
import { dropDue, setDue } from "./due.js";
import type { LogEntry, ToolUse } from "./request-log-entry.js";
import {
  ageLog,
  correctLost,
  keptMs,
  logTables,
  readRecent,
  writeLog,
  type LogAnswer,
  type LogQuery,
} from "./request-log-pages.js";
import { dropBatch, takeBatch, type RequestLog } from "./request-log.js";
import {
  addEntry,
  createSums,
  isUntold,
  markTold,
  pruneSums,
  readUntold,
  usageTables,
  writeDeltas,
} from "./usage-sums.js";

/** What a Router tells of its books. A Router of the release before knows none of it. */
export interface BooksApi {
  /** Ended requests by a query, newest first. */
  requests(query: LogQuery): Promise<LogAnswer>;
  /** One ended request by its id; null when it is not known here. */
  request(id: string): Promise<LogEntry | null>;
  /** Takes a tool's invocation into the log and the sums; a repeat changes nothing. */
  noteTool(use: ToolUse): Promise<void>;
  /** Tells the record of all usage up to this moment; answers whether it has all of it. */
  flushUsage(): Promise<boolean>;
}

/** Sums are told this long after the first that changed. */
const tellAfterMs = 60_000;
/** A telling that came to no end is tried again after this. */
const retryMs = 10_000;
const rowsPerBatch = 2_000;
const batchesPerRun = 10;

/** Makes the tables of a new object; does nothing on one that has them. */
export function openBooks(sql: SqlStorage): void {
  sql.exec(logTables);
  sql.exec(usageTables);
}

/** What a log that begins must know of what is on disk. */
export function resumeLog(sql: SqlStorage, log: RequestLog, now: number): void {
  const { ended, last_at: lastAt } = readRecent(sql, now);
  log.recent = ended;
  log.last_at = lastAt;
}

/** Writes out what waits, within the transaction that the caller has open. Answers what to call when it has held. */
export function writeBooks(sql: SqlStorage, log: RequestLog, now: number): () => void {
  const batch = takeBatch(log, now);
  if (batch.calls.length + batch.refusals.length > 0) {
    writeLog(sql, batch, now);
    setDue(sql, "age_log", now + keptMs);
  }
  const corrections = createSums();
  for (const late of batch.late) {
    const corrected = correctLost(sql, late);
    if (corrected !== null) {
      addEntry(corrections, corrected.was, -1);
      addEntry(corrections, corrected.is, 1);
    }
  }
  const deltas = [...batch.sums.values(), ...corrections.values()];
  if (deltas.length > 0) {
    writeDeltas(sql, deltas);
    setDue(sql, "tell_usage", now + tellAfterMs);
  }
  return () => dropBatch(log, batch);
}

/** Takes away entries that have become too old, and says when to come again. */
export function ageBooks(sql: SqlStorage, now: number): void {
  const next = ageLog(sql, now);
  if (next !== null) {
    setDue(sql, "age_log", Math.max(next, now + tellAfterMs));
  }
}

/** Puts the next try on the table before this one begins, so that no crash ends the telling. */
export function expectTelling(sql: SqlStorage, now: number): void {
  setDue(sql, "tell_usage", now + retryMs);
}

/** What a telling works on. */
export interface Telling {
  readonly sql: SqlStorage;
  readonly db: Database;
  readonly teller: UsageTeller;
  /** Whether the object was emptied meanwhile, and has no tables any more. */
  readonly isClosed: () => boolean;
}

/** Tells the record every sum that it does not have as it is. Answers whether it has all of them; never throws. `armAlarm` follows. */
export async function tellBooks({ db, isClosed, sql, teller }: Telling): Promise<boolean> {
  try {
    for (let batch = 0; batch < batchesPerRun; batch += 1) {
      const rows = readUntold(sql, rowsPerBatch);
      if (rows.length === 0) {
        break;
      }
      await tellUsage(db, teller, rows, Date.now());
      if (isClosed()) {
        return false;
      }
      markTold(sql, rows);
    }
    pruneSums(sql, Date.now());
    dropDue(sql, "tell_usage");
  } catch (error) {
    logLine("warn", "usage_not_told", { workspace_id: teller.workspaceId, error: describeError(error) });
  }
  const isBehind = !isClosed() && isUntold(sql);
  if (isBehind) {
    setDue(sql, "tell_usage", Date.now() + retryMs);
  }
  return !isBehind;
}
