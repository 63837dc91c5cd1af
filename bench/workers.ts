/** The Workers that take part, bundled, with what each needs bound to it. */
import { randomBytes, webcrypto } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import { ensureLocalVars } from "../scripts/local-vars.ts";
import { runCommand } from "../scripts/process-group.ts";
import { wranglerCommand, wranglerEnvironment } from "../scripts/wrangler.ts";
import { portkeyScript } from "./portkey.ts";

export const root = path.dirname(import.meta.dirname);
/** What the bench makes and keeps between runs. */
const cache = path.join(root, ".cache/bench");

/** A Worker as a host starts it. */
export interface BenchWorker {
  readonly name: string;
  readonly script: string;
  readonly bindings: Readonly<Record<string, string>>;
  /** Binding → class, stored in SQLite. */
  readonly durableObjects: Readonly<Record<string, string>>;
  /** With Gatehouse's own platform bound to it: D1, KV, queues, version. The floor has it too, so that the memory it takes is in both. */
  readonly hasPlatform: boolean;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
}

/** A checkout of Gatehouse, and what it is called in the figures. */
export interface Tree {
  readonly name: string;
  readonly folder: string;
}

const bundleMs = 120_000;

/** The settings that every contestant runs under are Gatehouse's own. */
function readCompatibility(): { readonly date: string; readonly flags: readonly string[] } {
  const text = readFileSync(path.join(root, "wrangler.toml"), "utf8");
  const date = /^compatibility_date = "([^"]+)"/m.exec(text)?.[1];
  const flags = /^compatibility_flags = (\[[^\]]*\])/m.exec(text)?.[1];
  if (date === undefined || flags === undefined) {
    throw new Error("wrangler.toml names no compatibility date or flags");
  }
  const listed: unknown = JSON.parse(flags);
  return { date, flags: Array.isArray(listed) ? listed.map(String) : [] };
}

const compatibility = readCompatibility();
// The upstream of a bench is on loopback, which this flag forbids; Gatehouse's own guard is part of what is measured.
const flags = compatibility.flags.filter((flag) => flag !== "global_fetch_strictly_public");
const plain = {
  durableObjects: {},
  hasPlatform: false,
  compatibilityDate: compatibility.date,
  compatibilityFlags: flags,
} as const;

/** Bundles a Worker of this folder as wrangler would. */
async function bundle(file: string): Promise<string> {
  const result = await build({
    entryPoints: [path.join(root, "bench/workers", file)],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
  });
  return result.outputFiles[0]?.text ?? "";
}

export async function floorWorker(upstream: string): Promise<BenchWorker> {
  const raw = randomBytes(32);
  const iv = randomBytes(12);
  const key = await webcrypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt"]);
  const secret = new TextEncoder().encode("sk-bench-0123456789-0123456789-0123456789");
  const sealed = await webcrypto.subtle.encrypt({ name: "AES-GCM", iv }, key, secret);
  return {
    ...plain,
    name: "floor",
    script: await bundle("floor.ts"),
    bindings: {
      UPSTREAM: upstream,
      DATA_KEY: raw.toString("base64"),
      SEALED: Buffer.concat([iv, Buffer.from(sealed)]).toString("base64"),
    },
    durableObjects: { ADMISSION: "Admission", LEDGER: "Ledger" },
    hasPlatform: true,
  };
}

export async function passThroughWorker(upstream: string): Promise<BenchWorker> {
  return { ...plain, name: "pass-through", script: await bundle("pass-through.ts"), bindings: { UPSTREAM: upstream } };
}

export async function portkeyWorker(): Promise<BenchWorker> {
  return { ...plain, name: "portkey", script: await portkeyScript(root, cache), bindings: {} };
}

/** The Gatehouse of a checkout as `wrangler deploy` bundles it. `publicUrl` is where it will be reached. */
export async function gatehouseWorker(
  { name, folder }: Tree,
  upstream: string,
  publicUrl: string,
  state: string,
): Promise<BenchWorker> {
  const out = path.join(cache, name);
  rmSync(out, { recursive: true, force: true });
  const command = wranglerCommand(folder, ["deploy", "--dry-run", "--outdir", out]);
  const lines: string[] = [];
  const env = wranglerEnvironment(state);
  const onLine = (line: string): number => lines.push(line);
  const code = await runCommand(command.file, command.args, { cwd: folder, env, onLine, limitMs: bundleMs });
  const file = path.join(out, "index.js");
  if (code !== 0 || !existsSync(file)) {
    throw new Error(`wrangler could not bundle the Worker:\n${lines.join("\n")}`);
  }
  const { vars } = ensureLocalVars(path.join(state, "vars"));
  return {
    ...plain,
    name,
    script: readFileSync(file, "utf8"),
    bindings: { ...vars, OUTBOUND_ALLOW: upstream, PUBLIC_URL: publicUrl },
    durableObjects: { ROUTER: "Router", LEDGER: "Ledger" },
    hasPlatform: true,
  };
}
