/** `npm run check`: everything that can be said about the code without running it. Runs all checks, then fails if one failed. */
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { runCommand, stopAllGroups } from "./process-group.ts";
import { wranglerEnvironment } from "./wrangler.ts";

const root = path.dirname(import.meta.dirname);
const bin = path.join(root, "node_modules/.bin");
const limitMs = 5 * 60_000;

interface Check {
  readonly name: string;
  /** What to do when it fails. */
  readonly remedy: string;
  run(print: (line: string) => void): Promise<boolean>;
}

/** A check that is a tool of ours, run to its end. */
function toolCheck(name: string, remedy: string, tool: string, args: readonly string[]): Check {
  return { name, remedy, run: (print) => runTool(tool, args, print) };
}

async function runTool(tool: string, args: readonly string[], print: (line: string) => void): Promise<boolean> {
  const env = wranglerEnvironment(path.join(root, ".wrangler"));
  return (await runCommand(path.join(bin, tool), args, { cwd: root, env, onLine: print, limitMs })) === 0;
}

/** Generates into a copy, so that a check never changes the tree. */
async function areMigrationsComplete(print: (line: string) => void): Promise<boolean> {
  const copy = path.join(".cache", "migrations");
  rmSync(path.join(root, copy), { recursive: true, force: true });
  mkdirSync(path.join(root, ".cache"), { recursive: true });
  cpSync(path.join(root, "migrations"), path.join(root, copy), { recursive: true });
  const args = ["generate", "--dialect", "sqlite", "--schema", "./src/**/model.ts", "--out", copy];
  if (!(await runTool("drizzle-kit", args, print))) {
    return false;
  }
  return isDeepStrictEqual(readdirSync(path.join(root, copy)), readdirSync(path.join(root, "migrations")));
}

function areFoldersEqual(made: string, kept: string): boolean {
  const [left, right] = [made, kept].map((folder) =>
    readdirSync(folder).map((name) => [name, readFileSync(path.join(folder, name), "utf8")]),
  );
  return isDeepStrictEqual(left, right);
}

/** Generates into a folder of its own, so that a check never changes the tree. */
async function areModelsGenerated(print: (line: string) => void): Promise<boolean> {
  const folders = [path.join(root, ".cache/models"), path.join(root, "src/providers/models")] as const;
  rmSync(folders[0], { recursive: true, force: true });
  const args = ["scripts/catalogue-models.ts", "--out", folders[0]];
  if (!(await runTool("node", args, print))) {
    return false;
  }
  return areFoldersEqual(...folders);
}

/** The reference page's library must be what the package holds. */
async function areReferenceAssetsCopied(print: (line: string) => void): Promise<boolean> {
  const folders = [path.join(root, ".cache/swagger-ui"), path.join(root, "public/swagger-ui")] as const;
  if (!(await runTool("node", ["scripts/reference-assets.ts", "--out", folders[0]], print))) {
    return false;
  }
  return areFoldersEqual(...folders);
}

interface Manifest {
  readonly dependencies?: object;
  readonly devDependencies?: object;
  readonly optionalDependencies?: object;
}

/** `npm ci` would say so, but it refuses a lock that lacks other systems' optional packages too. */
function isLockInStep(): Promise<boolean> {
  const manifest: Manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const lock: { packages: Record<string, Manifest> } = JSON.parse(
    readFileSync(path.join(root, "package-lock.json"), "utf8"),
  );
  const locked = lock.packages[""] ?? {};
  return Promise.resolve(
    (["dependencies", "devDependencies", "optionalDependencies"] as const).every((kind) =>
      isDeepStrictEqual(manifest[kind], locked[kind]),
    ),
  );
}

const wranglerTypes = ["types", "--include-runtime=false", "--env-file=.dev.vars.example", "--check"];
const checks: readonly Check[] = [
  toolCheck("format", "npm run format", "oxfmt", ["--check"]),
  toolCheck("lint", "each finding says what it wants", "oxlint", []),
  toolCheck("types of the Worker and its tests", "", "tsc", ["--noEmit", "-p", "."]),
  toolCheck("types of the scripts", "", "tsc", ["--noEmit", "-p", "scripts"]),
  toolCheck("types of the end-to-end tests", "", "tsc", ["--noEmit", "-p", "e2e"]),
  toolCheck("types of the examples, by the client's own", "npm run client:types", "tsc", [
    "--noEmit",
    "-p",
    "examples",
  ]),
  toolCheck("types of the bench", "", "tsc", ["--noEmit", "-p", "bench"]),
  toolCheck("types of the bench's Workers", "", "tsc", ["--noEmit", "-p", "bench/workers"]),
  toolCheck("types of the simulation", "", "tsc", ["--noEmit", "-p", "bench/sim"]),
  toolCheck("dead code", "remove it, or its `export`", "knip", []),
  toolCheck("types of the bindings", "npm run types", "wrangler", wranglerTypes),
  toolCheck("migrations fit together", "two branches made one each: drop one and generate it anew", "drizzle-kit", [
    "check",
  ]),
  { name: "migrations cover the models", remedy: "npm run db:generate", run: areMigrationsComplete },
  { name: "the catalogue's models are generated", remedy: "npm run catalogue:models", run: areModelsGenerated },
  { name: "the reference's library is the package's", remedy: "npm run docs:reference", run: areReferenceAssetsCopied },
  { name: "package-lock.json in step", remedy: "npm install", run: isLockInStep },
];

async function runChecks(): Promise<boolean> {
  const failed: Check[] = [];
  for (const check of checks) {
    const lines: string[] = [];
    const started = Date.now();
    const passed = await check.run((line) => lines.push(line));
    console.log(`${passed ? "ok  " : "FAIL"} ${check.name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    if (!passed) {
      failed.push(check);
      console.log([...lines, check.remedy === "" ? "" : `Mend it by: ${check.remedy}`, ""].join("\n"));
    }
  }
  console.log(
    failed.length === 0 ? `All ${checks.length} checks passed` : `${failed.length} of ${checks.length} checks failed`,
  );
  return failed.length === 0;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopAllGroups().then(() => process.exit(130)));
}
process.exitCode = (await runChecks()) ? 0 : 1;
