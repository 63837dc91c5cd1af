import { describe, it } from "vitest";
import { createClock } from "../../src/base/clock.js";

const late = (): Error => new Error("too late");
const pause = (ms: number): Promise<void> => scheduler.wait(ms);

describe("createClock", () => {
  it("calls in the order of the deadlines, never early, and not what was taken back", async ({ expect }) => {
    const clock = createClock();
    const begun = Date.now();
    const heard: [name: string, at: number][] = [];
    const all = Promise.withResolvers<void>();
    const note = (name: string): void => void heard.push([name, Date.now() - begun]);
    clock.after(90, () => {
      note("last");
      all.resolve();
    });
    const takeBack = clock.after(20, () => note("taken back"));
    clock.after(30, () => note("first"));
    clock.after(60, () => {
      note("second");
      clock.after(5, () => note("added by the second"));
    });
    takeBack();
    await all.promise;
    expect(heard.map(([name]) => name)).toEqual(["first", "second", "added by the second", "last"]);
    for (const [index, least] of [30, 60, 65, 90].entries()) {
      expect(heard[index]?.[1]).toBeGreaterThanOrEqual(least);
    }
  });

  it("calls one that is due when another takes back its successor", async ({ expect }) => {
    const clock = createClock();
    const heard: string[] = [];
    const later: { takeBack: () => void } = { takeBack: () => undefined };
    clock.after(10, () => {
      heard.push("first");
      later.takeBack();
    });
    later.takeBack = clock.after(10, () => heard.push("second"));
    await pause(40);
    expect(heard).toEqual(["first"]);
  });

  it("gives an outcome or says that it is too late, and drops what comes then", async ({ expect }) => {
    const clock = createClock();
    expect(await clock.within(1_000, Promise.resolve("value"), late)).toBe("value");
    await expect(clock.within(1_000, Promise.reject(new Error("broken")), late)).rejects.toThrow("broken");
    await expect(clock.within(10, new Promise(() => undefined), late)).rejects.toThrow("too late");
    const slow = pause(30).then(() => Promise.reject(new Error("nobody waits")));
    await expect(clock.within(10, slow, late)).rejects.toThrow("too late");
    await pause(40);
  });
});
