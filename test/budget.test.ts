/** A run of cron stays within the statements that D1 takes of one invocation, and what it leaves is done by the runs after it. */
import { createScheduledController } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { meterRecord } from "../src/base/budget.js";
import worker from "../src/index.js";
import { workspaces } from "../src/tenancy/model.js";
import { db, makeSmallWorld } from "./snapshot/world.js";
import { watchRecord } from "./support/watched-d1.js";

const platformLimit = 1_000;

async function countBehind(): Promise<number> {
  const [row] = await db
    .select({ behind: sql<number>`count(*)` })
    .from(workspaces)
    .where(sql`applied_version < config_version`)
    .all();
  return row?.behind ?? 0;
}

async function runCron(): Promise<number> {
  const { binding, seen } = watchRecord();

  await worker.scheduled(createScheduledController(), { ...env, DB: binding });
  return seen.length;
}

describe("a run of cron", () => {
  it("with more to publish than fits stays below D1's limit, and the runs after it do the rest", async ({ expect }) => {
    for (let made = 0; made < 60; made += 1) {
      await makeSmallWorld();
    }
    const before = await countBehind();
    expect(before).toBeGreaterThanOrEqual(60);
    const took: number[] = [];
    const left: number[] = [];
    for (let run = 0; run < 12 && left.at(-1) !== 0; run += 1) {
      took.push(await runCron());
      left.push(await countBehind());
    }
    console.log(`statements of each run: ${took.join(", ")}; behind after it: ${left.join(", ")} of ${before}`);

    expect(Math.max(...took)).toBeLessThan(platformLimit);
    expect(left[0]).toBeGreaterThan(0);
    expect(left.at(-1)).toBe(0);
  });
});

describe("a metered record", () => {
  it("counts each statement of a batch, and lets nothing begin once its limit is reached", async ({ expect }) => {
    const { binding, budget } = meterRecord(env.DB, 3);
    await binding.prepare("SELECT 1").all();
    expect(budget.mayGoOn()).toBe(true);
    await binding.batch([binding.prepare("SELECT 2"), binding.prepare("SELECT 3")]);
    expect(budget.mayGoOn()).toBe(false);
  });
});
