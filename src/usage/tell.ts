/** Writing down what a Router tells of usage: absolute sums, so that a repeat, or a telling whose answer was lost, changes nothing. */
import { getTableColumns, sql, type SQL } from "drizzle-orm";
import { commit, type Database, type Statement } from "../base/database.js";
import { workspaces } from "../tenancy/model.js";
import { usageHours, usagePlaces, usageSums, type UsageRow } from "./model.js";

/** Who tells. */
export interface UsageTeller {
  readonly workspaceId: string;
  /** One name for each Router of the workspace. */
  readonly shard: string;
}

/** Rows in one statement: as JSON some 200 KB. */
const rowsPerStatement = 400;

const names = [...usagePlaces, ...usageSums, "revision"] as const;

/**
 * Writes rows down, in one transaction. A row that is known by a later revision stays; nothing is written for a workspace that is
 * being purged or is not there. Throws `internal` when the record cannot be reached; repeat it then.
 */
export async function tellUsage(
  db: Database,
  teller: UsageTeller,
  rows: readonly UsageRow[],
  now: number,
): Promise<void> {
  const statements: Statement[] = [];
  for (let first = 0; first < rows.length; first += rowsPerStatement) {
    statements.push(upsert(db, teller, rows.slice(first, first + rowsPerStatement), now));
  }
  await commit(db, statements);
}

function upsert(db: Database, { shard, workspaceId }: UsageTeller, rows: readonly UsageRow[], now: number): Statement {
  const list = JSON.stringify(rows.map((row) => names.map((name) => row[name])));
  const values = names.map((_, index) => sql`e.value ->> ${sql.raw(String(index))}`);
  const [hour, ...rest] = values;
  const isLiving = sql`EXISTS (SELECT 1 FROM ${workspaces}
    WHERE ${workspaces.id} = ${workspaceId} AND ${workspaces.purgeState} IS NULL)`;
  // In the order of the table's columns.
  const row = sql.join([sql`${workspaceId}`, hour, sql`${shard}`, ...rest, sql`${now}`].filter(isSql), sql`, `);
  return db
    .insert(usageHours)
    .select(sql`SELECT ${row} FROM json_each(${list}) AS e WHERE ${isLiving}`)
    .onConflictDoUpdate({
      target: [
        usageHours.workspaceId,
        usageHours.hour,
        usageHours.shard,
        usageHours.keyId,
        usageHours.memberId,
        usageHours.poolId,
        usageHours.instanceId,
        usageHours.providerName,
        usageHours.model,
        usageHours.endpoint,
      ],
      set: told,
      setWhere: sql`excluded.revision > ${usageHours.revision}`,
    });
}

function isSql(part: SQL | undefined): part is SQL {
  return part !== undefined;
}

/** Every column that moves takes the told row's value. */
const moving = new Set<string>([...usageSums, "revision", "told_at"]);
const told = Object.fromEntries(
  Object.entries(getTableColumns(usageHours))
    .filter(([, { name }]) => moving.has(name))
    .map(([property, { name }]) => [property, sql`excluded.${sql.identifier(name)}`]),
);
