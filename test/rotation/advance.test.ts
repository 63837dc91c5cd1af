/** The change of a data key ends with nothing lost and the old key openable by nothing, wherever it is interrupted. */
import { env } from "cloudflare:workers";
import { and, eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { commit, commitChange } from "../../src/base/database.js";
import { Secret } from "../../src/base/secret.js";
import { prepareCredential } from "../../src/connections/credential-entry.js";
import { planCredential } from "../../src/connections/credentials.js";
import { credentials } from "../../src/connections/model.js";
import { advanceRotation, sweepRotations, waitMs } from "../../src/rotation/advance.js";
import { planRotation, readVault } from "../../src/rotation/rotation.js";
import { PoolPolicy } from "../../src/snapshot/model.js";
import { dataKeyRotations, dataKeys } from "../../src/vault/model.js";
import { everyFault, faultyD1, type D1Call, type Fault } from "../support/faulty-d1.js";
import { actor, addCredential, db, envWith } from "../snapshot/world.js";
import { begin, expectChanged, expectReadable, finish, keyring, makeVaultWorld, wrappedOf } from "./world.js";

/** The clocks of the passes of an undisturbed change: two that seal and wait, one that destroys. */
const passes = [0, 2 * waitMs];

describe("a change of data key", () => {
  it("seals everything anew, waits for the last ticket, and destroys the old key", async ({ expect }) => {
    const world = await makeVaultWorld();
    const wrapped = await wrappedOf(world);
    await begin(world);
    expect((await readVault(db, world.id)).rotation).toMatchObject({ state: "re_encrypting", total: 4, done: 0 });
    const now = Date.now();
    await advanceRotation(env, world.id, world.publish, now);
    const waiting = await readVault(db, world.id);
    expect(waiting.rotation).toMatchObject({ state: "waiting", total: 4, done: 4 });
    expect(waiting.keys.map(({ state }) => state).toSorted()).toEqual(["active", "retired"]);
    await expectReadable(expect, world);
    const until = Date.parse(waiting.rotation?.waiting_until ?? "");
    expect(until - Date.now()).toBeGreaterThan(waitMs - 10_000);
    await sweepRotations(env, world.publish, until - 1, 100);
    expect((await readVault(db, world.id)).keys).toHaveLength(2);
    await sweepRotations(env, world.publish, until, 100);
    await expectChanged(expect, world, wrapped);
  });

  it("waits longer than any ticket lives", ({ expect }) => {
    const longest = PoolPolicy.shape.total_timeout_ms.maxValue ?? Infinity;
    expect(waitMs).toBeGreaterThan(longest + 60_000);
  });

  it(
    "goes on where it was, whatever statement fails and wherever it is cut off",
    { timeout: 120_000 },
    async ({ expect }) => {
      const counts: (readonly D1Call[])[] = [];
      const sample = await makeVaultWorld();
      await begin(sample);
      for (const later of passes) {
        const counted = faultyD1();
        await advanceRotation(envWith({ d1: counted.d1 }), sample.id, sample.publish, Date.now() + later);
        counts.push(counted.calls);
      }
      const faults = counts.flatMap((calls, pass) => everyFault(calls).map((fault) => ({ ...fault, pass })));
      const batches = counts.flat().filter(({ statements, writes }) => writes && statements > 1);
      expect(batches.map(({ statements }) => statements)).toEqual([5, 4]);
      console.log(`${faults.length} faults`);
      const interrupt = async ({ pass, ...fault }: Fault & { readonly pass: number }): Promise<void> => {
        const world = await makeVaultWorld();
        const wrapped = await wrappedOf(world);
        await begin(world);
        for (const [index, later] of passes.entries()) {
          const faulty = faultyD1(index === pass ? fault : null);
          await advanceRotation(envWith({ d1: faulty.d1 }), world.id, world.publish, Date.now() + later);
          expect(faulty.hasFailed()).toBe(index === pass);
          await expectReadable(expect, world);
        }
        await finish(world);
        await expectChanged(expect, world, wrapped);
      };
      for (let at = 0; at < faults.length; at += 8) {
        await Promise.all(faults.slice(at, at + 8).map(interrupt));
      }
    },
  );

  it("is refused while another one runs, also to the second of two at once", async ({ expect }) => {
    const world = await makeVaultWorld();
    const plans = await Promise.all([0, 1, 2].map(() => planRotation(db, keyring, world, actor)));
    const outcomes = await Promise.allSettled(plans.map((plan) => commitChange(db, plan)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes.filter(({ status }) => status === "rejected")) {
      expect(outcome).toMatchObject({ reason: { code: "rotation_running", status: 409 } });
    }
    expect((await readVault(db, world.id)).keys.map(({ state }) => state).toSorted()).toEqual(["active", "retired"]);
    await finish(world);
    await begin(world);
    await finish(world);
    expect((await readVault(db, world.id)).keys).toHaveLength(1);
  });

  it("is done once when two passes meet, also at the last step", async ({ expect }) => {
    const world = await makeVaultWorld();
    const wrapped = await wrappedOf(world);
    await begin(world);
    for (const later of [...passes, 3 * waitMs]) {
      const pass = () => advanceRotation(env, world.id, world.publish, Date.now() + later);
      await Promise.all([pass(), pass(), pass()]);
    }
    await finish(world);
    expect((await readVault(db, world.id)).rotation).toMatchObject({ state: "done", last_error: null });
    await expectChanged(expect, world, wrapped);
  });
});

describe("a writer who was under way", () => {
  const settings = { sandbox: true, outboundAllow: [], publicUrl: "http://127.0.0.1:8787" };
  const input = { credentials: { api_key: "sk-sandbox-ok-late" }, validate: false };

  it("with the retired key is right, and brings the waiting back to sealing", async ({ expect }) => {
    const world = await makeVaultWorld();
    const prepared = await prepareCredential(settings, "sandbox", input, "");
    const late = await planCredential(db, world.id, actor, world.dataKey, prepared, "late");
    await begin(world);
    await advanceRotation(env, world.id, world.publish, Date.now());
    expect((await readVault(db, world.id)).rotation?.state).toBe("waiting");
    await commitChange(db, late);
    expect((await readVault(db, world.id)).rotation).toMatchObject({ state: "re_encrypting", waiting_until: null });
    await finish(world);
    const [row] = await db.select().from(credentials).where(eq(credentials.id, late.value.id)).all();
    expect(row?.dataKeyId).toBe((await readVault(db, world.id)).keys[0]?.id);
  });

  it("with a destroyed key gets a conflict, and a secret before it cannot name one either", async ({ expect }) => {
    const world = await makeVaultWorld();
    const prepared = await prepareCredential(settings, "sandbox", input, "");
    const late = await planCredential(db, world.id, actor, world.dataKey, prepared, "late");
    await begin(world);
    await finish(world);
    await expect(commitChange(db, late)).rejects.toMatchObject({ code: "conflict", status: 409 });
    const pointed = db.update(credentials).set({ previousDataKeyId: world.dataKey.id });
    const attempt = commit(db, [pointed.where(eq(credentials.id, world.plain))]);
    await expect(attempt).rejects.toMatchObject({ code: "conflict" });
  });

  it("of the same credential wins, and what it wrote is sealed anew after it", async ({ expect }) => {
    const world = await makeVaultWorld();
    await begin(world);
    let isEdited = false;
    const d1 = new Proxy(faultyD1().d1, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        return name !== "batch"
          ? value
          : async (statements: D1PreparedStatement[]) => {
              // The batch of re-sealed rows: two that open, one that does not.
              if (!isEdited && statements.length >= 3) {
                isEdited = true;
                await db.update(credentials).set({ sealed: "another" }).where(eq(credentials.id, world.plain)).run();
              }
              return await target.batch(statements);
            };
      },
    });
    await advanceRotation(envWith({ d1 }), world.id, world.publish, Date.now());
    const [row] = await db.select().from(credentials).where(eq(credentials.id, world.plain)).all();
    expect([isEdited, row?.sealed]).toEqual([true, "another"]);
  });
});

describe("what stops a change of data key", () => {
  it("is a data key that does not open: nothing is given up for it, and its owner reads why", async ({ expect }) => {
    const world = await makeVaultWorld();
    const wrapped = await wrappedOf(world);
    await begin(world);
    const isOld = and(eq(dataKeys.workspaceId, world.id), eq(dataKeys.id, world.dataKey.id));
    const spoilt = wrapped.slice(0, -4) + (wrapped.endsWith("AAAA") ? "BBBB" : "AAAA");
    await db.update(dataKeys).set({ wrapped: spoilt }).where(isOld).run();
    await finish(world);
    const { rotation } = await readVault(db, world.id);
    expect(rotation).toMatchObject({ state: "re_encrypting", done: 0 });
    expect(rotation?.last_error).toMatch(/does not open under entry t1 of KEYRING/);
    const rows = await db.select().from(credentials).where(eq(credentials.workspaceId, world.id)).all();
    expect(rows.map(({ status }) => status)).toEqual(["active", "active", "active"]);
    await db.update(dataKeys).set({ wrapped }).where(isOld).run();
    await finish(world);
    await expectChanged(expect, world, wrapped);
  });

  it("is a KV that cannot delete the old snapshots: the key stays until it can", async ({ expect }) => {
    const world = await makeVaultWorld();
    const wrapped = await wrappedOf(world);
    await begin(world);
    await advanceRotation(env, world.id, world.publish, Date.now());
    const kv = new Proxy(env.CONFIG, {
      get: (target, name) =>
        name === "delete"
          ? () => Promise.reject(new Error("KV DELETE failed: 429"))
          : Reflect.get(target, name).bind(target),
    });
    await advanceRotation(envWith({ kv }), world.id, world.publish, Date.now() + 2 * waitMs);
    expect((await readVault(db, world.id)).rotation).toMatchObject({ state: "waiting" });
    expect(await wrappedOf(world)).toBe(wrapped);
    await finish(world);
    await expectChanged(expect, world, wrapped);
  });

  it("is a Router that cannot be reached: the wait begins when it is", async ({ expect }) => {
    const world = await makeVaultWorld();
    await begin(world);
    await advanceRotation(env, world.id, () => Promise.reject(new Error("down")), Date.now());
    const { rotation } = await readVault(db, world.id);
    expect(rotation).toMatchObject({ state: "waiting", waiting_until: null });
    expect(rotation?.last_error).not.toBeNull();
    await advanceRotation(env, world.id, world.publish, Date.now());
    const [row] = await db.select().from(dataKeyRotations).where(eq(dataKeyRotations.workspaceId, world.id)).all();
    expect(row).toMatchObject({ state: "waiting", lastError: null, waitingUntil: expect.any(Number) });
  });

  it("is not a workspace of many secrets: each pass is bounded, and the next goes on", async ({ expect }) => {
    const world = await makeVaultWorld();
    for (let count = 0; count < 210; count += 1) {
      await addCredential(world, new Secret(`sk-${count}`).reveal());
    }
    await begin(world);
    await advanceRotation(env, world.id, world.publish, Date.now());
    const first = (await readVault(db, world.id)).rotation;
    expect(first).toMatchObject({ state: "re_encrypting", total: 214 });
    expect(first?.done).toBeGreaterThanOrEqual(200);
    await advanceRotation(env, world.id, world.publish, Date.now());
    expect((await readVault(db, world.id)).rotation).toMatchObject({ state: "waiting", done: 214 });
  });
});
