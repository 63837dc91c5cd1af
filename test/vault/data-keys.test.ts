/** Data keys: wrapped under the keyring to their workspace, open for a minute, never exportable. */
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { fromBase64Url, toBase64Url } from "../../src/base/bytes.js";
import { commit, openDatabase } from "../../src/base/database.js";
import { newId } from "../../src/base/ids.js";
import { Secret } from "../../src/base/secret.js";
import { users } from "../../src/identity/model.js";
import { members, workspaces } from "../../src/tenancy/model.js";
import {
  insertDataKey,
  loadActiveDataKey,
  loadDataKey,
  newDataKey,
  openDataKey,
  openForMs,
} from "../../src/vault/data-keys.js";
import { unwrapDataKey, wrapDataKey } from "../../src/vault/keyring.js";
import { dataKeys } from "../../src/vault/model.js";
import { openSecret, sealSecret } from "../../src/vault/seal.js";
import { deep, seed } from "../support/deep.js";
import { otherWorkspaceId, place, ringOf, workspaceId } from "./ring.js";

const db = openDatabase(env.DB);
const now = Date.UTC(2026, 9, 1);

async function codeOf(attempt: Promise<unknown>): Promise<string> {
  return await attempt.then(
    () => "opened",
    (error: unknown) => String((error as { code?: unknown }).code),
  );
}

async function makeWorkspace(): Promise<string> {
  const [user, id, member] = [newId("account"), newId("workspace"), newId("member")];
  const date = new Date(now).toISOString();
  const times = { createdAt: now, updatedAt: now };
  await commit(db, [
    db.insert(users).values({ id: user, name: "a", email: user, createdAt: date, updatedAt: date }),
    db.insert(workspaces).values({
      id,
      slug: id,
      name: "w",
      nameKey: "w",
      createdBy: user,
      ownerMemberId: member,
      settings: "{}",
      ...times,
    }),
    db.insert(members).values({ id: member, workspaceId: id, userId: user, role: "ADMIN", createdAt: now }),
  ]);
  return id;
}

describe("a wrapped data key", () => {
  const name = { workspaceId, dataKeyId: "dk_01h455vb4pex5vsknk084sn02q" };
  const raw = Uint8Array.from({ length: 32 }, (_, index) => index);

  it("unwraps to its bytes under the entry it names, also after another entry became primary", async ({ expect }) => {
    const wrapped = await wrapDataKey(ringOf({ k1: 1 }), "k1", name, raw);
    expect(await unwrapDataKey(ringOf({ k2: 2, k1: 1 }), name, wrapped)).toEqual(raw);
  });

  it("is a 503 that asks to retry, not undecryptable, where its keyring entry is not known", async ({ expect }) => {
    const wrapped = await wrapDataKey(ringOf({ k2: 2 }), "k2", name, raw);
    await expect(unwrapDataKey(ringOf({ k1: 1 }), name, wrapped)).rejects.toMatchObject({
      code: "keyring_entry_missing",
      status: 503,
      retryAfterMs: 5000,
    });
  });

  it("does not unwrap for another workspace or id, under another key of the same name, or changed", async ({
    expect,
  }) => {
    const ring = ringOf({ k1: 1, k2: 2 });
    const wrapped = await wrapDataKey(ring, "k1", name, raw);
    const flipped = wrapped.slice(0, -1) + (wrapped.endsWith("A") ? "Q" : "A");
    const attempts = [
      unwrapDataKey(ring, { ...name, workspaceId: otherWorkspaceId }, wrapped),
      unwrapDataKey(ring, { ...name, dataKeyId: "dk_01h455vb4pex5vsknk084sn02r" }, wrapped),
      unwrapDataKey(ringOf({ k1: 3 }), name, wrapped),
      unwrapDataKey(ring, name, wrapped.replace(".k1.", ".k2.")),
      unwrapDataKey(ring, name, flipped),
      unwrapDataKey(ring, name, ""),
      unwrapDataKey(ring, name, await wrapDataKey(ring, "k1", name, raw.slice(0, 31))),
    ];
    for (const outcome of await Promise.allSettled(attempts)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "undecryptable" } });
    }
  });
});

describe("a wrapped data key to which anything was done", () => {
  const name = { workspaceId, dataKeyId: "dk_01h455vb4pex5vsknk084sn02q" };
  const ring = ringOf({ k1: 1, k2: 2 });
  it("is refused: a bit flipped, cut, lengthened, another's nonce, another entry's name", async ({ expect }) => {
    const anyRaw = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const property = fc.asyncProperty(anyRaw, fc.nat(), fc.nat(7), fc.nat(), async (bytes, where, bit, cut) => {
      const wrapped = await wrapDataKey(ring, "k1", name, new Uint8Array(bytes));
      const other = await wrapDataKey(ring, "k1", name, new Uint8Array(bytes));
      const [version, algorithm, entry, iv = "", body = ""] = wrapped.split(".");
      const sealed = fromBase64Url(body) ?? new Uint8Array();
      const at = where % sealed.length;
      sealed[at] = (sealed[at] ?? 0) ^ (1 << bit);
      const texts = [
        [version, algorithm, entry, iv, toBase64Url(sealed)].join("."),
        [version, algorithm, entry, other.split(".")[3], body].join("."),
        [version, algorithm, "k2", iv, body].join("."),
        wrapped.slice(0, cut % wrapped.length),
        `${wrapped}AAAA`,
      ];
      for (const text of texts) {
        expect(await codeOf(unwrapDataKey(ring, name, text)), text).toBe("undecryptable");
      }
      const unknown = [version, algorithm, "k9", iv, body].join(".");
      expect(await codeOf(unwrapDataKey(ring, name, unknown))).toBe("keyring_entry_missing");
      expect(await codeOf(unwrapDataKey(ring, name, wrapped))).toBe("opened");
    });
    await fc.assert(property, { numRuns: deep(50, 2_000), seed: seed() });
  });
});

describe("a data key", () => {
  const ring = ringOf({ k1: 9 });

  it("is kept wrapped under the primary and gives no bytes away", async ({ expect }) => {
    const { row, key } = await newDataKey(ring, ring.primary, workspaceId, now);
    expect(row).toMatchObject({ id: key.id, workspaceId, keyringId: "k1", state: "active", createdAt: now });
    expect(row.wrapped).toMatch(/^v1\.a256gcm\.k1\./);
    for (const subkey of [key.sealing, key.fingerprinting, (await openDataKey(ring, row)).sealing]) {
      expect(subkey.extractable).toBe(false);
      await expect(crypto.subtle.exportKey("raw", subkey)).rejects.toThrow();
    }
  });

  it("stays open for a minute from its opening however often it is used, then is opened anew", async ({ expect }) => {
    const { row } = await newDataKey(ring, ring.primary, workspaceId, now);
    const first = await openDataKey(ring, row, now);
    expect(await openDataKey(ring, row, now + openForMs / 2)).toBe(first);
    expect(await openDataKey(ring, row, now + openForMs - 1)).toBe(first);
    expect(await openDataKey(ring, row, now + openForMs)).not.toBe(first);
    expect(openForMs).toBeLessThanOrEqual(60_000);
  });

  it("is not answered from memory for another workspace, id, wrapping or ring", async ({ expect }) => {
    const { row } = await newDataKey(ring, ring.primary, workspaceId, now);
    await openDataKey(ring, row, now);
    const refused = { code: "undecryptable" };
    await expect(openDataKey(ring, { ...row, workspaceId: otherWorkspaceId }, now)).rejects.toMatchObject(refused);
    await expect(openDataKey(ring, { ...row, id: newId("dataKey") }, now)).rejects.toMatchObject(refused);
    await expect(openDataKey(ring, { ...row, wrapped: `${row.wrapped}A` }, now)).rejects.toMatchObject(refused);
    await expect(openDataKey(ringOf({ k1: 8 }), row, now)).rejects.toMatchObject(refused);
    await expect(openDataKey(ringOf({ k2: 9 }), row, now)).rejects.toMatchObject({ code: "keyring_entry_missing" });
  });

  it("makes room: the oldest of more than a thousand is closed", async ({ expect }) => {
    const { row: oldest } = await newDataKey(ring, ring.primary, workspaceId, now);
    const first = await openDataKey(ring, oldest, now);
    for (let count = 0; count < 1000; count += 1) {
      const { row } = await newDataKey(ring, ring.primary, workspaceId, now);
      await openDataKey(ring, row, now);
    }
    expect(await openDataKey(ring, oldest, now)).not.toBe(first);
  });

  it("loads from the record: the one active one for sealing, a retired one only by id", async ({ expect }) => {
    const ws = await makeWorkspace();
    const [older, newer] = [
      await newDataKey(ring, ring.primary, ws, now),
      await newDataKey(ring, ring.primary, ws, now + 1),
    ];
    await commit(db, [insertDataKey(db, newer.row)]);
    expect((await loadActiveDataKey(db, ring, ws)).id).toBe(newer.key.id);
    await expect(commit(db, [insertDataKey(db, older.row)])).rejects.toMatchObject({ code: "conflict" });
    await commit(db, [
      db.update(dataKeys).set({ state: "retired" }).where(eq(dataKeys.id, newer.row.id)),
      insertDataKey(db, older.row),
    ]);
    expect((await loadActiveDataKey(db, ring, ws)).id).toBe(older.key.id);

    const binding = { ...place, workspaceId: ws };
    const sealed = await sealSecret(newer.key, binding, new Secret("sk-a-secret"));
    const loaded = await loadDataKey(db, ring, ws, newer.key.id);
    expect((await openSecret(loaded, binding, sealed)).reveal()).toBe("sk-a-secret");
  });

  it("of another workspace, or purged, cannot be loaded", async ({ expect }) => {
    const [mine, theirs] = [await makeWorkspace(), await makeWorkspace()];
    const { row } = await newDataKey(ring, ring.primary, theirs, now);
    await commit(db, [insertDataKey(db, row)]);
    await expect(loadDataKey(db, ring, mine, row.id)).rejects.toMatchObject({ code: "undecryptable" });
    await expect(loadActiveDataKey(db, ring, mine)).rejects.toMatchObject({ code: "undecryptable" });
    await commit(db, [db.delete(dataKeys).where(eq(dataKeys.id, row.id))]);
    await expect(loadDataKey(db, ring, theirs, row.id)).rejects.toMatchObject({ code: "undecryptable" });
  });

  it("whose row was moved into another workspace does not open there", async ({ expect }) => {
    const [mine, theirs] = [await makeWorkspace(), await makeWorkspace()];
    const { row } = await newDataKey(ring, ring.primary, theirs, now);
    await commit(db, [insertDataKey(db, { ...row, workspaceId: mine })]);
    await expect(loadDataKey(db, ring, mine, row.id)).rejects.toMatchObject({ code: "undecryptable" });
  });
});
