/** What a ticket names is opened from memory, KV or the record, whichever has it: at different cost, never differently. */
import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { sha256Hex } from "../../src/base/bytes.js";
import { commit } from "../../src/base/database.js";
import { credentials, poolInstances } from "../../src/connections/model.js";
import { readConfig } from "../../src/snapshot/build.js";
import { newMemory } from "../../src/snapshot/memory.js";
import type { ConfigAddress } from "../../src/snapshot/model.js";
import { newSnapshotMemory, openInstance } from "../../src/snapshot/read.js";
import { snapshotKey } from "../../src/snapshot/store.js";
import { workspaces } from "../../src/tenancy/model.js";
import { dataKeys } from "../../src/vault/model.js";
import { deep, seed } from "../support/deep.js";
import { addCredential, addPool, bump, countedD1, db, envWith, fakeKv, makeSmallWorld, makeWorld } from "./world.js";

const secret = "sk-canary-of-the-reader";

/** A small workspace, its address, and a platform that counts, with its snapshot in KV. */
async function published(before?: (deed: "get" | "put") => unknown) {
  const world = await makeSmallWorld(secret);
  const { address, text } = await readConfig(db, world.id);
  const [{ kv, texts, count: kvCount }, { d1, count }] = [fakeKv(before), countedD1()];
  texts.set(snapshotKey(world.id, address), text);
  const open = (memory = newSnapshotMemory(), at: ConfigAddress = address, instanceId = world.instanceId) =>
    openInstance(envWith({ kv, d1 }), world.id, at, instanceId, memory);
  return { world, address, text, texts, kvCount, count, open };
}

describe("an instance named by a ticket", () => {
  it("opens with its secret from KV, without a query", async ({ expect }) => {
    const { world, count, open } = await published();
    const opened = await open();
    expect(opened).toMatchObject({
      provider_name: "openai_compatible",
      base_url: "https://ok.upstream.test/v1",
      origin: "https://ok.upstream.test",
      model: "m-1",
      credential_id: world.credentialId,
    });
    expect(opened?.api_key?.reveal()).toBe(secret);
    expect(JSON.stringify(opened)).not.toContain(secret);
    expect(count).toEqual({ batches: 0, queries: 0 });
  });

  it("costs no KV read and no query from its second time on", async ({ expect }) => {
    const { kvCount, count, open } = await published();
    const memory = newSnapshotMemory();
    for (let call = 0; call < 50; call += 1) {
      expect((await open(memory))?.api_key?.reveal()).toBe(secret);
    }
    expect({ ...kvCount, ...count }).toEqual({ get: 1, put: 0, batches: 0, queries: 0 });
  });

  it("is read once for all who ask at the same time", async ({ expect }) => {
    const { texts, kvCount, count, open } = await published(() => scheduler.wait(20));
    texts.clear();
    const memory = newSnapshotMemory();
    const opened = await Promise.all(Array.from({ length: 50 }, () => open(memory)));
    expect(opened.every((instance) => instance?.api_key?.reveal() === secret)).toBe(true);
    expect([kvCount.get, count.batches]).toEqual([1, 1]);
  });

  it("without a key opens with none", async ({ expect }) => {
    const world = await makeSmallWorld("");
    const { address } = await readConfig(db, world.id);
    const opened = await openInstance(env, world.id, address, world.instanceId, newSnapshotMemory());
    expect(opened).toMatchObject({ credential_id: world.credentialId, api_key: null });
  });

  it("is null when its version has no such instance, and when the address is another workspace's", async ({
    expect,
  }) => {
    const { world, address, open } = await published();
    expect(await open(undefined, undefined, "inst_none")).toBeNull();
    const stranger = await makeWorld();
    expect(await openInstance(env, stranger.id, address, world.instanceId, newSnapshotMemory())).toBeNull();
  });
});

describe("a KV that doesn't have it", () => {
  it("is made good from the record, once, and filled again", async ({ expect }) => {
    const { world, address, text, texts, count, open } = await published();
    texts.clear();
    const memory = newSnapshotMemory();
    for (let call = 0; call < 3; call += 1) {
      expect((await open(memory))?.api_key?.reveal()).toBe(secret);
    }
    expect(count.batches).toBe(1);
    expect([...texts]).toEqual([[snapshotKey(world.id, address), text]]);
  });

  it.for(["throws", "hangs"] as const)("and %s costs time, not the answer", async (way, { expect }) => {
    const { open } = await published((deed) => {
      if (way === "throws") {
        throw new Error(`KV ${deed} failed: 500`);
      }
      return new Promise(() => undefined);
    });
    const startedAt = Date.now();
    expect((await open())?.api_key?.reveal()).toBe(secret);
    expect(Date.now() - startedAt).toBeLessThan(10_000);
  });

  it.for([
    ["is cut", (text: string) => text.slice(0, -20)],
    ["has one changed character", (text: string) => text.replace("m-1", "m-2")],
    ["is not JSON", () => "<html>"],
    ["is empty", () => ""],
  ] as const)("because the text under its address %s is not believed, and mended", async ([, spoil], { expect }) => {
    const { world, address, text, texts, open } = await published();
    texts.set(snapshotKey(world.id, address), spoil(text));
    expect(await open()).toMatchObject({ model: "m-1" });
    expect(texts.get(snapshotKey(world.id, address))).toBe(text);
  });

  it("because it holds what another workspace or version filed is not believed, even where the digest fits", async ({
    expect,
  }) => {
    const { world, address, text, texts, count, open } = await published();
    const theirs = await readConfig(db, (await makeSmallWorld("sk-other")).id);
    const lies = [
      { at: { ...address, digest: theirs.address.digest }, text: theirs.text },
      { at: { ...address, version: address.version - 1 }, text },
    ];
    for (const lie of lies) {
      texts.set(snapshotKey(world.id, lie.at), lie.text);
      expect((await open(undefined, lie.at))?.api_key?.reveal()).toBe(secret);
    }
    expect(count.batches).toBe(2);
  });
});

describe("a KV that is stale, misses, lies or fails at random", () => {
  const moods = ["sound", "miss", "stale", "cut", "throws"] as const;

  it("changes no answer, and costs at most one read of the record for each version in an isolate", async ({
    expect,
  }) => {
    const world = await makeSmallWorld(secret);
    const filed: { readonly address: ConfigAddress; readonly text: string }[] = [];
    for (let version = 0; version < 5; version += 1) {
      await bump(world.id);
      filed.push(await readConfig(db, world.id));
    }
    const anyAsk = fc.record({ version: fc.nat(4), callers: fc.integer({ min: 1, max: 4 }) });
    const anyMoods = fc.array(fc.constantFrom(...moods), { minLength: 1, maxLength: 8 });
    const property = fc.asyncProperty(
      fc.array(anyAsk, { minLength: 1, maxLength: 12 }),
      anyMoods,
      async (asks, mood) => {
        let gets = 0;
        const kv = {
          async get(key: string) {
            const now = mood[(gets += 1) % mood.length];
            if (now === "throws") {
              throw new Error("KV GET failed: 503");
            }
            const at = filed.findIndex(({ address }) => snapshotKey(world.id, address) === key);
            const text = filed[at]?.text ?? null;
            const other = filed[(at + 1) % filed.length]?.text ?? null;
            return now === "miss"
              ? null
              : now === "stale"
                ? other
                : now === "cut"
                  ? (text?.slice(0, -1) ?? null)
                  : text;
          },
          put: () => Promise.reject(new Error("KV PUT failed: 503")),
        } as unknown as KVNamespace;
        const { d1, count } = countedD1();
        const memory = newSnapshotMemory();
        for (const { version, callers } of asks) {
          const address = filed[version]?.address ?? { epoch: 0, version: 0, digest: "" };
          const open = () => openInstance(envWith({ kv, d1 }), world.id, address, world.instanceId, memory);
          for (const opened of await Promise.all(Array.from({ length: callers }, open))) {
            expect([opened?.api_key?.reveal(), opened?.model]).toEqual([secret, "m-1"]);
          }
        }
        const versions = new Set(asks.map(({ version }) => version)).size;
        expect(count.batches).toBeLessThanOrEqual(versions);
        expect(gets).toBeLessThanOrEqual(versions);
      },
    );
    await fc.assert(property, { numRuns: deep(20, 500), seed: seed() });
  });
});

describe("a version that has left KV, while the record has gone on", () => {
  it("is served from the newest while instance and credential stand, by one read for all its tickets", async ({
    expect,
  }) => {
    const { world, texts, count, open } = await published();
    texts.clear();
    await bump(world.id);
    await bump(world.id);
    const memory = newSnapshotMemory();
    for (let call = 0; call < 5; call += 1) {
      expect((await open(memory))?.api_key?.reveal()).toBe(secret);
    }
    const newest = (await readConfig(db, world.id)).address;
    expect((await open(memory, newest))?.api_key?.reveal()).toBe(secret);
    expect(count.batches).toBe(1);
    expect(texts.size).toBe(0);
  });

  it("is null when the instance is gone", async ({ expect }) => {
    const { world, texts, open } = await published();
    texts.clear();
    await commit(db, [db.delete(poolInstances).where(eq(poolInstances.id, world.instanceId))]);
    expect(await open()).toBeNull();
  });

  it("is null when the credential is disabled", async ({ expect }) => {
    const { world, texts, open } = await published();
    texts.clear();
    await commit(db, [
      db.update(credentials).set({ status: "disabled" }).where(eq(credentials.id, world.credentialId)),
    ]);
    expect(await open()).toBeNull();
  });

  it("is null when the workspace is deleted", async ({ expect }) => {
    const { world, texts, open } = await published();
    texts.clear();
    await commit(db, [db.update(workspaces).set({ deletedAt: 1 }).where(eq(workspaces.id, world.id))]);
    expect(await open()).toBeNull();
  });

  it("is null when the record is older than the ticket, as after a restore", async ({ expect }) => {
    const { address, open } = await published();
    expect(await open(undefined, { ...address, version: address.version + 1 })).toBeNull();
    expect(await open(undefined, { ...address, epoch: 2, version: 1 })).toBeNull();
  });
});

describe("a failure", () => {
  it("of the record is thrown, and the next call reads again", async ({ expect }) => {
    const world = await makeSmallWorld(secret);
    const { address } = await readConfig(db, world.id);
    let isDown = true;
    const { d1 } = countedD1(() => {
      if (isDown) {
        throw new Error("D1_ERROR: Network connection lost.");
      }
    });
    const memory = newSnapshotMemory();
    const open = () => openInstance(envWith({ kv: fakeKv().kv, d1 }), world.id, address, world.instanceId, memory);
    const outcomes = await Promise.allSettled([open(), open(), open()]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(["rejected", "rejected", "rejected"]);
    await expect(open()).rejects.toMatchObject({ code: "internal" });
    isDown = false;
    expect((await open())?.api_key?.reveal()).toBe(secret);
  });

  it("to open a moved, re-addressed or older sealed secret is undecryptable, for that credential alone", async ({
    expect,
  }) => {
    const world = await makeWorld();
    const ids = await Promise.all([0, 1, 2, 3, 4].map(() => addCredential(world, secret)));
    const { instances } = await addPool(world, "p", ids);
    const [sound, moved, redirected, pointed, older] = ids as [string, string, string, string, string];
    await commit(db, [
      db
        .update(credentials)
        .set({ sealed: sql`(SELECT sealed FROM credentials WHERE id = ${sound})` })
        .where(eq(credentials.id, moved)),
      db.update(credentials).set({ origin: "https://evil.example" }).where(eq(credentials.id, redirected)),
      db.update(credentials).set({ baseUrl: "https://evil.example/v1" }).where(eq(credentials.id, pointed)),
      db.update(credentials).set({ secretVersion: 2 }).where(eq(credentials.id, older)),
    ]);
    const { address } = await readConfig(db, world.id);
    const outcomes = await Promise.allSettled(
      instances.map((instance) => openInstance(env, world.id, address, instance, newSnapshotMemory())),
    );
    expect(outcomes[0]).toMatchObject({ status: "fulfilled" });
    for (const outcome of outcomes.slice(1)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "undecryptable", status: 500 } });
    }
  });

  it("of a data key whose wrapping is older than the row is mended by the row", async ({ expect }) => {
    const { world, address, text, texts, open } = await published();
    const stale = text.replace("v1.a256gcm.t1.", "v1.a256gcm.t0.");
    const digest = await sha256Hex(stale);
    texts.set(snapshotKey(world.id, { ...address, digest }), stale);
    expect((await open(undefined, { ...address, digest }))?.api_key?.reveal()).toBe(secret);
    await commit(db, [
      db
        .update(dataKeys)
        .set({ wrapped: "v1.a256gcm.t0.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA" })
        .where(eq(dataKeys.id, world.dataKey.id)),
    ]);
    await expect(open(undefined, { ...address, digest })).rejects.toMatchObject({
      code: "keyring_entry_missing",
      status: 503,
    });
  });
});

describe("an isolate's memory", () => {
  it("forgets the least recently used, by count and by weight, and never the newest", ({ expect }) => {
    const memory = newMemory<number>(3, 100);
    const has = (): string => ["a", "b", "c", "d", "e"].filter((key) => memory.find(key) !== undefined).join("");
    memory.keep("a", 1, 10);
    memory.keep("b", 2, 10);
    memory.keep("c", 3, 10);
    memory.find("a");
    memory.keep("d", 4, 10);
    expect(has()).toBe("acd");
    memory.keep("e", 5, 85);
    expect(has()).toBe("de");
    memory.keep("e", 5, 5);
    memory.keep("b", 6, 500);
    expect(has()).toBe("b");
    memory.keep("a", 7, 1);
    expect(has()).toBe("a");
  });
});
