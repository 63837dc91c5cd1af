/** `npm test`: every check, the tests in workerd, the tests against a running server. Runs them all, then fails if one failed. */
import { randomInt } from "node:crypto";
import { rmSync } from "node:fs";
import path from "node:path";
import { runCommand, stopAllGroups } from "./process-group.ts";
import { reportFolder, type RunName } from "./tally.ts";

const root = path.dirname(import.meta.dirname);
const isDeep = process.argv.includes("--deep");
const minutes = isDeep ? 60 : 12;

/** The same tests, longer: more runs, rounds and calls, on a seed that a failure can be repeated with. */
function deepEnvironment(): NodeJS.ProcessEnv {
  const seed = process.env["SEED"] ?? String(randomInt(2 ** 31));
  console.log(`Running deep; the same again: SEED=${seed} npm run test:deep`);
  return { ...process.env, DEEP: "1", SEED: seed };
}

const env = isDeep ? deepEnvironment() : process.env;

/** One of the things `npm test` runs. */
interface Step {
  readonly name: string;
  readonly args: readonly string[];
}

function vitestStep(name: string, run: RunName, args: readonly string[]): Step {
  const report = path.join(reportFolder, `${run}.json`);
  const bin = path.join(root, "node_modules/vitest/vitest.mjs");
  return { name, args: [bin, "run", ...args, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`] };
}

function e2eStep(name: string, run: RunName, project: string): Step {
  return vitestStep(name, run, ["--config", "vitest.e2e.config.ts", `--project=${project}`]);
}

/** The steps of one stage run side by side: the first one's output is shown as it comes, another's when it has ended. */
const stages: readonly (readonly Step[])[] = [
  [{ name: "checks", args: [path.join(root, "scripts/check.ts")] }],
  [vitestStep("tests in workerd", "unit", []), e2eStep("tests of what takes its time", "e2e-waiting", "waiting")],
  // Alone, for what they say of seconds must not hang on what else runs.
  [e2eStep("tests against a running server", "e2e-timed", "timed")],
];

/** Runs a step to its end, at most the given minutes; answers whether it passed and says how it went. */
async function runStep({ name, args }: Step, isFirst: boolean): Promise<{ passed: boolean; line: string }> {
  const lines: string[] = [];
  const started = Date.now();
  const limits = { cwd: root, env, limitMs: minutes * 60_000 };
  const code = await runCommand(process.execPath, args, {
    ...limits,
    ...(isFirst ? {} : { onLine: (line: string) => lines.push(line) }),
  });
  if (!isFirst) {
    console.log([`\n=== ${name}`, ...lines].join("\n"));
  }
  const ending = code === 0 ? "passed" : code === 124 ? `were ended after ${minutes} minutes` : "failed";
  return { passed: code === 0, line: `${name} ${ending} (${Math.round((Date.now() - started) / 1000)} s)` };
}

async function runAll(): Promise<boolean> {
  rmSync(reportFolder, { recursive: true, force: true });
  const outcomes = [];
  for (const stage of stages.slice(isDeep ? 1 : 0)) {
    console.log(`\n=== ${stage[0]?.name}`);
    outcomes.push(...(await Promise.all(stage.map((step, index) => runStep(step, index === 0)))));
  }
  console.log(`\n=== ${outcomes.map(({ line }) => line).join("; ")}`);
  return outcomes.every(({ passed }) => passed);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopAllGroups().then(() => process.exit(130)));
}
process.exitCode = (await runAll()) ? 0 : 1;
