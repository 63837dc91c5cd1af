/** What the server's own database says, read beside it: so that "nothing of theirs changed" is true of the rows and not only of what answers show. */
import { readdirSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

/** When somebody was here is noted off the request's path, whenever it gets its turn. */
const moving = /"(last_used_at|last_active_at|seen_at|purge_state_at)":(\d+|null)/g;

/** Filled by crons and alarms in their own time. */
const inTheirTime = /^(usage_hours|audit_trees|audit_tiles|outbox|webhook_deliveries|_cf|d1_|sqlite_)/;

/** Every row that names one of these ids in any column, as text. `state` is the server's folder. */
export function dumpRows(state: string, ids: readonly string[]): string {
  const folder = path.join(state, "v3/d1/miniflare-D1DatabaseObject");
  const file = readdirSync(folder).find((name) => /^[0-9a-f]{64}\.sqlite$/.test(name)) ?? "";
  const database = new DatabaseSync(path.join(folder, file), { readOnly: true });
  try {
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all();
    const names = tables.map(({ name }) => String(name)).filter((name) => !inTheirTime.test(name));
    return names
      .map((name) => dumpTable(database, name, ids))
      .join("\n")
      .replaceAll(moving, '"$1":0');
  } finally {
    database.close();
  }
}

function dumpTable(database: DatabaseSync, name: string, ids: readonly string[]): string {
  const columns = database.prepare(`SELECT name FROM pragma_table_info('${name}')`).all();
  const anyOf = columns
    .map((column) => `"${String(column["name"])}" IN (SELECT value FROM json_each(?1))`)
    .join(" OR ");
  const found = database.prepare(`SELECT * FROM "${name}" WHERE ${anyOf}`).all(JSON.stringify(ids));
  return `${name} ${found
    .map((row) => JSON.stringify(row))
    .toSorted()
    .join(" ")}`;
}
