/** A workspace whose vault holds every kind of secret, and what must be true of it when its data key has changed. */
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import type { ExpectStatic } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { commit, commitChange } from "../../src/base/database.js";
import { Secret } from "../../src/base/secret.js";
import { requireSettings } from "../../src/base/settings.js";
import { credentialBinding, findCredential } from "../../src/connections/credentials.js";
import { credentials } from "../../src/connections/model.js";
import { advanceRotation, waitMs, type Publish } from "../../src/rotation/advance.js";
import { planRotation, readVault } from "../../src/rotation/rotation.js";
import { publish } from "../../src/snapshot/publish.js";
import { loadDataKey } from "../../src/vault/data-keys.js";
import { fingerprintSecret } from "../../src/vault/fingerprint.js";
import { dataKeyRotations, dataKeys } from "../../src/vault/model.js";
import { openSecret, sealSecret } from "../../src/vault/seal.js";
import { actor, addCredential, addPool, db, fakeRouters, makeWorld, type World } from "../snapshot/world.js";

export const { keyring } = requireSettings(env);

/** A workspace with a plain secret, one with a secret before it, and one that does not open. */
export interface VaultWorld extends World {
  readonly plain: string;
  readonly rotated: string;
  readonly broken: string;
  readonly publish: Publish;
}

/** Made, published, and its data key's change begun. */
export async function makeVaultWorld(): Promise<VaultWorld> {
  const world = await makeWorld();
  const plain = await addCredential(world, "sk-plain");
  const rotated = await addCredential(world, "sk-present");
  const broken = await addCredential(world, "sk-broken");
  await addPool(world, "gpt", [plain, rotated, broken]);
  const place = { workspaceId: world.id, id: rotated, secretVersion: 7, origin: "https://ok.upstream.test" };
  const previous = {
    previousSealed: await sealSecret(world.dataKey, credentialBinding(place), new Secret("sk-before")),
    previousSecretVersion: 7,
    previousDataKeyId: world.dataKey.id,
    previousMasked: "sk-b…fore",
    previousFingerprint: await fingerprintSecret(world.dataKey, new Secret("sk-before")),
    previousUntil: 9_999_999_999_999,
  };
  await commit(db, [
    db.update(credentials).set(previous).where(eq(credentials.id, rotated)),
    db.update(credentials).set({ secretVersion: 2 }).where(eq(credentials.id, broken)),
  ]);
  const routers = fakeRouters();
  const publishNewest: Publish = (on, id) => publish(on, id, routers.routerFor);
  await publishNewest(env, world.id);
  return { ...world, plain, rotated, broken, publish: publishNewest };
}

/** Begins a change of data key, as the endpoint does. */
export async function begin(world: World): Promise<void> {
  await commitChange(db, await planRotation(db, keyring, world, actor));
}

/** Undisturbed passes, each after the wait of the one before, until it is done or has had more than it can need. */
export async function finish(world: VaultWorld): Promise<void> {
  for (let pass = 1; pass <= 5; pass += 1) {
    await advanceRotation(env, world.id, world.publish, Date.now() + 3 * pass * waitMs);
    const isThis = eq(dataKeyRotations.workspaceId, world.id);
    const [row] = await db.select().from(dataKeyRotations).where(isThis).all();
    if (row?.state === "done") {
      return;
    }
  }
}

/** The secret of a credential as its row has it, and the one before; the code of the failure where one does not open. */
export async function openBoth(world: Pick<World, "id">, credentialId: string): Promise<readonly (string | null)[]> {
  const row = await findCredential(db, world.id, null, credentialId);
  const open = async (keyId: string, secretVersion: number, sealed: string): Promise<string> => {
    try {
      const key = await loadDataKey(db, keyring, world.id, keyId);
      return (await openSecret(key, credentialBinding({ ...row, secretVersion }), sealed)).reveal();
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  const { previousSealed: sealed, previousSecretVersion: version, previousDataKeyId: keyId } = row;
  return [
    await open(row.dataKeyId, row.secretVersion, row.sealed),
    sealed === null ? null : await open(keyId ?? "", version ?? 0, sealed),
  ];
}

/** Every secret opens to what it was, at any moment of the change. */
export async function expectReadable(expect: ExpectStatic, world: VaultWorld): Promise<void> {
  expect(await openBoth(world, world.plain)).toEqual(["sk-plain", null]);
  expect(await openBoth(world, world.rotated)).toEqual(["sk-present", "sk-before"]);
  expect(await openBoth(world, world.broken)).toEqual(["undecryptable", null]);
}

/** The old key is gone from rows, snapshots and memory alike; nothing else is; and it was told once. */
export async function expectChanged(expect: ExpectStatic, world: VaultWorld, oldWrapped: string): Promise<void> {
  const vault = await readVault(db, world.id);
  expect(vault.rotation).toMatchObject({ state: "done", total: 4, done: 4, last_error: null });
  expect(vault.keys).toMatchObject([{ id: vault.rotation?.data_key_id, state: "active" }]);
  await expectReadable(expect, world);
  const rows = await db.select().from(credentials).where(eq(credentials.workspaceId, world.id)).all();
  expect(new Set(rows.flatMap((row) => [row.dataKeyId, row.previousDataKeyId ?? row.dataKeyId])).size).toBe(1);
  expect(rows.map((row) => [row.id, row.status])).toContainEqual([world.broken, "undecryptable"]);
  const { keys } = await env.CONFIG.list({ prefix: `config/1/${world.id}/` });
  const filed = await Promise.all(keys.map(({ name }) => env.CONFIG.get(name)));
  expect(filed.length).toBeGreaterThan(0);
  expect(filed.filter((text) => text === null || text.includes(oldWrapped) || text.includes(world.dataKey.id))).toEqual(
    [],
  );
  const told = await db.select().from(auditLog).where(eq(auditLog.workspaceId, world.id)).all();
  expect(told.map((row) => row.action).toSorted()).toEqual([
    "credential.undecryptable",
    "vault.rotation_finished",
    "vault.rotation_started",
  ]);
}

/** How the workspace's first data key is wrapped. */
export async function wrappedOf(world: World): Promise<string> {
  const [row] = await db.select().from(dataKeys).where(eq(dataKeys.id, world.dataKey.id)).all();
  return row?.wrapped ?? "no row";
}
