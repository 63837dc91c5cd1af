/** Starts Workers: under Miniflare on a direct socket, or in workerd alone with the very configuration that Miniflare makes, less what is only Miniflare's. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import workerd from "workerd";
import { toCapnp } from "./capnp.ts";
import { childrenNamed } from "./process-figures.ts";
import type { BenchWorker } from "./workers.ts";

/** A Worker that answers. */
export interface RunningWorker {
  readonly port: number;
  /** Of the workerd that runs it. */
  readonly pid: number;
  stop(): Promise<void>;
}

export interface MiniflareWorker extends RunningWorker {
  readonly miniflare: Miniflare;
  /** What workerd was told, as Miniflare wrote it down. */
  readonly configFile: string;
}

/** Starts a Worker under Miniflare on `port`; its state lies in `state`. One at a time. */
export async function startMiniflare(worker: BenchWorker, state: string, port: number): Promise<MiniflareWorker> {
  mkdirSync(state, { recursive: true });
  const configFile = path.join(state, `${worker.name}.json`);
  const before = new Set(childrenNamed("workerd"));
  process.env["MINIFLARE_WORKERD_CONFIG_DEBUG"] = configFile;
  const miniflare = new Miniflare(convertV4MiniflareOptions(describe(worker, state, port)));
  await miniflare.ready;
  delete process.env["MINIFLARE_WORKERD_CONFIG_DEBUG"];
  const pid = childrenNamed("workerd").find((child) => !before.has(child));
  if (pid === undefined) {
    throw new Error("Miniflare started no workerd");
  }
  return { port, pid, miniflare, configFile, stop: () => miniflare.dispose() };
}

function describe(worker: BenchWorker, state: string, port: number) {
  const platform = {
    d1Databases: { DB: "gatehouse" },
    kvNamespaces: ["CONFIG"],
    queueProducers: { MAIL: "gatehouse-mail", WEBHOOKS: "gatehouse-webhooks" },
    versionMetadata: "CF_VERSION_METADATA",
  };
  return {
    name: worker.name,
    modules: [{ type: "ESModule" as const, path: path.join(state, `${worker.name}.js`), contents: worker.script }],
    modulesRoot: state,
    compatibilityDate: worker.compatibilityDate,
    compatibilityFlags: [...worker.compatibilityFlags],
    bindings: { ...worker.bindings },
    durableObjects: Object.fromEntries(
      Object.entries(worker.durableObjects).map(([name, className]) => [name, { className, useSQLite: true }]),
    ),
    ...(worker.hasPlatform ? platform : {}),
    unsafeDirectSockets: [{ host: "127.0.0.1", port }],
    resourcePersistencePath: state,
    handleStructuredLogs: () => undefined,
  };
}

const readyMs = 20_000;

/** Starts in workerd alone what Miniflare had started, on the same state. Its log goes nowhere. */
export async function startWorkerd(worker: BenchWorker, configFile: string, port: number): Promise<RunningWorker> {
  const config = path.join(path.dirname(configFile), `${worker.name}.capnp`);
  writeFileSync(config, toCapnp(strip(JSON.parse(readFileSync(configFile, "utf8")), worker.name, port)));
  // For a look inside with a debugger or a profiler; BENCH_V8_FLAGS=--perf-basic-prof names compiled functions to perf.
  const inspector = process.env["BENCH_INSPECT"];
  const args = [
    "serve",
    "--experimental",
    ...(inspector === undefined ? [] : [`--inspector-addr=127.0.0.1:${inspector}`]),
    config,
  ];
  const child = spawn(workerd.default, args, { stdio: ["ignore", "ignore", "pipe"] });
  const lines: string[] = [];
  child.stderr.on("data", (data: Buffer) => lines.push(data.toString()));
  await waitUntilListening(child, port, lines);
  return { port, pid: child.pid ?? 0, stop: () => end(child) };
}

type Json = Readonly<Record<string, unknown>>;

/** Leaves Miniflare's own doors and its hop before the network out; what stands behind D1, KV and the queue stays, off the path. */
function strip(config: unknown, name: string, port: number): Json {
  const { services, extensions } = asJson(config);
  const kept = asList(services).filter(
    (service) => !["core:entry", "MINIFLARE_DEV_CONTROL", "email:store"].includes(String(service["name"])),
  );
  return {
    services: kept.map((service) => {
      if (service["name"] === "loopback") {
        // Nobody is there; only errors and cold storage would ask.
        return { ...service, external: { ...asJson(service["external"]), address: "127.0.0.1:9" } };
      }
      const folder = asJson(service["disk"])["path"];
      if (typeof folder === "string") {
        // Miniflare's temporary folders went with it.
        mkdirSync(folder, { recursive: true });
      }
      return service["name"] === `core:user:${name}`
        ? { ...service, worker: lighten(asJson(service["worker"])) }
        : service;
    }),
    sockets: [{ name: "direct", address: `127.0.0.1:${port}`, http: {}, service: { name: `core:user:${name}` } }],
    extensions,
    v8Flags: process.env["BENCH_V8_FLAGS"]?.split(" "),
  };
}

function lighten(worker: Json): Json {
  const { containerEngine: _docker, tails: _tails, streamingTails: _streams, ...rest } = worker;
  return { ...rest, globalOutbound: { name: "internet" } };
}

function asJson(value: unknown): Json {
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

function asList(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.map(asJson) : [];
}

async function waitUntilListening(child: ChildProcess, port: number, lines: readonly string[]): Promise<void> {
  const deadline = Date.now() + readyMs;
  while (Date.now() < deadline && child.exitCode === null) {
    try {
      await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(2000) });
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await end(child);
  throw new Error(`workerd did not start:\n${lines.join("")}`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}
