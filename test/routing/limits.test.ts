import * as fc from "fast-check";
import { describe, it } from "vitest";
import { countEvent, createWindow, describeWindow, waitForSlotMs } from "../../src/routing/limits.js";
import { packWindow, unpackWindow } from "../../src/routing/ledger-rows.js";
import { deep, seed } from "../support/deep.js";

describe("request window", () => {
  it("never lets more than the limit into any 60 s, admits whatever fits, and tells the wait truly", ({ expect }) => {
    const steps = fc.array(fc.integer({ min: 0, max: 9_000 }), { minLength: 1, maxLength: 300, size: "max" });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), steps, (limit, pauses) => {
        const window = createWindow();
        const admitted: number[] = [];
        let now = 1_790_000_000_000;
        for (const pause of pauses) {
          now += pause;
          const counting = admitted.filter((time) => time > now - 60_000).length;
          const waitMs = waitForSlotMs(window, limit, now);
          expect(waitMs === 0).toBe(counting < limit);
          if (waitMs > 0) {
            expect(waitForSlotMs(structuredClone(window), limit, now + waitMs - 1)).toBe(1);
            expect(waitForSlotMs(structuredClone(window), limit, now + waitMs)).toBe(0);
          } else {
            countEvent(window, limit, now);
            admitted.push(now);
          }
          expect(describeWindow(window, limit, now).remaining).toBe(
            limit - admitted.filter((time) => time > now - 60_000).length,
          );
        }
      }),
      { numRuns: deep(100, 3_000), seed: seed() },
    );
  });

  it("holds a limit of a million in a bounded window and never passes it", ({ expect }) => {
    const window = createWindow();
    const limit = 20_000;
    let admitted = 0;
    for (let now = 3; now < 59_999; now += 1) {
      if (waitForSlotMs(window, limit, now) === 0) {
        countEvent(window, limit, now);
        admitted += 1;
      }
    }
    expect(admitted).toBe(limit);
    expect(window.times.length).toBeLessThanOrEqual(6_001);
    // The events of 3 to 10 ms share a slot, and leave with the last of them.
    expect(waitForSlotMs(window, limit, 59_999)).toBe(11);
    for (let event = 0; event < 100_000; event += 1) {
      countEvent(window, 1_000_000, 60_000 + event);
    }
    expect(window.times.length).toBeLessThanOrEqual(16_001);
  });

  it("waits for as many to leave as a lowered limit asks", ({ expect }) => {
    const window = createWindow();
    for (const at of [0, 10, 20, 30]) {
      countEvent(window, 10, at);
    }
    expect(waitForSlotMs(window, 2, 100)).toBe(60_020 - 100);
    expect(describeWindow(window, 10, 100)).toEqual({ limit: 10, remaining: 6, reset_ms: 59_930 });
  });

  it("comes back from its row as it was", ({ expect }) => {
    const window = createWindow();
    for (const at of [1_790_000_000_000, 1_790_000_000_000, 1_790_000_000_007, 1_790_000_059_000]) {
      countEvent(window, 100, at);
    }
    const { slots, start } = packWindow(window);
    expect(unpackWindow(start, slots)).toEqual(window);
  });
});
