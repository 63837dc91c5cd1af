/** What calls come to, hour by hour: sums in the Router's own tables, which the record is told of as absolute figures. Cost in micro-dollars, times in epoch milliseconds. */
import { usagePlaces, usageSums, type UsagePlace, type UsageRow, type UsageSum } from "../usage/model.js";
import type { LogEntry } from "./request-log-entry.js";
import type { RefusalTrace } from "./request-trace.js";

const hourMs = 3_600_000;
/** Rows that the record has are kept here for this long beside. */
const keptMs = 3 * 24 * hourMs;

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

/** What an entry adds: to the instance that served it, and to each other one an attempt that failed. */
export function deltasOf(entry: LogEntry): readonly UsageDelta[] {
  const own = blankDelta(placeOf(entry, entry.instance));
  const deltas = [own];
  own.requests = entry.result === "refused" ? 0 : 1;
  own.refusals = 1 - own.requests;
  own.errors = entry.result === "failed" || entry.result === "lost" ? 1 : 0;
  own.caller_faults = entry.result === "caller_fault" ? 1 : 0;
  own.departures = entry.result === "departed" ? 1 : 0;
  own.prompt_tokens = entry.usage?.prompt_tokens ?? 0;
  own.completion_tokens = entry.usage?.completion_tokens ?? 0;
  own.cached_tokens = entry.usage?.cached_tokens ?? 0;
  own.cost_micro_usd = entry.cost_micro_usd ?? 0;
  own.unpriced = entry.usage !== null && entry.cost_micro_usd === null ? 1 : 0;
  own.estimated = entry.estimated ? 1 : 0;
  own.duration_ms = entry.duration_ms ?? 0;
  for (const { failure, instance } of entry.attempts) {
    if (failure === null || failure.ours || failure.class === "caller_fault") {
      continue;
    }
    if (instance.id === entry.instance?.id) {
      own.failed_attempts += 1;
    } else {
      deltas.push({ ...blankDelta(placeOf(entry, instance)), failed_attempts: 1 });
    }
  }
  return deltas;
}

/** What a refusal adds that gets no entry. */
export function refusalDelta({ at, endpoint, key_id, pool_id }: RefusalTrace): UsageDelta {
  const place = { ended_at: at, key_id, member_id: null, pool_id, endpoint, kind: "model", model: null } as const;
  return { ...blankDelta(placeOf(place, null)), refusals: 1 };
}

/** Adds to the sums of the same place. */
export function addDelta(deltas: Map<string, UsageDelta>, delta: UsageDelta): void {
  const place = JSON.stringify(usagePlaces.map((name) => delta[name]));
  const known = deltas.get(place);
  if (known === undefined) {
    deltas.set(place, { ...delta });
    return;
  }
  for (const name of usageSums) {
    known[name] += delta[name];
  }
}

/** Adds deltas to the sums on disk. Run inside the transaction that writes their entries. */
export function writeDeltas(sql: SqlStorage, deltas: readonly UsageDelta[]): void {
  if (deltas.length === 0) {
    return;
  }
  const columns = [...usagePlaces, ...usageSums];
  const list = JSON.stringify(deltas.map((delta) => columns.map((name) => delta[name])));
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

function placeOf(
  entry: Pick<LogEntry, "ended_at" | "key_id" | "member_id" | "pool_id" | "endpoint" | "kind" | "model">,
  instance: LogEntry["instance"],
): UsagePlace {
  const isTool = entry.kind === "tool";
  return {
    hour: entry.ended_at - (entry.ended_at % hourMs),
    key_id: entry.key_id ?? "",
    member_id: entry.member_id ?? "",
    pool_id: entry.pool_id ?? "",
    instance_id: instance?.id ?? "",
    provider_name: isTool ? (entry.model?.split("/")[0] ?? "") : (instance?.provider_name ?? ""),
    model: isTool ? (entry.model ?? "") : (instance?.model ?? ""),
    endpoint: entry.endpoint ?? "",
  };
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
