/** KEYRING changed by the command line of docs/vault.md, on a running server: each step refused until it is safe. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseEnv } from "node:util";
import { afterAll, beforeAll, describe, it } from "vitest";
import {
  addEntry,
  describe as describeRing,
  dropEntry,
  switchPrimary,
  type EntryFacts,
} from "../scripts/keyring-plan.ts";
import { startServer, type RunningServer } from "./support/server.ts";
import { openShell, readBlocks, type Shell } from "./support/shell.ts";

const root = path.dirname(import.meta.dirname);
const day = 24 * 3_600_000;

const twoKeys = { primary: "k1", keys: { k1: "a", k2: "b" } };
const entry = (id: string, more: Partial<EntryFacts> = {}): EntryFacts => {
  return { id, state: "known", used_at: null, left_at: null, rows: 0, ...more };
};
const facts = (entries: readonly EntryFacts[], ...live: string[]) => {
  return {
    entries,
    live: live.map((ids) => ({ version: "v", ids: ids.split(","), primary: ids.split(",")[0] ?? "" })),
  };
};

describe("the steps of a change of KEYRING", () => {
  it("never use an id twice", ({ expect }) => {
    expect(addEntry(twoKeys, facts([]), "k3", "c")).toEqual({
      ring: { primary: "k1", keys: { ...twoKeys.keys, k3: "c" } },
    });
    expect(addEntry(twoKeys, facts([]), "k2", "c")).toHaveProperty("refused");
    expect(addEntry(twoKeys, facts([entry("k3")]), "k3", "c")).toHaveProperty("refused");
    expect(addEntry(twoKeys, facts([]), "K 3", "c")).toHaveProperty("refused");
  });

  it("switch only to what every live version has", ({ expect }) => {
    expect(switchPrimary(twoKeys, facts([], "k1,k2", "k2,k1"), "k2")).toEqual({ ring: { ...twoKeys, primary: "k2" } });
    for (const live of [["k1,k2", "k1"], ["k1"], []]) {
      expect(switchPrimary(twoKeys, facts([], ...live), "k2")).toHaveProperty("refused");
    }
    expect(switchPrimary(twoKeys, facts([], "k1,k9"), "k9")).toHaveProperty("refused");
  });

  it("drop only what nothing has needed for 30 days", ({ expect }) => {
    const [now, used] = [100 * day, { used_at: 1 }];
    const drop = (known: Partial<EntryFacts>, live = "k1,k2") => {
      return dropEntry(twoKeys, facts([entry("k2", known)], live), "k2", now);
    };
    expect(drop({ ...used, left_at: now - 30 * day })).toEqual({ ring: { primary: "k1", keys: { k1: "a" } } });
    expect(drop({})).toHaveProperty("ring");
    expect(drop({ ...used, left_at: now - 30 * day + 1 })).toHaveProperty("refused");
    expect(drop({ ...used, left_at: null })).toHaveProperty("refused");
    expect(drop({ ...used, left_at: 1, rows: 1 })).toHaveProperty("refused");
    expect(drop({ state: "primary" })).toHaveProperty("refused");
    expect(drop({}, "k2,k1")).toHaveProperty("refused");
    expect(dropEntry(twoKeys, facts([]), "k1", now)).toHaveProperty("refused");
    expect(describeRing(twoKeys, facts([entry("k3", used)], "k1"), now).join("\n")).toMatch(/k3: NOT IN THIS KEYRING/);
  });
});

describe("the commands of docs/vault.md", () => {
  let server: RunningServer;
  let shell: Shell;
  const state = mkdtempSync(path.join(tmpdir(), "gatehouse-keyring-"));
  const varsFile = () => path.join(state, "vars");
  const ring = () => JSON.parse(parseEnv(readFileSync(varsFile(), "utf8"))["KEYRING"] ?? "{}");

  beforeAll(async () => {
    server = await startServer({ state });
    shell = openShell(root, { GATEHOUSE_STATE: state, GATEHOUSE_VARS: varsFile() });
  });
  afterAll(async () => {
    shell.end();
    await server.stop();
    rmSync(state, { recursive: true, force: true });
  });

  it(
    "add an entry, switch to it when the server has it, tell how far that is, and keep the old one",
    {
      timeout: 120_000,
    },
    async ({ expect }) => {
      const [add = "", change = "", status = "", drop = ""] = readBlocks(root)
        .filter(({ mark }) => mark === "keyring")
        .map(({ text }) => text);
      const before = ring();
      const added = await shell.paste(add);
      expect(added.output).toContain("KEYRING has k1, k2; primary k1.");
      expect(ring()).toEqual({ primary: "k1", keys: { ...before.keys, k2: expect.stringMatching(/^[\w-]{43}$/) } });
      expect(added.output).not.toContain(ring().keys.k2);
      expect((await shell.paste(change)).exitCode).toBe(1);
      await server.stop();
      server = await startServer({ state });
      const switched = await shell.paste(change);
      expect(switched.output).toContain("primary k2");
      expect(ring().primary).toBe("k2");
      expect((await shell.paste(status)).output).toMatch(/^k2: /m);
      const dropped = await shell.paste(drop);
      expect([dropped.exitCode, existsSync(varsFile())]).toEqual([1, true]);
      expect(ring().keys).toHaveProperty("k1");
    },
  );
});
