import * as fc from "fast-check";
import { describe, it } from "vitest";
import { clearCooldown, createCooldowns, failCall, type Cooldowns } from "../../src/routing/cooldown.js";
import {
  createSpread,
  endTelling,
  gatherNews,
  placeShards,
  receiveNews,
  takeNews,
  type News,
} from "../../src/routing/spread.js";
import { deep, seed } from "../support/deep.js";
import { makeFailure } from "./fixture.js";

const regions = ["weur", "enam", "apac"];
const key = "cred-a model";
const start = 1_800_000_000_000;

/** Shards that see things of their own, and news that arrives late, twice and in any order. */
function makeShards() {
  return regions.map((own) => {
    const spread = { ...createSpread(), own };
    const cooldowns = createCooldowns();
    placeShards(spread, cooldowns, { first: "weur", all: regions });
    return { spread, cooldowns };
  });
}

const events = fc.record({
  shard: fc.nat({ max: 2 }),
  kind: fc.constantFrom("fail", "fail", "refuse"),
  issuedBefore: fc.integer({ min: 1, max: 30_000 }),
  hint: fc.integer({ min: 1_000, max: 600_000 }),
  passed: fc.integer({ min: 1, max: 4_000 }),
});

describe("news among shards", () => {
  it("leave all with the same cool-downs, however they arrive, and are told no further", ({ expect }) => {
    let cooled = 0;
    fc.assert(
      fc.property(fc.array(events, { maxLength: 12 }), fc.infiniteStream(fc.nat({ max: 1_000 })), (taken, dice) => {
        const shards = makeShards();
        const network: { readonly to: Cooldowns; readonly news: readonly News[] }[] = [];
        let now = start;
        for (const { hint, issuedBefore, kind, passed, shard: index } of taken) {
          now += passed;
          const shard = shards[index];
          const site = { key, credential_id: "cred-a", request_id: `r${now}`, issued_at: now - issuedBefore };
          if (shard === undefined) {
            continue;
          }
          const failure = makeFailure(kind === "fail" ? "rate_limit" : "credential", { retry_after_ms: hint });
          failCall(shard.cooldowns, site, failure, false, null, now);
          gatherNews(shard.spread, shard.cooldowns);
          for (const [region, sibling] of shard.spread.siblings) {
            const to = shards[regions.indexOf(region)]?.cooldowns;
            const news = takeNews(sibling, shard.cooldowns, 10, now);
            const isLost = (dice.next().value ?? 0) % 4 === 0;
            endTelling(sibling, !isLost);
            if (to !== undefined) {
              network.push(...Array.from({ length: isLost ? 0 : 2 }, () => ({ to, news })));
            }
          }
        }
        while (network.length > 0) {
          const [one] = network.splice((dice.next().value ?? 0) % network.length, 1);
          receiveNews(one?.to ?? createCooldowns(), one?.news ?? [], () => null, now);
        }
        // What was lost is told again as it stands, until everybody knows it.
        for (const { cooldowns, spread } of shards) {
          expect([cooldowns.changed.size, cooldowns.changed_outs.size]).toEqual([0, 0]);
          for (const [region, sibling] of spread.siblings) {
            receiveNews(
              shards[regions.indexOf(region)]?.cooldowns ?? createCooldowns(),
              takeNews(sibling, cooldowns, 10, now),
              () => null,
              now,
            );
            endTelling(sibling, true);
          }
        }
        const untils = shards
          .map(({ cooldowns }) => cooldowns.entries.get(key)?.until ?? 0)
          .filter((until) => until > now);
        cooled += untils.length > 0 ? 1 : 0;
        expect(
          shards.map(({ cooldowns }) => [...cooldowns.outs.keys()]).filter((outs) => outs.length > 0).length % 3,
        ).toBe(0);
        return untils.length === 0 || (untils.length === 3 && new Set(untils).size === 1);
      }),
      { numRuns: deep(300, 20_000), seed: seed() },
    );
    expect(cooled).toBeGreaterThan(0);
  });

  it("do not bring a cool-down back that is known to be over", ({ expect }) => {
    const [one, other] = makeShards();
    if (one === undefined || other === undefined) {
      throw new Error("there are three");
    }
    const site = { key, credential_id: "cred-a", request_id: "r", issued_at: start };
    const failure = makeFailure("rate_limit", { retry_after_ms: 60_000 });
    const tell = (now: number) => {
      gatherNews(one.spread, one.cooldowns);
      const sibling = one.spread.siblings.get("enam");
      return sibling === undefined ? [] : takeNews(sibling, one.cooldowns, 10, now);
    };
    failCall(one.cooldowns, site, failure, false, null, start + 5);
    const began = tell(start + 5);
    clearCooldown(one.cooldowns, key, start + 10);
    const ended = tell(start + 10);
    const receive = (news: readonly News[]) => receiveNews(other.cooldowns, news, () => null, start + 20);
    receive(ended);
    receive(began);
    expect(other.cooldowns.entries.size).toBe(0);
    failCall(one.cooldowns, { ...site, issued_at: start + 11 }, failure, false, null, start + 15);
    receive(tell(start + 15));
    expect(other.cooldowns.entries.get(key)?.until).toBe(start + 60_015);
  });
});
