/** Before a key expires its maker hears of it twice, and of each time once. */
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { commit } from "../../src/base/database.js";
import { sweepExpiringKeys } from "../../src/keys/expiry-warnings.js";
import { writeKeyExpiring } from "../../src/keys/letters.js";
import { apiKeys } from "../../src/keys/model.js";
import { outbox } from "../../src/mail/model.js";
import { members, workspaces } from "../../src/tenancy/model.js";
import { db, seedMember, seedWorkspace } from "../support/seed.js";
import { callKey, day, makeKey } from "./calls.js";

async function lettersOf(keyId: string) {
  const rows = await db.select().from(outbox).where(eq(outbox.subjectId, keyId)).orderBy(outbox.createdAt).all();
  return rows.map(({ kind, recipient, state, version }) => ({ kind, recipient, state, version }));
}

/** A key that was made long ago and has so many days left. */
async function makeKeyWith(
  workspace: { id: string; token: string },
  daysLeft: number,
  daysLived = 80,
): Promise<string> {
  const { body: key } = await makeKey(workspace);
  const times = { expiresAt: Date.now() + daysLeft * day, createdAt: Date.now() - daysLived * day };
  await commit(db, [db.update(apiKeys).set(times).where(eq(apiKeys.id, key.id))]);
  return key.id;
}

/** Five at the same moment. */
function sweep(at: number): Promise<number[]> {
  return Promise.all(Array.from({ length: 5 }, () => sweepExpiringKeys(db, at)));
}

describe("a key about to expire", () => {
  it("is told to its maker seven days and one day ahead, once each, however many sweeps run at once", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const id = await makeKeyWith(workspace, 8);
    const now = Date.now();
    const letter = { kind: "key_expiring", recipient: workspace.owner.email, state: "queued" };
    await sweep(now);
    expect(await lettersOf(id)).toEqual([]);
    await sweep(now + 2 * day);
    await sweep(now + 3 * day);
    expect(await lettersOf(id)).toEqual([{ ...letter, version: 7 }]);
    await sweep(now + 7.5 * day);
    await sweep(now + 7.6 * day);
    expect(await lettersOf(id)).toEqual([
      { ...letter, version: 7 },
      { ...letter, version: 1 },
    ]);
    await sweep(now + 9 * day);
    expect(await lettersOf(id)).toHaveLength(2);
  });

  it("is told of only once when the first warning was missed", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const id = await makeKeyWith(workspace, 0.5);
    await sweepExpiringKeys(db, Date.now());
    await sweepExpiringKeys(db, Date.now());
    expect((await lettersOf(id)).map((row) => row.version)).toEqual([1]);
  });

  it("is not told of when it never had the time, is revoked, or its maker or workspace is gone", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const young = await makeKeyWith(workspace, 5, 1);
    const revoked = await makeKeyWith(workspace, 5);
    await callKey("DELETE", workspace, revoked);
    const leaver = await seedMember(workspace.id, "ADMIN");
    const orphan = await makeKeyWith({ id: workspace.id, token: leaver.token }, 5);
    await commit(db, [db.update(members).set({ removedAt: 1 }).where(eq(members.id, leaver.memberId))]);
    const closed = await seedWorkspace();
    const shut = await makeKeyWith(closed, 5);
    await commit(db, [db.update(workspaces).set({ deletedAt: 1 }).where(eq(workspaces.id, closed.id))]);
    await sweepExpiringKeys(db, Date.now());
    for (const id of [young, revoked, orphan, shut]) {
      expect(await lettersOf(id)).toEqual([]);
    }
    await sweepExpiringKeys(db, Date.now() + 4.5 * day);
    expect((await lettersOf(young)).map((row) => row.version)).toEqual([1]);
  });

  it("has a letter that names it and its time, and is dropped once it says nothing any more", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const id = await makeKeyWith(workspace, 6);
    const { body: key } = await callKey("GET", workspace, id);
    const subject = { workspaceId: workspace.id, subjectId: id, version: 7, recipient: workspace.owner.email };
    const written = await writeKeyExpiring(env, db, subject);
    expect([written?.isCurrent, written?.letter.to]).toEqual([true, workspace.owner.email]);
    const year = new Date(key.expires_at).getUTCFullYear();
    for (const word of [key.name, key.prefix, key.last_four, `${year}`]) {
      expect(written?.letter.text).toContain(word);
      expect(written?.letter.html).toContain(word);
    }
    expect((await writeKeyExpiring(env, db, { ...subject, version: 1 }))?.isCurrent).toBe(false);
    expect(await writeKeyExpiring(env, db, { ...subject, workspaceId: "ws_other" })).toBeNull();
    await callKey("DELETE", workspace, id);
    expect((await writeKeyExpiring(env, db, subject))?.isCurrent).toBe(false);
  });
});
