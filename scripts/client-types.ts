/**
 * `npm run client:types [-- --check]`: writes clients/typescript/schema.d.ts from the contract that a running server hands out
 * (GATEHOUSE, or http://127.0.0.1:8787), or says whether it is what it should be. The generator has a TypeScript of its own in
 * tools/client: it needs the compiler's API, which TypeScript 7 has not.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runCommand } from "./process-group.ts";

const root = path.dirname(import.meta.dirname);
const tools = path.join(root, "tools/client");
const kept = path.join(root, "clients/typescript/schema.d.ts");
const server = process.env["GATEHOUSE"] ?? "http://127.0.0.1:8787";
const limitMs = 3 * 60_000;

/** Runs a command and throws when it fails. */
async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  const lines: string[] = [];
  const code = await runCommand(command, args, { cwd, env: process.env, onLine: (line) => lines.push(line), limitMs });
  if (code !== 0) {
    throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${lines.join("\n")}`);
  }
}

/** npm writes its note of what is installed last. */
function isInstalled(): boolean {
  const note = path.join(tools, "node_modules/.package-lock.json");
  return existsSync(note) && statSync(note).mtimeMs >= statSync(path.join(tools, "package-lock.json")).mtimeMs;
}

async function generate(): Promise<string> {
  if (!isInstalled()) {
    console.log("Installing the generator (once)");
    await run("npm", ["ci", "--ignore-scripts", "--no-progress", "--loglevel=error"], tools);
  }
  const response = await fetch(`${server}/openapi.json`).catch((error: unknown) => {
    throw new Error(`No server at ${server}: start one by \`npm start\`, or name another by GATEHOUSE.`, {
      cause: error,
    });
  });
  if (!response.ok) {
    throw new Error(`${server}/openapi.json answered ${response.status}`);
  }
  const folder = path.join(root, ".cache/client");
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, "openapi.json"), await response.text());
  const cli = path.join(tools, "node_modules/openapi-typescript/bin/cli.js");
  await run(process.execPath, [cli, "openapi.json", "--output", "schema.d.ts", "--default-non-nullable=false"], folder);
  return readFileSync(path.join(folder, "schema.d.ts"), "utf8");
}

const made = await generate();
if (!process.argv.includes("--check")) {
  writeFileSync(kept, made);
  console.log(`Wrote ${path.relative(root, kept)}`);
} else if (readFileSync(kept, "utf8") === made) {
  console.log(`${path.relative(root, kept)} is what the contract says`);
} else {
  console.error(
    `${path.relative(root, kept)} is not what the contract says. Run \`npm start\`, then \`npm run client:types\`.`,
  );
  process.exitCode = 1;
}
