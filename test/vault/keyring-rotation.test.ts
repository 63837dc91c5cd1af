/** KEYRING changes in four deployments, each beside the one before: nothing is sealed under an entry that a live version lacks, and no call fails. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { beforeAll, describe, it, type ExpectStatic } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { requireSettings } from "../../src/base/settings.js";
import { findMissingEntries, liveForMs, reportKeyring, sealingEntry, sweepEntries } from "../../src/vault/entries.js";
import { dataKeys, keyringEntries, keyringReports } from "../../src/vault/model.js";
import { openDatabase } from "../../src/base/database.js";
import { loadActiveDataKey } from "../../src/vault/data-keys.js";
import { sweepWrappings } from "../../src/vault/rewrap.js";
import { origin, send } from "../support/client.js";
import { deep } from "../support/deep.js";
import { everyFault, faultyD1 } from "../support/faulty-d1.js";
import { db, seedAccount, seedPool, seedWorkspace } from "../support/seed.js";

const key = (letter: string): string => btoa(letter.repeat(32)).replaceAll("=", "");

/** A deployed version of the Worker: its own bindings on the one record. Its first entry is its primary. */
function deploy(id: string, entries: Readonly<Record<string, string>>): Env {
  const KEYRING = JSON.stringify({ primary: Object.keys(entries)[0], keys: entries });
  return { ...env, KEYRING, CF_VERSION_METADATA: { id, tag: "", timestamp: "" } };
}

const [t1, t2] = [key("k"), key("n")];
const first = deploy("v1", { t1 });
const added = deploy("v2", { t1, t2 });
const switched = deploy("v3", { t2, t1 });
const dropped = deploy("v4", { t2 });

async function callOn(version: Env, method: string, path: string, token: string, body?: unknown, idempotencyKey = "") {
  const headers = new Headers({ authorization: `Bearer ${token}`, "content-type": "application/json" });
  if (idempotencyKey !== "") {
    headers.set("idempotency-key", idempotencyKey);
  }
  const context = createExecutionContext();
  const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
  const response = await send(new Request(`${origin}${path}`, init), { env: version, context });
  const text = await response.text();
  await waitOnExecutionContext(context);
  return { status: response.status, text };
}

function sweep(version: Env, now: number): Promise<void> {
  return sweepEntries(db, version.CF_VERSION_METADATA.id, requireSettings(version).keyring, now);
}

async function rewrap(version: Env, record = db): Promise<number> {
  return await sweepWrappings(record, requireSettings(version).keyring, 1000);
}

async function seenAt(versionId: string): Promise<number | undefined> {
  const isThis = eq(keyringReports.versionId, versionId);
  return (await db.select().from(keyringReports).where(isThis).all())[0]?.seenAt;
}

async function inForce(): Promise<string | undefined> {
  return (await db.select().from(keyringEntries).where(eq(keyringEntries.state, "primary")).all())[0]?.id;
}

async function wrappedUnder(): Promise<string[]> {
  const rows = await db.select().from(dataKeys).all();
  return [...new Set(rows.map((row) => row.keyringId))].toSorted();
}

const minute = 60_000;
let workspace: Awaited<ReturnType<typeof seedWorkspace>>;
let caller = "";

beforeAll(async () => {
  workspace = await seedWorkspace();
  caller = await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
});

let count = 0;

/** Readers and writers on all live versions, an answer made by each replayed by all. Every call is fine. */
async function useAll(versions: readonly Env[]): Promise<string[]> {
  const wrong: string[] = [];
  const note = (name: string, status: number, wanted: number) =>
    void (status === wanted ? null : wrong.push(`${name} ${status}`));
  const chat = { model: "chat", messages: [{ role: "user", content: "hello" }] };
  const rounds = Array.from({ length: deep(2, 30) });
  const one = async (version: Env): Promise<void> => {
    count += 1;
    const [name, idempotencyKey] = [`thing ${count}`, `key-${count}`];
    note("call", (await callOn(version, "POST", "/v1/chat/completions", caller, chat)).status, 200);
    const owner = await seedAccount();
    note("workspace", (await callOn(version, "POST", "/workspaces", owner.token, { name })).status, 201);
    const path = `/workspaces/${workspace.id}/model-providers/sandbox/credentials`;
    const credential = { name, credentials: { api_key: "sk-sandbox-ok" }, validate: false };
    note("credential", (await callOn(version, "POST", path, workspace.token, credential)).status, 201);
    const keys = `/workspaces/${workspace.id}/api-keys`;
    const body = { name, scopes: ["models:invoke"] };
    const texts = new Set<string>();
    for (const other of [version, ...versions]) {
      const answer = await callOn(other, "POST", keys, workspace.token, body, idempotencyKey);
      note("key", answer.status, 201);
      texts.add(answer.text);
    }
    if (texts.size !== 1) {
      wrong.push("a replay differs");
    }
    const read = loadActiveDataKey(db, requireSettings(version).keyring, workspace.id);
    await read.catch((error: unknown) => wrong.push(`data key ${String(error)}`));
  };
  await Promise.all(rounds.flatMap(() => versions.map(one)));
  return wrong;
}

describe("a change of KEYRING", () => {
  it(
    "costs no call, is in force where every live version has it, and at the end needs the old entry for nothing",
    {
      timeout: 120_000,
    },
    async ({ expect }) => {
      const now = Date.now();
      await sweep(first, now);
      expect(await inForce()).toBe("t1");
      // Added, beside the version without it; then switched, beside the one that only knows it.
      await sweep(added, now + minute);
      expect(await useAll([first, added])).toEqual([]);
      expect([await inForce(), await wrappedUnder()]).toEqual(["t1", ["t1"]]);
      const later = now + liveForMs + 2 * minute;
      await sweep(added, later - minute);
      await sweep(switched, later);
      await sweep(added, later);
      expect(await useAll([added, switched])).toEqual([]);
      expect([await inForce(), await wrappedUnder()]).toEqual(["t1", ["t1"]]);
      const alone = later + liveForMs + minute;
      await sweep(switched, alone);
      expect(await inForce()).toBe("t2");
      // The version before may still come back: it has the entry too.
      const moving = useAll([added, switched]);
      await rewrapThroughFaults(expect);
      expect(await moving).toEqual([]);
      while ((await rewrap(switched)) > 0) {
        expect(await useAll([switched])).toEqual([]);
      }
      await sweep(switched, alone + minute);
      const entries = await db.select().from(keyringEntries).orderBy(keyringEntries.id).all();
      expect(entries).toMatchObject([
        { id: "t1", state: "known", leftAt: alone + minute },
        { id: "t2", state: "primary", leftAt: null },
      ]);
      expect(await wrappedUnder()).toEqual(["t2"]);
      expect(await useAll([switched, dropped])).toEqual([]);
      expect(await findMissingEntries(db, requireSettings(dropped).keyring)).toEqual([]);
      for (const row of await db.select().from(dataKeys).all()) {
        await loadActiveDataKey(db, requireSettings(dropped).keyring, row.workspaceId);
      }
      const told = await db.select().from(auditLog).where(eq(auditLog.action, "keyring.primary_changed")).all();
      expect(told.map((row) => [row.workspaceId, row.targets])).toEqual([
        [null, '[{"type":"keyring_entry","id":"t1"}]'],
        [null, '[{"type":"keyring_entry","id":"t2"}]'],
      ]);
    },
  );

  it("that drops an entry too early is 503 for what needs it and named by /readyz, and mended by putting it back", async ({
    expect,
  }) => {
    const early = deploy("v5", { t3: key("z") });
    const answer = await callOn(early, "GET", "/readyz", workspace.token);
    expect(answer.status).toBe(503);
    const part = (JSON.parse(answer.text) as { parts: { name: string; ok: boolean; detail?: string }[] }).parts.find(
      ({ name }) => name === "keyring",
    );
    expect(part).toMatchObject({ ok: false, detail: expect.stringContaining("lacks: t2") });
    const path = `/workspaces/${workspace.id}/model-providers/sandbox/credentials`;
    const credential = { name: "early", credentials: { api_key: "sk-sandbox-ok" }, validate: false };
    const refused = await callOn(early, "POST", path, workspace.token, credential);
    expect([refused.status, JSON.parse(refused.text).code]).toEqual([503, "keyring_entry_missing"]);
    await expect(sealingEntry(db, requireSettings(early).keyring)).rejects.toMatchObject({
      code: "keyring_entry_missing",
    });
    expect((await callOn(dropped, "POST", path, workspace.token, credential)).status).toBe(201);
    const ready = await callOn(dropped, "GET", "/readyz", workspace.token);
    expect(JSON.parse(ready.text).parts).toContainEqual({ name: "keyring", ok: true });
  });

  it("is reported once a minute by each isolate, and a failure to report fails nothing", async ({ expect }) => {
    const { keyring } = requireSettings(deploy("v6", { t2 }));
    const now = Date.now();
    await reportKeyring(openDatabase(faultyD1({ call: 0, at: "before" }).d1), "v6", keyring, now);
    expect(await seenAt("v6")).toBeUndefined();
    await reportKeyring(db, "v6", keyring, now + minute);
    await reportKeyring(db, "v6", keyring, now + 2 * minute - 1);
    expect(await seenAt("v6")).toBe(now + minute);
    await reportKeyring(db, "v6", keyring, now + 2 * minute);
    expect(await seenAt("v6")).toBe(now + 2 * minute);
  });
});

/** Every statement of a pass fails in turn, and the pass is cut off at every call; what was wrapped stays openable throughout. */
async function rewrapThroughFaults(expect: ExpectStatic): Promise<void> {
  const counted = faultyD1();
  const wrapped = await db.select().from(dataKeys).limit(3).all();
  const dry = openDatabase(counted.d1);
  await sweepWrappings(dry, requireSettings(switched).keyring, 3);
  expect(counted.calls.map(({ writes }) => writes)).toEqual([false, false, true]);
  for (const fault of everyFault(counted.calls)) {
    const faulty = faultyD1(fault);
    await sweepWrappings(openDatabase(faulty.d1), requireSettings(switched).keyring, 3).catch(() => 0);
    expect(faulty.hasFailed()).toBe(true);
    for (const row of wrapped) {
      await loadActiveDataKey(db, requireSettings(switched).keyring, row.workspaceId);
      await loadActiveDataKey(db, requireSettings(added).keyring, row.workspaceId);
    }
  }
}
