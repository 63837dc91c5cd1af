import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { call } from "../support/client.js";
import { seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { schemes, toolDocument } from "../support/tool-document.js";
import { auditOf } from "../connections/seed.js";
import { addApi, addToolCredential, at, invoke } from "./seed.js";

const path = "/tool-providers";

async function keepDocument(name: string, document: unknown): Promise<string> {
  const url = `https://tools.upstream.test/documents/${name}`;
  await fetch(url, { method: "PUT", body: JSON.stringify(document) });
  return url;
}

async function toolNames(workspace: SeededWorkspace): Promise<string[]> {
  const { body } = await at(workspace, "GET", "/tools");
  return body.data.map((tool: { provider: string; name: string }) => `${tool.provider}/${tool.name}`);
}

function mark(headers: Headers): Readonly<Record<string, string>> {
  return { "if-match": headers.get("etag") ?? "" };
}

describe("an OpenAPI tool provider", () => {
  it("is made of a document: its operations are tools that can be seen, and nothing of it is a secret", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const made = await addApi(workspace, "fake", { auth: "bearer" });
    expect(made.body).toMatchObject({
      name: "fake",
      kind: "openapi",
      title: "Fake tools",
      base_url: "https://tools.upstream.test",
      auth: { type: "bearer" },
      added: true,
      enabled: true,
      configured: false,
      tools_count: 2,
      timeout_seconds: 60,
      refresh_error: null,
    });
    expect(made.headers.get("location")).toBe(`/workspaces/${workspace.id}/tool-providers/${made.body.id}`);
    expect(await auditOf(made.body.id)).toMatchObject([
      { action: "tool_provider.created", after: { name: "fake", base_url: "https://tools.upstream.test", tools: 2 } },
    ]);
    const read = await at(workspace, "GET", `${path}/fake`);
    expect([read.status, read.body]).toEqual([200, made.body]);
    expect((await at(workspace, "GET", `${path}/${made.body.id}`)).body).toEqual(made.body);
    const listed = await at(workspace, "GET", path);
    expect(listed.body.data[0]).toEqual(made.body);
    const tools = await at(workspace, "GET", "/tools");
    expect(tools.body.data).toMatchObject([
      { provider: "fake", name: "echo", title: "Calls echo", enabled: true },
      { provider: "fake", name: "text" },
    ]);
    expect(tools.body.data[0].input_schema).toMatchObject({
      type: "object",
      properties: { q: { type: "string", minLength: 2 }, count: { type: "integer" } },
      required: ["q"],
    });
    expect((await at(workspace, "GET", `${path}/fake/tools/echo`)).body).toEqual(tools.body.data[0]);
    await addToolCredential(workspace, "fake", { api_key: "bearer-secret" });
    expect((await at(workspace, "GET", `${path}/fake`)).body.configured).toBe(true);
  });

  it("asks no input for what its credential fills, also where only its owner says so", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const parameters = ["X-Key", "x-id", "x-more"].map((name) => ({
      name,
      in: "header",
      required: true,
      schema: { type: "string" },
    }));
    const document = {
      openapi: "3.1.0",
      info: { title: "Keyed", version: "1" },
      servers: [{ url: "https://tools.upstream.test" }],
      paths: { "/echo": { get: { operationId: "echo", parameters } } },
    };
    for (const [auth, required] of [
      [{ type: "api_key", in: "header", name: "x-key" }, ["x-id", "x-more"]],
      [{ type: "headers", names: ["x-key", "X-Id"] }, ["x-more"]],
    ] as const) {
      const source = { kind: "openapi", name: auth.type.replace("_", "-"), document, auth };
      expect((await at(workspace, "POST", "/tool-providers", source)).status).toBe(201);
      const { body } = await at(workspace, "GET", `/tool-providers/${source.name}/tools/echo`);
      expect([auth, body.input_schema.required]).toEqual([auth, required]);
    }
  });

  it("is refused with a word on what is wrong and where", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "taken");
    const document = toolDocument();
    const wrong = { ...document, paths: { "/a": { get: { parameters: [{ name: "x" }], responses: {} } } } };
    const oauth = { type: "oauth_client_credentials", token_url: "https://10.0.0.1/token", scopes: [] };
    const cases: readonly (readonly [Record<string, unknown>, number, string | undefined, string?])[] = [
      [{ kind: "openapi", name: "taken", document }, 409, undefined, "name_taken"],
      [{ kind: "openapi", name: "Bad Name", document }, 422, "/name"],
      [{ kind: "openapi", name: "tprov_01h455vb4pex5vsknk084sn02q", document }, 422, "/name"],
      [{ kind: "openapi", name: "none" }, 422, "/document"],
      [{ kind: "openapi", name: "both", document, url: "https://tools.upstream.test/a" }, 422, "/document"],
      [{ kind: "openapi", name: "wrong", document: wrong }, 422, "/document"],
      [{ kind: "openapi", name: "text", document: "not: [a document" }, 422, "/document"],
      [{ kind: "openapi", name: "gone", url: "https://tools.upstream.test/documents/none" }, 422, "/url"],
      [{ kind: "openapi", name: "near", url: "http://127.0.0.1/a.json" }, 422, "/url"],
      [{ kind: "openapi", name: "away", url: "https://tools.upstream.test/redirect" }, 422, "/url"],
      [{ kind: "openapi", name: "huge", url: "https://tools.upstream.test/big" }, 413, undefined, "body_too_large"],
      [{ kind: "openapi", name: "local", document: toolDocument({ server: "https://10.0.0.8" }) }, 422, "/document"],
      [{ kind: "openapi", name: "base", document, base_url: "https://localhost" }, 422, "/base_url"],
      [{ kind: "openapi", name: "query", document, base_url: "https://tools.upstream.test/?a=1" }, 422, "/base_url"],
      [{ kind: "openapi", name: "token", document, auth: oauth }, 422, "/auth/token_url"],
      [{ kind: "openapi", name: "path", document, auth: { type: "api_key", in: "path", name: "k" } }, 422, "/auth/in"],
      [{ kind: "builtin", name: "no-such" }, 422, "/name"],
      [{ kind: "mcp", name: "mcp", url: "https://[::1]/mcp" }, 422, "/url"],
      [{ kind: "mcp", name: "mcp", url: "https://tools.upstream.test/echo" }, 422, "/url"],
    ];
    for (const [body, status, pointer, code] of cases) {
      const refused = await at(workspace, "POST", path, body);
      expect([body["name"], refused.status]).toEqual([body["name"], status]);
      expect([body["name"], refused.body.errors?.[0].pointer]).toEqual([body["name"], pointer]);
      expect([body["name"], code ?? refused.body.code]).toEqual([body["name"], refused.body.code]);
    }
    const listed = await at(workspace, "GET", path);
    const own = listed.body.data.filter((provider: { added: boolean }) => provider.added);
    expect(own.map((provider: { name: string }) => provider.name)).toEqual(["taken"]);
  });

  it("takes a document of more than the usual body, and one of 5 MB no more", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const large = { ...toolDocument(), "x-padding": "p".repeat(1024 * 1024) };
    const taken = await at(workspace, "POST", path, { kind: "openapi", name: "large", document: large });
    expect([taken.status, taken.body.tools_count]).toEqual([201, 2]);
    const huge = { ...toolDocument(), "x-padding": "p".repeat(5 * 1024 * 1024) };
    const refused = await at(workspace, "POST", path, { kind: "openapi", name: "huge", document: huge });
    expect([refused.status, refused.body.code]).toEqual([413, "body_too_large"]);
  });

  it("read again by its address gains and loses tools by name, and keeps their switches", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const name = `doc-${workspace.id}`;
    const url = await keepDocument(name, toolDocument({ operations: ["echo", "text", "empty"] }));
    const made = await at(workspace, "POST", path, { kind: "openapi", name: "byurl", url });
    expect([made.status, made.body.source_url, made.body.tools_count]).toEqual([201, url, 3]);
    const off = await at(workspace, "PATCH", `${path}/byurl/tools/text`, { enabled: false });
    expect([off.status, off.body.enabled]).toEqual([200, false]);
    expect(await toolNames(workspace)).toEqual(["byurl/echo", "byurl/empty"]);
    expect((await invoke(workspace, "byurl/text", {})).status).toBe(404);

    await keepDocument(name, toolDocument({ operations: ["text", "echo", "binary"] }));
    const again = await at(workspace, "POST", `${path}/byurl/refresh`);
    expect([again.status, again.body.tools_count, again.body.refresh_error]).toEqual([200, 3, null]);
    expect(await toolNames(workspace)).toEqual(["byurl/binary", "byurl/echo"]);
    const all = await at(workspace, "GET", `${path}/byurl/tools?limit=2`);
    expect(all.body.data.map((tool: { name: string; enabled: boolean }) => [tool.name, tool.enabled])).toEqual([
      ["binary", true],
      ["echo", true],
    ]);
    const rest = await at(workspace, "GET", `${path}/byurl/tools?limit=2&cursor=${all.body.next_cursor}`);
    expect(rest.body).toMatchObject({ data: [{ name: "text", enabled: false }], next_cursor: null });
    const on = await at(workspace, "PATCH", `${path}/byurl/tools/text`, { enabled: true });
    expect(on.body.enabled).toBe(true);
    await at(workspace, "PATCH", `${path}/byurl/tools/text`, { enabled: true });
    const switches = (await auditOf("byurl/text")).map((line) => line.action);
    expect(switches).toEqual(["tool.disabled", "tool.enabled"]);

    await keepDocument(name, { openapi: "3.1.0" });
    const failed = await at(workspace, "POST", `${path}/byurl/refresh`);
    expect([failed.status, failed.body.tools_count, typeof failed.body.refresh_error]).toEqual([200, 3, "string"]);
    expect(await toolNames(workspace)).toHaveLength(3);
    await addApi(workspace, "given");
    expect((await at(workspace, "POST", `${path}/given/refresh`)).status).toBe(409);
  });

  it("changes by PATCH and PUT, held to the revision that was read", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await addApi(workspace, "fake", { auth: "bearer" });
    const first = mark(made.headers);
    const renamed = await at(workspace, "PATCH", `${path}/fake`, { title: "Ours", timeout_seconds: 5 }, first);
    expect([renamed.status, renamed.body.title, renamed.body.timeout_seconds]).toEqual([200, "Ours", 5]);
    expect((await at(workspace, "PATCH", `${path}/fake`, { title: "Theirs" }, first)).status).toBe(412);
    const same = await at(workspace, "PATCH", `${path}/fake`, { title: "Ours" });
    expect(same.body.updated_at).toBe(renamed.body.updated_at);
    const actions = (await auditOf(made.body.id)).map((line) => line.action);
    expect(actions).toEqual(["tool_provider.created", "tool_provider.updated"]);
    const off = await at(workspace, "PATCH", `${path}/fake`, { enabled: false });
    expect([off.body.enabled, await toolNames(workspace)]).toEqual([false, []]);
    expect((await at(workspace, "PATCH", `${path}/fake`, { credential_id: "cred_1" })).body.errors[0].pointer).toBe(
      "/credential_id",
    );
    await at(workspace, "PATCH", `${path}/fake`, { enabled: true });

    const document = toolDocument({ operations: ["binary"], security: schemes.bearer });
    const replaced = await at(workspace, "PUT", `${path}/fake`, { kind: "openapi", document });
    expect([replaced.status, replaced.body.title, replaced.body.timeout_seconds]).toEqual([200, "Ours", 5]);
    expect(await toolNames(workspace)).toEqual(["fake/binary"]);
    const stale = await at(workspace, "PUT", `${path}/fake`, { kind: "openapi", document }, first);
    expect(stale.status).toBe(412);
    const other = await at(workspace, "PUT", `${path}/fake`, { kind: "mcp", url: "https://tools.upstream.test/echo" });
    expect([other.status, other.body.errors[0].pointer]).toEqual([422, "/kind"]);
  });

  it("goes with its tools and its credentials", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const made = await addApi(workspace, "fake", { auth: "bearer" });
    const { body: credential } = await addToolCredential(workspace, "fake", { api_key: "bearer-secret" });
    const wrong = await at(workspace, "DELETE", `${path}/fake`, undefined, { "if-match": '"99"' });
    expect(wrong.status).toBe(412);
    const gone = await at(workspace, "DELETE", `${path}/fake`, undefined, mark(made.headers));
    expect(gone.status).toBe(204);
    expect((await at(workspace, "DELETE", `${path}/fake`)).status).toBe(404);
    expect(await toolNames(workspace)).toEqual([]);
    const counts = await env.DB.prepare(
      "SELECT (SELECT count(*) FROM tools WHERE workspace_id = ?1) + (SELECT count(*) FROM credentials WHERE workspace_id = ?1) AS n",
    )
      .bind(workspace.id)
      .first<{ n: number }>();
    expect(counts?.n).toBe(0);
    expect((await auditOf(credential.id)).map((line) => line.action)).toEqual([
      "credential.created",
      "credential.deleted",
    ]);
    expect((await auditOf(made.body.id)).at(-1)?.action).toBe("tool_provider.deleted");
  });
});

describe("a tool provider's credential", () => {
  it("passes the model providers' doors: masked, changed, rotated, rolled back, deleted", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: provider } = await addApi(workspace, "fake", { auth: "basic" });
    const made = await addToolCredential(workspace, "fake", { username: "me", api_key: "password-0123456789" });
    expect([made.status, made.body.provider_type, made.body.provider_name]).toEqual([201, "tool", provider.id]);
    expect(made.body).toMatchObject({
      status: "unverified",
      options: { username: "me" },
      masked: { api_key: "pas••••••••789" },
    });
    const own = `${path}/fake/credentials/${made.body.id}`;
    expect(made.headers.get("location")).toBe(`/workspaces/${workspace.id}${own}`);
    expect((await at(workspace, "GET", own)).body).toEqual(made.body);
    expect((await at(workspace, "GET", `${path}/fake/credentials`)).body.data).toEqual([made.body]);
    // It is none of the model providers'.
    expect((await at(workspace, "GET", `/credentials/${made.body.id}`)).status).toBe(404);
    const wrong = await addToolCredential(workspace, "fake", { password: "x", api_key: "two\nlines" });
    expect(wrong.body.errors.map((error: { pointer: string; code: string }) => [error.pointer, error.code])).toEqual([
      ["/credentials/password", "unknown_field"],
      ["/credentials/username", "required"],
      ["/credentials/api_key", "format"],
    ]);
    const tried = await at(workspace, "POST", `${own}/validate`);
    expect([tried.status, tried.body.status, tried.body.is_valid]).toEqual([200, "unverified", null]);
    const renamed = await at(workspace, "PATCH", own, { name: "Other", credentials: { username: "you" } });
    expect(renamed.body).toMatchObject({ name: "Other", options: { username: "you" }, pools: [] });
    const rotated = await at(workspace, "POST", `${own}/rotate`, { credentials: { api_key: "password-9876543210" } });
    expect([rotated.status, rotated.body.masked.api_key]).toEqual([200, "pas••••••••210"]);
    const back = await at(workspace, "POST", `${own}/rollback`);
    expect([back.status, back.body.masked.api_key]).toEqual([200, "pas••••••••789"]);
    const heard = await invoke(workspace, "fake/text", {});
    expect(heard.status).toBe(200);
    expect((await at(workspace, "GET", own)).body.last_used_at).not.toBeNull();
    expect((await at(workspace, "DELETE", own)).status).toBe(204);
    expect((await invoke(workspace, "fake/text", {})).body.code).toBe("credential_missing");
  });

  it("of OAuth is proved by the token that it is exchanged for", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { auth: "oauth" });
    const good = { client_id: "gatehouse", api_key: `good-${workspace.id}` };
    const made = await addToolCredential(workspace, "fake", good, { validate: true });
    expect([made.status, made.body.status, made.body.is_valid]).toEqual([201, "active", true]);
    const bad = await addToolCredential(workspace, "fake", { ...good, api_key: "bad-secret" }, { validate: true });
    expect([bad.status, bad.body.errors[0].pointer, bad.body.errors[0].code]).toEqual([
      422,
      "/credentials/api_key",
      "refused",
    ]);
    expect(bad.text).not.toContain("bad-secret");
  });

  it("is of no use once its provider has moved to another origin, until its secret is entered again", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { auth: "header" });
    const { body: credential } = await addToolCredential(workspace, "fake", { api_key: "header-secret" });
    const own = `${path}/fake/credentials/${credential.id}`;
    expect((await invoke(workspace, "fake/text", {})).status).toBe(200);
    const document = toolDocument({ server: "https://moved.upstream.test", security: schemes.header });
    const moved = await at(workspace, "PUT", `${path}/fake`, { kind: "openapi", document });
    expect([moved.status, moved.body.base_url, moved.body.configured]).toEqual([
      200,
      "https://moved.upstream.test",
      false,
    ]);
    const stranded = await at(workspace, "GET", own);
    expect([stranded.body.status, stranded.body.is_valid]).toEqual(["invalid", null]);
    expect(stranded.body.reason).toContain("Enter it again");
    expect((await auditOf(credential.id)).at(-1)).toMatchObject({
      action: "credential.refused",
      after: { status: "invalid" },
    });
    expect((await at(workspace, "POST", `${own}/validate`)).body.status).toBe("invalid");
    const renamed = await at(workspace, "PATCH", own, { credentials: {}, name: "Renamed" });
    expect([renamed.status, renamed.body.errors?.[0].code]).toEqual([422, "secret_required"]);
    for (const more of [{}, { credential_id: credential.id }]) {
      const refused = await invoke(workspace, "fake/text", {}, more);
      expect([refused.status, refused.body.code]).toEqual([409, "credential_missing"]);
    }
    // Even where the record is made to say that it is good: the seal knows its origin.
    await env.DB.prepare("UPDATE credentials SET status = 'active' WHERE id = ?").bind(credential.id).run();
    expect((await invoke(workspace, "fake/text", {})).body.code).toBe("credential_missing");
    const forged =
      "UPDATE credentials SET origin = 'https://moved.upstream.test', base_url = 'https://moved.upstream.test' WHERE id = ?";
    await env.DB.prepare(forged).bind(credential.id).run();
    expect((await invoke(workspace, "fake/text", {})).body.code).toBe("undecryptable");

    const entered = await at(workspace, "POST", `${own}/rotate`, { credentials: { api_key: "header-secret" } });
    expect([entered.status, entered.body.status, entered.body.previous]).toEqual([200, "unverified", null]);
    expect((await invoke(workspace, "fake/text", {})).status).toBe(200);
  });
});

describe("the list of tools", () => {
  it("ends a page early where the schemas are large, and goes on", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const values = Array.from({ length: 4_000 }, (_, index) => `a value of some length ${index}`);
    const schema = { type: "object", properties: { kind: { enum: values } } };
    const body = { content: { "application/json": { schema: { $ref: "#/components/schemas/large" } } } };
    const names = Array.from({ length: 20 }, (_, index) => `op-${String(index).padStart(2, "0")}`);
    const document = {
      openapi: "3.1.0",
      info: { title: "Large", version: "1" },
      servers: [{ url: "https://tools.upstream.test" }],
      components: { schemas: { large: schema } },
      paths: Object.fromEntries(names.map((name) => [`/${name}`, { post: { operationId: name, requestBody: body } }])),
    };
    expect((await at(workspace, "POST", "/tool-providers", { kind: "openapi", name: "large", document })).status).toBe(
      201,
    );
    for (const list of ["/tools", "/tool-providers/large/tools"]) {
      const pages: string[][] = [];
      let next: string | null = null;
      do {
        const cursor: string = next === null ? "" : `&cursor=${next}`;
        const { body: page, text } = await at(workspace, "GET", `${list}?limit=200${cursor}`);
        expect(text.length).toBeLessThan(1_200_000);
        pages.push(page.data.map((tool: { name: string }) => tool.name));
        next = page.next_cursor;
      } while (next !== null);
      expect(pages.flat()).toEqual(names);
      expect(pages.length).toBeGreaterThan(1);
    }
  });

  it("goes on from page to page, and shows a key only what its limits name", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "a", { operations: ["echo", "text", "binary"] });
    await addApi(workspace, "b", { operations: ["echo", "text"] });
    const all = ["a/binary", "a/echo", "a/text", "b/echo", "b/text"];
    expect(await toolNames(workspace)).toEqual(all);
    const seen: string[] = [];
    let cursor = "";
    do {
      const { body } = await at(workspace, "GET", `/tools?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`);
      seen.push(...body.data.map((tool: { provider: string; name: string }) => `${tool.provider}/${tool.name}`));
      cursor = body.next_cursor ?? "";
    } while (cursor !== "");
    expect(seen).toEqual(all);
    const made = await at(workspace, "POST", "/api-keys", {
      name: "agent",
      scopes: ["tools:read", "tools:invoke"],
      limits: { tools: ["a/text", "b/*"] },
    });
    const key = { id: workspace.id, token: made.body.secret };
    const { body } = await at(key, "GET", "/tools");
    const names = body.data.map((tool: { provider: string; name: string }) => `${tool.provider}/${tool.name}`);
    expect(names).toEqual(["a/text", "b/echo", "b/text"]);
    const wrong = await at(workspace, "POST", "/api-keys", {
      name: "wrong",
      scopes: ["tools:invoke"],
      limits: { tools: ["everything"] },
    });
    expect([wrong.status, wrong.body.errors[0].pointer]).toEqual([422, "/limits/tools/0"]);
  });

  it("names what the workspace has to an export, without a secret", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { auth: "bearer" });
    await addToolCredential(workspace, "fake", { api_key: "bearer-secret-of-export" });
    const { text } = await call("GET", `/workspaces/${workspace.id}/export`, { token: workspace.token });
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { section?: string; data?: { name?: string } });
    const named = (section: string) => lines.filter((line) => line.section === section).map((line) => line.data?.name);
    expect([named("tool_providers"), named("tools")]).toEqual([["fake"], ["echo", "text"]]);
    expect(text).not.toContain("bearer-secret-of-export");
  });
});
