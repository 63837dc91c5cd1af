/** No query goes through a whole table, and what a workspace reads of its credentials does not grow with its neighbours. */
import { createExecutionContext, createScheduledController, env, waitOnExecutionContext } from "cloudflare:test";
import { describe, it } from "vitest";
import worker from "../src/index.js";
import { openDatabase } from "../src/base/database.js";
import { confirmCredential } from "../src/connections/confirm.js";
import { writeCredentialExpiring, writeCredentialState } from "../src/connections/credential-letters.js";
import { noteCredentialUses } from "../src/connections/last-use.js";
import { readConfig } from "../src/snapshot/build.js";
import { addCredential, credentialsPath, sandboxInstance } from "./connections/seed.js";
import { type Answer, origin, send } from "./support/client.js";
import { deep } from "./support/deep.js";
import { seedWorkspace, type SeededWorkspace } from "./support/seed.js";
import { planOf, rowsRead, watchRecord, wholeScans, type Watched } from "./support/watched-d1.js";

/** Whole scans that are meant, by the plan's own step. */
const meant: readonly RegExp[] = [
  // Partial indexes that hold the very rows which are looked for, in no order or the right one.
  /^SCAN workspaces USING INDEX workspaces_unapplied$/,
  /^SCAN outbox USING INDEX outbox_open$/,
  /^SCAN audit_trees USING INDEX audit_trees_open$/,
  /^SCAN data_key_rotations USING INDEX data_key_rotations_open$/,
  /^SCAN webhooks USING INDEX webhooks_of_checkpoints$/,
  // As many rows as the Worker has live versions, and as KEYRING has had entries.
  /^SCAN keyring_reports$/,
  /^SCAN keyring_entries$/,
];

type Call = (method: string, path: string, body?: unknown) => Promise<Answer["body"]>;

/** A person's calls to a Worker whose record is watched. */
function caller(workspace: SeededWorkspace, bindings: Env): Call {
  return async (method, path, body) => {
    const headers = { authorization: `Bearer ${workspace.token}`, "content-type": "application/json" };
    const text = body === undefined ? null : JSON.stringify(body);
    const context = createExecutionContext();
    const request = new Request(`${origin}${path}`, { method, headers, body: text });
    const response = await send(request, { env: bindings, context });
    const answer = await response.text();
    await waitOnExecutionContext(context);
    if (!response.ok) {
      throw new Error(`${method} ${path} answered ${response.status} ${answer}`);
    }
    return answer === "" ? null : JSON.parse(answer);
  };
}

/** Everything that a workspace does with its credentials, pools, models and vault. */
async function useAll(call: Call, workspace: SeededWorkspace): Promise<string> {
  const house = `/workspaces/${workspace.id}`;
  const list = credentialsPath(workspace, "sandbox");
  const make = (label: string) =>
    call("POST", list, { name: label, credentials: { api_key: `sk-sandbox-ok-${label}` }, validate: true });
  await call("GET", `${house}/model-providers`);
  await call("GET", `${house}/model-providers/sandbox`);
  const [kept, gone] = [await make("kept"), await make("gone")];
  await call("GET", `${list}?limit=1`);
  const { next_cursor: cursor } = await call("GET", `${list}?limit=1`);
  await call("GET", `${list}?limit=1&cursor=${cursor}`);
  const one = `${house}/credentials/${kept.id}`;
  await call("GET", one);
  await call("GET", `${list}/${kept.id}`);
  await call("PATCH", one, { name: "renamed", expires_at: "2031-01-01T00:00:00Z" });
  await call("PATCH", one, { enabled: false });
  await call("PATCH", one, { enabled: true });
  await call("POST", `${one}/rotate`, { credentials: { api_key: "sk-sandbox-ok-second" } });
  await call("POST", `${one}/rollback`);
  await call("POST", `${one}/validate`);
  await call("DELETE", `${house}/credentials/${gone.id}`);
  const instances = [sandboxInstance(kept.id)];
  const pool = await call("POST", `${house}/pools`, { name: "chat", instances });
  await call("GET", `${house}/pools`);
  await call("GET", `${house}/pools/${pool.id}`);
  await call("PUT", `${house}/pools/chat`, { name: "chat", instances: [sandboxInstance(kept.id, { weight: 2 })] });
  await call("GET", `${house}/model-providers/sandbox/models`);
  const spare = { name: "spare", instances };
  await call("POST", `${house}/pools`, spare);
  await call("PUT", `${house}/pools/chat`, { name: "chat", instances, fallbacks: ["spare"] });
  await call("PUT", `${house}/pools/chat`, { name: "talk", instances });
  await call("POST", `${house}/pools/talk/instances/sandbox-sandbox-chat-1/drain`);
  await call("POST", `${house}/pools/talk/dry-run`, { region: "auto" });
  await call("GET", `${house}/pools/talk/state`);
  const own = `${house}/model-providers/sandbox/models`;
  await call("POST", own, { model: "own", type: "llm", credential_ids: [kept.id] });
  await call("PATCH", `${own}/own`, { title: "Our own" });
  const target = { provider_name: "sandbox", model: "own" };
  await call("PUT", `${house}/default-models`, { llm: target, embedding: { pool: "spare" } });
  await call("GET", `${house}/default-models`);
  await call("DELETE", `${own}/own`);
  await call("DELETE", `${house}/pools/spare`);
  const url = "https://status-503.upstream.test/v1/hook";
  const webhook = await call("POST", `${house}/webhooks`, { url, events: ["pool.created"] });
  const hook = `${house}/webhooks/${webhook.id}`;
  await call("GET", `${house}/webhooks?limit=1`);
  await call("PATCH", hook, { description: "Ours" });
  await call("POST", `${hook}/rotate-secret`);
  const delivery = await call("POST", `${hook}/test`);
  await call("GET", `${hook}/deliveries?limit=1`);
  await call("POST", `${hook}/deliveries/${delivery.id}/redeliver`);
  await call("POST", `${house}/vault/rotate`);
  await call("GET", `${house}/vault`);
  for (const groups of ["", "&group_by=key,pool,instance", "&group_by=member,model,provider,endpoint&interval=hour"]) {
    await call("GET", `${house}/usage?limit=1${groups}`);
  }
  await call("GET", `${house}/requests?limit=1`);
  return kept.id;
}

describe("what the record is asked", () => {
  it("finds every row by an index, in every query of credentials, pools, models, vault, snapshots and cron", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { binding, seen } = watchRecord();
    const bindings: Env = { ...env, DB: binding };
    const id = await useAll(caller(workspace, bindings), workspace);
    const db = openDatabase(binding);
    for (const kind of ["refused", "exhausted", "undecryptable"] as const) {
      await confirmCredential(bindings, workspace.id, id, { kind, issuedAt: Date.now() }, () => Promise.resolve());
    }
    await noteCredentialUses(db, workspace.id, new Map([[id, Date.now()]]));
    const subject = { workspaceId: workspace.id, subjectId: id, version: 1, recipient: workspace.owner.email };
    await writeCredentialState(bindings, db, subject);
    await writeCredentialExpiring(bindings, db, subject);
    // What is due makes the sweeps go on to their writes.
    const due =
      "UPDATE credentials SET retry_at = 1, status = 'invalid', expires_at = ?, expiry_warned_at = 0, previous_until = 1 WHERE id = ?";
    await env.DB.prepare(due)
      .bind(Date.now() + 3_600_000, id)
      .run();
    const context = createExecutionContext();
    await worker.scheduled(createScheduledController(), bindings);
    await waitOnExecutionContext(context);

    const distinct = [...new Map(seen.map((statement) => [statement.sql, statement])).values()];
    expect(distinct.length).toBeGreaterThan(60);
    const scans: { readonly step: string; readonly sql: string }[] = [];
    for (const statement of distinct) {
      scans.push(...wholeScans(await planOf(statement)).map((step) => ({ step, sql: statement.sql })));
    }
    expect(scans.filter(({ step }) => !meant.some((pattern) => pattern.test(step)))).toEqual([]);
    expect(meant.filter((pattern) => !scans.some(({ step }) => pattern.test(step)))).toEqual([]);
    // The check itself can fail.
    expect(wholeScans(await planOf({ sql: "SELECT * FROM credentials WHERE name = 'x'", params: [] }))).toHaveLength(1);
  });

  it(
    "costs a workspace with 20 credentials the same among a thousand others",
    { timeout: 300_000 },
    async ({ expect }) => {
      const workspace = await seedWorkspace();
      const first = await addCredential(workspace, "sandbox", { api_key: "sk-sandbox-ok" }, { validate: false });
      await cloneCredentials(first.body.id, workspace.id, 19);
      // With neighbours on both sides of an index's range, whose end is read too.
      await cloneWorkspaces(workspace, 0, 2);
      const before = await measure(workspace);
      await cloneWorkspaces(workspace, 2, deep(50, 1000));
      const after = await measure(workspace);
      const total = await env.DB.prepare("SELECT count(*) AS n FROM credentials").first<number>("n");
      console.log(`rows read among ${total} credentials: ${JSON.stringify(after)}, alone: ${JSON.stringify(before)}`);
      expect(total).toBeGreaterThanOrEqual(deep(50, 1000) * 20);
      expect(after).toEqual(before);
      expect(after.list).toBeLessThan(60);
      expect(after.catalogue).toBeLessThan(60);
    },
  );
});

/** Rows read for one look at each. */
async function measure(
  workspace: SeededWorkspace,
): Promise<Record<"catalogue" | "list" | "read" | "snapshot", number>> {
  const cost = async (use: (call: Call, bindings: Env) => Promise<unknown>): Promise<number> => {
    const { binding, seen } = watchRecord();
    const bindings: Env = { ...env, DB: binding };
    await use(caller(workspace, bindings), bindings);
    return rowsRead(ofRooms(seen));
  };
  const list = credentialsPath(workspace, "sandbox");
  return {
    catalogue: await cost((call) => call("GET", `/workspaces/${workspace.id}/model-providers`)),
    list: await cost((call) => call("GET", list)),
    read: await cost(async (call) => {
      const { data } = await call("GET", `${list}?limit=1`);
      await call("GET", `/workspaces/${workspace.id}/credentials/${data[0].id}`);
    }),
    snapshot: await cost((_call, bindings) => readConfig(openDatabase(bindings.DB), workspace.id)),
  };
}

/** Without the queries that find the caller: those are the same for every path. */
function ofRooms(seen: readonly Watched[]): readonly Watched[] {
  return seen.filter(({ sql }) => /"(credentials|data_keys|pools|pool_instances|models)"/.test(sql));
}

/** Rows made of one, as it is but for these columns; `i` counts from 1. Statements for one batch. */
async function cloneRow(
  table: string,
  id: string,
  count: number,
  columns: Readonly<Record<string, string>>,
): Promise<D1PreparedStatement> {
  const { results } = await env.DB.prepare(`SELECT name FROM pragma_table_info('${table}')`).all<{ name: string }>();
  const names = results.map(({ name }) => name);
  const values = names.map((name) => columns[name] ?? `t."${name}"`);
  const numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)";
  const into = `INSERT INTO "${table}" (${names.map((name) => `"${name}"`).join(", ")})`;
  const query = `${into} ${numbers} SELECT ${values.join(", ")} FROM n JOIN "${table}" AS t ON t.id = ?`;
  return env.DB.prepare(query).bind(count, id);
}

async function cloneCredentials(id: string, workspaceId: string, count: number): Promise<void> {
  const made = { id: "t.id || '-' || n.i", name: "t.name || n.i", workspace_id: `'${workspaceId}'` };
  await env.DB.batch([await cloneRow("credentials", id, count, made)]);
}

/** Other workspaces of the same person, each with a data key and 20 credentials. */
async function cloneWorkspaces(workspace: SeededWorkspace, from: number, count: number): Promise<void> {
  const query = env.DB.prepare(
    "SELECT w.owner_member_id AS member, c.id AS credential, c.data_key_id AS dataKey FROM workspaces w JOIN credentials c ON c.workspace_id = w.id WHERE w.id = ? LIMIT 1",
  );
  const row = await query.bind(workspace.id).first<{ member: string; credential: string; dataKey: string }>();
  if (row === null) {
    throw new Error("seed: no workspace to clone");
  }
  const clone = (column: string, number = "n.i"): string => `t.${column} || '-' || (${from} + ${number})`;
  const house = "(n.i - 1) / 20 + 1";
  await env.DB.batch([
    await cloneRow("workspaces", workspace.id, count, {
      id: clone("id"),
      slug: clone("slug"),
      owner_member_id: clone("owner_member_id"),
      living_members: "0",
    }),
    await cloneRow("members", row.member, count, { id: clone("id"), workspace_id: clone("workspace_id") }),
    await cloneRow("data_keys", row.dataKey, count, { id: clone("id"), workspace_id: clone("workspace_id") }),
    await cloneRow("credentials", row.credential, count * 20, {
      id: `t.id || '/' || (${from * 20} + n.i)`,
      name: "t.name || '/' || n.i",
      workspace_id: clone("workspace_id", house),
      data_key_id: clone("data_key_id", house),
    }),
  ]);
}
