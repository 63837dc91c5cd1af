/** `npm run bench`: Gatehouse, the floor and others, measured side by side on this machine. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { startCallers, startUpstream } from "./children.ts";
import { type Contestant, directContestant, foreignContestant, startContestants } from "./contestants.ts";
import { measure } from "./measure.ts";
import { measureMemory, writeMemoryTable } from "./memory.ts";
import { type Plan, readPlan, usage } from "./plan.ts";
import { summarize, writeTable } from "./report.ts";

async function bench(plan: Plan): Promise<boolean> {
  const state = mkdtempSync(path.join(tmpdir(), "gatehouse-bench-"));
  const upstream = await startUpstream();
  const callers = await startCallers();
  const contestants: Contestant[] = [];
  try {
    contestants.push(directContestant(upstream), ...plan.gateways.map(foreignContestant));
    contestants.push(...(await startContestants(plan, upstream, state)));
    if (plan.memoryCalls > 0) {
      const memory = await measureMemory(contestants, callers, plan.memoryCalls);
      console.log(`${writeMemoryTable(memory)}\n`);
    }
    const samples = await measure(plan, contestants, upstream, callers, (line) => console.error(line));
    const figures = summarize(samples);
    console.log(writeTable(figures));
    if (plan.json !== null) {
      writeFileSync(plan.json, `${JSON.stringify({ plan, figures, samples }, null, 2)}\n`);
    }
    return figures.every(({ calls, failures }) => calls > 0 && failures === 0);
  } finally {
    await Promise.all(contestants.map((contestant) => contestant.stop()));
    callers.stop();
    upstream.stop();
    rmSync(state, { recursive: true, force: true });
  }
}

const plan = readPlan(process.argv.slice(2));
if (plan === null) {
  console.log(usage);
} else if (!(await bench(plan))) {
  console.error("Some calls failed.");
  process.exitCode = 1;
}
