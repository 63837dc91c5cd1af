import * as fc from "fast-check";
import { describe, it } from "vitest";
import {
  cooldownKey,
  createCooldowns,
  dueAt,
  failCall,
  isProbing,
  leaseProbe,
  releaseProbe,
  restoreCredential,
  succeedCall,
  type CallSite,
  type Cooldowns,
} from "../../src/routing/cooldown.js";
import type { Failure, FailureClass } from "../../src/routing/model.js";
import { deep, seed } from "../support/deep.js";
import { makeFailure } from "./fixture.js";

const key = cooldownKey("cred-a", "m");

function makeSite(requestId: string, issuedAt: number): CallSite {
  return { key, credential_id: "cred-a", request_id: requestId, issued_at: issuedAt };
}

/** Fails a call that began a millisecond ago; answers how long the instance cools from now. */
function fail(cooldowns: Cooldowns, failure: Failure, now: number, issuedAt = now - 1): number {
  failCall(cooldowns, makeSite(`r${now}`, issuedAt), failure, false, null, now);
  return (cooldowns.entries.get(key)?.until ?? now) - now;
}

function hinted(failureClass: FailureClass, hint: number): number {
  return fail(createCooldowns(), makeFailure(failureClass, { retry_after_ms: hint }), 1_000_000);
}

/** Lengths of rounds that each fail at their probe. */
function rounds(failure: Failure, count: number): number[] {
  const cooldowns = createCooldowns();
  let now = 1_000_000;
  return Array.from({ length: count }, () => {
    const length = fail(cooldowns, failure, now);
    now += length + 10;
    return length / 1_000;
  });
}

describe("cool-down", () => {
  it.for<[FailureClass, number[]]>([
    ["rate_limit", [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]],
    ["quota", [600, 1_200, 2_400, 4_800, 9_600, 19_200, 21_600]],
    ["model_missing", [600, 600, 600]],
    ["transient", [10, 20, 40, 80, 160, 300, 300]],
    ["overloaded", [10, 20, 40, 80, 160, 300, 300]],
  ])("of %s lasts as the table says, doubling to its ceiling", ([failureClass, seconds], { expect }) => {
    expect(rounds(makeFailure(failureClass), seconds.length)).toEqual(seconds);
  });

  it("takes the provider's own time for rate limit and overload, between 1 s and 1 h, and for nothing else", ({
    expect,
  }) => {
    expect(hinted("rate_limit", 5_000)).toBe(5_000);
    expect(hinted("rate_limit", 1)).toBe(1_000);
    expect(hinted("rate_limit", 90_000_000)).toBe(3_600_000);
    expect(hinted("overloaded", 2_500)).toBe(2_500);
    expect(hinted("quota", 5_000)).toBe(600_000);
    expect(hinted("transient", 90_000)).toBe(10_000);
  });

  it("counts a hundred calls in flight that fail together as one event", ({ expect }) => {
    const cooldowns = createCooldowns();
    for (let call = 0; call < 100; call += 1) {
      fail(cooldowns, makeFailure("transient"), 1_000_000 + call, 999_000 + call);
    }
    expect(cooldowns.entries.get(key)).toMatchObject({ since: 1_000_000, until: 1_010_000, streak: 0 });
  });

  it("is not ended by a success that began before it", ({ expect }) => {
    const cooldowns = createCooldowns();
    fail(cooldowns, makeFailure("rate_limit"), 1_000_000);
    succeedCall(cooldowns, makeSite("early", 999_000));
    expect(cooldowns.entries.has(key)).toBe(true);
    succeedCall(cooldowns, makeSite("probe", 1_060_000));
    expect(cooldowns.entries.has(key)).toBe(false);
  });

  it("is ended by a probe whose request was at fault itself", ({ expect }) => {
    const cooldowns = createCooldowns();
    fail(cooldowns, makeFailure("rate_limit"), 1_000_000);
    failCall(cooldowns, makeSite("probe", 1_060_000), makeFailure("caller_fault"), false, null, 1_060_100);
    expect(cooldowns.entries.has(key)).toBe(false);
  });

  it("passes a probe on when its caller leaves or its lease ends, and doubles nothing", ({ expect }) => {
    const cooldowns = createCooldowns();
    fail(cooldowns, makeFailure("rate_limit"), 1_000_000);
    leaseProbe(cooldowns, key, "first", 1_080_000);
    const entry = cooldowns.entries.get(key);
    expect(entry !== undefined && isProbing(entry, 1_061_000)).toBe(true);
    releaseProbe(cooldowns, { key, request_id: "somebody else" });
    expect(entry !== undefined && isProbing(entry, 1_061_000)).toBe(true);
    releaseProbe(cooldowns, { key, request_id: "first" });
    expect(entry !== undefined && dueAt(entry, 1_061_000)).toBe(1_060_000);
    leaseProbe(cooldowns, key, "second", 1_080_000);
    expect(entry !== undefined && dueAt(entry, 1_079_999)).toBe(1_080_000);
    expect(entry !== undefined && dueAt(entry, 1_080_000)).toBe(1_060_000);
    expect(entry?.streak).toBe(0);
  });

  it("of a second instance waits until another request confirms the failure within a minute", ({ expect }) => {
    const cooldowns = createCooldowns();
    const poison = makeFailure("transient", { timed_out: true });
    expect(failCall(cooldowns, makeSite("a", 1_000), poison, true, null, 2_000)).toBe(false);
    expect(failCall(cooldowns, makeSite("a", 1_000), poison, true, null, 3_000)).toBe(false);
    expect(cooldowns.entries.has(key)).toBe(false);
    expect(failCall(cooldowns, makeSite("b", 1_000), poison, true, null, 62_001)).toBe(false);
    expect(failCall(cooldowns, makeSite("c", 1_000), poison, true, null, 62_002)).toBe(true);
    expect(cooldowns.entries.has(key)).toBe(true);
  });

  it("does not spare an instance from its own rate limit because the request has cooled another", ({ expect }) => {
    const cooldowns = createCooldowns();
    expect(failCall(cooldowns, makeSite("a", 1_000), makeFailure("rate_limit"), true, null, 2_000)).toBe(true);
    expect(cooldowns.entries.has(key)).toBe(true);
  });

  it("of a refused credential ends only by a validation later than the refusal", ({ expect }) => {
    const cooldowns = createCooldowns();
    failCall(cooldowns, makeSite("a", 1_000), makeFailure("credential"), false, 500, 2_000);
    restoreCredential(cooldowns, "cred-a", 2_000);
    expect(cooldowns.outs.has("cred-a")).toBe(true);
    // Another call of the same moment, refused after the validation ran, must not shut the door again.
    failCall(cooldowns, makeSite("b", 1_900), makeFailure("credential"), false, 500, 3_500);
    restoreCredential(cooldowns, "cred-a", 3_000);
    expect(cooldowns.outs.has("cred-a")).toBe(false);
    failCall(cooldowns, makeSite("c", 2_500), makeFailure("credential"), false, 3_000, 4_000);
    expect(cooldowns.outs.has("cred-a")).toBe(false);
  });

  it("never gets shorter, whatever fails, leaves or reports late, until a later call succeeds", ({ expect }) => {
    const event = fc.record({
      pause: fc.integer({ min: 0, max: 90_000 }),
      age: fc.integer({ min: 0, max: 120_000 }),
      what: fc.constantFrom("fail", "fail", "succeed", "depart", "lease"),
      failureClass: fc.constantFrom<FailureClass>(
        "rate_limit",
        "quota",
        "model_missing",
        "transient",
        "overloaded",
        "credential",
      ),
      hint: fc.option(fc.integer({ min: 0, max: 5_000_000 })),
      who: fc.constantFrom("a", "b", "c"),
      blamed: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60, size: "max" }), (events) => {
        const cooldowns = createCooldowns();
        let now = 1_000_000;
        for (const { age, blamed, failureClass, hint, pause, what, who } of events) {
          now += pause;
          const site = makeSite(who, now - age);
          const before = { ...cooldowns.entries.get(key) };
          const due = before.until ?? 0;
          if (what === "fail") {
            failCall(cooldowns, site, makeFailure(failureClass, { retry_after_ms: hint }), blamed, null, now);
          } else if (what === "succeed") {
            succeedCall(cooldowns, site);
          } else if (what === "depart") {
            releaseProbe(cooldowns, site);
          } else if (
            dueAt(cooldowns.entries.get(key) ?? { since: 0, until: 0, reason: "quota", streak: 0, lease: null }, now) <=
            now
          ) {
            leaseProbe(cooldowns, key, who, now + 20_000);
          }
          const after = cooldowns.entries.get(key);
          if (after === undefined) {
            expect(before.since === undefined || (what === "succeed" && site.issued_at > before.since)).toBe(true);
          } else {
            expect(after.until).toBeGreaterThanOrEqual(due);
            expect(after.streak - (before.streak ?? 0)).toBeLessThanOrEqual(what === "fail" ? 1 : 0);
          }
        }
      }),
      { numRuns: deep(500, 50_000), seed: seed() },
    );
  });
});
