/** `npm run bench:sim`: the Routers' pure decisions in virtual time, with 1 to 64 shards, slow ways, lost words and failing providers. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import type { SimPlan } from "./sim/plan.ts";

type Print = (plan: SimPlan) => boolean;

const usage = `npm run bench:sim -- [options]

Simulates a workspace's shards by the very decision code that the Router runs; no network, no disk, virtual time.

  --shards 1,2,4,8,16,32,64   how many shards, one run each
  --minutes 22                of virtual time
  --calls 60                  a second, of all shards together
  --loss 0.02                 part of the words between shards that get lost
  --seed 1                    the same seed gives the same figures
  --check                     a short form for CI

Fails when a share is off by a call or more, or when the workspace's limit is passed.`;

/** Bundled first: Node does not find the TypeScript that `src` names by `.js`. */
async function load(): Promise<Print> {
  const folder = mkdtempSync(path.join(tmpdir(), "gatehouse-sim-"));
  try {
    const file = path.join(folder, "main.mjs");
    await build({
      entryPoints: [path.join(import.meta.dirname, "sim/main.ts")],
      outfile: file,
      bundle: true,
      format: "esm",
      platform: "node",
      target: "es2024",
      logLevel: "error",
    });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is the bundle of that very file
    const loaded = (await import(pathToFileURL(file).href)) as { readonly printSimulation: Print };
    return loaded.printSimulation;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    shards: { type: "string", default: "1,2,4,8,16,32,64" },
    minutes: { type: "string", default: "22" },
    calls: { type: "string", default: "60" },
    loss: { type: "string", default: "0.02" },
    seed: { type: "string", default: "1" },
    check: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const plan: SimPlan = {
  shards: values.check ? [1, 4] : values.shards.split(",").map(Number),
  minutes: values.check ? 5 : Number(values.minutes),
  callsPerSecond: values.check ? 20 : Number(values.calls),
  loss: Number(values.loss),
  seed: Number(values.seed),
};
if (values.help) {
  console.log(usage);
} else if ([...plan.shards, plan.minutes, Number(values.calls), plan.seed].some((figure) => !(figure > 0))) {
  console.error(`Every figure must be a number above 0.\n\n${usage}`);
  process.exitCode = 1;
} else if (!(await load())(plan)) {
  console.error("A promise did not hold: see the tables.");
  process.exitCode = 1;
}
