/** Requests made from the served contract, good, nearly good and hostile, to every operation of a running server, by everybody who may try. */
import { randomInt } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { parseEnv } from "node:util";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { connect, expectOk } from "./support/client.ts";
import { deep } from "./support/deep.ts";
import { buildChecker } from "./support/fuzz/check.ts";
import { fetchContract } from "./support/fuzz/document.ts";
import { fire, type Range } from "./support/fuzz/fire.ts";
import { anyPlan, goodPlan, type Plan } from "./support/fuzz/generate.ts";
import { type Helper, startHelper } from "./support/fuzz/helper.ts";
import { unreachable } from "./support/fuzz/reasons.ts";
import { dumpRows } from "./support/fuzz/record.ts";
import { openSender } from "./support/fuzz/send.ts";
import { buildWorld, type World } from "./support/fuzz/world.ts";
import { findWorkerUrl } from "./support/processes.ts";
import { outputFile } from "./support/server.ts";

const url = inject("serverUrl");
const state = inject("serverState");

const runs = deep(300, 21_000);
/** Requests under way at once. A failure is repeated by one lane alone, with the seed and the path that are printed. */
const lanes = 3;
const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31)) | 0;
const repeated = process.env["FUZZ_PATH"];
const howToRepeat =
  "\nTo repeat it: SEED=<seed> FUZZ_PATH=<path> npx vitest run --config vitest.e2e.config.ts e2e/fuzz.test.ts";
const timeout = deep(180_000, 3_400_000);

let helper: Helper;
let world: World;
let range: Range;
let neighbourBefore: string;
let logStart: number;

beforeAll(async () => {
  logStart = statSync(outputFile(state)).size;
  helper = await startHelper(inject("upstreamPorts")[4] ?? 0);
  const door = await findWorkerUrl(state, url);
  world = await buildWorld({
    url,
    door,
    sessionToken: inject("sessionToken"),
    helper: helper.origin,
    people: deep(12, 80),
  });
  // The cron seals what the audit logs hold so far.
  await fetch(`${url}/cdn-cgi/local/scheduled?cron=${encodeURIComponent("* * * * *")}`);
  const contract = await fetchContract(url);
  const sender = openSender(door);
  range = { contract, world, sender, tally: new Map(), check: buildChecker(contract, world, allSecrets()) };
  neighbourBefore = dumpRows(state, world.neighbourIds);
});

afterAll(async () => {
  range.sender.close();
  await helper.stop();
});

/** The world's, and all that the server was started with: each entry of a keyring by itself. */
function allSecrets(): string[] {
  const vars = parseEnv(readFileSync(path.join(state, "vars"), "utf8"));
  return [...world.secrets, ...Object.values(vars).flatMap((value) => value?.match(/[\w-]{40,}/g) ?? [])];
}

/** What each lane runs. */
function lots(): fc.Parameters<[Plan]>[] {
  return repeated === undefined
    ? Array.from({ length: lanes }, (_, lane) => ({ numRuns: Math.ceil(runs / lanes), seed: seed + lane }))
    : [{ seed, path: repeated, endOnFailure: true }];
}

let done = 0;

/** A line now and then, for who waits for the deep form. */
function tellProgress(): void {
  done += 1;
  if (done % 1_000 === 0) {
    console.log(`${done} requests`);
  }
}

function printTally(): void {
  const lines = [...range.tally].map(([operation, statuses]) => {
    const counts = [...statuses].toSorted(([a], [b]) => a - b).map(([status, count]) => `${status}×${count}`);
    return `${operation}: ${counts.join(" ")}`;
  });
  const sent = [...range.tally.values()].flatMap((statuses) => [...statuses.values()]).reduce((a, b) => a + b, 0);
  console.log(`${sent} requests, seed ${seed}\n${lines.join("\n")}`);
}

describe("every operation of the contract", () => {
  it("succeeds for who may do it", { timeout }, async ({ expect }) => {
    const failed: string[] = [];
    for (const operation of range.contract.operations) {
      const [plan] = fc.sample(goodPlan(range.contract, operation), { numRuns: 1, seed });
      const status = plan === undefined ? 0 : await fire(range, plan);
      if (status >= 300 !== Object.hasOwn(unreachable, operation.id)) {
        failed.push(`${operation.id} answers ${status}`);
      }
    }
    expect(failed).toEqual([]);
  });

  it("holds to the contract and to what is whose, whatever it is sent", { timeout }, async ({ expect }) => {
    const holds = fc.asyncProperty(anyPlan(range.contract), async (plan) => {
      await fire(range, plan);
      tellProgress();
    });
    const settled = await Promise.all(lots().map((lot) => fc.check(holds, lot)));
    printTally();
    for (const details of settled) {
      const told = `${String(details.errorInstance)}\n${fc.defaultReportMessage(details) ?? ""}${howToRepeat}`;
      expect(details.failed, told).toBe(false);
    }
  });
});

describe("after all that", () => {
  it("the workspace next door is as it was, and works", async ({ expect }) => {
    expect(neighbourBefore).toContain(world.canaries.neighbour[0]);
    expect(dumpRows(state, world.neighbourIds)).toBe(neighbourBefore);
    expectOk(await world.neighbour.call("GET", ""));
    const body = { model: "chat", messages: [{ role: "user", content: "Say hello." }] };
    expectOk(await connect(url, world.neighbour.key)("POST", "/v1/chat/completions", body));
  });

  it("the log holds no secret, and tells of nothing that failed inside", ({ expect }) => {
    const log = readFileSync(outputFile(state)).subarray(logStart).toString("utf8");
    expect(log).toContain('"event":"request"');
    expect(allSecrets().filter((secret) => log.includes(secret))).toEqual([]);
    const failures = log.split("\n").filter((line) => /"level":"error"|Uncaught|unhandled/i.test(line));
    expect(failures).toEqual([]);
  });
});
