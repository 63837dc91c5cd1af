/** Who takes part: each is a port, a call and, where it runs here, a process whose CPU and memory are read. */
import { cpSync, mkdirSync } from "node:fs";
import path from "node:path";
import type { Miniflare } from "miniflare";
import { findFreePorts } from "../e2e/support/server.ts";
import type { Upstream } from "./children.ts";
import { type RunningWorker, startMiniflare, startWorkerd } from "./hosts.ts";
import type { ForeignGateway, Host, Plan } from "./plan.ts";
import { seed } from "./seed.ts";
import {
  type BenchWorker,
  floorWorker,
  gatehouseWorker,
  passThroughWorker,
  portkeyWorker,
  root,
  type Tree,
} from "./workers.ts";

/** One that answers chat calls. */
export interface Contestant {
  readonly name: string;
  readonly host: Host | "elsewhere";
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly model: string;
  /** Null for one that runs elsewhere. */
  readonly pid: number | null;
  stop(): Promise<void>;
}

const chatPath = "/v1/chat/completions";
const json = { "content-type": "application/json" };

/** The upstream itself, called without anything between. */
export function directContestant(upstream: Upstream): Contestant {
  const { pid, port } = upstream;
  return contestant("direct", "elsewhere", { port, pid, stop: async () => undefined }, {});
}

/** A gateway given by address. */
export function foreignContestant({ name, url, key, model }: ForeignGateway): Contestant {
  const { hostname, port, pathname } = new URL(url);
  if (hostname !== "127.0.0.1" && hostname !== "localhost") {
    throw new Error(`${name}: the bench calls gateways on this machine only, by http://127.0.0.1:<port>`);
  }
  const headers = { ...json, authorization: `Bearer ${key}` };
  const address = `${pathname.replace(/\/$/, "")}${chatPath}`;
  return { name, host: "elsewhere", port: Number(port), path: address, headers, model, pid: null, stop: nothing };
}

async function nothing(): Promise<void> {}

/** A Worker that takes part: how it is made, and how it is called once it runs. */
interface Entry {
  readonly name: string;
  make(publicUrl: string, state: string): Promise<BenchWorker>;
  call?(worker: BenchWorker, miniflare: Miniflare, url: string): Promise<CallShape>;
}

/** Starts every Worker of the plan on every host of it. */
export async function startContestants(plan: Plan, upstream: Upstream, state: string): Promise<readonly Contestant[]> {
  const address = `http://127.0.0.1:${upstream.port}`;
  const started: Contestant[] = [];
  const entries = [
    ...plan.workers.map((name) => entryOf(name, address)),
    ...plan.trees.map((tree) => treeEntry(tree, address)),
  ];
  for (const entry of entries) {
    started.push(...(await startWorker(entry, plan.hosts, path.join(state, entry.name))));
  }
  return started;
}

function entryOf(name: Plan["workers"][number], upstream: string): Entry {
  switch (name) {
    case "floor":
      return { name, make: () => floorWorker(upstream) };
    case "pass-through":
      return { name, make: () => passThroughWorker(upstream) };
    case "portkey":
      return { name, make: () => portkeyWorker(), call: async () => ({ headers: portkeyHeaders(upstream) }) };
    case "gatehouse":
      return treeEntry({ name, folder: root }, upstream);
  }
}

function treeEntry(tree: Tree, upstream: string): Entry {
  return {
    name: tree.name,
    make: (publicUrl, state) => gatehouseWorker(tree, upstream, publicUrl, state),
    async call({ bindings }, miniflare, url) {
      const { key, model } = await seed(miniflare, url, bindings["SETUP_TOKEN"] ?? "", upstream);
      return { headers: { authorization: `Bearer ${key}`, host: new URL(url).host }, model };
    },
  };
}

async function startWorker(entry: Entry, hosts: readonly Host[], state: string): Promise<readonly Contestant[]> {
  mkdirSync(state, { recursive: true });
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const worker = await entry.make(url, state);
  const miniflare = await startMiniflare(worker, state, port);
  const call = (await entry.call?.(worker, miniflare.miniflare, url)) ?? {};
  if (!hosts.includes("workerd")) {
    return [contestant(entry.name, "miniflare", miniflare, call)];
  }
  // Ended first: two of them must not write one state.
  await miniflare.stop();
  const bare = contestant(
    entry.name,
    "workerd",
    await startWorkerd(worker, miniflare.configFile, await freePort()),
    call,
  );
  return hosts.includes("miniflare")
    ? [bare, contestant(entry.name, "miniflare", await restart(worker, state), call)]
    : [bare];
}

/** On a copy of the state: the first one's is in use. */
async function restart(worker: BenchWorker, state: string): Promise<RunningWorker> {
  const copy = `${state}-miniflare`;
  cpSync(state, copy, { recursive: true });
  return await startMiniflare(worker, copy, await freePort());
}

/** Two targets at 3:1, as Gatehouse's pool has them. */
function portkeyHeaders(upstream: string): Record<string, string> {
  const target = (name: string, weight: number) => ({
    provider: "openai",
    custom_host: `${upstream}/v1`,
    api_key: `sk-bench-${name}-0123456789-0123456789`,
    weight,
    override_params: { model: "bench-model" },
  });
  const config = { strategy: { mode: "loadbalance" }, targets: [target("three", 3), target("one", 1)] };
  return { "x-portkey-config": JSON.stringify(config) };
}

interface CallShape {
  readonly headers?: Readonly<Record<string, string>>;
  readonly model?: string;
}

function contestant(name: string, host: Contestant["host"], running: RunningWorker, call: CallShape): Contestant {
  const { port, pid } = running;
  const headers = { ...json, ...call.headers };
  return {
    name,
    host,
    port,
    pid,
    path: chatPath,
    headers,
    model: call.model ?? "bench-model",
    stop: () => running.stop(),
  };
}

async function freePort(): Promise<number> {
  const [port] = await findFreePorts(1);
  return port ?? 0;
}
