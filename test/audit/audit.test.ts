import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import type { Actor } from "../../src/access/principal.js";
import { auditIfChanged, auditRow } from "../../src/audit/audit.js";
import { auditLog } from "../../src/audit/model.js";
import { commit, openDatabase } from "../../src/base/database.js";
import { users } from "../../src/identity/model.js";

const db = openDatabase(env.DB);
const actor: Actor = { type: "system", id: "test", name: "Test", requestId: "req_1", ip: null, opId: "op_1", at: 1 };

function event(action: string) {
  return { workspaceId: "ws_audit", action, targets: [{ type: "user", id: "usr_1" }], after: { name: "b" } };
}

describe("the audit log", () => {
  it("tells of a change exactly when it happened", async ({ expect }) => {
    const now = new Date().toISOString();
    await commit(db, [
      db.insert(users).values({ id: "usr_1", name: "a", email: "a@example.com", createdAt: now, updatedAt: now }),
      db
        .update(users)
        .set({ name: "b" })
        .where(sql`id = 'usr_1' AND name IS NOT 'b'`),
      auditIfChanged(db, actor, event("user.renamed")),
      db
        .update(users)
        .set({ name: "b" })
        .where(sql`id = 'usr_1' AND name IS NOT 'b'`),
      auditIfChanged(db, actor, event("user.renamed_again")),
    ]);
    const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, "ws_audit")).all();
    expect(rows.map((row) => [row.action, row.requestId, row.opId])).toEqual([["user.renamed", "req_1", "op_1"]]);
  });

  it("is append-only: update, delete and replace are refused", async ({ expect }) => {
    await commit(db, [auditRow(db, actor, { ...event("kept"), workspaceId: "ws_fixed" })]);
    const [row] = await db.select().from(auditLog).where(eq(auditLog.workspaceId, "ws_fixed")).all();
    await expect(
      env.DB.prepare("UPDATE audit_log SET action = 'x' WHERE seq = ?").bind(row?.seq).run(),
    ).rejects.toThrow("append-only");
    await expect(env.DB.prepare("DELETE FROM audit_log WHERE seq = ?").bind(row?.seq).run()).rejects.toThrow(
      "append-only",
    );
    const replaced = env.DB.prepare(
      "INSERT OR REPLACE INTO audit_log SELECT seq, id, workspace_id, 0, actor_type, actor_id, actor_name, 'x', targets, before, after, outcome, request_id, ip, op_id FROM audit_log WHERE seq = ?",
    );
    await expect(replaced.bind(row?.seq).run()).rejects.toThrow("append-only");
    expect(await db.$count(auditLog, sql`action = 'kept'`)).toBe(1);
  });
});
