import { env } from "cloudflare:workers";
import { and, eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { verifyExport } from "../../scripts/verify-audit-export.mjs";
import { auditLog, auditTargets } from "../../src/audit/model.js";
import { utf8 } from "../../src/base/bytes.js";
import { careFor } from "../../src/ledger/care.js";
import { findTree, sealWorkspace } from "../../src/ledger/seal.js";
import { outbox } from "../../src/mail/model.js";
import { WorkspaceSettings } from "../../src/tenancy/model.js";
import { letterWriters } from "../../src/workspaces/letters.js";
import { call } from "../support/client.js";
import { db, seedMember, seedWorkspace } from "../support/seed.js";
import { fillLog } from "./fill.js";

const day = 24 * 3_600_000;

async function care(id: string, changes: Partial<WorkspaceSettings> = {}, now = Date.now()): Promise<void> {
  const tree = await findTree(db, id);
  if (tree === null) {
    throw new Error("no tree");
  }
  await careFor(env, db, tree, { ...WorkspaceSettings.parse({}), ...changes }, now);
}

async function tamper(trigger: string, statement: string): Promise<void> {
  const found = await env.DB.prepare("SELECT sql FROM sqlite_master WHERE name = ?").bind(trigger).first<string>("sql");
  await env.DB.batch([
    env.DB.prepare(`DROP TRIGGER ${trigger}`),
    env.DB.prepare(statement),
    env.DB.prepare(found ?? ""),
  ]);
}

const seqsOf = async (id: string): Promise<number[]> =>
  (await db.select({ seq: auditLog.seq }).from(auditLog).where(eq(auditLog.workspaceId, id)).orderBy(auditLog.seq)).map(
    ({ seq }) => seq,
  );

describe("looking after the log", () => {
  it("finds a row that was changed, lost or slipped in below the seal, and hashes that were changed with it", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    await fillLog(id, 300);
    await sealWorkspace(env, db, id, 1, 5_000);
    const seqs = await seqsOf(id);
    const faultOf = async () => (await findTree(db, id))?.fault ?? null;
    const round = async () => {
      await care(id);
      await care(id);
    };
    await round();
    expect(await faultOf()).toBeNull();
    const at = seqs[7] ?? 0;
    await tamper("audit_log_no_update", `UPDATE audit_log SET outcome = 'failure' WHERE seq = ${at}`);
    await round();
    const { body } = await call("GET", `/workspaces/${id}/audit-log/checkpoint`, { token });
    expect(body.fault).toMatchObject({ kind: "row_changed", seq: at });
    // Rows that come are sealed all the same.
    await fillLog(id, 5);
    await care(id);
    expect((await findTree(db, id))?.sealedSeq).toBe((await seqsOf(id)).at(-1));
    await tamper("audit_log_no_update", `UPDATE audit_log SET outcome = 'success' WHERE seq = ${at}`);
    await round();
    expect(await faultOf()).toBeNull();

    await tamper("audit_log_no_delete", `DELETE FROM audit_log WHERE seq = ${at}`);
    await round();
    expect(await faultOf()).toBe("row_lost");
    expect((await findTree(db, id))?.faultSeq).toBe(at);
  });

  it("finds a row with a lower seq than those that are sealed", async ({ expect }) => {
    const [here, other] = [await seedWorkspace(), await seedWorkspace()];
    await fillLog(here.id, 10);
    await fillLog(other.id, 1);
    await fillLog(here.id, 10);
    await sealWorkspace(env, db, here.id, 1, 5_000);
    const gap = (await seqsOf(other.id)).at(-1) ?? 0;
    // The other workspace's row is made one of this.
    await tamper("audit_log_no_update", `UPDATE audit_log SET workspace_id = '${here.id}' WHERE seq = ${gap}`);
    await care(here.id);
    expect(await findTree(db, here.id)).toMatchObject({ fault: "row_slipped_in", faultSeq: gap });
  });

  it("finds hashes that were changed along with their row", async ({ expect }) => {
    const { id } = await seedWorkspace();
    await fillLog(id, 20);
    await sealWorkspace(env, db, id, 1, 5_000);
    await env.DB.prepare(
      "UPDATE audit_tiles SET hashes = 'B' || substr(hashes, 2) WHERE workspace_id = ? AND level = 0",
    )
      .bind(id)
      .run();
    await care(id);
    const fault = (await findTree(db, id))?.fault;
    expect(fault).toBe("tree_changed");
  });

  it("prunes whole tiles of old sealed rows, says so signed and in the log, and what is left stays provable", async ({
    expect,
  }) => {
    const { id, token } = await seedWorkspace();
    const now = Date.now();
    await fillLog(id, 600, now - 50 * day);
    await sealWorkspace(env, db, id, now, 5_000);
    const { body: before } = await call("GET", `/workspaces/${id}/audit-log/checkpoint`, { token });
    await fillLog(id, 300, now - 45 * day);
    // Unsealed rows never go, however old.
    await care(id, { audit_retention_days: 30 }, now + 31 * day);
    expect(await findTree(db, id)).toMatchObject({ prunedSize: 512 });
    await sealWorkspace(env, db, id, now, 5_000);
    const seqs = await seqsOf(id);
    expect(seqs.length).toBe(((await findTree(db, id))?.size ?? 0) - 512);
    expect(await db.$count(auditTargets, and(eq(auditTargets.workspaceId, id), sql`seq < ${seqs[0]}`))).toBe(0);
    const told = await call("GET", `/workspaces/${id}/audit-log?action=audit_log.pruned`, { token });
    expect(told.body.data[0].after).toMatchObject({ size: 512 });
    expect(told.body.data[0].after.note).toMatch(/\n512\n.{44}\npruned 20\d\d-/);

    const { text } = await call("GET", `/workspaces/${id}/audit-log/export`, { token });
    const { body: key } = await call("GET", "/.well-known/audit-log-key");
    const options = { key: key.public_key, checkpoints: [before.note] };
    const verdict = verifyExport(utf8(text), options);
    expect(verdict.findings).toEqual([]);
    expect([verdict.proved, verdict.rows]).toEqual([true, (verdict.size ?? 0) - 512]);
    const forged = text.replace(/"pruned":\{"size":512/, '"pruned":{"size":256');
    expect(verifyExport(utf8(forged), options).findings.map(({ kind }) => kind)).toContain("pruned");
    // The proof of an old row's neighbour still needs nothing that is gone.
    const proof = await call("GET", `/workspaces/${id}/audit-log/proof?seq=${seqs[0]}`, { token });
    expect(proof.body.index).toBe(512);
    // Young rows stay.
    await care(id, { audit_retention_days: 200 }, now + 31 * day);
    expect(await findTree(db, id)).toMatchObject({ prunedSize: 512, fault: null });
  });

  it("prunes nothing that is not as it was sealed: no row is made old by writing another time into it", async ({
    expect,
  }) => {
    const { id } = await seedWorkspace();
    const now = Date.now();
    await fillLog(id, 600, now - day);
    await sealWorkspace(env, db, id, now, 5_000);
    await tamper("audit_log_no_update", `UPDATE audit_log SET time = 1 WHERE workspace_id = '${id}'`);
    await care(id, { audit_retention_days: 30 }, now);
    expect(await findTree(db, id)).toMatchObject({ prunedSize: 0, fault: "row_changed" });
    expect((await seqsOf(id)).length).toBeGreaterThan(600);
  });

  it("takes the settings by HTTP, and mails a checkpoint a day to whom they name", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const admin = await seedMember(id, "ADMIN");
    for (const [settings, status] of [
      [{ audit_retention_days: 29 }, 422],
      [{ audit_checkpoint_email: "nowhere" }, 422],
      [{ audit_retention_days: 400, audit_checkpoint_email: "auditor@example.com" }, 200],
    ] as const) {
      const answer = await call("PATCH", `/workspaces/${id}`, { token, body: { settings } });
      expect([settings, answer.status]).toEqual([settings, status]);
    }
    const key = { name: "k", scopes: ["workspace:manage"] };
    const { body: made } = await call("POST", `/workspaces/${id}/api-keys`, { token, body: key });
    for (const [other, settings, status] of [
      [admin.token, { audit_retention_days: 30 }, 403],
      [admin.token, { audit_checkpoint_email: null }, 403],
      [made.secret, { audit_retention_days: null }, 403],
      [admin.token, { audit_retention_days: 400, locale: "zh-CN" }, 200],
    ] as const) {
      const answer = await call("PATCH", `/workspaces/${id}`, { token: other, body: { settings } });
      expect([settings, answer.status]).toEqual([settings, status]);
    }
    const { body } = await call("GET", `/workspaces/${id}`, { token });
    expect(body.settings).toMatchObject({ audit_retention_days: 400, audit_checkpoint_email: "auditor@example.com" });
    await sealWorkspace(env, db, id, Date.now(), 5_000);
    const settings = { audit_checkpoint_email: "auditor@example.com" };
    const now = Date.now();
    await care(id, settings, now);
    await care(id, settings, now + 1);
    const letters = () =>
      db
        .select()
        .from(outbox)
        .where(and(eq(outbox.workspaceId, id), eq(outbox.kind, "audit_checkpoint")));
    expect((await letters()).length).toBe(1);
    const [letter] = await letters();
    const written = letter === undefined ? null : await letterWriters.audit_checkpoint(env, db, letter);
    const { body: checkpoint } = await call("GET", `/workspaces/${id}/audit-log/checkpoint`, { token });
    expect(written).toMatchObject({ isCurrent: true, letter: { to: "auditor@example.com" } });
    expect(written?.letter.text).toContain(checkpoint.note.trim());
    await care(id, settings, now + day + 1);
    expect((await letters()).length).toBe(1);
    // One that did not arrive is written again, and so is a log that grew.
    await db.update(outbox).set({ state: "failed" }).where(eq(outbox.workspaceId, id));
    await care(id, settings, now + day + 1);
    expect((await letters()).length).toBe(2);
    await fillLog(id, 1);
    await sealWorkspace(env, db, id, now, 5_000);
    await care(id, settings, now + day + 2);
    expect((await letters()).length).toBe(2);
    await care(id, settings, now + 2 * day + 2);
    expect((await letters()).length).toBe(3);
  });
});
