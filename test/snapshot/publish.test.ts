/** A change is true when every Router has it: never the content of another version, never a 2xx before, never lost. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { commitChange } from "../../src/base/database.js";
import { credentials, poolInstances } from "../../src/connections/model.js";
import { findKey, planCreateKey, planRevokeKey } from "../../src/keys/keys.js";
import { toApiKey } from "../../src/keys/model.js";
import { routerFor as realRouterFor } from "../../src/routing/router-for.js";
import { readConfig } from "../../src/snapshot/build.js";
import { ConfigSnapshot, RouterPool } from "../../src/snapshot/model.js";
import { publish, republish, sweepUnapplied } from "../../src/snapshot/publish.js";
import { workspaces } from "../../src/tenancy/model.js";
import { deep, seed } from "../support/deep.js";
import {
  actor,
  addCredential,
  addPool,
  bump,
  countedD1,
  db,
  envWith,
  fakeKv,
  fakeRouters,
  makeSmallWorld,
  makeWorld,
  tokenSecret,
  versions,
  type World,
} from "./world.js";

async function addKey(world: World, name: string, region?: "weur" | "apac"): Promise<string> {
  const maker = { memberId: world.memberId, grants: ["models:invoke"] as const };
  const input = { name, scopes: ["models:invoke" as const], ...(region === undefined ? {} : { region }) };
  const { row } = await commitChange(db, await planCreateKey(db, world.id, actor, tokenSecret, maker, input));
  return row.id;
}

async function revoke(world: World, keyId: string): Promise<void> {
  await commitChange(db, await planRevokeKey(db, world.id, actor, keyId, null, null));
}

async function statusOf(world: World, keyId: string): Promise<string> {
  const { row, appliedVersion } = await findKey(db, world.id, keyId, null);
  return toApiKey(row, Date.now(), appliedVersion).status;
}

describe("publishing", () => {
  it("files the newest version, tells the Router, and then says that it is in force", async ({ expect }) => {
    const world = await makeSmallWorld();
    const [{ kv, texts, ttls }, routers] = [fakeKv(), fakeRouters()];
    await publish(envWith({ kv }), world.id, routers.routerFor);
    const { address, text, rows } = await readConfig(db, world.id);
    const key = `config/1/${world.id}/1.${address.version}.${address.digest}`;
    expect([...texts]).toEqual([[key, text]]);
    expect(ttls.get(key)).toBe(7 * 24 * 3600);
    expect(routers.at("auto")).toMatchObject({ address, rows, calls: 1 });
    expect(await versions(world.id)).toEqual({ version: address.version, applied: address.version });
  });

  it("files a version before any Router can name it in a ticket", async ({ expect }) => {
    const world = await makeSmallWorld();
    const deeds: string[] = [];
    const { kv } = fakeKv((deed) => deeds.push(deed));
    await publish(envWith({ kv }), world.id, fakeRouters(() => void deeds.push("apply")).routerFor);
    expect(deeds).toEqual(["put", "apply"]);
  });

  it("costs one query and tells nobody when everything is in force", async ({ expect }) => {
    const world = await makeSmallWorld();
    const routers = fakeRouters();
    await publish(env, world.id, routers.routerFor);
    const { d1, count } = countedD1();
    await publish(envWith({ d1 }), world.id, routers.routerFor);
    expect(count).toEqual({ batches: 0, queries: 1 });
    expect(routers.at("auto").calls).toBe(1);
  });

  it("is not stopped by a KV that fails", async ({ expect }) => {
    const world = await makeSmallWorld();
    const routers = fakeRouters();
    const { kv } = fakeKv(() => {
      throw new Error("KV PUT failed: 429 Too Many Requests");
    });
    await publish(envWith({ kv }), world.id, routers.routerFor);
    expect(routers.at("auto").address?.version).toBe((await versions(world.id)).applied);
  });

  it("waits 2 s for a KV that hangs, and no longer", async ({ expect }) => {
    const world = await makeSmallWorld();
    const { kv } = fakeKv(() => new Promise(() => undefined));
    const startedAt = Date.now();
    await publish(envWith({ kv }), world.id, fakeRouters().routerFor);
    expect(Date.now() - startedAt).toBeLessThan(10_000);
  });

  it("of no workspace is not found", async ({ expect }) => {
    await expect(publish(env, "ws_none", fakeRouters().routerFor)).rejects.toMatchObject({ code: "not_found" });
  });

  it("is pending, not failed, while the record can't be read", async ({ expect }) => {
    const world = await makeSmallWorld();
    const { d1 } = countedD1(() => {
      throw new Error("D1_ERROR: overloaded");
    });
    const attempt = publish(envWith({ d1 }), world.id, fakeRouters().routerFor);
    await expect(attempt).rejects.toMatchObject({ code: "publish_pending", status: 503 });
  });
});

describe("a Router that can't be reached", () => {
  it("leaves the change pending and its key revoking, until the sweep has told it", async ({ expect }) => {
    const world = await makeSmallWorld();
    let isDown = false;
    const routers = fakeRouters(() => {
      if (isDown) {
        throw new Error("Network connection lost.");
      }
    });
    const keyId = await addKey(world, "k");
    await publish(env, world.id, routers.routerFor);
    const before = await versions(world.id);
    expect(await statusOf(world, keyId)).toBe("active");

    isDown = true;
    await revoke(world, keyId);
    const attempt = publish(env, world.id, routers.routerFor);
    await expect(attempt).rejects.toMatchObject({ code: "publish_pending", status: 503, retryAfterMs: 1000 });
    expect(await versions(world.id)).toEqual({ version: before.version + 1, applied: before.applied });
    expect(await statusOf(world, keyId)).toBe("revoking");
    expect(await sweepUnapplied(env, routers.routerFor, 100)).toMatchObject({ published: 0 });

    isDown = false;
    expect(await sweepUnapplied(env, routers.routerFor, 100)).toMatchObject({ pending: 0 });
    expect(routers.at("auto").address?.version).toBe(before.version + 1);
    expect(routers.at("auto").rows?.keys).toMatchObject([{ id: keyId, revoked: true }]);
    expect(await versions(world.id)).toEqual({ version: before.version + 1, applied: before.version + 1 });
    expect(await statusOf(world, keyId)).toBe("revoked");
  });

  it("does not turn keys that were revoked before back to revoking", async ({ expect }) => {
    const world = await makeSmallWorld();
    const keyId = await addKey(world, "k");
    await revoke(world, keyId);
    await publish(env, world.id, fakeRouters().routerFor);
    await bump(world.id);
    expect(await statusOf(world, keyId)).toBe("revoked");
  });

  it("in one region of two keeps the change pending, though the other has it", async ({ expect }) => {
    const world = await makeSmallWorld();
    await addKey(world, "near", "weur");
    await addKey(world, "far", "apac");
    const routers = fakeRouters((region) => {
      if (region === "apac") {
        throw new Error("Network connection lost.");
      }
    });
    await expect(publish(env, world.id, routers.routerFor)).rejects.toMatchObject({ code: "publish_pending" });
    expect(routers.at("weur").rows?.keys).toHaveLength(2);
    expect(routers.at("auto").rows?.keys).toHaveLength(2);
    expect((await versions(world.id)).applied).toBe(0);
  });

  it("is asked once more after an exception, and not when it is overloaded", async ({ expect }) => {
    const world = await makeSmallWorld();
    const reset = fakeRouters((_region, call) => {
      if (call === 1) {
        throw new Error("Durable Object reset because its code was updated.");
      }
    });
    await publish(env, world.id, reset.routerFor);
    expect(reset.at("auto").calls).toBe(2);

    await bump(world.id);
    const overloaded = fakeRouters(() => {
      throw Object.assign(new Error("Durable Object is overloaded."), { overloaded: true });
    });
    await expect(publish(env, world.id, overloaded.routerFor)).rejects.toMatchObject({ code: "publish_pending" });
    expect(overloaded.at("auto").calls).toBe(1);
  });

  it("or that answers with less than it was told, or with a later epoch, is not believed to have it", async ({
    expect,
  }) => {
    const world = await makeSmallWorld();
    for (const answer of [
      { epoch: 1, version: 1 },
      { epoch: 2, version: 999 },
    ]) {
      const routers = fakeRouters(() => answer);
      await expect(publish(env, world.id, routers.routerFor)).rejects.toMatchObject({ code: "publish_pending" });
    }
    expect((await versions(world.id)).applied).toBe(0);
  });

  it("or that forgot everything is told again by republish, by one run for all who ask", async ({ expect }) => {
    const world = await makeSmallWorld();
    await publish(env, world.id, fakeRouters().routerFor);
    const forgetful = fakeRouters();
    await publish(env, world.id, forgetful.routerFor);
    expect(forgetful.at("auto").calls).toBe(0);
    await Promise.all(Array.from({ length: 20 }, () => republish(env, world.id, forgetful.routerFor)));
    expect(forgetful.at("auto")).toMatchObject({ calls: 1, address: { version: (await versions(world.id)).version } });
  });
});

describe("the sweep", () => {
  it("reaches every workspace although one keeps failing, and takes no more than its limit at a time", async ({
    expect,
  }) => {
    await sweepUnapplied(env, fakeRouters().routerFor, 1000);
    const [bad, ...good] = await Promise.all(Array.from({ length: 4 }, () => makeSmallWorld()));
    const routers = fakeRouters();
    const routerFor: typeof routers.routerFor = (all, workspaceId, region) => {
      if (workspaceId === bad?.id) {
        throw new Error("no such object");
      }
      return routers.routerFor(all, workspaceId, region);
    };
    let published = 0;
    for (let round = 0; round < 60 && published < 3; round += 1) {
      const outcome = await sweepUnapplied(env, routerFor, 1);
      expect(outcome.published + outcome.pending).toBe(1);
      published += outcome.published;
    }
    const applied = await Promise.all(good.map(async (world) => await versions(world.id)));
    expect(applied.every((row) => row.applied === row.version)).toBe(true);
    expect((await versions(bad?.id ?? "")).applied).toBe(0);
  });
});

describe("four concurrent writers of configuration", () => {
  it(
    "never file a version under another's content, and the Router ends at the highest",
    { timeout: deep(30_000, 300_000) },
    async ({ expect }) => {
      const rounds = deep(12, 240);
      console.log(`writers: ${rounds} rounds, seed ${seed()}`);
      const world = await makeWorld();
      const ids = await Promise.all([0, 1, 2, 3].map(() => addCredential(world, "sk")));
      const routers = fakeRouters();
      // Every step may lag, so that the writes of others fall between any two of them.
      const random = mulberry(seed());
      const lag = () => scheduler.wait(random() * 4);
      const { kv, texts } = fakeKv(lag);
      const { d1 } = countedD1(lag, lag);
      const slow: typeof routers.routerFor = (all, workspaceId, region) => ({
        async apply(address, rows) {
          await lag();
          return await routers.routerFor(all, workspaceId, region).apply(address, rows);
        },
      });
      /** Which writer wrote what at which version. */
      const history: { readonly version: number; readonly id: string; readonly url: string }[] = [];
      const write = async (id: string, round: number): Promise<void> => {
        const url = `https://ok.upstream.test/${round}/v1`;
        const [, [row]] = await db.batch([
          db.update(credentials).set({ baseUrl: url }).where(eq(credentials.id, id)),
          db.select({ version: workspaces.configVersion }).from(workspaces).where(eq(workspaces.id, world.id)),
        ]);
        const version = row?.version ?? -1;
        history.push({ version, id, url });
        await publish(envWith({ kv, d1 }), world.id, slow);
        expect(routers.at("auto").address?.version).toBeGreaterThanOrEqual(version);
      };
      const writeOn = async (id: string): Promise<void> => {
        for (let round = 0; round < rounds; round += 1) {
          await write(id, round);
          await lag();
        }
      };
      await Promise.all(ids.map(writeOn));

      const written = history.toSorted((a, b) => a.version - b.version);
      expect(new Set(written.map((entry) => entry.version)).size).toBe(rounds * 4);
      let checked = 0;
      for (const [key, text] of texts) {
        const snapshot = ConfigSnapshot.parse(JSON.parse(text));
        expect(key).toContain(`/1.${snapshot.version}.`);
        for (const credential of snapshot.credentials) {
          const last = written.findLast((entry) => entry.id === credential.id && entry.version <= snapshot.version);
          expect(credential.base_url).toBe(last?.url ?? "https://ok.upstream.test/v1");
        }
        checked += 1;
      }
      console.log(`writers: ${rounds * 4} changes, ${checked} snapshots filed, ${routers.at("auto").calls} applies`);
      const { version, applied } = await versions(world.id);
      expect({ applied, router: routers.at("auto").address?.version }).toEqual({ applied: version, router: version });
      expect(routers.at("auto").rows).toEqual((await readConfig(db, world.id)).rows);
    },
  );

  it(
    "leave the Router itself with the highest version, and in KV no version under another's content",
    { timeout: deep(30_000, 600_000) },
    async ({ expect }) => {
      const rounds = deep(6, 60);
      const world = await makeWorld();
      const ids = await Promise.all([0, 1, 2, 3].map(() => addCredential(world, "sk")));
      const pool = await addPool(world, "gpt", ids);
      const router = realRouterFor(env, world.id, "auto");
      const random = mulberry(seed());
      /** What each version changed: the address of one credential, the weight of its instance. */
      const history: { readonly version: number; readonly writer: number; readonly weight: number }[] = [];
      const write = async (writer: number, weight: number): Promise<void> => {
        const [id, instance] = [ids[writer] ?? "", pool.instances[writer] ?? ""];
        const [, , [row]] = await db.batch([
          db
            .update(credentials)
            .set({ baseUrl: urlOf(weight) })
            .where(eq(credentials.id, id)),
          db.update(poolInstances).set({ weight }).where(eq(poolInstances.id, instance)),
          db.select({ version: workspaces.configVersion }).from(workspaces).where(eq(workspaces.id, world.id)),
        ]);
        const version = row?.version ?? -1;
        history.push({ version, writer, weight });
        await publish(env, world.id, realRouterFor);
        expect((await router.configured())?.version).toBeGreaterThanOrEqual(version);
      };
      const writeOn = async (writer: number): Promise<void> => {
        for (let round = 1; round <= rounds; round += 1) {
          await write(writer, round);
          await scheduler.wait(random() * 4);
        }
      };
      await Promise.all(ids.map((_, writer) => writeOn(writer)));

      const written = history.toSorted((a, b) => a.version - b.version);
      const weightAt = (writer: number, version: number): number | undefined =>
        written.findLast((entry) => entry.writer === writer && entry.version <= version)?.weight;
      const { keys } = await env.CONFIG.list({ prefix: `config/1/${world.id}/` });
      expect(keys.length).toBeGreaterThan(rounds / 2);
      for (const { name } of keys) {
        const snapshot = ConfigSnapshot.parse(await env.CONFIG.get(name, "json"));
        expect(name).toContain(`/1.${snapshot.version}.`);
        for (const { id, base_url } of snapshot.credentials) {
          const weight = weightAt(ids.indexOf(id), snapshot.version);
          expect(base_url).toBe(weight === undefined ? "https://ok.upstream.test/v1" : urlOf(weight));
        }
      }
      const { version, applied } = await versions(world.id);
      console.log(`writers: ${rounds * 4} changes, ${keys.length} snapshots in KV, version ${version}`);
      expect({ applied, router: await router.configured() }).toEqual({
        applied: version,
        router: { epoch: 1, version },
      });
      // What is in force is the newest content too, not only its number.
      const stored = await runInDurableObject(router, (_, { storage }) =>
        storage.sql.exec<{ row: string }>("SELECT row FROM config_rows WHERE id = ?", pool.id).one(),
      );
      const { instances } = RouterPool.parse(JSON.parse(stored.row));
      expect(instances.map((instance) => instance.weight)).toEqual(ids.map(() => rounds));
    },
  );

  it("keep what is in force moving upwards when an old publisher comes in late", async ({ expect }) => {
    const world = await makeSmallWorld();
    const routers = fakeRouters();
    const gate = Promise.withResolvers<undefined>();
    const late = publish(env, world.id, (all, workspaceId, region) => ({
      async apply(address, rows) {
        await gate.promise;
        return await routers.routerFor(all, workspaceId, region).apply(address, rows);
      },
    }));
    await scheduler.wait(50);
    await bump(world.id);
    await publish(env, world.id, routers.routerFor);
    const newest = await versions(world.id);
    gate.resolve(undefined);
    await late;
    expect(await versions(world.id)).toEqual(newest);
    expect(routers.at("auto").address?.version).toBe(newest.version);
  });
});

function urlOf(weight: number): string {
  return `https://ok.upstream.test/${weight}/v1`;
}

/** A small seeded generator, 0 ≤ x < 1. */
function mulberry(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
