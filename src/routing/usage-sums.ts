/** What calls come to, hour by hour: sums in the Router's own tables, which the record is told of as absolute figures. Cost in micro-dollars, times in epoch milliseconds. */
import { usagePlaces, usageSums, type UsagePlace, type UsageRow, type UsageSum } from "../usage/model.js";
import type { LogEntry } from "./request-log-entry.js";
import type { RefusalTrace } from "./request-trace.js";

const hourMs = 3_600_000;
/** Rows that the record has are kept here for this long beside. */
const keptMs = 3 * 24 * hourMs;
/** Rows in one statement: as JSON some 500 KB. */
const rowsPerStatement = 1_000;

/** What is to be added to one place's sums. */
export interface UsageDelta extends UsagePlace, Record<UsageSum, number> {}

const placeColumns = usagePlaces.join(", ");
const sumColumns = usageSums.join(", ");

/** `told` is the revision that the record has. */
export const usageTables = `
  CREATE TABLE IF NOT EXISTS usage_hours (hour INTEGER NOT NULL,
    ${usagePlaces
      .slice(1)
      .map((name) => `${name} TEXT NOT NULL`)
      .join(", ")},
    ${usageSums.map((name) => `${name} INTEGER NOT NULL`).join(", ")},
    revision INTEGER NOT NULL DEFAULT 1, told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (${placeColumns})) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS usage_untold ON usage_hours (hour) WHERE told < revision;
`;

/** Sums that gather, by their places. */
export type Sums = Map<string, UsageDelta>;

/** No sums. */
export function createSums(): Sums {
  return new Map();
}

/** Adds what an entry comes to, to the instance that served it and to each other one an attempt that failed. `sign` −1 takes it away again. */
export function addEntry(sums: Sums, entry: LogEntry, sign: 1 | -1): void {
  const { cost_micro_usd: cost, instance, result, usage } = entry;
  const own = sumsAt(sums, entry, instance);
  if (result === "refused") {
    own.refusals += sign;
    return;
  }
  own.requests += sign;
  own.errors += result === "failed" || result === "lost" ? sign : 0;
  own.caller_faults += result === "caller_fault" ? sign : 0;
  own.departures += result === "departed" ? sign : 0;
  own.cost_micro_usd += sign * (cost ?? 0);
  own.estimated += entry.estimated ? sign : 0;
  own.duration_ms += sign * (entry.duration_ms ?? 0);
  if (usage !== null) {
    own.prompt_tokens += sign * usage.prompt_tokens;
    own.completion_tokens += sign * usage.completion_tokens;
    own.cached_tokens += sign * usage.cached_tokens;
    own.unpriced += cost === null ? sign : 0;
  }
  for (const attempt of entry.attempts) {
    const { failure } = attempt;
    if (failure !== null && !failure.ours && failure.class !== "caller_fault") {
      const place = attempt.instance.id === instance?.id ? own : sumsAt(sums, entry, attempt.instance);
      place.failed_attempts += sign;
    }
  }
}

/** Adds a refusal that gets no entry. */
export function addRefusal(sums: Sums, { at, endpoint, key_id, pool_id }: RefusalTrace): void {
  const place = {
    ended_at: at,
    key_id,
    member_id: null,
    pool_id,
    endpoint: endpoint ?? "chat/completions",
    model: null,
  };
  sumsAt(sums, { ...place, kind: "model", result: "refused" }, null).refusals += 1;
}

/** Adds deltas to the sums on disk. Run inside the transaction that writes their entries. */
export function writeDeltas(sql: SqlStorage, deltas: readonly UsageDelta[]): void {
  const columns = [...usagePlaces, ...usageSums];
  for (let first = 0; first < deltas.length; first += rowsPerStatement) {
    const some = deltas.slice(first, first + rowsPerStatement);
    writeSome(sql, columns, JSON.stringify(some.map((delta) => columns.map((name) => delta[name]))));
  }
}

function writeSome(sql: SqlStorage, columns: readonly string[], list: string): void {
  sql.exec(
    `INSERT INTO usage_hours (${placeColumns}, ${sumColumns})
     SELECT ${columns.map((_, index) => `value ->> ${index}`).join(", ")} FROM json_each(?) WHERE true
     ON CONFLICT (${placeColumns}) DO UPDATE SET
       ${usageSums.map((name) => `${name} = ${name} + excluded.${name}`).join(", ")}, revision = revision + 1`,
    list,
  );
}

/** At most `limit` rows that the record does not have as they are, the oldest hours first. */
export function readUntold(sql: SqlStorage, limit: number): readonly UsageRow[] {
  const query = `SELECT ${placeColumns}, ${sumColumns}, revision FROM usage_hours WHERE told < revision ORDER BY hour LIMIT ?`;
  return sql.exec<{ [Name in keyof UsageRow]: UsageRow[Name] }>(query, limit).toArray();
}

/** Whether the record is behind. */
export function isUntold(sql: SqlStorage): boolean {
  return sql.exec("SELECT 1 FROM usage_hours WHERE told < revision LIMIT 1").toArray().length > 0;
}

/** Takes that the record has rows in the revision they were read in; what was added meanwhile is still to be told. */
export function markTold(sql: SqlStorage, rows: readonly UsageRow[]): void {
  const isRow = usagePlaces.map((name) => `${name} = ?`).join(" AND ");
  const statement = `UPDATE usage_hours SET told = max(told, ?) WHERE ${isRow}`;
  for (const row of rows) {
    sql.exec(statement, row.revision, ...usagePlaces.map((name) => row[name]));
  }
}

/** Forgets the oldest hour that the record has had for days. One hour at a time: more is left for the next time. */
export function pruneSums(sql: SqlStorage, now: number): void {
  sql.exec(
    `DELETE FROM usage_hours WHERE hour = (SELECT min(hour) FROM usage_hours) AND hour < ? AND told >= revision`,
    now - keptMs,
  );
}

type Placed = Pick<
  LogEntry,
  "ended_at" | "key_id" | "member_id" | "pool_id" | "endpoint" | "kind" | "model" | "result"
>;

function sumsAt(sums: Sums, entry: Placed, instance: LogEntry["instance"]): UsageDelta {
  const { endpoint, key_id: keyId, member_id: memberId, pool_id: poolId } = entry;
  const hour = entry.ended_at - (entry.ended_at % hourMs);
  // A refused tool may be any word that somebody sends, and each would be a row.
  const tool = entry.kind === "tool" && entry.result !== "refused" ? (entry.model ?? "") : null;
  const model = tool ?? instance?.model ?? "";
  // A line's end stands in none of them but, at worst, in the last one.
  const name = `${hour}\n${keyId}\n${instance?.id}\n${poolId}\n${memberId}\n${endpoint}\n${instance?.provider_name}\n${model}`;
  const known = sums.get(name);
  if (known !== undefined) {
    return known;
  }
  const blank = blankDelta({
    hour,
    key_id: keyId ?? "",
    member_id: memberId ?? "",
    pool_id: poolId ?? "",
    instance_id: instance?.id ?? "",
    provider_name: tool === null ? (instance?.provider_name ?? "") : (tool.split("/")[0] ?? ""),
    model,
    endpoint: endpoint ?? "",
  });
  sums.set(name, blank);
  return blank;
}

function blankDelta(place: UsagePlace): UsageDelta {
  return {
    ...place,
    requests: 0,
    errors: 0,
    caller_faults: 0,
    departures: 0,
    refusals: 0,
    failed_attempts: 0,
    prompt_tokens: 0,
    completion_tokens: 0,
    cached_tokens: 0,
    cost_micro_usd: 0,
    unpriced: 0,
    estimated: 0,
    duration_ms: 0,
  };
}
