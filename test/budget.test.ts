/** A run of cron stays within the statements that D1 takes of one invocation, and what it leaves is done by the runs after it. */
import { createScheduledController } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { inArray, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { commit } from "../src/base/database.js";
import { forEachWithin, meterRecord } from "../src/base/budget.js";
import { newId } from "../src/base/ids.js";
import { credentials } from "../src/connections/model.js";
import worker from "../src/index.js";
import { workspaces } from "../src/tenancy/model.js";
import { toolProviders } from "../src/toolbox/model.js";
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

async function countRefused(): Promise<number> {
  return await db.$count(credentials, sql`status = 'invalid'`);
}

async function runCron(): Promise<number> {
  const { binding, seen } = watchRecord();
  await worker.scheduled(createScheduledController(), { ...env, DB: binding });
  return seen.length;
}

/** Sixty workspaces to publish, with rows to seal; thirty credentials to try again, and thirty tool servers that do not answer. */
async function fillSweeps(): Promise<void> {
  const worlds = [];
  for (let made = 0; made < 60; made += 1) {
    worlds.push(await makeSmallWorld());
  }
  const some = worlds.slice(0, 30);
  const ids = some.map(({ credentialId }) => credentialId);
  const times = { createdAt: 1, updatedAt: 1 };
  const server = { kind: "mcp", title: "t", description: "", auth: '{"type":"none"}', timeoutSeconds: 5 } as const;
  const origin = "https://nowhere.upstream.test";
  await commit(db, [
    db.update(credentials).set({ status: "invalid", retryAt: 1 }).where(inArray(credentials.id, ids)),
    ...some.map(({ id }) => {
      const place = { id: newId("toolProvider"), workspaceId: id, name: "server", baseUrl: `${origin}/mcp`, origin };
      return db.insert(toolProviders).values({ ...place, ...server, ...times });
    }),
  ]);
}

describe("a run of cron", () => {
  it("with more to do than fits stays below D1's limit, and the runs after it do the rest", async ({ expect }) => {
    await fillSweeps();
    const before = await countBehind();
    expect(before).toBeGreaterThanOrEqual(60);
    const took: number[] = [];
    const left: number[] = [];
    for (let run = 0; run < 20 && left.at(-1) !== 0; run += 1) {
      took.push(await runCron());
      left.push((await countBehind()) + (await countRefused()));
    }
    console.log(`statements of each run: ${took.join(", ")}; to do after it: ${left.join(", ")}`);
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

  it("has a list done a few at a time, and leaves off in the middle", async ({ expect }) => {
    const { binding, budget } = meterRecord(env.DB, 6);
    const done: number[] = [];
    await forEachWithin(budget, [1, 2, 3, 4, 5, 6, 7, 8, 9], async (item) => {
      await binding.prepare("SELECT 1").all();
      done.push(item);
    });
    expect(done.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});
