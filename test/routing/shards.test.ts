import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import type { InstanceState, Ticket } from "../../src/routing/model.js";
import { routerFor } from "../../src/routing/router-for.js";
import type { RouterRows } from "../../src/snapshot/model.js";
import {
  address,
  makeFailure,
  makeInstance,
  makeKey,
  makeOutcome,
  makePool,
  makeRequest,
  makeRows,
  refusalOf,
  ticketOf,
} from "./fixture.js";

const regions = ["weur", "enam", "apac", "auto"] as const;
const pair = [makeInstance("a", 3), makeInstance("b", 1)];
let workspaces = 0;

type World = Awaited<ReturnType<typeof makeWorld>>;

/** A workspace with a shard in each region, the first in weur; `apply` gives a version to some of them. */
async function makeWorld(instances = pair, told: readonly string[] = regions) {
  workspaces += 1;
  const id = `sharded-${workspaces}`;
  const at = (region: string) => routerFor(env, id, region);
  const apply = async (version: number, all: readonly string[], rows?: RouterRows) => {
    const shards = { first: "weur", all: [...all] };
    const made = rows ?? makeRows([makePool("chat", instances)]);
    await Promise.all(all.map((region) => at(region).apply(address(version), { ...made, workspace_id: id, shards })));
  };
  await apply(1, told);
  return { id, at, apply };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Waits until something is so, looking now and then: each look asks all shards, and other tests run beside. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200 && !(await isSo()); tries += 1) {
    await sleep(50);
  }
}

async function statusOf({ at }: World, region: string, id: string): Promise<InstanceState["status"] | undefined> {
  return (await at(region).state("pool-chat")).find((instance) => instance.id === id)?.status;
}

/** Waits until every shard says the same of an instance. */
async function allSay(world: World, id: string, status: InstanceState["status"], where: readonly string[] = regions) {
  const say = () => Promise.all(where.map((region) => statusOf(world, region, id)));
  await until(async () => (await say()).every((said) => said === status));
  return say();
}

/** Calls until instance `a` is met, and has it fail. */
async function cool(world: World, region: string, retryAfterMs: number): Promise<Ticket> {
  for (;;) {
    const ticket = ticketOf(await world.at(region).admit(makeRequest()));
    if (ticket.instance.id === "a") {
      await world.at(region).next(ticket, makeFailure("rate_limit", { status: 429, retry_after_ms: retryAfterMs }));
      return ticket;
    }
  }
}

const price = { input: 0, output: 1_000_000 };
const priced = [makeInstance("a", 1, { prices: price })];
const estimate = { input_tokens: 10, output_tokens: 90, choices: 1 };
const limited = (limits: RouterRows["limits"]) => makeRows([makePool("chat", priced)], [makeKey("k")], { limits });

/** Calls on every shard at once, `each` of them; what was admitted. */
async function storm(world: World, each: number): Promise<readonly (readonly [string, Ticket])[]> {
  const stubs = regions.map((region) => [region, world.at(region)] as const);
  const answers = await Promise.all(
    Array.from({ length: each }, () =>
      stubs.map(async ([region, stub]) => [region, await stub.admit(makeRequest({ estimate }))] as const),
    ).flat(),
  );
  return answers.flatMap(([region, answer]) => (answer.kind === "ticket" ? [[region, answer] as const] : []));
}

describe.concurrent("a cool-down on one shard", () => {
  it("is obeyed by the others at their next pick, and cleared by hand on all of them", async ({ expect }) => {
    const world = await makeWorld();
    await cool(world, "enam", 40_000);
    expect(await allSay(world, "a", "cooling")).toEqual(["cooling", "cooling", "cooling", "cooling"]);
    for (const region of regions) {
      expect(ticketOf(await world.at(region).admit(makeRequest())).instance.id).toBe("b");
    }
    await world.at("apac").clearCooldown("cred-a", "sandbox-chat");
    expect(await allSay(world, "a", "ready")).toEqual(["ready", "ready", "ready", "ready"]);
  });

  it("is the longest that any of them saw", async ({ expect }) => {
    const world = await makeWorld();
    const inFlight = await Promise.all(
      regions.map(async (region) => [region, ticketOf(await world.at(region).admit(makeRequest()))] as const),
    );
    for (const [index, [region, ticket]] of inFlight.entries()) {
      expect(ticket.instance.id).toBe("a");
      await world
        .at(region)
        .next(ticket, makeFailure("rate_limit", { retry_after_ms: [20_000, 90_000, 30_000, 5_000][index] ?? 0 }));
    }
    const ends = async () =>
      (await Promise.all(regions.map((region) => world.at(region).state("pool-chat")))).map(([a]) => a?.cooling_until);
    await until(async () => new Set(await ends()).size === 1);
    const [end] = await ends();
    expect(new Set(await ends()).size).toBe(1);
    expect(Date.parse(end ?? "") - Date.now()).toBeGreaterThan(80_000);
  });

  it("takes a refused credential out everywhere", async ({ expect }) => {
    const world = await makeWorld();
    const ticket = ticketOf(await world.at("auto").admit(makeRequest()));
    await world.at("auto").next(ticket, makeFailure("credential", { status: 401 }));
    expect(await allSay(world, "a", "out")).toEqual(["out", "out", "out", "out"]);
  });

  it("is known to a shard that begins, with its first version", async ({ expect }) => {
    const world = await makeWorld(pair, ["weur", "enam"]);
    await cool(world, "enam", 40_000);
    expect(await allSay(world, "a", "cooling", ["weur", "enam"])).toEqual(["cooling", "cooling"]);
    await world.apply(2, ["weur", "enam", "apac"]);
    expect(await statusOf(world, "apac", "a")).toBe("cooling");
    expect(ticketOf(await world.at("apac").admit(makeRequest())).instance.id).toBe("b");
  });

  it("is told by the alarm to whom it could not be told before the shard died", async ({ expect }) => {
    const world = await makeWorld();
    await cool(world, "enam", 40_000);
    await allSay(world, "a", "cooling");
    await sleep(1_150);
    // As if weur had never heard of it, and enam had died while it could not be reached.
    await runInDurableObject(world.at("weur"), (_, { storage }) => void storage.sql.exec("DELETE FROM cooldowns"));
    await runInDurableObject(world.at("enam"), async (_, { storage }) => {
      storage.sql.exec("INSERT INTO untold (region, item) VALUES ('weur', 'k cred-a sandbox-chat')");
      storage.sql.exec("INSERT INTO due (task, at) VALUES ('tell_siblings', ?)", Date.now() - 1);
      await storage.setAlarm(Date.now() + 60_000);
    });
    await evictDurableObject(world.at("weur"));
    await evictDurableObject(world.at("enam"));
    expect(await statusOf(world, "weur", "a")).toBe("ready");
    await runDurableObjectAlarm(world.at("enam"));
    expect(await allSay(world, "a", "cooling")).toEqual(["cooling", "cooling", "cooling", "cooling"]);
    const untold = () =>
      runInDurableObject(world.at("enam"), (_, { storage }) => storage.sql.exec("SELECT * FROM untold").toArray());
    await until(async () => (await untold()).length === 0);
    expect(await untold()).toEqual([]);
  });
});

describe.concurrent("the probe of a cool-down", () => {
  it("is one in all, of 100 parallel calls on four shards, and its success is everybody's", async ({ expect }) => {
    const world = await makeWorld();
    await cool(world, "apac", 1_500);
    await allSay(world, "a", "cooling");
    await sleep(1_600);
    const stubs = regions.map((region) => [region, world.at(region)] as const);
    const answers = await Promise.all(
      Array.from({ length: 25 }, () =>
        stubs.map(async ([region, stub]) => [region, ticketOf(await stub.admit(makeRequest()))] as const),
      ).flat(),
    );
    const probes = answers.filter(([, ticket]) => ticket.probe);
    expect(probes.map(([, ticket]) => ticket.instance.id)).toEqual(["a"]);
    expect(answers.filter(([, ticket]) => ticket.instance.id === "a")).toHaveLength(1);
    const [[region, probe] = ["", undefined]] = probes;
    if (probe === undefined) {
      throw new Error("nobody probed");
    }
    await world.at(region).committed(probe);
    expect(await allSay(world, "a", "ready")).toEqual(["ready", "ready", "ready", "ready"]);
  });

  it("goes to another shard's call when it ends without evidence, and cools all when it fails", async ({ expect }) => {
    const world = await makeWorld([makeInstance("a")]);
    await cool(world, "enam", 1_000);
    await allSay(world, "a", "cooling");
    await sleep(1_050);
    const first = ticketOf(await world.at("enam").admit(makeRequest()));
    expect(first.probe).toBe(true);
    expect(refusalOf(await world.at("apac").admit(makeRequest())).code).toBe("pool_exhausted");
    expect(refusalOf(await world.at("weur").admit(makeRequest())).code).toBe("pool_exhausted");
    await world.at("enam").settle([makeOutcome(first, "departed")]);
    let second: Ticket | null = null;
    await until(async () => {
      const answer = await world.at("apac").admit(makeRequest());
      second = answer.kind === "ticket" ? answer : null;
      return second !== null;
    });
    expect(second).toMatchObject({ probe: true });
    await world.at("apac").next(second as unknown as Ticket, makeFailure("rate_limit", { retry_after_ms: 60_000 }));
    expect(await allSay(world, "a", "cooling")).toEqual(["cooling", "cooling", "cooling", "cooling"]);
    expect(refusalOf(await world.at("auto").admit(makeRequest())).retry_after_ms).toBeGreaterThan(50_000);
  });

  it("is given back when the call that asked for it may not be made", async ({ expect }) => {
    const world = await makeWorld([makeInstance("a")]);
    const rows = makeRows([makePool("chat", [makeInstance("a")])], [makeKey("k"), makeKey("poor", { rpm: 1 })]);
    await world.apply(2, regions, rows);
    const poor = { key_digest: "digest-poor" };
    await world.at("enam").admit(makeRequest(poor));
    await cool(world, "enam", 1_000);
    await allSay(world, "a", "cooling");
    await sleep(1_050);
    expect(refusalOf(await world.at("enam").admit(makeRequest(poor))).code).toBe("rate_limited");
    let ticket: Ticket | null = null;
    await until(async () => {
      const answer = await world.at("auto").admit(makeRequest());
      ticket = answer.kind === "ticket" ? answer : null;
      return ticket !== null;
    });
    expect(ticket).toMatchObject({ probe: true });
  });
});

describe.concurrent("the workspace's limits", () => {
  it("hold requests per minute over four shards, and leave little of them unused", async ({ expect }) => {
    const world = await makeWorld(priced);
    await world.apply(
      2,
      regions,
      limited({ rpm: 60, tpm: null, concurrent: null, budget: { day: null, month: null } }),
    );
    const admitted = await storm(world, 40);
    expect(admitted.length).toBeLessThanOrEqual(60);
    expect(admitted.length).toBeGreaterThanOrEqual(36);
    expect(new Set(admitted.map(([region]) => region)).size).toBe(4);
    // What this shard has left of its last lease may still be used.
    let last = await world.at("apac").admit(makeRequest({ estimate }));
    for (let more = admitted.length + 1; last.kind === "ticket"; more += 1) {
      expect(more).toBeLessThanOrEqual(60);
      last = await world.at("apac").admit(makeRequest({ estimate }));
    }
    expect(last).toMatchObject({ code: "rate_limited", limit: { scope: "workspace", name: "rpm", limit: 60 } });
    expect(last.retry_after_ms).toBeGreaterThan(40_000);
  });

  it("hold calls under way, tokens and tools, too, and take back what nobody uses", async ({ expect }) => {
    const world = await makeWorld(priced);
    await world.apply(
      2,
      regions,
      limited({ rpm: null, tpm: 30_000, concurrent: 10, budget: { day: null, month: null } }),
    );
    const admitted = await storm(world, 6);
    expect(admitted.length).toBeLessThanOrEqual(10);
    expect(admitted.length).toBeGreaterThanOrEqual(8);
    for (const [region, ticket] of admitted) {
      await world.at(region).settle([makeOutcome(ticket)]);
    }
    // What other shards leased for calls that have ended goes back when it is not used.
    let all = 0;
    await until(async () => {
      const stub = world.at("weur");
      const answers = await Promise.all(Array.from({ length: 10 - all }, () => stub.admit(makeRequest({ estimate }))));
      all += answers.filter((answer) => answer.kind === "ticket").length;
      return all === 10;
    });
    expect(all).toBe(10);
    const over = refusalOf(await world.at("enam").admit(makeRequest({ estimate })));
    expect(over).toMatchObject({ code: "concurrency_limited", limit: { scope: "workspace", limit: 10 } });
  });

  it("keep nothing that a call left over from the others while a shard's calls are refused", async ({ expect }) => {
    const world = await makeWorld(priced);
    await world.apply(
      2,
      regions,
      limited({ rpm: null, tpm: null, concurrent: null, budget: { day: 300, month: null } }),
    );
    const tenants = ["enam", "apac", "auto"];
    for (const region of tenants) {
      const ticket = ticketOf(await world.at(region).admit(makeRequest({ estimate })));
      await world.at(region).settle([{ ...makeOutcome(ticket), usage: { prompt_tokens: 10, completion_tokens: 60 } }]);
    }
    // 120 are left, a call may cost 90, and each shard has some 30 of it.
    let ticket: Ticket | null = null;
    await until(async () => {
      for (const region of tenants) {
        const answer = await world.at(region).admit(makeRequest({ estimate }));
        ticket ??= answer.kind === "ticket" ? answer : null;
      }
      return ticket !== null;
    });
    expect(ticket).not.toBeNull();
  });

  it("cost a workspace of one shard no call to another", async ({ expect }) => {
    const world = await makeWorld(priced, ["weur"]);
    const shards = { first: "weur", all: ["weur"] };
    const rows = limited({ rpm: 5, tpm: null, concurrent: null, budget: { day: null, month: null } });
    await world.at("weur").apply(address(2), { ...rows, workspace_id: world.id, shards });
    const answers = await Promise.all(
      Array.from({ length: 9 }, () => world.at("weur").admit(makeRequest({ estimate }))),
    );
    expect(answers.filter((answer) => answer.kind === "ticket")).toHaveLength(5);
    const leases = await runInDurableObject(world.at("weur"), (_, { storage }) =>
      storage.sql.exec("SELECT * FROM leases").toArray(),
    );
    expect(leases).toEqual([]);
  });
});

// It ends the objects of every test, so nothing else may run.
describe("a crash of all shards", () => {
  it("has the probe granted by a first shard that has just died, and by nobody twice", async ({ expect }) => {
    const world = await makeWorld([makeInstance("a")]);
    await cool(world, "enam", 1_200);
    await allSay(world, "a", "cooling");
    await sleep(1_250);
    await abortAllDurableObjects();
    const answers = await Promise.all(
      regions.map(async (region) => {
        const stub = world.at(region);
        return await stub.admit(makeRequest());
      }),
    );
    expect(answers.filter((answer) => answer.kind === "ticket").length).toBe(1);
  });

  it("passes no budget of the workspace, with what calls really cost", async ({ expect }) => {
    const world = await makeWorld(priced);
    // Each call may cost 90 micro-dollars.
    const budget = { day: 9_000, month: null };
    await world.apply(2, regions, limited({ rpm: null, tpm: null, concurrent: null, budget }));
    let spent = 0;
    for (let round = 0; round < 6; round += 1) {
      const admitted = await storm(world, 12);
      const byRegion = Map.groupBy(admitted, ([region]) => region);
      for (const [region, calls] of byRegion) {
        const usage = { prompt_tokens: 10, completion_tokens: 60 };
        spent += calls.length * 60;
        await world.at(region).settle(calls.map(([, ticket]) => ({ ...makeOutcome(ticket), usage })));
      }
      if (round === 1) {
        await sleep(1_150);
        await abortAllDurableObjects();
      }
    }
    expect(spent).toBeLessThanOrEqual(9_000);
    expect(spent).toBeGreaterThan(6_000);
    const answers = await Promise.all(regions.map((region) => world.at(region).admit(makeRequest({ estimate }))));
    const refusal = answers.find((answer) => answer.kind === "refused" && answer.limit !== undefined);
    expect(refusal).toMatchObject({
      code: "budget_exhausted",
      limit: { scope: "workspace", name: "day", limit: 9_000 },
    });
  });
});
