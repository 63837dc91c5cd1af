/** Where calls go, counted from outside: exact shares, the way round a broken instance, and one probe after a cool-down. */
import { setTimeout as sleep } from "node:timers/promises";
import type OpenAI from "openai";
import { APIError } from "openai";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { makeTeam, type Team } from "./support/client.ts";
import { deep } from "./support/deep.ts";
import { answerJson, completion, startWire, type Wire } from "./support/wire.ts";

const hello = [{ role: "user" as const, content: "Say hello" }];

let team: Team;
let client: OpenAI;
let wire: Wire;

beforeAll(async () => {
  team = await makeTeam(inject("serverUrl"), inject("sessionToken"), "Routing");
  client = await team.openai();
  wire = await startWire(inject("upstreamPorts")[3] ?? 0, (response) => answerJson(response, 200, completion("wire")));
});

afterAll(() => wire.stop());

/** One call; who answered, and after how many attempts. Throws as the SDK throws. */
async function ask(model: string): Promise<{ readonly alias: string; readonly attempts: number }> {
  const { response } = await client.chat.completions.create({ model, messages: hello }).withResponse();
  const alias = response.headers.get("x-gatehouse-instance") ?? "nobody";
  return { alias, attempts: Number(response.headers.get("x-gatehouse-attempts")) };
}

function longestRun(aliases: readonly string[], alias: string): number {
  let longest = 0;
  let run = 0;
  for (const seen of aliases) {
    run = seen === alias ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

describe("a weighted pool", () => {
  it("shares sequential calls at 3:1 exactly, never four in a row, off by less than one at every call", async ({
    expect,
  }) => {
    const total = deep(400, 4000);
    await team.addPool("shared", [await team.addSandbox("three", "ok-3", 3), await team.addSandbox("one", "ok-1", 1)]);
    const aliases: string[] = [];
    for (let n = 1; n <= total; n += 1) {
      aliases.push((await ask("shared")).alias);
      const three = aliases.filter((alias) => alias === "three").length;
      expect(Math.abs(three - (n * 3) / 4), `after ${n} calls`).toBeLessThan(1);
    }
    const counts = Map.groupBy(aliases, (alias) => alias);
    expect(counts.get("three")).toHaveLength((total * 3) / 4);
    expect(counts.get("one")).toHaveLength(total / 4);
    expect(longestRun(aliases, "three")).toBeLessThanOrEqual(3);
    expect(longestRun(aliases, "one")).toBe(1);
    const settled = [
      { alias: "three", picks: (total * 3) / 4, share: 0.75, in_flight: 0, failures: 0 },
      { alias: "one", picks: total / 4, share: 0.25, in_flight: 0, failures: 0 },
    ];
    // The last calls settle a moment after their answers.
    await expect.poll(() => team.poolState("shared"), { timeout: 5_000, interval: 100 }).toMatchObject(settled);
  });

  it("answers 40 of 40 calls while one of two instances answers 500", async ({ expect }) => {
    await team.addPool("half", [await team.addSandbox("bad", "500"), await team.addSandbox("good", "ok")]);
    const answers = [];
    for (let n = 0; n < 40; n += 1) {
      answers.push(await ask("half"));
    }
    expect(answers.filter(({ alias }) => alias === "good")).toHaveLength(40);
    // The bad one was really tried, and by few: it cools down.
    expect(answers.some(({ attempts }) => attempts === 2)).toBe(true);
    expect((await team.poolState("half")).find(({ alias }) => alias === "bad")).toMatchObject({ status: "cooling" });
  });

  it("answers 40 of 40 parallel calls too, when nobody knows yet that the instance is broken", async ({ expect }) => {
    wire.play((response) => answerJson(response, 500, { error: { message: "boom", type: "server_error" } }));
    await team.addPool("storm", [await team.addServer("broken", wire.baseUrl), await team.addSandbox("fine", "ok")]);
    const before = wire.calls();
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask("storm")));
    expect(answers.filter(({ alias }) => alias === "fine")).toHaveLength(40);
    expect(wire.calls()).toBeGreaterThan(before);
  });
});

describe("an instance that answers 429 with Retry-After: 5", () => {
  it("is left alone until then, gets exactly one probe, and serves again after it", async ({ expect }) => {
    wire.play((response) => answerJson(response, 429, { error: { message: "slow down" } }, { "retry-after": "5" }));
    await team.addPool("limited", [await team.addServer("tired", wire.baseUrl), await team.addSandbox("fresh", "ok")]);
    const start = wire.calls();
    const reached = (): number => wire.calls() - start;
    let askedAt = 0;
    for (let n = 0; n < 4 && reached() === 0; n += 1) {
      askedAt = Date.now();
      expect((await ask("limited")).alias).toBe("fresh");
    }
    const heardAt = Date.now();
    expect(reached()).toBe(1);

    const storm = await Promise.all(Array.from({ length: 100 }, () => ask("limited")));
    expect(storm.every(({ alias }) => alias === "fresh")).toBe(true);
    while (Date.now() < askedAt + 4_800) {
      expect((await ask("limited")).alias).toBe("fresh");
      await sleep(20);
    }
    expect(reached()).toBe(1);

    const gate = Promise.withResolvers<void>();
    wire.play(async (response) => {
      await gate.promise;
      answerJson(response, 200, completion("back"));
    });
    await sleep(heardAt + 5_050 - Date.now());
    let others = 0;
    const calls = Array.from({ length: 100 }, () =>
      ask("limited").then((answer) => {
        others += answer.alias === "fresh" ? 1 : 0;
        return answer;
      }),
    );
    // The probe stays unanswered until all the others have their answers, so each of them chose while it ran.
    await expect.poll(() => others, { timeout: 30_000 }).toBe(99);
    expect(reached()).toBe(2);
    gate.resolve();
    const answers = await Promise.all(calls);
    expect(answers.filter(({ alias }) => alias === "tired")).toHaveLength(1);
    expect(answers.every(({ attempts }) => attempts === 1)).toBe(true);

    const statuses = async (): Promise<string[]> => (await team.poolState("limited")).map(({ status }) => status);
    await expect.poll(statuses, { timeout: 5_000, interval: 50 }).toEqual(["ready", "ready"]);
    for (let n = 0; n < 10; n += 1) {
      await ask("limited");
    }
    // No burst to make up for the time away: half of the calls, give or take the bound of three.
    expect(reached() - 2).toBeGreaterThanOrEqual(2);
    expect(reached() - 2).toBeLessThanOrEqual(8);
  });

  it("refuses truthfully when it is the only one, and never earlier than it said", async ({ expect }) => {
    wire.play((response) => answerJson(response, 429, { error: { message: "slow down" } }, { "retry-after": "5" }));
    await team.addPool("alone", [await team.addServer("only", wire.baseUrl)]);
    const start = wire.calls();
    await expect(ask("alone")).rejects.toMatchObject({ status: 429 });
    const refusal: unknown = await ask("alone").catch((error: unknown) => error);
    expect(refusal).toMatchObject({ status: 503, code: "pool_exhausted" });
    const waitS = Number(refusal instanceof APIError ? refusal.headers?.get("retry-after") : Number.NaN);
    expect(waitS).toBeGreaterThanOrEqual(3);
    expect(waitS).toBeLessThanOrEqual(5);
    expect(wire.calls() - start).toBe(1);
  });
});
