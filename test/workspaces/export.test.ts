import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { sha256Hex } from "../../src/base/bytes.js";
import { openDatabase } from "../../src/base/database.js";
import { credentials } from "../../src/connections/model.js";
import { apiKeys } from "../../src/keys/model.js";
import { invites } from "../../src/tenancy/model.js";
import { dataKeys } from "../../src/vault/model.js";
import { streamExport } from "../../src/workspaces/export.js";
import { call } from "../support/client.js";
import { db, seedMember, seedPool, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { tellUsage } from "../../src/usage/tell.js";
import { makeDelta } from "../routing/fixture.js";
import { addApi } from "../tools/seed.js";

interface Manifest {
  readonly section: string;
  readonly workspace_id: string;
  readonly sections: readonly { readonly name: string; readonly count: number; readonly sha256: string }[];
}

/** Pending invites beyond one page, written in one statement. */
async function seedInvites(workspaceId: string, invitedBy: string, count: number): Promise<void> {
  await db
    .insert(invites)
    .select(
      sql`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
        SELECT 'inv_' || ${workspaceId} || printf('%05d', i), ${workspaceId}, 'p' || i || '@example.com', 'MEMBER', 'en-US', 'pending', 1,
          ${invitedBy}, NULL, i, 9e12, NULL FROM n`,
    )
    .run();
}

const exportOf = (workspace: SeededWorkspace, token = workspace.token) =>
  call("GET", `/workspaces/${workspace.id}/export`, { token });

describe("exporting a workspace", () => {
  it("holds every row of every section once, and its manifest counts and hashes them", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 3 }]);
    await seedInvites(workspace.id, admin.memberId, 450);
    await addApi(workspace, "fake", { operations: Array.from({ length: 250 }, (_, at) => `op${at}`) });
    const hours = Array.from({ length: 450 }, (_, at) => ({
      ...makeDelta({ model: `m${at % 9}`, hour: at % 50 }),
      revision: 1,
    }));
    await tellUsage(db, { workspaceId: workspace.id, shard: "auto" }, hours, Date.now());
    const answer = await exportOf(workspace);
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/x-ndjson; charset=utf-8"]);
    expect(answer.headers.get("content-disposition")).toBe(`attachment; filename="${workspace.slug}.ndjson"`);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.text.endsWith("\n")).toBe(true);
    const lines = answer.text.slice(0, -1).split("\n");
    const manifest = JSON.parse(lines.pop() ?? "") as Manifest;
    expect([manifest.section, manifest.workspace_id]).toEqual(["manifest", workspace.id]);
    const bySection = Map.groupBy(lines, (line) => (JSON.parse(line) as { section: string }).section);
    for (const { name, count, sha256 } of manifest.sections) {
      const own = bySection.get(name) ?? [];
      expect([name, own.length]).toEqual([name, count]);
      expect([name, await sha256Hex(own.map((line) => `${line}\n`).join(""))]).toEqual([name, sha256]);
    }
    const counts = Object.fromEntries(manifest.sections.map(({ name, count }) => [name, count]));
    const entries = await db.$count(auditLog, eq(auditLog.workspaceId, workspace.id));
    expect(counts).toEqual({
      workspace: 1,
      members: 2,
      webhooks: 0,
      ownership_transfers: 0,
      invites: 450,
      letters: 0,
      api_keys: 1,
      credentials: 1,
      models: 0,
      pools: 1,
      default_models: 0,
      tool_providers: 1,
      tools: 250,
      usage: 450,
      audit_log: entries,
    });
    const rowsOf = (name: string) =>
      (bySection.get(name) ?? []).map((line) => (JSON.parse(line) as { data: Record<string, unknown> }).data);
    expect(new Set(rowsOf("invites").map(({ email }) => email)).size).toBe(450);
    expect(Object.fromEntries(rowsOf("members").map(({ id, role }) => [id === admin.memberId, role]))).toEqual({
      false: "OWNER",
      true: "ADMIN",
    });
    expect(new Set(rowsOf("tools").map(({ name }) => name)).size).toBe(250);
    expect(rowsOf("pools")).toMatchObject([{ name: "chat", instances: [{ alias: "a", weight: 3 }] }]);
    expect(rowsOf("audit_log").at(-1)).toMatchObject({
      action: "workspace.exported",
      actor: { id: workspace.owner.id },
    });
  });

  it("holds no secret, digest, sealed value or fingerprint", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const secret = "sk-sandbox-ok-canary0123456789";
    const key = await seedPool(workspace, [{ alias: "a", secret, weight: 1 }]);
    const { text } = await exportOf(workspace);
    const [credential] = await db.select().from(credentials).where(eq(credentials.workspaceId, workspace.id)).all();
    const [keyRow] = await db.select().from(apiKeys).where(eq(apiKeys.workspaceId, workspace.id)).all();
    const [dataKey] = await db.select().from(dataKeys).where(eq(dataKeys.workspaceId, workspace.id)).all();
    const hidden = [
      secret,
      key,
      workspace.token,
      keyRow?.digest,
      credential?.sealed,
      credential?.fingerprint,
      dataKey?.wrapped,
      dataKey?.id,
    ];
    for (const value of hidden) {
      expect(value?.length).toBeGreaterThan(10);
      expect(text).not.toContain(value);
    }
    expect(text).toContain(credential?.masked);
  });

  it("is its owner's session's only, and each reading is written down before its first byte", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, token } = workspace;
    const admin = await seedMember(id, "ADMIN");
    const body = { name: "All", scopes: ["workspace:read", "workspace:manage", "audit:read"] };
    const key = (await call("POST", `/workspaces/${id}/api-keys`, { token, body })).body.secret;
    for (const bearer of [admin.token, key]) {
      expect((await exportOf(workspace, bearer)).status).toBe(403);
    }
    await exportOf(workspace);
    await exportOf(workspace);
    const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, id)).all();
    expect(rows.filter((row) => row.action === "workspace.exported")).toHaveLength(2);
  });

  it("reads no further than its reader takes, and stops when the reader goes", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    await seedInvites(workspace.id, admin.memberId, 5_000);
    const watched = watch();
    const reader = streamExport(openDatabase(watched.binding), workspace.id, Date.now()).getReader();
    let invitesSeen = 0;
    while (invitesSeen < 200) {
      const { value } = await reader.read();
      invitesSeen += new TextDecoder().decode(value).split('"section":"invites"').length - 1;
    }
    const reads = watched.count();
    await scheduler.wait(50);
    // One page of read-ahead, no more; the rest of 25 pages stays where it is.
    expect(watched.count()).toBeLessThanOrEqual(reads + 1);
    expect(reads).toBeLessThan(10);
    await reader.cancel();
    const atEnd = watched.count();
    await scheduler.wait(50);
    expect(watched.count()).toBe(atEnd);
  });

  it("that breaks off ends in an error, never in a manifest", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const stream = streamExport(openDatabase(watch(4).binding), workspace.id, Date.now());
    const seen: string[] = [];
    const readAll = async () => {
      for await (const piece of stream) {
        seen.push(new TextDecoder().decode(piece));
      }
    };
    await expect(readAll()).rejects.toThrow();
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.join("")).not.toContain('"manifest"');
  });
});

/** A D1 that counts its statements, and fails after `limit` of them. */
function watch(limit = Infinity): { readonly binding: D1Database; count(): number } {
  let count = 0;
  const binding = new Proxy(env.DB, {
    get(target, name) {
      if (name !== "prepare") {
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return (query: string) => {
        count += 1;
        if (count > limit) {
          throw new Error("D1 went away");
        }
        return target.prepare(query);
      };
    },
  });
  return { binding, count: () => count };
}
