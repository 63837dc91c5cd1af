/** Everything that D1 holds, as text, for tests that say "and nothing changed". */
import { env } from "cloudflare:workers";

/** When somebody was here or used something, and which keyring entries are here, is noted off the request's path, whenever it gets its turn. */
const moving = /"(last_used_at|last_active_at|seen_at)":(\d+|null)/g;

/** A dump of every table, but for what moves by itself. */
export async function dumpRecord(): Promise<string> {
  const tables = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name",
  ).all<{ name: string }>();
  const names = tables.results.map(({ name }) => name);
  const rows = await env.DB.batch(names.map((name) => env.DB.prepare(`SELECT * FROM "${name}"`)));
  const texts = rows.map(({ results }, index) => `${names[index]} ${JSON.stringify(results)}`);
  return texts.join("\n").replaceAll(moving, '"$1":0');
}

/** An answer's text without its request id: what two answers about nothing must have in common, byte by byte. */
export function withoutRequestId(text: string): string {
  return text.replaceAll(/req_[0-9a-z]{26}/g, "req");
}
