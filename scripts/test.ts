/** `npm test`: every check, the tests in workerd, the tests against a running server. Runs all three, then fails if one failed. */
import { randomInt } from "node:crypto";
import { rmSync } from "node:fs";
import path from "node:path";
import { runCommand, stopAllGroups } from "./process-group.ts";
import { reportFolder } from "./tally.ts";

const root = path.dirname(import.meta.dirname);
const isDeep = process.argv.includes("--deep");
const minutes = isDeep ? 60 : 8;

/** The same tests, longer: more runs, rounds and calls, on a seed that a failure can be repeated with. */
function deepEnvironment(): NodeJS.ProcessEnv {
  const seed = process.env["SEED"] ?? String(randomInt(2 ** 31));
  console.log(`Running deep; the same again: SEED=${seed} npm run test:deep`);
  return { ...process.env, DEEP: "1", SEED: seed };
}

function vitestArgs(name: string, config: string): string[] {
  const report = path.join(reportFolder, `${name}.json`);
  const bin = path.join(root, "node_modules/vitest/vitest.mjs");
  return [bin, "run", "--config", config, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
}

async function runAll(): Promise<boolean> {
  rmSync(reportFolder, { recursive: true, force: true });
  const env = isDeep ? deepEnvironment() : process.env;
  const steps = [
    { name: "checks", args: [path.join(root, "scripts/check.ts")] },
    { name: "tests in workerd", args: vitestArgs("unit", "vitest.config.ts") },
    { name: "tests against a running server", args: vitestArgs("e2e", "vitest.e2e.config.ts") },
  ].slice(isDeep ? 1 : 0);
  const lines: string[] = [];
  let allPassed = true;
  for (const { name, args } of steps) {
    console.log(`\n=== ${name}`);
    const started = Date.now();
    const code = await runCommand(process.execPath, args, { cwd: root, env, limitMs: minutes * 60_000 });
    const ending = code === 0 ? "passed" : code === 124 ? `were ended after ${minutes} minutes` : "failed";
    lines.push(`${name} ${ending} (${Math.round((Date.now() - started) / 1000)} s)`);
    allPassed &&= code === 0;
  }
  console.log(`\n=== ${lines.join("; ")}`);
  return allPassed;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopAllGroups().then(() => process.exit(130)));
}
process.exitCode = (await runAll()) ? 0 : 1;
