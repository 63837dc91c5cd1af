import { env } from "cloudflare:workers";
import { createExecutionContext, createScheduledController, waitOnExecutionContext } from "cloudflare:test";
import * as fc from "fast-check";
import { and, eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import worker from "../../src/index.js";
import { auditLog } from "../../src/audit/model.js";
import { utf8 } from "../../src/base/bytes.js";
import { requireSettings } from "../../src/base/settings.js";
import { ledgerFor } from "../../src/ledger/ledger-for.js";
import { auditTrees } from "../../src/ledger/model.js";
import { fromBase64, originOf, signNote, toBase64 } from "../../src/ledger/note.js";
import { findTree, sealWorkspace, sweepSeals } from "../../src/ledger/seal.js";
import { foldHashes, growTiles, nodeReader, type Tile } from "../../src/ledger/tiles.js";
import {
  hashLeaf,
  hashPair,
  isConsistent,
  isIncluded,
  isSame,
  proveConsistency,
  proveInclusion,
  readRoot,
  type Hash,
} from "../../src/ledger/tree.js";
import { call } from "../support/client.js";
import { deep, seed } from "../support/deep.js";
import { db, seedMember, seedWorkspace } from "../support/seed.js";
import { fillLog } from "./fill.js";

/** RFC 6962's own definition, word by word. */
async function treeHead(leaves: readonly Hash[]): Promise<Hash> {
  const [first] = leaves;
  if (first === undefined) {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array()));
  }
  if (leaves.length === 1) {
    return first;
  }
  let k = 1;
  while (k * 2 < leaves.length) {
    k *= 2;
  }
  return await hashPair(await treeHead(leaves.slice(0, k)), await treeHead(leaves.slice(k)));
}

async function makeLeaves(count: number): Promise<Hash[]> {
  return await Promise.all(Array.from({ length: count }, (_, at) => hashLeaf(utf8(`leaf ${at}`))));
}

const path = (id: string, rest = "") => `/workspaces/${id}/audit-log${rest}`;
const some = (answer: { readonly body: { readonly hashes: string[] } }): Hash[] =>
  answer.body.hashes.map((text) => fromBase64(text)).filter((hash): hash is Hash => hash !== null);
const hashOf = (text: string): Hash => fromBase64(text) ?? new Uint8Array();

describe("the tree", () => {
  it("is RFC 6962's for any number of leaves in any portions, and its proofs hold for what they say alone", async ({
    expect,
  }) => {
    const leaves = await makeLeaves(1_400);
    const property = fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 350 }), { minLength: 1, maxLength: 4 }),
      fc.nat(),
      fc.nat(),
      fc.nat(255),
      async (portions, a, b, flip) => {
        const kept = new Map<string, Tile>();
        let size = 0;
        for (const portion of portions) {
          const next = leaves.slice(size, size + portion).map((hash, at) => ({ hash, seq: size + at }));
          const grown = await growTiles(size, next, async (level, tile) => kept.get(`${level}/${tile}`) ?? null);
          grown.forEach((tile) => kept.set(`${tile.level}/${tile.tile}`, tile));
          size += portion;
        }
        const read = nodeReader(async (level, tile) => kept.get(`${level}/${tile}`) ?? null);
        const root = await readRoot(size, read);
        expect(isSame(root, await treeHead(leaves.slice(0, size)))).toBe(true);
        expect(isSame(root, await foldHashes(leaves.slice(0, size)))).toBe(true);

        const index = a % size;
        const steps = await proveInclusion(index, size, read);
        const leaf = { index, hash: leaves[index] ?? root };
        expect(await isIncluded(leaf, { size, root }, steps)).toBe(true);
        expect(steps.length).toBeLessThanOrEqual(Math.ceil(Math.log2(size)));
        const other = { index, hash: leaves[(index + 1) % leaves.length] ?? root };
        expect(await isIncluded(other, { size, root }, steps)).toBe(false);
        expect(await isIncluded(leaf, { size, root }, [...steps, root])).toBe(false);

        const older = b % (size + 1);
        const proof = await proveConsistency(older, size, read);
        const before = { size: older, root: await treeHead(leaves.slice(0, older)) };
        expect(await isConsistent(before, { size, root }, proof)).toBe(true);
        if (older > 0) {
          const forged = new Uint8Array(before.root);
          forged[flip % 32] = (forged[flip % 32] ?? 0) ^ 1;
          expect(await isConsistent({ size: older, root: forged }, { size, root }, proof)).toBe(false);
        }
        if (older > 0 && older < size) {
          expect(await isConsistent(before, { size, root }, proof.slice(1))).toBe(false);
          expect(await isConsistent({ size: older - 1, root: before.root }, { size, root }, proof)).toBe(false);
        }
      },
    );
    await fc.assert(property, { numRuns: deep(12, 400), seed: seed() });
  });
});

describe("sealing", () => {
  it("gives each row its place, signs what grew, and proves every row and every growth by HTTP", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    expect((await call("GET", path(id, "/checkpoint"), { token })).status).toBe(404);
    await fillLog(id, 300);
    await sweepSeals(env, db, Date.now());
    const first = (await call("GET", path(id, "/checkpoint"), { token })).body;
    await fillLog(id, 700);
    await sweepSeals(env, db, Date.now());
    const { body: second } = await call("GET", path(id, "/checkpoint"), { token });
    expect(second).toMatchObject({ pending: 0, pruned: null, fault: null });
    expect(second.size).toBeGreaterThan(first.size + 600);
    const [origin, size, root, empty, signature] = second.note.split("\n");
    expect([origin, size, root, empty]).toEqual([
      `127.0.0.1:8787/workspaces/${id}/audit-log`,
      `${second.size}`,
      second.root,
      "",
    ]);
    expect(signature.startsWith(`— ${origin} `)).toBe(true);
    const signed = Uint8Array.fromBase64(signature.split(" ")[2]);
    const { body: shown } = await call("GET", "/.well-known/audit-log-key");
    const raw = Uint8Array.fromBase64(shown.public_key);
    const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
    const text = new TextEncoder().encode(`${origin}\n${size}\n${root}\n`);
    expect(await crypto.subtle.verify("Ed25519", key, signed.slice(4), text)).toBe(true);
    // As C2SP signed-note has it: name, newline, algorithm 1, key.
    const named = new Uint8Array([...new TextEncoder().encode(`${origin}\n`), 1, ...raw]);
    const keyId = new Uint8Array(await crypto.subtle.digest("SHA-256", named)).slice(0, 4);
    expect(signed.slice(0, 4)).toEqual(keyId);
    expect(second.public_key).toBe(`${origin}+${keyId.toHex()}+${new Uint8Array([1, ...raw]).toBase64()}`);
    const plain = await call("GET", path(id, "/checkpoint"), { token, headers: { accept: "text/plain" } });
    expect([plain.headers.get("content-type"), plain.text]).toEqual(["text/plain; charset=utf-8", second.note]);

    const growth = await call("GET", path(id, `/proof?from=${first.size}&to=${second.size}`), { token });
    const [older, younger] = [first, second].map((head) => ({ size: head.size, root: hashOf(head.root) }));
    expect(
      await isConsistent(
        older ?? { size: 0, root: hashOf("") },
        younger ?? { size: 0, root: hashOf("") },
        some(growth),
      ),
    ).toBe(true);
    const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, id)).orderBy(auditLog.seq).all();
    for (const at of [0, 255, 256, 999, second.size - 1]) {
      const row = rows[at];
      const proof = await call("GET", path(id, `/proof?seq=${row?.seq}`), { token });
      expect(proof.body).toMatchObject({
        kind: "inclusion",
        index: at,
        seq: row?.seq,
        size: second.size,
        root: second.root,
      });
      const leaf = { index: at, hash: hashOf(proof.body.leaf) };
      expect(await isIncluded(leaf, { size: second.size, root: hashOf(second.root) }, some(proof))).toBe(true);
      expect((await call("GET", path(id, `/proof?index=${at}`), { token })).body).toEqual(proof.body);
    }
    for (const [question, status] of [
      ["", 422],
      ["?seq=1&from=1", 422],
      [`?index=${second.size}`, 404],
      ["?seq=999999999", 404],
      ["?index=0&size=999999", 422],
      ["?from=9&to=3", 422],
      ["?from=1&to=999999", 422],
      ["?from=x", 422],
    ] as const) {
      expect([question, (await call("GET", path(id, `/proof${question}`), { token })).status]).toEqual([
        question,
        status,
      ]);
    }
    expect(
      await db.$count(auditLog, and(eq(auditLog.workspaceId, id), eq(auditLog.action, "audit_log.proof_read"))),
    ).toBe(1);
  });

  it("goes on after a crash anywhere, and two runs at once seal a row once", async ({ expect }) => {
    const { id } = await seedWorkspace();
    await fillLog(id, 600);
    await Promise.allSettled([0, 1].map(() => sealWorkspace(env, db, id, 1, 5_000)));
    await fillLog(id, 10);
    // The Ledger out of reach: rows are sealed, and the checkpoint follows.
    const broken: Env = {
      ...env,
      LEDGER: {
        idFromName: () => {
          throw new Error("down");
        },
      } as unknown as Env["LEDGER"],
    };
    await expect(sealWorkspace(broken, db, id, 2, 5_000)).rejects.toThrow("down");
    const between = await findTree(db, id);
    expect(between?.sealedSeq).toBe(between?.newestSeq);
    expect(between?.signedSize).toBeLessThan(between?.size ?? 0);
    await sweepSeals(env, db, 3);
    const tree = await findTree(db, id);
    expect(tree).toMatchObject({ signedSize: tree?.size, sealedSeq: tree?.newestSeq, fault: null });
    expect(tree?.size).toBe(await db.$count(auditLog, eq(auditLog.workspaceId, id)));
    expect((await ledgerFor(env, id).latest())?.size).toBe(tree?.size);
  });

  it("the Ledger keeps what follows from its last checkpoint and nothing else; a record that was set back signs nothing", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    await fillLog(id, 40);
    await sealWorkspace(env, db, id, 1, 5_000);
    const ledger = ledgerFor(env, id);
    const latest = await ledger.latest();
    const size = latest?.size ?? 0;
    const forge = async (length: number, proof: string[]) => {
      const root = toBase64((await makeLeaves(1))[0] ?? new Uint8Array());
      return (await ledger.append({ size: length, root, note: "forged", signedAt: 1 }, proof)).kind;
    };
    expect(await forge(size, [])).toBe("refused");
    expect(await forge(size - 1, [])).toBe("refused");
    expect(await forge(size + 1, [latest?.root ?? ""])).toBe("refused");
    expect(await ledger.latest()).toEqual(latest);
    expect((await ledger.append(latest ?? { size: 0, root: "", note: "", signedAt: 0 }, [])).kind).toBe("known");

    // The record loses its last rows, as after a restore, and others are written in their place.
    const settings = requireSettings(env);
    const note = await signNote(settings, { origin: originOf(settings, id), size, root: hashOf(latest?.root ?? "") });
    expect(note).toBe(latest?.note);
    await tamper(
      `UPDATE audit_trees SET size = 0, sealed_seq = 0, signed_size = 0 WHERE workspace_id = '${id}'`,
      "audit_trees_grow",
    );
    await tamper(
      `UPDATE audit_log SET action = 'nothing.happened' WHERE workspace_id = '${id}'`,
      "audit_log_no_update",
    );
    await fillLog(id, 3);
    await sealWorkspace(env, db, id, 2, 5_000);
    expect(await ledger.latest()).toEqual(latest);
    expect((await call("GET", path(id, "/checkpoint"), { token })).body).toMatchObject({
      size,
      fault: { kind: "rolled_back" },
    });
  });

  it("keeps no request waiting: they are answered between its steps", { timeout: 600_000 }, async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const rows = deep(3_000, 100_000);
    await fillLog(id, rows);
    const waits: number[] = [];
    const running = { is: true };
    const began = Date.now();
    const sealing = sealWorkspace(env, db, id, Date.now(), 1_000_000).finally(() => {
      running.is = false;
    });
    while (running.is) {
      const asked = Date.now();
      const answer = await call("PATCH", `/workspaces/${id}`, { token, body: { name: `At ${waits.length}` } });
      expect(answer.status).toBe(200);
      waits.push(Date.now() - asked);
    }
    expect(await sealing).toBeGreaterThanOrEqual(rows);
    const [took, sorted] = [Date.now() - began, waits.toSorted((a, b) => a - b)];
    const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)];
    console.log(
      `${rows} rows sealed in ${took} ms; ${waits.length} writes meanwhile: ${at(0.5)} ms, worst ${at(1)} ms`,
    );
    expect(waits.length).toBeGreaterThan(3);
    // One write at a time waits for a step at most, never for the whole.
    expect(at(1)).toBeLessThan(took);
    const tree = await findTree(db, id);
    expect(tree?.signedSize).toBeGreaterThanOrEqual(rows);
  });

  it("a tree that cannot be sealed goes behind those that wait", async ({ expect }) => {
    const [bad, lost, good] = [await seedWorkspace(), await seedWorkspace(), await seedWorkspace()];
    const now = Date.now();
    await sweepSeals(env, db, now);
    for (const { id } of [bad, lost, good]) {
      await fillLog(id, 3);
    }
    await tamper(`UPDATE audit_log SET targets = 'no json' WHERE workspace_id = '${bad.id}'`, "audit_log_no_update");
    const isNew = `workspace_id = '${lost.id}' AND seq > (SELECT sealed_seq FROM audit_trees WHERE workspace_id = '${lost.id}')`;
    await tamper(`DELETE FROM audit_log WHERE ${isNew}`, "audit_log_no_delete");
    await sweepSeals(env, db, now + 1);
    for (const { id } of [bad, lost, good]) {
      expect((await findTree(db, id))?.sealedAt).toBe(now + 1);
    }
    expect(await findTree(db, good.id)).toMatchObject({ fault: null });
    expect((await findTree(db, good.id))?.sealedSeq).toBe((await findTree(db, good.id))?.newestSeq);
  });

  it("runs by cron, which leaves nothing open", async ({ expect }) => {
    const { id } = await seedWorkspace();
    const context = createExecutionContext();
    await worker.scheduled(createScheduledController(), env);
    await waitOnExecutionContext(context);
    const tree = await findTree(db, id);
    expect(tree?.size).toBeGreaterThan(0);
    expect(tree?.signedSize).toBe(tree?.size);
  });

  it("the record's own triggers keep a tree from shrinking and sealed rows from going", async ({ expect }) => {
    const { id } = await seedWorkspace();
    await sealWorkspace(env, db, id, 1, 5_000);
    const shrink = db.update(auditTrees).set({ size: 0, signedSize: 0 }).where(eq(auditTrees.workspaceId, id)).run();
    await expect(shrink).rejects.toThrow();
    await expect(db.delete(auditTrees).where(eq(auditTrees.workspaceId, id)).run()).rejects.toThrow();
    await expect(db.delete(auditLog).where(eq(auditLog.workspaceId, id)).run()).rejects.toThrow();
    const { size } = (await findTree(db, id)) ?? { size: 0 };
    const most = { prunedSize: size + 1, prunedSeq: sql`sealed_seq`, prunedNote: "x" };
    await expect(db.update(auditTrees).set(most).where(eq(auditTrees.workspaceId, id)).run()).rejects.toThrow();
  });
});

/** Changes the record as only somebody with the database itself could: past a trigger. */
async function tamper(statement: string, trigger: string): Promise<void> {
  const found = await env.DB.prepare("SELECT sql FROM sqlite_master WHERE name = ?").bind(trigger).first<string>("sql");
  await env.DB.batch([
    env.DB.prepare(`DROP TRIGGER ${trigger}`),
    env.DB.prepare(statement),
    env.DB.prepare(found ?? ""),
  ]);
}

describe("who may see it", () => {
  it("a member may not, and the attempt is told of, once a minute", async ({ expect }) => {
    const { id } = await seedWorkspace();
    const member = await seedMember(id, "MEMBER");
    for (let round = 0; round < 3; round += 1) {
      expect((await call("GET", path(id, "/checkpoint"), { token: member.token })).status).toBe(403);
    }
    const isDenied = and(eq(auditLog.workspaceId, id), eq(auditLog.outcome, "denied"));
    await expect.poll(() => db.$count(auditLog, isDenied)).toBe(1);
  });
});
