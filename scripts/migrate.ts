/** Brings the local D1 up to date, and spends no time on it when it is. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runCommand } from "./process-group.ts";
import { wranglerEnvironment } from "./wrangler.ts";

const limitMs = 120_000;

function digestMigrations(folder: string): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(folder)
    .filter((file) => file.endsWith(".sql"))
    .toSorted()) {
    hash
      .update(name)
      .update("\0")
      .update(readFileSync(path.join(folder, name)));
  }
  return hash.digest("hex");
}

/**
 * Applies pending migrations to the database under `state`. Answers false when one failed; what was said is printed.
 * A note beside the database says which set it has, so an unchanged one costs nothing.
 */
export async function applyMigrations(root: string, state: string): Promise<boolean> {
  const note = path.join(state, "migrations.sha256");
  const digest = digestMigrations(path.join(root, "migrations"));
  const isCurrent = existsSync(path.join(state, "v3/d1")) && existsSync(note) && readFileSync(note, "utf8") === digest;
  if (isCurrent) {
    return true;
  }
  console.log("Bringing the local database up to date");
  const lines: string[] = [];
  const code = await runCommand(process.execPath, [path.join(root, "scripts/migrate-local.ts"), state], {
    cwd: root,
    env: wranglerEnvironment(state),
    onLine: (line) => lines.push(line),
    limitMs,
  });
  if (code !== 0) {
    console.error(lines.join("\n"));
    return false;
  }
  writeFileSync(note, digest);
  return true;
}
