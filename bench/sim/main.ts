/** The tables of `npm run bench:sim`. */
import type { SimPlan } from "./plan.js";
import { simulate, weights, type Setting, type Tally } from "./world.js";

type Row = Readonly<Record<string, string | number>>;

/** Failing instances, with and without the shards' talk. */
function simulateFailures(plan: SimPlan): readonly Row[] {
  return plan.shards.map((shards) => {
    const setting: Setting = { ...baseOf(plan, shards), rpm: null, fails: true };
    const told = simulate(setting);
    const alone = simulate({ ...setting, tells: false });
    return {
      shards,
      calls: told.admitted,
      outages: told.outages,
      "wasted attempts per outage": perOutage(told.wasted, told),
      "… if each shard learned alone": perOutage(alone.wasted, alone),
      "all shards know after ms, median": median(told.spreadMs),
      "slowest ms": Math.max(0, ...told.spreadMs),
      "probes per outage": perOutage(told.probes, told),
      "… alone": perOutage(alone.probes, alone),
      refused: told.refused,
    };
  });
}

/** A quiet workspace: every shard keeps to the weights after every call. */
function simulateShares(plan: SimPlan): readonly Row[] {
  return plan.shards.map((shards) => {
    const tally = simulate({ ...baseOf(plan, shards), rpm: null, fails: false });
    return { shards, calls: tally.admitted, "worst distance from a share, in calls": tally.worstLag.toFixed(3) };
  });
}

/** Twice the calls that the workspace's requests per minute allow. */
function simulateLimit(plan: SimPlan): readonly Row[] {
  const rpm = Math.round(plan.callsPerSecond * 30);
  return plan.shards.map((shards) => {
    const tally = simulate({ ...baseOf(plan, shards), rpm, fails: false });
    const most = mostIn(tally.admittedAt, 60_000);
    const used = tally.admitted / (rpm * plan.minutes);
    return {
      shards,
      "limit in 60 s": rpm,
      "most admitted in any 60 s": most,
      "over the limit": Math.max(0, most - rpm),
      "used of the limit": `${(used * 100).toFixed(0)} %`,
    };
  });
}

/** Prints all three; false when a promise did not hold. */
export function printSimulation(plan: SimPlan): boolean {
  console.log(`seed ${plan.seed}, ${plan.minutes} minutes, ${plan.callsPerSecond} calls/s in all, ways of 10–195 ms,`);
  console.log(`${plan.loss * 100} % of the words between shards lost, weights ${weights.join(":")}\n`);
  const [shares, failures, limit] = [simulateShares(plan), simulateFailures(plan), simulateLimit(plan)];
  for (const [title, rows] of [
    ["Shares by weight, nobody fails", shares],
    ["One instance after the other answers 429 for two minutes", failures],
    ["Twice as many calls as the workspace's requests per minute", limit],
  ] as const) {
    console.log(`${title}\n`);
    console.log(`${toTable(rows)}\n`);
  }
  return (
    shares.every((row) => Number(row["worst distance from a share, in calls"]) < 1) &&
    limit.every((row) => row["over the limit"] === 0)
  );
}

function baseOf({ callsPerSecond, loss, minutes, seed }: SimPlan, shards: number) {
  return { shards, callsPerSecond, minutes, loss, seed, tells: true } as const;
}

function perOutage(count: number, { outages }: Tally): number {
  return Math.round((count / Math.max(1, outages)) * 10) / 10;
}

function median(figures: readonly number[]): number {
  const sorted = [...figures].toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** The most moments that lie within `ms`; `times` rise. */
function mostIn(times: readonly number[], ms: number): number {
  let most = 0;
  let from = 0;
  for (const [at, time] of times.entries()) {
    while ((times[from] ?? time) + ms <= time) {
      from += 1;
    }
    most = Math.max(most, at - from + 1);
  }
  return most;
}

function toTable(rows: readonly Row[]): string {
  const names = Object.keys(rows[0] ?? {});
  const lines = [names, names.map(() => "---"), ...rows.map((row) => names.map((name) => String(row[name] ?? "")))];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
