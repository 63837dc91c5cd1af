/** A key's last use: told by the Router off the path, at most once a minute. */
import { eq } from "drizzle-orm";
import { describe, it, vi } from "vitest";
import { commit } from "../../src/base/database.js";
import { noteUses } from "../../src/keys/last-use.js";
import { apiKeys } from "../../src/keys/model.js";
import { createUses, hasUses, noteUse, takeUses } from "../../src/routing/uses.js";
import { call } from "../support/client.js";
import { db, seedPool, seedWorkspace } from "../support/seed.js";
import { chat, makeKey, rowOf } from "./calls.js";

describe("the last use of an API key", () => {
  it("shows calls through the gateway, without moving again within the minute", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const secret = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok-a", weight: 1 }]);
    const { body: list } = await call("GET", `/workspaces/${workspace.id}/api-keys`, { token: workspace.token });
    const id: string = list.data[0].id;
    const startedAt = Date.now();
    expect((await chat(secret)).status).toBe(200);
    await vi.waitFor(async () => expect((await rowOf(id)).lastUsedAt).not.toBeNull(), { timeout: 5000, interval: 100 });
    const { lastUsedAt, revision } = await rowOf(id);
    expect(lastUsedAt).toBeGreaterThanOrEqual(startedAt);
    expect(revision).toBe(1);
    await chat(secret);
    await scheduler.wait(1500);
    expect((await rowOf(id)).lastUsedAt).toBe(lastUsedAt);
  });

  it("is noted for many keys in one statement, each by its own time, in its own workspace, a minute apart", async ({
    expect,
  }) => {
    const [workspace, other] = [await seedWorkspace(), await seedWorkspace()];
    const keys = [
      (await makeKey(workspace)).body.id,
      (await makeKey(workspace)).body.id,
      (await makeKey(other)).body.id,
    ];
    const [first, second, foreign] = keys;
    const now = Date.now();
    const used = async () => await Promise.all(keys.map(async (id) => (await rowOf(id)).lastUsedAt));
    await noteUses(
      db,
      workspace.id,
      new Map([
        [first, now],
        [second, now - 5],
        [foreign, now],
      ]),
    );
    expect(await used()).toEqual([now, now - 5, null]);
    await noteUses(
      db,
      workspace.id,
      new Map([
        [first, now + 59_999],
        [second, now + 59_995],
      ]),
    );
    expect(await used()).toEqual([now, now + 59_995, null]);
    await commit(db, [db.update(apiKeys).set({ lastUsedAt: now }).where(eq(apiKeys.id, second))]);
    await noteUses(db, workspace.id, new Map([[first, now - 100_000]]));
    expect(await used()).toEqual([now, now, null]);
  });

  it("is held once a minute by the Router, however often a key calls", ({ expect }) => {
    const uses = createUses();
    expect(hasUses(uses)).toBe(false);
    for (const at of [1000, 1001, 60_999]) {
      noteUse(uses, "a", at);
    }
    noteUse(uses, "b", 2000);
    expect([...takeUses(uses)]).toEqual([
      ["a", 1000],
      ["b", 2000],
    ]);
    noteUse(uses, "a", 60_999);
    expect(hasUses(uses)).toBe(false);
    noteUse(uses, "a", 61_000);
    expect([...takeUses(uses)]).toEqual([["a", 61_000]]);
  });
});
