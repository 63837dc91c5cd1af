/** Everything that D1 holds, as text, for tests that say "and nothing changed". */
import { env } from "cloudflare:workers";

/** When somebody was here or used something, and which keyring entries are here, is noted off the request's path, whenever it gets its turn. */
const moving = /"(last_used_at|last_active_at|seen_at)":(\d+|null)/g;

/** Rows that refused attempts leave, reads of the log, and what shards tell of usage when they get to it: their own tests look at them. */
const denials = " WHERE action NOT IN ('request.denied', 'audit_log.read', 'audit_log.proof_read')";
const leftOut: ReadonlySet<string> = new Set([
  "audit_targets",
  "audit_throttle",
  "audit_trees",
  "sqlite_sequence",
  "usage_hours",
]);

/** A dump of every table, but for what moves by itself. */
export async function dumpRecord(): Promise<string> {
  const tables = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name",
  ).all<{ name: string }>();
  const names = tables.results.map(({ name }) => name).filter((name) => !leftOut.has(name));
  const rows = await env.DB.batch(
    names.map((name) => env.DB.prepare(`SELECT * FROM "${name}"${name === "audit_log" ? denials : ""}`)),
  );
  const texts = rows.map(({ results }, index) => `${names[index]} ${JSON.stringify(results)}`);
  return texts.join("\n").replaceAll(moving, '"$1":0');
}

/** An answer's text without its request id: what two answers about nothing must have in common, byte by byte. */
export function withoutRequestId(text: string): string {
  return text.replaceAll(/req_[0-9a-z]{26}/g, "req");
}
