/** Makes node_modules what package-lock.json says, when it is not: here, or in the folder that is named. Plain JavaScript without dependencies: it runs first, under whatever Node there is. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const home = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const root = path.join(home, process.argv[2] ?? "");
const limitMs = 15 * 60_000;

/** @param {string} file */
function readPackages(file) {
  const text = readFileSync(path.join(root, file), "utf8");
  /** @type {{ packages: Record<string, { version?: string, optional?: boolean }> }} */
  const lock = JSON.parse(text);
  return lock.packages;
}

/** Compares what npm noted at its last complete install with the lock. Optional packages may be absent: most are for other systems. */
function isInstalled() {
  if (!existsSync(path.join(root, "node_modules/.package-lock.json"))) {
    return false;
  }
  const installed = readPackages("node_modules/.package-lock.json");
  return Object.entries(readPackages("package-lock.json")).every(([place, { version, optional }]) => {
    const found = place === "" ? { version } : installed[place];
    return found === undefined ? optional === true : found.version === version;
  });
}

/** Whether the scripts that follow find a Node that can run them: npm puts node_modules/.bin first on their PATH. */
function hasNewNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 18) || existsSync(path.join(home, "node_modules/.bin/node"));
}

/** The environment without our own node_modules on PATH: the install replaces the Node that lies there. */
function outsideEnvironment() {
  const own = path.join(home, "node_modules");
  const PATH = (process.env["PATH"] ?? "").split(path.delimiter).filter((folder) => !folder.startsWith(own));
  return { ...process.env, PATH: PATH.join(path.delimiter) };
}

/**
 * Runs npm without rewriting the lock. Not `npm ci`: that refuses a lock which lacks the optional packages of systems
 * that the registry at hand does not serve, while `npm install` takes the locked versions and leaves those out.
 * @returns {Promise<number | null>} npm's exit code
 */
function runInstall() {
  const args = ["install", "--no-save", "--include=dev", "--include=optional", "--no-progress", "--loglevel=error"];
  const child = spawn("npm", args, {
    cwd: root,
    env: outsideEnvironment(),
    stdio: ["ignore", "ignore", "inherit"],
    shell: process.platform === "win32",
    timeout: limitMs,
  });
  const started = Date.now();
  const progress = setInterval(() => {
    console.log(`  still installing (${Math.round((Date.now() - started) / 1000)} s)`);
  }, 10_000);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => clearInterval(progress));
}

if (!isInstalled() || !hasNewNode()) {
  console.log("Installing dependencies (about half a minute, once)");
  const code = await runInstall().catch((/** @type {Error} */ error) => error.message);
  if (code !== 0) {
    console.error(`Could not install the dependencies: npm ended with ${code}. Is the npm registry reachable?`);
    process.exit(1);
  }
  if (!hasNewNode()) {
    console.error(
      `Node ${process.version} is too old and the npm package "node" has none for this system. Install Node 24.`,
    );
    process.exit(1);
  }
}
