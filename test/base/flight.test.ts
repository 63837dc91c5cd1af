import { describe, it } from "vitest";
import { newFlights } from "../../src/base/flight.js";

/** Work that ends when it is told to. */
function slowWork(): { readonly run: () => Promise<number>; readonly end: PromiseWithResolvers<number>; runs: number } {
  const end = Promise.withResolvers<number>();
  const work = {
    end,
    runs: 0,
    run: (): Promise<number> => {
      work.runs += 1;
      return end.promise;
    },
  };
  return work;
}

describe("shared work", () => {
  it("is done once for all who ask meanwhile, and anew for who asks later", async ({ expect }) => {
    const share = newFlights<number>();
    const work = slowWork();
    const waiting = [share("a", work.run), share("a", work.run), share("a", work.run)];
    const other = share("b", () => Promise.resolve(2));
    expect(await other).toBe(2);
    work.end.resolve(1);
    expect(await Promise.all(waiting)).toEqual([1, 1, 1]);
    expect(work.runs).toBe(1);
    expect(await share("a", () => Promise.resolve(3))).toBe(3);
  });

  it("fails for all who wait, and is not remembered as failed", async ({ expect }) => {
    const share = newFlights<number>();
    const work = slowWork();
    const waiting = [share("a", work.run), share("a", work.run)];
    work.end.reject(new Error("no"));
    const outcomes = await Promise.allSettled(waiting);
    expect(outcomes.map((one) => (one.status === "rejected" ? String(one.reason) : one.value))).toEqual([
      "Error: no",
      "Error: no",
    ]);
    expect(await share("a", () => Promise.resolve(3))).toBe(3);
  });
});
