import * as fc from "fast-check";
import { describe, it } from "vitest";
import { addSpend, createSpend, spanLeftMs, spanStart } from "../../src/routing/spend.js";
import { deep, seed } from "../support/deep.js";

const dayMs = 86_400_000;
const moment = fc.date({ min: new Date("2024-01-01"), max: new Date("2032-12-31"), noInvalidDate: true });

describe("spans of a budget", () => {
  it("begin and turn with the UTC day and month, in whatever order moments are asked for", ({ expect }) => {
    fc.assert(
      fc.property(fc.array(moment, { minLength: 1, maxLength: 8 }), (dates) => {
        for (const date of dates) {
          const now = date.getTime();
          const iso = date.toISOString();
          expect(new Date(spanStart("day", now)).toISOString()).toBe(`${iso.slice(0, 10)}T00:00:00.000Z`);
          expect(new Date(spanStart("month", now)).toISOString()).toBe(`${iso.slice(0, 7)}-01T00:00:00.000Z`);
          expect(spanStart("day", now + spanLeftMs("day", now))).toBe(spanStart("day", now) + dayMs);
          const turn = now + spanLeftMs("month", now);
          expect([spanStart("month", turn), spanStart("month", turn - 1)]).toEqual([turn, spanStart("month", now)]);
        }
      }),
      { numRuns: deep(50, 5_000), seed: seed() },
    );
  });

  it("forget what was spent when they turn, each at its own time, and never when a clock steps back", ({ expect }) => {
    const spend = createSpend();
    const at = Date.UTC(2026, 10, 29, 23, 59);
    addSpend(spend, 10, at);
    addSpend(spend, 5, at - dayMs);
    expect([spend.day.spent, spend.month.spent]).toEqual([15, 15]);
    addSpend(spend, 1, at + 60_000);
    expect([spend.day.spent, spend.month.spent]).toEqual([1, 16]);
    addSpend(spend, 1, Date.UTC(2026, 11, 1));
    expect([spend.day.spent, spend.month.spent]).toEqual([1, 1]);
  });

  it("take a correction only of what was charged in them", ({ expect }) => {
    const spend = createSpend();
    const yesterday = Date.UTC(2026, 10, 21, 23);
    const today = Date.UTC(2026, 10, 22, 1);
    addSpend(spend, 100, yesterday);
    addSpend(spend, 30, today);
    addSpend(spend, -60, today, yesterday);
    expect([spend.day.spent, spend.month.spent]).toEqual([30, 70]);
  });
});
