import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { getTableColumns } from "drizzle-orm";
import { describe, it, vi } from "vitest";
import { utf8 } from "../../src/base/bytes.js";
import { toBase64Url, toHex } from "../../src/base/bytes.js";
import { AppError } from "../../src/base/errors.js";
import { proveEntered } from "../../src/connections/credential-entry.js";
import { credentials as credentialsTable } from "../../src/connections/model.js";
import { findProvider } from "../../src/providers/catalogue.js";
import { routerFor } from "../../src/routing/router-for.js";
import { call } from "../support/client.js";
import { deep } from "../support/deep.js";
import { seedMember, seedWorkspace } from "../support/seed.js";
import {
  addCredential,
  auditOf,
  credentialsPath,
  dumpConfig,
  dumpRecord,
  publishNow,
  sandboxCredential,
  sandboxInstance,
  unique,
} from "./seed.js";

function at(host: string) {
  return { api_key: `k-${host}-123456`, base_url: `https://${host}.upstream.test/v1` };
}

/** Copies a credential row under other ids and names. */
async function copyCredential(id: string, copies: number): Promise<void> {
  const names = Object.values(getTableColumns(credentialsTable)).map((column) => column.name);
  const values = names.map((name) => (name === "id" || name === "name" ? `c.${name} || '-' || n.value` : `c.${name}`));
  const copy = `INSERT INTO credentials (${names.join()}) SELECT ${values.join()} FROM credentials c, json_each(?2) n WHERE c.id = ?1`;
  const numbers = JSON.stringify(Array.from({ length: copies }, (_, number) => number));
  await env.DB.prepare(copy).bind(id, numbers).run();
}

describe("the provider catalogue", () => {
  it("tells each provider's form, and which ones the workspace has configured", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const path = `/workspaces/${workspace.id}/model-providers`;
    const before = await call("GET", path, { token: workspace.token });
    expect(before.status).toBe(200);
    expect(before.body.next_cursor).toBeNull();
    const names = before.body.data.map((provider: { provider_name: string }) => provider.provider_name);
    expect(names).toHaveLength(23);
    expect(names.slice(0, 3)).toEqual(["openai", "anthropic", "azure_openai"]);
    expect(before.body.data.map((provider: { configured: boolean }) => provider.configured)).not.toContain(true);
    await sandboxCredential(workspace);
    const one = await call("GET", `${path}/sandbox`, { token: workspace.token });
    expect(one.status).toBe(200);
    expect(one.body).toMatchObject({ provider_name: "sandbox", provider_type: "model", configured: true });
    expect(one.body.form[0]).toMatchObject({ name: "api_key", secret: true, required: true });
    const other = await call("GET", `${path}/openai`, { token: workspace.token });
    expect(other.body.configured).toBe(false);
    expect((await call("GET", `${path}/nobody`, { token: workspace.token })).status).toBe(404);
  });

  it("tells regions, endpoints, pictures and models, each picture being there", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const path = `/workspaces/${workspace.id}/model-providers`;
    const { body } = await call("GET", path, { token: workspace.token });
    const moonshot = body.data.find((one: { provider_name: string }) => one.provider_name === "moonshot");
    expect(moonshot.regions.map((region: { name: string }) => region.name)).toEqual(["intl", "cn"]);
    expect(moonshot.form[1]).toMatchObject({ name: "region", default: "intl", secret: false });
    expect(moonshot.endpoints).toEqual(["chat/completions", "messages"]);
    expect(moonshot.key_hint.text).toContain("sk-");
    expect(moonshot.models_count).toBeGreaterThan(3);
    const { body: detail } = await call("GET", `${path}/moonshot`, { token: workspace.token });
    expect(detail.models).toHaveLength(moonshot.models_count);
    expect(detail).toMatchObject({ icon: "/provider-icons/moonshot.svg", auth: expect.stringContaining("Bearer") });
    for (const { icon } of body.data) {
      const picture = await call("GET", icon);
      expect([picture.status, picture.headers.get("content-type")], icon).toEqual([200, "image/svg+xml"]);
    }
  });

  it("may be kept by its readers until it changes", async ({ expect }) => {
    const workspace = await seedWorkspace();
    for (const path of ["", "/sandbox", "/openai"].map((end) => `/workspaces/${workspace.id}/model-providers${end}`)) {
      const first = await call("GET", path, { token: workspace.token });
      const etag = first.headers.get("etag") ?? "";
      expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
      expect(first.headers.get("cache-control")).toBe("private, no-cache");
      const ask = (tag: string) => call("GET", path, { token: workspace.token, headers: { "if-none-match": tag } });
      const again = await ask(etag);
      expect([again.status, again.text, again.headers.get("etag")]).toEqual([304, "", etag]);
      expect(again.headers.get("cache-control")).toBe("private, no-cache");
      const id = await sandboxCredential(workspace);
      const moved = await ask(etag);
      expect(moved.status).toBe(path.endsWith("openai") ? 304 : 200);
      await call("DELETE", `/workspaces/${workspace.id}/credentials/${id}`, { token: workspace.token });
      expect((await ask(etag)).status).toBe(304);
    }
  });
});

describe("a credential that is entered", () => {
  it("that looks odd is taken with a warning that repeats nothing of it", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const add = (api_key: string) => addCredential(workspace, "groq", { api_key }, { validate: false });
    const odd = await add("sk-of-somebody-else-0123456789");
    expect([odd.status, odd.body.status]).toEqual([201, "unverified"]);
    expect(odd.body.warnings).toEqual([expect.stringContaining("gsk_")]);
    expect(odd.text).not.toContain("somebody");
    expect((await add(`gsk_${"a1".repeat(26)}`)).body).not.toHaveProperty("warnings");
  });

  it("is proved, stored and answered masked, with an address, an ETag and an audit row", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const name = unique("Main");
    const made = await addCredential(workspace, "openai", { api_key: "sk-good-0123456789abcdef" }, { name });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      provider_name: "openai",
      provider_type: "model",
      key_type: "api_key",
      name,
      base_url: "https://api.openai.com/v1",
      masked: { api_key: "sk-g••••••••cdef" },
      status: "active",
      is_valid: true,
      reason: null,
    });
    expect(Date.parse(made.body.validated_at)).toBeGreaterThan(Date.now() - 60_000);
    expect(made.body).not.toHaveProperty("duplicate_of");
    const location = made.headers.get("location") ?? "";
    const read = await call("GET", location, { token: workspace.token });
    expect([read.status, read.body]).toEqual([200, made.body]);
    expect(read.headers.get("etag")).toBe(made.headers.get("etag"));
    const short = await call("GET", `/workspaces/${workspace.slug}/credentials/${made.body.id}`, {
      token: workspace.token,
    });
    expect(short.body).toEqual(made.body);
    const [row] = await auditOf(made.body.id);
    expect(row).toMatchObject({ action: "credential.created", after: { provider_name: "openai", status: "active" } });
  });

  it("is named field by field when it cannot be one", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const cases: [string, Record<string, string>, string, string][] = [
      ["openai", {}, "/credentials/api_key", "required"],
      ["openai", { api_key: "pk-123456" }, "/credentials/api_key", "format"],
      ["anthropic", { api_key: "sk-good" }, "/credentials/api_key", "format"],
      ["openai", { api_key: "sk-good", organisation: "x" }, "/credentials/organisation", "unknown_field"],
      ["openai_compatible", { api_key: "k" }, "/credentials/base_url", "required"],
      ["openai_compatible", { base_url: "ftp://x.example.com" }, "/credentials/base_url", "format"],
      ["openai_compatible", { base_url: "https://127.0.0.1/v1" }, "/credentials/base_url", "address_refused"],
      ["openai_compatible", { base_url: "http://ok.upstream.test/v1" }, "/credentials/base_url", "address_refused"],
      ["sandbox", { api_key: "sk-other" }, "/credentials/api_key", "format"],
    ];
    for (const [provider, credentials, pointer, code] of cases) {
      const answer = await addCredential(workspace, provider, credentials);
      expect([provider, answer.status]).toEqual([provider, 422]);
      expect(answer.body.errors).toContainEqual(expect.objectContaining({ pointer, code }));
    }
    expect((await addCredential(workspace, "nobody", { api_key: "x" })).status).toBe(404);
    const listed = await call("GET", credentialsPath(workspace, "openai"), { token: workspace.token });
    expect(listed.body).toEqual({ data: [], next_cursor: null });
  });

  it("may break the key's format behind another base URL", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const answer = await addCredential(workspace, "openai", {
      api_key: "proxy-key",
      base_url: "https://ok.upstream.test/proxy/v1",
    });
    expect([answer.status, answer.body.base_url]).toEqual([201, "https://ok.upstream.test/proxy/v1"]);
  });

  it("is stored nowhere when its provider refuses it, and the refusal does not repeat it", async ({ expect }) => {
    const workspace = await seedWorkspace();
    for (const [provider, key] of [
      ["openai", "sk-refused-0123456789"],
      ["anthropic", "sk-ant-refused-0123456789"],
      ["sandbox", "sk-sandbox-401-0123456789"],
    ] as const) {
      const answer = await addCredential(workspace, provider, { api_key: key });
      expect([provider, answer.status]).toEqual([provider, 422]);
      expect(answer.body.errors).toMatchObject([{ pointer: "/credentials/api_key", code: "refused" }]);
      expect(answer.text).not.toContain(key);
      const listed = await call("GET", credentialsPath(workspace, provider), { token: workspace.token });
      expect(listed.body.data).toEqual([]);
    }
  });

  it("is held against its base URL when that is no model API", async ({ expect }) => {
    const workspace = await seedWorkspace();
    for (const host of ["html", "redirect-other"]) {
      const credentials = { api_key: "k-123456", base_url: `https://${host}.upstream.test/v1` };
      const answer = await addCredential(workspace, "openai_compatible", credentials);
      expect([host, answer.status]).toEqual([host, 422]);
      expect(answer.body.errors).toMatchObject([{ pointer: "/credentials/base_url", code: "wrong_host" }]);
    }
  });

  it("is held against the field that its address was made of, where that leads nowhere", async ({ expect }) => {
    const azure = findProvider("azure_openai", { sandbox: false });
    if (azure === null) {
      throw new Error("no azure_openai");
    }
    const parked = { ...azure, transport: () => Promise.resolve(new Response("", { status: 404 })) };
    const settings = { sandbox: false, outboundAllow: [], publicUrl: "https://gatehouse.example.com" };
    const pointerOf = async (fields: Record<string, string>) => {
      const entered = parked.parse({ api_key: "k-123456", ...fields });
      return await proveEntered(settings, parked, entered, true, "").catch((error: unknown) =>
        error instanceof AppError ? error.errors : error,
      );
    };
    const base_url = "https://acme.openai.azure.us/openai/v1";
    expect(await pointerOf({ resource: "acme" })).toMatchObject([
      { pointer: "/credentials/resource", detail: expect.stringContaining("Check Resource.") as string },
    ]);
    for (const fields of [{ base_url }, { base_url, resource: "acme" }]) {
      expect(await pointerOf(fields)).toMatchObject([{ pointer: "/credentials/base_url", code: "wrong_host" }]);
    }
  });

  it("stands as its provider's answer says: exhausted, unverified, or untried", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const noQuota = await addCredential(workspace, "openai_compatible", at("no-quota"));
    expect([noQuota.status, noQuota.body.status, noQuota.body.is_valid]).toEqual([201, "exhausted", true]);
    for (const host of ["status-503", "no-models", "status-418", "no-such-upstream"]) {
      const answer = await addCredential(workspace, "openai_compatible", at(host));
      expect([host, answer.status, answer.body.status]).toEqual([host, 201, "unverified"]);
      expect([answer.body.is_valid, answer.body.validated_at]).toEqual([null, null]);
      expect(answer.body.reason).toMatch(/\w/);
    }
    const untried = await addCredential(workspace, "openai", { api_key: "sk-anything" }, { validate: false });
    expect(untried.body).toMatchObject({ status: "unverified", is_valid: null, reason: null, validated_at: null });
  });

  it("may have no key where the provider asks for none, and shows no mask then", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const credentials = { base_url: "https://ok.upstream.test/v1" };
    const first = await addCredential(workspace, "openai_compatible", credentials);
    expect([first.status, first.body.masked]).toEqual([201, {}]);
    const second = await addCredential(workspace, "openai_compatible", credentials);
    expect(second.body).not.toHaveProperty("duplicate_of");
  });

  it("is told apart from a name that is taken, even by ten at once", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const name = unique("Twin");
    const posts = Array.from({ length: 10 }, () =>
      addCredential(workspace, "sandbox", { api_key: "sk-sandbox-ok" }, { name, validate: false }),
    );
    const answers = await Promise.all(posts);
    const statuses = answers.map((answer) => answer.status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([201, ...Array.from({ length: 9 }, () => 409)]);
    expect(answers.find((answer) => answer.status === 409)?.body.code).toBe("name_taken");
    const elsewhere = await addCredential(workspace, "openai", { api_key: "sk-x" }, { name, validate: false });
    expect(elsewhere.status).toBe(201);
  });

  it("names the oldest other credential of the workspace with the same secret, and none of another workspace", async ({
    expect,
  }) => {
    const [workspace, other] = [await seedWorkspace(), await seedWorkspace()];
    const credentials = { api_key: "sk-sandbox-ok-shared" };
    await addCredential(other, "sandbox", credentials);
    const first = await addCredential(workspace, "sandbox", credentials);
    expect(first.body).not.toHaveProperty("duplicate_of");
    const second = await addCredential(workspace, "sandbox", credentials);
    const third = await addCredential(workspace, "sandbox", credentials);
    expect([second.body.duplicate_of, third.body.duplicate_of]).toEqual([first.body.id, first.body.id]);
  });

  it("is made once by a repeated request with one Idempotency-Key", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const options = {
      token: workspace.token,
      headers: { "idempotency-key": unique("credential") },
      body: { name: "Once", credentials: { api_key: "sk-sandbox-ok" } },
    };
    const first = await call("POST", credentialsPath(workspace, "sandbox"), options);
    const again = await call("POST", credentialsPath(workspace, "sandbox"), options);
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expect(again.body).toEqual(first.body);
  });
});

describe("a stored credential", () => {
  it("is listed page by page, newest first, while rows come and go", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const ids: string[] = [];
    for (let index = 0; index < 5; index += 1) {
      ids.unshift(await sandboxCredential(workspace, `ok-${index}`));
    }
    const path = credentialsPath(workspace, "sandbox");
    const first = await call("GET", `${path}?limit=2`, { token: workspace.token });
    await sandboxCredential(workspace, "ok-late");
    const second = await call("GET", `${path}?limit=2&cursor=${first.body.next_cursor}`, { token: workspace.token });
    const third = await call("GET", `${path}?limit=2&cursor=${second.body.next_cursor}`, { token: workspace.token });
    const seen = [first, second, third].flatMap((page) => page.body.data.map((row: { id: string }) => row.id));
    expect(seen).toEqual(ids);
    expect(third.body.next_cursor).toBeNull();
    expect((await call("GET", `${path}?cursor=xx`, { token: workspace.token })).status).toBe(422);
    expect((await call("GET", `${path}?limit=201`, { token: workspace.token })).status).toBe(422);
  });

  it("is another workspace's 404 and another provider's 404, to read, validate and delete", async ({ expect }) => {
    const [workspace, other] = [await seedWorkspace(), await seedWorkspace()];
    const id = await sandboxCredential(other);
    const ownId = await sandboxCredential(workspace);
    const places = [
      `/workspaces/${workspace.id}/credentials/${id}`,
      `${credentialsPath(workspace, "sandbox")}/${id}`,
      `${credentialsPath(workspace, "openai")}/${ownId}`,
    ];
    for (const path of places) {
      for (const [method, address] of [
        ["GET", path],
        ["DELETE", path],
        ["POST", `${path}/validate`],
      ] as const) {
        const answer = await call(method, address, { token: workspace.token });
        expect([method, address, answer.status]).toEqual([method, address, 404]);
      }
    }
    const kept = await call("GET", `/workspaces/${other.id}/credentials/${id}`, { token: other.token });
    expect(kept.status).toBe(200);
    expect((await auditOf(id)).map((row) => row.action)).toEqual(["credential.created"]);
  });

  it("is read by members and changed by admins only", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const id = await sandboxCredential(workspace);
    const member = await seedMember(workspace.id, "MEMBER");
    const path = `/workspaces/${workspace.id}/credentials/${id}`;
    expect((await call("GET", path, { token: member.token })).status).toBe(200);
    expect((await call("DELETE", path, { token: member.token })).status).toBe(403);
    expect((await call("POST", `${path}/validate`, { token: member.token })).status).toBe(403);
    const body = { name: "x", credentials: { api_key: "sk-sandbox-ok" } };
    const post = await call("POST", credentialsPath(workspace, "sandbox"), { token: member.token, body });
    expect(post.status).toBe(403);
    expect((await call("GET", path)).status).toBe(401);
  });

  it("is deleted once, under the ETag that was read, with an audit row", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const id = await sandboxCredential(workspace);
    const path = `/workspaces/${workspace.id}/credentials/${id}`;
    const { token } = workspace;
    expect((await call("DELETE", path, { token, headers: { "if-match": '"9"' } })).status).toBe(412);
    const gone = await call("DELETE", path, { token, headers: { "if-match": '"1"' } });
    expect([gone.status, gone.text]).toEqual([204, ""]);
    expect((await call("DELETE", path, { token })).status).toBe(404);
    expect((await call("GET", path, { token })).status).toBe(404);
    const [, row] = await auditOf(id);
    expect(row).toMatchObject({ action: "credential.deleted", before: { provider_name: "sandbox" }, after: null });
  });

  it("stays while pools use it, and the refusal names them", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const id = await sandboxCredential(workspace);
    const poolsPath = `/workspaces/${workspace.id}/pools`;
    const instances = [sandboxInstance(id), sandboxInstance(id)];
    const pool = await call("POST", poolsPath, { token, body: { name: "chat", instances } });
    const path = `/workspaces/${workspace.id}/credentials/${id}`;
    const refused = await call("DELETE", path, { token });
    expect([refused.status, refused.body.code]).toEqual([409, "in_use"]);
    expect(refused.body.pools).toEqual([{ id: pool.body.id, name: "chat" }]);
    expect((await auditOf(id)).map((row) => row.action)).not.toContain("credential.deleted");
    await call("DELETE", `${poolsPath}/chat`, { token });
    expect((await call("DELETE", path, { token })).status).toBe(204);
  });

  it("is never deleted under a pool that takes it at the same moment", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    for (let round = 0; round < deep(5, 100); round += 1) {
      const id = await sandboxCredential(workspace);
      const body = { name: `race-${round}`, instances: [sandboxInstance(id)] };
      const [deleted, pooled] = await Promise.all([
        call("DELETE", `/workspaces/${workspace.id}/credentials/${id}`, { token }),
        call("POST", `/workspaces/${workspace.id}/pools`, { token, body }),
      ]);
      const outcome = `${deleted.status} ${pooled.status}`;
      expect(["204 422", "204 409", "409 201"]).toContain(outcome);
    }
    const orphans = await env.DB.prepare(
      "SELECT count(*) AS n FROM pool_instances WHERE credential_id NOT IN (SELECT id FROM credentials)",
    ).first<{ n: number }>();
    expect(orphans?.n).toBe(0);
  });
});

describe("a canary secret", () => {
  it("is found in no answer, log line, audit row, record, snapshot or Router", async ({ expect }) => {
    const lines: string[] = [];
    for (const level of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, level).mockImplementation((...args: unknown[]) => void lines.push(args.map(String).join(" ")));
    }
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const canary = `sk-canary-${crypto.randomUUID()}`;
    const answers: string[] = [];
    const keep = async (method: string, path: string, body?: unknown) => {
      const headers = { "idempotency-key": unique("canary") };
      const answer = await call(method, path, { token, headers, ...(body === undefined ? {} : { body }) });
      answers.push(answer.text, JSON.stringify([...answer.headers]));
      return answer;
    };
    const compatible = credentialsPath(workspace, "openai_compatible");
    const hosts = ["ok", "no-quota", "status-401", "status-503", "html", "redirect-other", "no-such-upstream"];
    const made: string[] = [];
    for (const host of hosts) {
      const credentials = { api_key: canary, base_url: `https://${host}.upstream.test/v1` };
      const answer = await keep("POST", compatible, { name: host, credentials });
      made.push(...(answer.status === 201 ? [answer.body.id] : []));
    }
    await keep("POST", compatible, { name: "ok", credentials: { api_key: canary, base_url: "https://10.0.0.1/v1" } });
    await keep("POST", compatible, { name: 7, credentials: { api_key: [canary] } });
    await keep("POST", credentialsPath(workspace, "anthropic"), { name: "a", credentials: { api_key: canary } });
    await keep("POST", credentialsPath(workspace, "sandbox"), {
      name: "s",
      credentials: { api_key: `sk-sandbox-401-${canary}` },
    });
    expect(made.length).toBe(4);
    const instances = made.map((id) => ({ provider_name: "openai_compatible", model: "m", credential_id: id }));
    await keep("POST", `/workspaces/${workspace.id}/pools`, { name: "canary", instances });
    for (const id of made) {
      await keep("POST", `/workspaces/${workspace.id}/credentials/${id}/validate`);
      await keep("GET", `/workspaces/${workspace.id}/credentials/${id}`);
    }
    await keep("GET", compatible);
    await keep("DELETE", `/workspaces/${workspace.id}/credentials/${made[0]}`);
    await publishNow(workspace);
    await keep("GET", `/workspaces/${workspace.id}/pools/canary/state`);
    vi.restoreAllMocks();
    const router = await runInDurableObject(routerFor(env, workspace.id, "auto"), (_, state) => {
      const tables = state.storage.sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'");
      const named = tables.toArray().filter(({ name }) => !name.startsWith("_cf"));
      return named
        .map(({ name }) => JSON.stringify(state.storage.sql.exec(`SELECT * FROM "${name}"`).toArray()))
        .join("\n");
    });
    const [record, config] = [await dumpRecord(), await dumpConfig()];
    expect(config).toContain(made[1]);
    expect(router).toContain(made[1]);
    expect(lines.join("\n")).toContain("request");
    const forms = [canary, toHex(utf8(canary)), toBase64Url(utf8(canary)), btoa(canary), canary.slice(10)];
    for (const text of [...answers, ...lines, record, config, router]) {
      for (const form of forms) {
        expect(text.includes(form) ? text : "").toBe("");
      }
    }
  });

  it("is one of a thousand at most", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const first = await addCredential(workspace, "sandbox", { api_key: "sk-sandbox-ok" });
    await copyCredential(first.body.id, 998);
    expect((await addCredential(workspace, "sandbox", { api_key: "sk-sandbox-ok" })).status).toBe(201);
    const refused = await addCredential(workspace, "sandbox", { api_key: "sk-sandbox-ok" });
    expect([refused.status, refused.body.code]).toEqual([409, "limit_reached"]);
    const pages = await call("GET", `${credentialsPath(workspace, "sandbox")}?limit=1`, workspace);
    expect(pages.body.data).toHaveLength(1);
  });
});
