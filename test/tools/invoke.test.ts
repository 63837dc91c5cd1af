import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, it, vi } from "vitest";
import { routerFor } from "../../src/routing/router-for.js";
import { call } from "../support/client.js";
import { invokeTool } from "../../src/tools/invoke.js";
import { db, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { addApi, addToolCredential, at, invoke } from "./seed.js";

interface Invoked {
  readonly outcome: string;
  readonly actor: string;
  readonly text: string;
  readonly after: Readonly<Record<string, unknown>>;
}

/** The audit rows of invocations of a workspace, oldest first. */
async function invocations(workspace: Pick<SeededWorkspace, "id">): Promise<Invoked[]> {
  const query = env.DB.prepare(
    "SELECT outcome, actor_type, after FROM audit_log WHERE workspace_id = ? AND action = 'tool.invoked' ORDER BY seq",
  );
  const { results } = await query.bind(workspace.id).all<Record<string, string>>();
  return results.map((row) => ({
    outcome: row["outcome"] ?? "",
    actor: row["actor_type"] ?? "",
    text: JSON.stringify(row),
    after: JSON.parse(row["after"] ?? "null"),
  }));
}

async function makeKey(workspace: SeededWorkspace, limits: object, scopes: readonly string[] = ["tools:invoke"]) {
  const made = await at(workspace, "POST", "/api-keys", { name: crypto.randomUUID(), scopes, limits });
  if (made.status !== 201) {
    throw new Error(`seed: key answered ${made.status} ${made.text}`);
  }
  return { id: workspace.id, token: made.body.secret as string, keyId: made.body.id as string };
}

describe("an invocation", () => {
  it("sends the input with the stored credential, and answers JSON, text and bytes as they are", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { operations: ["echo", "text", "binary", "empty"] });
    const heard = await invoke(workspace, "fake/echo", { q: "hello there", count: 2 });
    expect([heard.status, heard.body.is_error, heard.body.status]).toEqual([200, false, 200]);
    expect(heard.body.content[0].value).toMatchObject({
      method: "GET",
      url: "https://tools.upstream.test/echo?q=hello%20there&count=2",
      body: "",
    });
    expect(heard.body.content[0].value.headers).not.toHaveProperty("authorization");
    expect((await invoke(workspace, "fake/text", {})).body.content).toEqual([
      { type: "text", text: "plain  ", mime_type: "text/plain" },
    ]);
    expect((await invoke(workspace, "fake/binary", {})).body.content).toEqual([
      { type: "binary", base64: "iVBORw==", mime_type: "image/png" },
    ]);
    expect((await invoke(workspace, "fake/empty", {})).body).toEqual({ is_error: false, status: 204, content: [] });
    const rows = await invocations(workspace);
    expect(rows.map((row) => [row.outcome, row.actor, row.after["tool"], row.after["upstream_status"]])).toEqual([
      ["success", "account", "echo", 200],
      ["success", "account", "text", 200],
      ["success", "account", "binary", 200],
      ["success", "account", "empty", 204],
    ]);
    expect(Object.keys(rows[0]?.after ?? {}).toSorted()).toEqual([
      "bytes",
      "code",
      "credential_id",
      "duration_ms",
      "provider",
      "tool",
      "upstream_status",
    ]);
    expect(rows.map((row) => row.text).join()).not.toContain("hello there");
  });

  it("adds each kind of credential as its document says, and takes it out of the answer", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const secret = `good-secret-${workspace.id}`;
    const basic = btoa(`me:${secret}`);
    const kinds = [
      ["bearer", { api_key: secret }, "authorization", "Bearer [redacted]"],
      ["basic", { username: "me", api_key: secret }, "authorization", /^Basic .*\[redacted\]/],
      ["header", { api_key: secret }, "x-tool-key", "[redacted]"],
      ["oauth", { client_id: "gatehouse", api_key: secret }, "authorization", "Bearer [redacted]"],
    ] as const;
    for (const [auth, credentials, header, value] of kinds) {
      await addApi(workspace, auth, { auth, operations: ["echo"] });
      const bare = await invoke(workspace, `${auth}/echo`, { q: "hi" });
      expect([auth, bare.status, bare.body.code]).toEqual([auth, 409, "credential_missing"]);
      await addToolCredential(workspace, auth, credentials);
      const heard = await invoke(workspace, `${auth}/echo`, { q: "hi" });
      expect([auth, heard.status]).toEqual([auth, 200]);
      const sent: string = heard.body.content[0].value.headers[header];
      expect(sent).toMatch(value);
      expect(heard.text).not.toContain(secret);
      expect(heard.text).not.toContain(basic);
    }
    const names = ["x-app-id", "X-App-Key"];
    await addApi(workspace, "several", { operations: ["echo"], more: { auth: { type: "headers", names } } });
    for (const api_key of [
      "plain",
      '{"x-app-id": "1"}',
      '{"x-app-id": "1", "X-App-Key": "2", "x": "3"}',
      '{"x-app-id": "1", "X-App-Key": ""}',
    ]) {
      const refused = await addToolCredential(workspace, "several", { api_key });
      expect([api_key, refused.status, refused.body.errors?.[0].pointer]).toEqual([
        api_key,
        422,
        "/credentials/api_key",
      ]);
    }
    const values = { "X-App-Key": `second-${secret}`, "x-app-id": `first-${secret}` };
    expect((await addToolCredential(workspace, "several", { api_key: JSON.stringify(values) })).status).toBe(201);
    const several = await invoke(workspace, "several/echo", { q: "hi" });
    expect(several.body.content[0].value.headers).toMatchObject({
      "x-app-id": "[redacted]",
      "x-app-key": "[redacted]",
    });
    expect(several.text).not.toContain(secret);
    await addApi(workspace, "query", { auth: "query", operations: ["echo"] });
    await addToolCredential(workspace, "query", { api_key: secret });
    const { body } = await invoke(workspace, "query/echo", { q: "hi" });
    expect(body.content[0].value.url).toBe("https://tools.upstream.test/echo?q=hi&tool_key=[redacted]");
  });

  it("is held to the tool's schema, with a pointer for each fault, before anything is sent", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { operations: ["echo"] });
    const cases = [
      [{}, "/input/q", "required"],
      [{ q: "h" }, "/input/q", "minLength"],
      [{ q: 5 }, "/input/q", "type"],
      [{ q: "hi", count: 1.5 }, "/input/count", "type"],
      [{ q: "hi", "a/b~c": 1 }, "/input/a~1b~0c", "unknown_field"],
    ] as const;
    for (const [input, pointer, code] of cases) {
      const refused = await invoke(workspace, "fake/echo", input);
      expect([input, refused.status, refused.body.errors]).toEqual([
        input,
        422,
        [expect.objectContaining({ pointer, code })],
      ]);
    }
    expect((await at(workspace, "POST", "/tools/fake/echo/invoke", { input: [] })).status).toBe(422);
    expect(await invocations(workspace)).toEqual([]);
  });

  it("that fails says with which status and why, and none of it is a secret", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const secret = "fail-secret-0123456789";
    await addApi(workspace, "fake", {
      auth: "bearer",
      operations: ["fail/404", "fail/500", "redirect", "big", "cut", "slow"],
      more: { timeout_seconds: 1 },
    });
    await addToolCredential(workspace, "fake", { api_key: secret });
    const cases = [
      ["fail_404", 502, "tool_failed", 404, "failed with 404"],
      ["fail_500", 502, "tool_failed", 500, "failed with 500"],
      ["redirect", 502, "tool_failed", null, "another origin"],
      ["big", 502, "tool_failed", null, "5242880"],
      ["cut", 502, "tool_failed", null, "broke off"],
      ["slow", 504, "tool_timeout", undefined, undefined],
    ] as const;
    for (const [tool, status, code, upstream, reason] of cases) {
      const failed = await invoke(workspace, `fake/${tool}`, {});
      expect([tool, failed.status, failed.body.code, failed.body.upstream_status]).toEqual([
        tool,
        status,
        code,
        upstream,
      ]);
      expect(failed.body.reason ?? "").toContain(reason ?? "");
      expect(failed.text).not.toContain(secret);
    }
    const rows = await invocations(workspace);
    expect(rows.map((row) => [row.outcome, row.after["code"], row.after["upstream_status"]])).toEqual([
      ["failure", "tool_failed", 404],
      ["failure", "tool_failed", 500],
      ["failure", "tool_failed", null],
      ["failure", "tool_failed", null],
      ["failure", "tool_failed", null],
      ["failure", "tool_timeout", null],
    ]);
  });

  it("that is refused says so at its credential until one is taken, and asks for another token", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const secret = `good-${workspace.id}`;
    await addApi(workspace, "plain", { auth: "bearer", operations: ["text", "fail/401", "fail/500"] });
    await addApi(workspace, "oauth", { auth: "oauth", operations: ["text", "fail/401"] });
    const plain: string = (await addToolCredential(workspace, "plain", { api_key: "a-plain-secret" })).body.id;
    await addToolCredential(workspace, "oauth", { client_id: "gatehouse", api_key: secret });
    const standing = async () => {
      const { body } = await at(workspace, "GET", `/tool-providers/plain/credentials/${plain}`);
      return [body.status, body.reason];
    };
    const refused = ["unverified", expect.stringContaining("refused a call")];
    const before = await standing();
    await invoke(workspace, "plain/fail_401", {});
    expect([before, await standing()]).toEqual([["unverified", null], refused]);
    await invoke(workspace, "plain/fail_500", {});
    expect(await standing()).toEqual(refused);
    expect((await invoke(workspace, "plain/text", {})).status).toBe(200);
    expect(await standing()).toEqual(["unverified", null]);

    const granted = async () => (await fetch(`https://tools.upstream.test/granted/${secret}`)).json();
    await invoke(workspace, "oauth/text", {});
    await invoke(workspace, "oauth/text", {});
    expect(await granted()).toBe(1);
    await invoke(workspace, "oauth/fail_401", {});
    expect((await invoke(workspace, "oauth/text", {})).status).toBe(200);
    expect(await granted()).toBe(2);
  });

  it("whose caller leaves ends at once, and is told to the audit log all the same", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { operations: ["slow"] });
    const client = new AbortController();
    const actor = {
      type: "account",
      id: "usr_1",
      name: "A",
      requestId: "req_1",
      ip: null,
      opId: "op_1",
      at: 1,
    } as const;
    const context = {
      env,
      db,
      workspaceId: workspace.id,
      memberId: "mem_1",
      actor,
      caller: { kind: "person" },
      signal: client.signal,
    } as const;
    const startedAt = Date.now();
    const running = invokeTool(context, { provider: "fake", tool: "slow", input: {}, credentialId: null });
    setTimeout(() => client.abort(), 50);
    await expect(running).rejects.toMatchObject({ code: "client_closed_request" });
    expect(Date.now() - startedAt).toBeLessThan(2_500);
    expect(await invocations(workspace)).toMatchObject([
      { outcome: "failure", after: { code: "client_closed_request", tool: "slow" } },
    ]);
  });

  it("uses the credential asked for, else the provider's default, else the newest good one", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { auth: "bearer" });
    await addApi(workspace, "other", { auth: "bearer" });
    const used = async (more: { credential_id?: string } = {}) => {
      const answer = await invoke(workspace, "fake/text", {}, more);
      return answer.status === 200
        ? (await invocations(workspace)).at(-1)?.after["credential_id"]
        : [answer.status, answer.body.code, answer.body.errors?.[0].pointer];
    };
    const first: string = (await addToolCredential(workspace, "fake", { api_key: "first-secret" })).body.id;
    const second: string = (await addToolCredential(workspace, "fake", { api_key: "second-secret" })).body.id;
    const foreign: string = (await addToolCredential(workspace, "other", { api_key: "third-secret" })).body.id;
    expect(await used()).toBe(second);
    expect(await used({ credential_id: first })).toBe(first);
    expect(await used({ credential_id: foreign })).toEqual([422, "validation_failed", "/credential_id"]);
    await at(workspace, "PATCH", "/tool-providers/fake", { credential_id: first });
    expect(await used()).toBe(first);
    await at(workspace, "PATCH", `/tool-providers/fake/credentials/${first}`, { enabled: false });
    expect(await used()).toEqual([409, "credential_missing", undefined]);
    await at(workspace, "PATCH", "/tool-providers/fake", { credential_id: null });
    expect(await used()).toBe(second);
  });
});

describe("an API key", () => {
  it("invokes the tools that its limits name, at its rate, and is told to the audit log", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "a");
    await addApi(workspace, "b");
    const key = await makeKey(workspace, { tools: ["a/text", "b/*"], rpm: 3 });
    const met = async (tool: string, input = {}) => {
      const { status, body, headers } = await invoke(key, tool, input);
      return [status, body.code, headers.get("retry-after") === null];
    };
    expect(await met("a/text")).toEqual([200, undefined, true]);
    expect(await met("a/echo", { q: "hi" })).toEqual([403, "tool_not_allowed", true]);
    expect(await met("c/none")).toEqual([403, "tool_not_allowed", true]);
    expect(await met("b/none")).toEqual([404, "not_found", true]);
    expect(await met("b/text")).toEqual([200, undefined, true]);
    expect(await met("b/text")).toEqual([429, "rate_limited", false]);
    expect((await invocations(workspace)).map((row) => row.actor)).toEqual(["key", "key"]);
    const other = await makeKey(workspace, {}, ["tools:read"]);
    expect((await invoke(other, "a/text", {})).status).toBe(403);
    await at(workspace, "DELETE", `/api-keys/${key.keyId}`);
    expect((await invoke(key, "a/text", {})).status).toBe(401);
  });

  it("is served by a Router that has to be told of it first", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "a");
    const key = await makeKey(workspace, {});
    const router = () => routerFor(env, workspace.id, "auto");
    await router().purge(false);
    await evictDurableObject(router());
    expect(await router().configured()).toBeNull();
    expect((await invoke(key, "a/text", {})).status).toBe(200);
    expect(await router().configured()).not.toBeNull();
  });
});

describe("an invocation with an Idempotency-Key", () => {
  it("that has answered does not run again, and what it answered is kept sealed", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { operations: ["echo", "large", "fail/500"] });
    const headers = { "idempotency-key": "once" };
    const first = await invoke(workspace, "fake/echo", { q: "kept-in-a-seal" }, { headers });
    const again = await invoke(workspace, "fake/echo", { q: "kept-in-a-seal" }, { headers });
    expect([again.status, again.text, again.headers.get("idempotency-replayed")]).toEqual([200, first.text, "true"]);
    expect(await invocations(workspace)).toHaveLength(1);
    const kept = await env.DB.prepare(
      "SELECT body, sealed FROM idempotency WHERE workspace_id = ? ORDER BY created_at DESC",
    )
      .bind(workspace.id)
      .first<{ body: string; sealed: number }>();
    expect([kept?.sealed, kept?.body.includes("kept-in-a-seal")]).toEqual([1, false]);
    expect((await invoke(workspace, "fake/echo", { q: "another" }, { headers })).status).toBe(422);

    const big = { headers: { "idempotency-key": "large" } };
    const whole = await invoke(workspace, "fake/large", {}, big);
    expect([whole.status, whole.body.content[0].text.length]).toEqual([200, 1_500_000]);
    const gone = await invoke(workspace, "fake/large", {}, big);
    expect(gone.body).toEqual({ is_error: false, status: 200, content: [], omitted: true });

    const failing = { headers: { "idempotency-key": "failing" } };
    await invoke(workspace, "fake/fail_500", {}, failing);
    expect((await invoke(workspace, "fake/fail_500", {}, failing)).headers.get("idempotency-replayed")).toBeNull();
    expect(await invocations(workspace)).toHaveLength(4);
  });

  it("holds its key as long as its tool may run", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await addApi(workspace, "fake", { operations: ["slow"], more: { timeout_seconds: 1 } });
    const headers = { "idempotency-key": "slow" };
    const running = invoke(workspace, "fake/slow", {}, { headers });
    const lease = await vi.waitFor(async () => {
      const row = await env.DB.prepare(
        "SELECT lease_until - created_at AS held FROM idempotency ORDER BY created_at DESC",
      ).first<{ held: number }>();
      return row?.held ?? Promise.reject(new Error("not claimed yet"));
    });
    expect(lease).toBe(330_000);
    expect((await invoke(workspace, "fake/slow", {}, { headers })).status).toBe(409);
    expect((await running).status).toBe(504);
  });
});

describe("a built-in provider", () => {
  it("is added by its name, and takes its credential before or after", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const unknown = await at(workspace, "POST", "/tool-providers", { kind: "builtin", name: "openmeteo" });
    expect([unknown.status, unknown.body.errors?.[0].detail]).toEqual([422, expect.stringContaining("open_meteo")]);
    const listed = await at(workspace, "GET", "/tool-providers");
    const offered = listed.body.data.map((provider: { name: string }) => provider.name);
    expect(offered).toEqual(expect.arrayContaining(["tavily", "wikipedia"]));
    expect((await at(workspace, "GET", "/tool-providers/tavily")).body).toMatchObject({ id: "tavily", added: false });
    const early = await addToolCredential(workspace, "tavily", { api_key: "tvly-0123456789" });
    expect([early.status, early.body.provider_name]).toEqual([201, "tavily"]);
    const made = await at(workspace, "POST", "/tool-providers", { kind: "builtin", name: "tavily" });
    expect([made.status, made.body.added, made.body.configured]).toEqual([201, true, true]);
    expect((await at(workspace, "POST", "/tool-providers", { kind: "builtin", name: "tavily" })).body.code).toBe(
      "name_taken",
    );
    const own = await at(workspace, "POST", "/tool-providers", { kind: "openapi", name: "wikipedia", document: "{}" });
    expect([own.status, own.body.code]).toEqual([409, "name_taken"]);
    const free = await at(workspace, "POST", "/tool-providers", { kind: "builtin", name: "wikipedia" });
    expect([free.body.configured, free.body.form]).toEqual([true, []]);
    const again = await at(workspace, "POST", "/tool-providers/wikipedia/refresh");
    expect([again.status, again.body.tools_count]).toEqual([200, free.body.tools_count]);
    expect((await addToolCredential(workspace, "wikipedia", { api_key: "needless" })).status).toBe(422);
    const { body } = await call("GET", `/workspaces/${workspace.id}/tools`, { token: workspace.token });
    expect(new Set(body.data.map((tool: { provider: string }) => tool.provider))).toEqual(
      new Set(["tavily", "wikipedia"]),
    );
  });
});
