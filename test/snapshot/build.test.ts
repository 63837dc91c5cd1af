/** The configuration is read as one version: keys as their makers stand now, credentials as they may be used. */
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import type { Scope } from "../../src/access/permissions.js";
import { sha256Hex } from "../../src/base/bytes.js";
import { commit, commitChange } from "../../src/base/database.js";
import { pools } from "../../src/connections/model.js";
import { planCreateKey, planRevokeKey } from "../../src/keys/keys.js";
import { apiKeys, type CreateApiKey } from "../../src/keys/model.js";
import { readConfig } from "../../src/snapshot/build.js";
import { ConfigSnapshot, RouterRows } from "../../src/snapshot/model.js";
import { members, workspaces } from "../../src/tenancy/model.js";
import {
  actor,
  addCredential,
  addMember,
  addPool,
  db,
  makeSmallWorld,
  makeWorld,
  policy,
  tokenSecret,
  versions,
  type World,
} from "./world.js";

const invoke: Scope[] = ["models:invoke"];
const everything: Scope[] = ["models:invoke", "keys:manage", "vault:rotate"];

/** Rows in the order of these ids: ids made in one millisecond have none of their own. */
function inOrder<T extends { readonly id: string }>(rows: readonly T[], ids: readonly string[]): T[] {
  return ids.flatMap((id) => rows.filter((row) => row.id === id));
}

async function addKey(world: World, memberId: string, input: Partial<CreateApiKey> & { name: string }) {
  const full = { scopes: invoke, ...input };
  return await commitChange(
    db,
    await planCreateKey(db, world.id, actor, tokenSecret, { memberId, grants: everything }, full),
  );
}

describe("the configuration of a workspace", () => {
  it("is both forms of one version, filed under the hash of its bytes", async ({ expect }) => {
    const world = await makeSmallWorld();
    const config = await readConfig(db, world.id);
    expect(config.address).toEqual({
      epoch: 1,
      version: (await versions(world.id)).version,
      digest: await sha256Hex(config.text),
    });
    expect(ConfigSnapshot.parse(JSON.parse(config.text))).toEqual(config.snapshot);
    expect(RouterRows.parse(structuredClone(config.rows))).toEqual(config.rows);
    expect(config.snapshot).toMatchObject({
      workspace_id: world.id,
      data_keys: [{ id: world.dataKey.id }],
      credentials: [{ id: world.credentialId, origin: "https://ok.upstream.test", secret_version: 1 }],
      instances: [{ id: world.instanceId, credential_id: world.credentialId, model: "m-1" }],
    });
    expect(config.rows).toMatchObject({
      workspace_id: world.id,
      active: true,
      pools: [{ name: "gpt", policy, instances: [{ id: world.instanceId, weight: 1, enabled: true }] }],
      credentials: [{ id: world.credentialId, usable: true }],
    });
    expect((await readConfig(db, world.id)).text).toBe(config.text);
  });

  it("holds no other workspace's rows, and is not found where there is no workspace", async ({ expect }) => {
    const [mine, theirs] = [await makeSmallWorld(), await makeSmallWorld()];
    await addKey(theirs, theirs.memberId, { name: "theirs" });
    const text = JSON.stringify(await readConfig(db, mine.id));
    for (const foreign of [theirs.id, theirs.credentialId, theirs.instanceId, theirs.dataKey.id, theirs.memberId]) {
      expect(text).not.toContain(foreign);
    }
    await expect(readConfig(db, "ws_none")).rejects.toMatchObject({ code: "not_found" });
  });

  it("gives the Router digests and no secret, and KV sealed secrets only", async ({ expect }) => {
    const world = await makeSmallWorld("sk-canary-of-the-build");
    const { secret } = await addKey(world, world.memberId, { name: "k" });
    const config = await readConfig(db, world.id);
    expect(JSON.stringify(config.rows)).not.toContain("v1.a256gcm");
    expect(JSON.stringify(config)).not.toMatch(/sk-canary/);
    expect(JSON.stringify(config)).not.toContain(secret.reveal());
    expect(config.rows.keys[0]?.digest).toBe(await sha256Hex(secret.reveal()));
  });

  it("cuts a key's scopes to what its maker's role has now", async ({ expect }) => {
    const world = await makeWorld();
    const admin = await addMember(world, "ADMIN");
    const mine = await addKey(world, world.memberId, { name: "owner's", scopes: everything });
    const theirs = await addKey(world, admin, { name: "admin's", scopes: everything });
    const scopesOf = async (): Promise<string[][]> => {
      const { keys } = (await readConfig(db, world.id)).rows;
      return inOrder(keys, [mine.row.id, theirs.row.id]).map((key) => key.scopes);
    };
    expect(await scopesOf()).toEqual([everything, ["models:invoke", "keys:manage"]]);

    await commit(db, [db.update(members).set({ role: "MEMBER" }).where(eq(members.id, admin))]);
    expect(await scopesOf()).toEqual([everything, ["models:invoke"]]);
    await commit(db, [db.update(workspaces).set({ ownerMemberId: admin }).where(eq(workspaces.id, world.id))]);
    expect(await scopesOf()).toEqual([["models:invoke", "keys:manage"], everything]);
  });

  it("keeps revoked keys and those of a removed maker as tombstones", async ({ expect }) => {
    const world = await makeWorld();
    const admin = await addMember(world, "ADMIN");
    const limits = { rpm: 5, concurrent: 2, models: ["gpt"] };
    const settings = JSON.stringify({ key_policy: { max_days: null } });
    await commit(db, [db.update(workspaces).set({ settings }).where(eq(workspaces.id, world.id))]);
    const alive = await addKey(world, world.memberId, { name: "alive", limits, expires_at: null });
    const revoked = await addKey(world, world.memberId, { name: "revoked" });
    const orphan = await addKey(world, admin, { name: "orphan" });
    await commitChange(db, await planRevokeKey(db, world.id, actor, revoked.row.id, null, null));
    await commit(db, [db.update(members).set({ removedAt: 2 }).where(eq(members.id, admin))]);
    const ids = [alive.row.id, revoked.row.id, orphan.row.id];
    const keys = inOrder((await readConfig(db, world.id)).rows.keys, ids);
    expect(keys.map((key) => [key.id, key.revoked, key.scopes.length])).toEqual([
      [alive.row.id, false, 1],
      [revoked.row.id, true, 0],
      [orphan.row.id, true, 0],
    ]);
    expect(keys[0]).toMatchObject({ rpm: 5, concurrent: 2, models: ["gpt"], expires_at_ms: null });
    expect(keys[1]).toMatchObject({ digest: revoked.row.digest });
  });

  it("leaves out what was revoked over 35 days ago, once every Router is known to have it", async ({ expect }) => {
    const world = await makeWorld();
    const day = 24 * 3_600_000;
    const region = "oc";
    const old = await addKey(world, world.memberId, { name: "old", region });
    const recent = await addKey(world, world.memberId, { name: "recent" });
    const times = [
      [old.row.id, actor.at - 36 * day],
      [recent.row.id, actor.at - 34 * day],
    ] as const;
    for (const [id, at] of times) {
      await commitChange(db, await planRevokeKey(db, world.id, { ...actor, at }, id, null, null));
    }
    const told = async (): Promise<string[]> => (await readConfig(db, world.id)).rows.keys.map((key) => key.id);
    expect((await told()).toSorted()).toEqual([old.row.id, recent.row.id].toSorted());
    const setApplied = (appliedVersion: number) =>
      commit(db, [db.update(workspaces).set({ appliedVersion }).where(eq(workspaces.id, world.id))]);
    const { version } = await versions(world.id);
    // The older one was revoked by the version before.
    await setApplied(version - 2);
    expect(await told()).toHaveLength(2);
    await setApplied(version - 1);
    expect(await told()).toEqual([recent.row.id]);
    await setApplied(version);
    expect(await told()).toEqual([recent.row.id]);
    expect((await readConfig(db, world.id)).regions.toSorted()).toEqual(["auto", region]);
  });

  it("calls a credential usable when it is active, unverified or exhausted, and seals only those into the snapshot", async ({
    expect,
  }) => {
    const world = await makeWorld();
    const statuses = ["active", "unverified", "exhausted", "invalid", "disabled", "undecryptable"] as const;
    const ids = await Promise.all(statuses.map((status) => addCredential(world, "sk", { status })));
    const { rows, snapshot } = await readConfig(db, world.id);
    const usable = inOrder(rows.credentials, ids).map((row) => row.usable);
    expect(usable).toEqual([true, true, true, false, false, false]);
    expect(snapshot.credentials.map((row) => row.id)).toEqual(ids.slice(0, 3).toSorted());
  });

  it("tells of a validation only when it found the key good", async ({ expect }) => {
    const world = await makeWorld();
    const verdicts = [{ isValid: true }, { isValid: false }, {}];
    const ids = await Promise.all(
      verdicts.map((verdict) => addCredential(world, "sk", { ...verdict, validatedAt: 7 })),
    );
    const { credentials } = (await readConfig(db, world.id)).rows;
    expect(inOrder(credentials, ids).map((row) => row.validated_at_ms)).toEqual([7, null, null]);
  });

  it("names every region that a key was made for, revoked ones too, and the workspace's own", async ({ expect }) => {
    const world = await makeWorld("weur");
    expect((await readConfig(db, world.id)).regions).toEqual(["weur"]);
    await addKey(world, world.memberId, { name: "a", region: "apac" });
    const gone = await addKey(world, world.memberId, { name: "b", region: "oc" });
    await addKey(world, world.memberId, { name: "c" });
    await commitChange(db, await planRevokeKey(db, world.id, actor, gone.row.id, null, null));
    expect((await readConfig(db, world.id)).regions.toSorted()).toEqual(["apac", "oc", "weur"]);
  });

  it("tells of the shards that living keys have, and holds the first key's for the first whatever comes later", async ({
    expect,
  }) => {
    const world = await makeWorld("weur");
    const shards = async () => (await readConfig(db, world.id)).rows.shards;
    expect(await shards()).toBeUndefined();
    const first = await addKey(world, world.memberId, { name: "a", region: "apac" });
    expect(await shards()).toEqual({ first: "apac", all: ["apac"] });
    const second = await addKey(world, world.memberId, { name: "b", region: "oc" });
    await addKey(world, world.memberId, { name: "c" });
    await commit(db, [db.update(workspaces).set({ region: "me" }).where(eq(workspaces.id, world.id))]);
    expect(await shards()).toEqual({ first: "apac", all: ["apac", "oc", "weur"] });
    for (const { row } of [first, second]) {
      await commitChange(db, await planRevokeKey(db, world.id, actor, row.id, null, null));
    }
    expect(await shards()).toEqual({ first: "apac", all: ["apac", "weur"] });
    const move = db.update(workspaces).set({ firstRegion: "weur" }).where(eq(workspaces.id, world.id));
    await expect(commit(db, [move])).rejects.toThrow();
  });

  it("is not held up by a row that can't be read: such a key opens nothing, such a pool is left out", async ({
    expect,
  }) => {
    const world = await makeSmallWorld();
    const good = await addPool(world, "other", []);
    const key = await addKey(world, world.memberId, { name: "odd" });
    await commit(db, [
      db.update(apiKeys).set({ limits: '{"of_a_later_release":1}' }).where(eq(apiKeys.id, key.row.id)),
      db.update(pools).set({ policy: "{}" }).where(eq(pools.name, "gpt")),
    ]);
    const { rows } = await readConfig(db, world.id);
    expect(rows.keys).toMatchObject([{ id: key.row.id, scopes: [], revoked: false }]);
    expect(rows.pools.map((pool) => pool.id)).toEqual([good.id]);
  });

  it("of a deleted workspace is not active", async ({ expect }) => {
    const world = await makeSmallWorld();
    await commit(db, [db.update(workspaces).set({ deletedAt: 2 }).where(eq(workspaces.id, world.id))]);
    expect((await readConfig(db, world.id)).rows.active).toBe(false);
  });
});
