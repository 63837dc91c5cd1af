/** What a shard keeps of its siblings over its own death: what it has not told them yet. */
import { hasUntold, type Spread } from "./spread.js";

/** The table of this file. */
export const shardTables = `
  CREATE TABLE IF NOT EXISTS untold (region TEXT NOT NULL, item TEXT NOT NULL, PRIMARY KEY (region, item)) WITHOUT ROWID;
`;

/** Writes what is untold at this moment; nothing while nothing is, as nearly always. Run inside a transaction. */
export function writeSpread(sql: SqlStorage, spread: Spread): void {
  const isUntold = hasUntold(spread);
  if (!isUntold && !spread.is_stored) {
    return;
  }
  sql.exec("DELETE FROM untold");
  for (const [region, { telling, untold }] of isUntold ? spread.siblings : []) {
    sql.exec(
      "INSERT INTO untold (region, item) SELECT ?, value FROM json_each(?)",
      region,
      JSON.stringify([...new Set([...telling, ...untold])]),
    );
  }
  spread.is_stored = isUntold;
}

/** Reads back what is untold. */
export function loadSpread(sql: SqlStorage, spread: Spread): void {
  for (const { item, region } of sql.exec<{ region: string; item: string }>("SELECT * FROM untold")) {
    const sibling = spread.siblings.get(region) ?? { untold: new Set(), telling: new Set() };
    sibling.untold.add(item);
    spread.siblings.set(region, sibling);
    spread.is_stored = true;
  }
}
