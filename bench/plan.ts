/** What a run of the bench is to do, read from the command line. */
import path from "node:path";
import { parseArgs } from "node:util";
import type { Tree } from "./workers.ts";

export const hosts = ["workerd", "miniflare"] as const;
export type Host = (typeof hosts)[number];

export const workers = ["floor", "pass-through", "gatehouse", "portkey"] as const;

/** A gateway that runs on this machine already. */
export interface ForeignGateway {
  readonly name: string;
  readonly url: string;
  readonly key: string;
  readonly model: string;
}

/** What a run is to do. */
export interface Plan {
  readonly hosts: readonly Host[];
  readonly workers: readonly (typeof workers)[number][];
  readonly kinds: readonly ("json" | "stream")[];
  readonly callers: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  /** Other checkouts of Gatehouse, to compare with this one. */
  readonly trees: readonly Tree[];
  readonly gateways: readonly ForeignGateway[];
  /** Calls of the memory measurement; 0 leaves it out. */
  readonly memoryCalls: number;
  /** Where the figures go as JSON; null for nowhere. */
  readonly json: string | null;
  readonly check: boolean;
}

export const usage = `npm run bench -- [options]

Measures Gatehouse against the floor (the least a Hono Worker must do), the smallest pass-through Worker, Portkey's gateway, and the
upstream itself, all interleaved in one session. Linux only: CPU and memory are read from /proc.

  --hosts workerd,miniflare   where the Workers run (both)
  --workers floor,…           which take part (${workers.join(",")})
  --kinds json,stream         what is called (both)
  --callers 1,16,64           how many callers at once
  --rounds 5                  rounds; the medians of their figures are printed
  --seconds 3                 length of one measurement
  --memory 100000             also reads the memory after so many calls, and while a body of 20 MB passes
  --tree name=folder          another checkout of Gatehouse, with its node_modules; may be repeated
  --gateway name=url,key,model  another gateway on this machine; may be repeated
  --json file                 writes every figure there
  --check                     the short form for CI: one round of half a second, fails when anything fails

Portkey's gateway is installed on first use into .cache/bench. Without it: --workers floor,pass-through,gatehouse`;

/** Reads the command line; null asks for the usage. Throws with a sentence for what it does not understand. */
export function readPlan(args: readonly string[]): Plan | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", short: "h" },
      hosts: { type: "string", default: hosts.join(",") },
      workers: { type: "string", default: workers.join(",") },
      kinds: { type: "string", default: "json,stream" },
      callers: { type: "string", default: "1,16,64" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "3" },
      memory: { type: "string", default: "0" },
      tree: { type: "string", multiple: true, default: [] },
      gateway: { type: "string", multiple: true, default: [] },
      json: { type: "string" },
      check: { type: "boolean", default: false },
    },
  });
  if (values.help === true) {
    return null;
  }
  const plan: Plan = {
    hosts: among("hosts", values.hosts, hosts),
    workers: values.workers === "" ? [] : among("workers", values.workers, workers),
    kinds: among("kinds", values.kinds, ["json", "stream"] as const),
    callers: values.callers.split(",").map((word) => positive("callers", word)),
    rounds: positive("rounds", values.rounds),
    seconds: positive("seconds", values.seconds),
    trees: values.tree.map(readTree),
    gateways: values.gateway.map(readGateway),
    memoryCalls: values.memory === "0" ? 0 : positive("memory", values.memory),
    json: values.json ?? null,
    check: values.check,
  };
  return plan.check ? { ...plan, callers: [4], rounds: 1, seconds: 0.5, hosts: ["workerd"] } : plan;
}

function among<T extends string>(option: string, text: string, known: readonly T[]): readonly T[] {
  return text.split(",").map((word) => {
    const found = known.find((name) => name === word);
    if (found === undefined) {
      throw new Error(`--${option}: "${word}" is none of ${known.join(", ")}`);
    }
    return found;
  });
}

function positive(option: string, word: string): number {
  const value = Number(word);
  if (!(value > 0)) {
    throw new Error(`--${option}: "${word}" is not a number above 0`);
  }
  return value;
}

function readTree(text: string): Tree {
  const [, name, folder] = /^([\w-]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || folder === undefined) {
    throw new Error(`--tree: "${text}" is not name=folder`);
  }
  return { name, folder: path.resolve(folder) };
}

function readGateway(text: string): ForeignGateway {
  const [, name, url, key, model] = /^([\w-]+)=([^,]+),([^,]+),([^,]+)$/.exec(text) ?? [];
  if (name === undefined || url === undefined || key === undefined || model === undefined) {
    throw new Error(`--gateway: "${text}" is not name=url,key,model`);
  }
  return { name, url, key, model };
}
