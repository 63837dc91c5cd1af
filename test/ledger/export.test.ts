import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { verifyExport, type Verdict } from "../../scripts/verify-audit-export.mjs";
import { utf8 } from "../../src/base/bytes.js";
import { careFor } from "../../src/ledger/care.js";
import { streamAuditLog } from "../../src/ledger/export.js";
import { WorkspaceSettings } from "../../src/tenancy/model.js";
import { requireSettings } from "../../src/base/settings.js";
import { originOf, signNote, signText } from "../../src/ledger/note.js";
import { findTree, sealWorkspace } from "../../src/ledger/seal.js";
import { hashLeaf } from "../../src/ledger/tree.js";
import { call } from "../support/client.js";
import { deep, seed } from "../support/deep.js";
import { db, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { fillLog } from "./fill.js";

interface Exported {
  readonly workspace: SeededWorkspace;
  readonly key: string;
  readonly text: string;
  /** Checkpoints kept on the way. */
  readonly kept: readonly string[];
}

async function seedExport(rows: number): Promise<Exported> {
  const workspace = await seedWorkspace();
  const { id, token } = workspace;
  const path = `/workspaces/${id}/audit-log`;
  const kept: string[] = [];
  for (const part of [Math.floor(rows / 3), rows - Math.floor(rows / 3)]) {
    await fillLog(id, part);
    await sealWorkspace(env, db, id, Date.now(), 1_000_000);
    kept.push((await call("GET", `${path}/checkpoint`, { token })).body.note);
  }
  const { text } = await call("GET", `${path}/export`, { token });
  const { body } = await call("GET", "/.well-known/audit-log-key");
  return { workspace, key: body.public_key, text, kept };
}

/** Changes the record as only somebody with the database itself could: past a trigger. */
async function tamper(trigger: string, statement: string): Promise<void> {
  const found = await env.DB.prepare("SELECT sql FROM sqlite_master WHERE name = ?").bind(trigger).first<string>("sql");
  await env.DB.batch([
    env.DB.prepare(`DROP TRIGGER ${trigger}`),
    env.DB.prepare(statement),
    env.DB.prepare(found ?? ""),
  ]);
}

/** RFC 8785 of what rows hold. */
function canonical(value: unknown): string {
  return Array.isArray(value)
    ? `[${value.map(canonical).join(",")}]`
    : typeof value === "object" && value !== null
      ? `{${Object.entries(value)
          .toSorted(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`)
          .join(",")}}`
      : JSON.stringify(value);
}

const kinds = (verdict: Verdict): string[] => [...new Set(verdict.findings.map(({ kind }) => kind))].toSorted();
const toText = (lines: readonly string[]): string => `${lines.join("\n")}\n`;

describe("an export and its verifier", () => {
  it("an untouched one passes, with the key, and with every checkpoint kept before", async ({ expect }) => {
    const { key, text, kept } = await seedExport(700);
    const verdict = verifyExport(utf8(text), { key, checkpoints: kept });
    expect(verdict.findings).toEqual([]);
    expect([verdict.ok, verdict.proved]).toEqual([true, true]);
    expect(verdict.size).toBe(verdict.rows);
    expect(verdict.warnings).toEqual([]);
  });

  it("any flipped byte, dropped, doubled, moved or put-in line, and any cut, is found", async ({ expect }) => {
    const { key, text } = await seedExport(600);
    const bytes = utf8(text);
    const lines = text.slice(0, -1).split("\n");
    const isSound = (changed: string | Uint8Array): boolean => {
      const sent = typeof changed === "string" ? utf8(changed) : changed;
      try {
        return verifyExport(sent, { key }).ok;
      } catch {
        return false;
      }
    };
    const flips = fc.property(fc.nat(bytes.byteLength - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const flipped = bytes.slice();
      flipped[at] = (flipped[at] ?? 0) ^ mask;
      expect(isSound(flipped)).toBe(false);
    });
    fc.assert(flips, { numRuns: deep(60, 600), seed: seed() });
    const place = fc.nat(lines.length - 1);
    const moves = fc.property(place, place, fc.constantFrom("drop", "double", "move", "put in", "cut"), (a, b, how) => {
      const changed = [...lines];
      const [line = ""] =
        how === "put in" || how === "double" ? [lines[a]] : changed.splice(a, how === "cut" ? Infinity : 1);
      if (how === "double" || how === "move") {
        fc.pre(how === "double" || a !== b);
        changed.splice(b, 0, line);
      } else if (how === "put in") {
        changed.splice(b, 0, line.replace(/"seq":\d+/, `"seq":${b}`));
      }
      fc.pre(toText(changed) !== text);
      expect(isSound(toText(changed))).toBe(false);
    });
    fc.assert(moves, { numRuns: deep(60, 400), seed: seed() });
    const cuts = fc.property(fc.nat(bytes.byteLength - 1), (at) => {
      expect(isSound(bytes.slice(0, at))).toBe(false);
    });
    fc.assert(cuts, { numRuns: deep(30, 200), seed: seed() });
    expect(isSound(bytes)).toBe(true);
  });

  it("says what was done to which row", async ({ expect }) => {
    const { key, text, kept } = await seedExport(600);
    const lines = text.slice(0, -1).split("\n");
    const row = (at: number) => JSON.parse(lines[at] ?? "") as { index: number; leaf: string; entry: { seq: number } };
    const judge = (changed: readonly string[], checkpoints: readonly string[] = []) =>
      verifyExport(utf8(toText(changed)), { key, checkpoints });

    const changed = lines.with(300, (lines[300] ?? "").replace(/"request_id":"req_/, '"request_id":"red_'));
    expect(judge(changed).findings).toContainEqual({
      kind: "changed",
      detail: "The row is not what was sealed.",
      line: 301,
      seq: row(300).entry.seq,
    });
    expect(judge(lines.toSpliced(300, 1)).findings).toContainEqual(
      expect.objectContaining({ kind: "dropped", line: 301, seq: row(301).entry.seq }),
    );
    const swapped = lines.with(300, lines[301] ?? "").with(301, lines[300] ?? "");
    expect(judge(swapped).findings).toContainEqual(expect.objectContaining({ kind: "reordered", line: 302 }));
    const stranger = JSON.stringify({ ...row(300), index: null, leaf: null });
    expect(judge(lines.toSpliced(301, 0, stranger)).findings).toContainEqual(
      expect.objectContaining({ kind: "inserted", line: 302 }),
    );
    expect(kinds(judge(lines.slice(0, 300)))).toEqual(["truncated"]);
    // A shell or an editor ends a file with an empty line; that takes nothing away and says nothing.
    expect(verifyExport(utf8(`${text}\n\n`), { key })).toMatchObject({
      ok: true,
      proved: true,
      warnings: [expect.stringContaining("Empty lines after the last one")],
    });
    expect(kinds(verifyExport(utf8(`${text}\n \n`), { key }))).toContain("truncated");
    // A forger who also writes the row's own hash anew is caught by the root, and told to within a block.
    const forged = JSON.parse(lines[300] ?? "") as { entry: { actor: { name: string } }; leaf: string };
    forged.entry.actor.name = "Somebody else";
    const verdict = judge(lines.with(300, JSON.stringify({ ...forged, leaf: row(301).leaf })));
    expect(kinds(verdict)).toEqual(["block", "bytes", "changed", "root"]);
    expect(verdict.findings.find(({ kind }) => kind === "block")?.detail).toContain("places 256 to 511");
    // Another log's checkpoint, and one of another key.
    const other = await seedExport(20);
    expect(kinds(judge(lines, other.kept))).toEqual(["history"]);
    expect(() => judge(lines, [(kept[0] ?? "").replace(/\n(\d+)\n/, "\n1$1\n")])).toThrow("not signed");
    expect(() => verifyExport(utf8(text), { key: btoa("x".repeat(32)) })).not.toThrow();
    expect(verifyExport(utf8(text), { key: btoa("x".repeat(32)) }).ok).toBe(false);
  });

  it("compares every kept checkpoint, one of two of the same size too, and takes them as a letter's copy has them", async ({
    expect,
  }) => {
    const { workspace, key, text, kept } = await seedExport(30);
    const settings = requireSettings(env);
    const [first = ""] = kept;
    const size = Number(first.split("\n")[1]);
    const head = { origin: originOf(settings, workspace.id), size, root: new Uint8Array(32) };
    const split = await signNote(settings, head);
    for (const checkpoints of [
      [split, first],
      [first, split],
    ]) {
      expect(kinds(verifyExport(utf8(text), { key, checkpoints }))).toEqual(["history"]);
    }
    const copied = `\r\n${first.trim().replaceAll("\n", "\r\n")}`;
    expect(verifyExport(utf8(text), { key, checkpoints: [copied] }).findings).toEqual([]);
  });

  it("finds a row that the service itself claims a place for beyond its checkpoint", async ({ expect }) => {
    const { workspace, key, text } = await seedExport(30);
    const lines = text.slice(0, -1).split("\n");
    const row = JSON.parse(lines.at(-3) ?? "");
    row.entry.seq += 1;
    row.leaf = (await hashLeaf(utf8(canonical({ ...row.entry, workspace_id: workspace.id })))).toBase64();
    const added = lines.toSpliced(-2, 0, JSON.stringify({ ...row, index: row.index + 1 }));
    const manifest = JSON.parse(added.at(-2) ?? "");
    const signed = [...added.slice(0, -2), JSON.stringify({ ...manifest, entries: manifest.entries + 1 })];
    const bytes = utf8(toText(signed));
    const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    const statement = `gatehouse.audit-export.v1\n${workspace.id}\n${sha256}\n`;
    const signature = await signText(requireSettings(env), statement);
    const forged = toText([...signed, JSON.stringify({ type: "signature", sha256, signature })]);
    const { findings } = verifyExport(utf8(forged), { key });
    expect(findings).toEqual([expect.objectContaining({ kind: "inserted", seq: row.entry.seq })]);
  });

  it("what was changed in the record itself is found in the export that the service then makes", async ({ expect }) => {
    const { workspace, key, kept } = await seedExport(300);
    const { id, token } = workspace;
    const path = `/workspaces/${id}/audit-log`;
    const again = async () =>
      verifyExport(utf8((await call("GET", `${path}/export`, { token })).text), { key, checkpoints: kept });
    expect((await again()).findings).toEqual([]);
    const { results } = await env.DB.prepare("SELECT seq FROM audit_log WHERE workspace_id = ? ORDER BY seq")
      .bind(id)
      .all<{ seq: number }>();
    const seqs = results.map(({ seq }) => seq);
    const past = `SELECT {seq}, 'aud_slipped_in', workspace_id, time, actor_type, actor_id, actor_name, action, targets, before, after, outcome, request_id, ip, op_id FROM audit_log WHERE seq = ${seqs[20]}`;
    await tamper("audit_log_no_update", `UPDATE audit_log SET actor_name = 'Nobody' WHERE seq = ${seqs[10]}`);
    expect((await again()).findings).toContainEqual(expect.objectContaining({ kind: "changed", seq: seqs[10] }));
    await tamper("audit_log_no_delete", `DELETE FROM audit_log WHERE seq = ${seqs[15]}`);
    expect((await again()).findings).toContainEqual(expect.objectContaining({ kind: "dropped", seq: seqs[16] }));
    await tamper("audit_log_no_update", `INSERT INTO audit_log ${past.replace("{seq}", String(seqs[15]))}`);
    const verdict = await again();
    expect(verdict.findings.some(({ kind, seq }) => kind === "changed" && seq === seqs[15])).toBe(true);
    expect(kinds(verdict)).toContain("root");
  });

  it("breaks off when rows are pruned under it, and never looks like a log that somebody cut", async ({ expect }) => {
    const { workspace } = await seedExport(600);
    const order = { workspaceId: workspace.id, format: "ndjson", filter: {}, now: Date.now() } as const;
    const reader = streamAuditLog(env, db, order).getReader();
    const first = await reader.read();
    expect(new TextDecoder().decode(first.value)).toContain('"pruned":null');
    const now = Date.now() + 3_650 * 24 * 3_600_000;
    const tree = await findTree(db, workspace.id);
    const settings = { ...WorkspaceSettings.parse({}), audit_retention_days: 30 };
    await careFor(env, db, tree ?? expect.fail("no tree"), settings, now);
    await expect(reader.read()).rejects.toThrow("pruned");
  });

  it("is filtered, or in CSV, or in OCSF, as asked; and each export is told of", async ({ expect }) => {
    const { workspace, key } = await seedExport(450);
    const { id, token } = workspace;
    const get = (query: string) => call("GET", `/workspaces/${id}/audit-log/export?${query}`, { token });
    const filtered = verifyExport(utf8((await get("action=member.*")).text), { key });
    expect([filtered.ok, filtered.proved, filtered.rows]).toEqual([true, false, 150]);
    const csv = await get("format=csv&actor=usr_3");
    const rows = csv.text.trimEnd().split("\r\n");
    expect(rows.length - 1).toBe(csv.text.split(",usr_3,").length - 1);
    expect(rows[0]).toBe(
      "seq,id,time,actor_type,actor_id,actor_name,action,outcome,targets,before,after,request_id,ip,index,leaf",
    );
    expect(rows[1]).toContain('"Zoë ""Z"" ');
    const events = (await get("format=ocsf&target=thing_4")).text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events.length).toBeGreaterThan(30);
    expect(events[0]).toMatchObject({
      class_uid: 6003,
      category_uid: 6,
      metadata: { version: "1.3.0" },
      resources: [{ type: "thing", uid: "thing_4" }],
    });
    for (const event of events) {
      expect(event.type_uid).toBe(600_300 + event.activity_id);
    }
    const told = await call("GET", `/workspaces/${id}/audit-log?action=audit_log.exported`, { token });
    expect(told.body.data.map((entry: { after: object }) => entry.after)).toEqual([
      { format: "ocsf", target: "thing_4" },
      { format: "csv", actor: "usr_3" },
      { format: "ndjson", action: "member.*" },
      { format: "ndjson" },
    ]);
    expect((await get("format=xml")).status).toBe(422);
    expect((await get("action=*")).status).toBe(422);
  });
});
