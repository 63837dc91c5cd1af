/** A credential changes without its secret ever going anywhere it was not entered for, and without a call that fails. */
import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { sha256Hex } from "../../src/base/bytes.js";
import { sweepPreviousSecrets } from "../../src/connections/credential-rotation.js";
import { makeServiceAccount } from "../providers/service-account.js";
import { call } from "../support/client.js";
import { db, seedKey, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { addCredential, auditOf, credentialsPath, sandboxCredential, sandboxInstance, unique } from "./seed.js";

const first = "k-first-0123456789";
const second = "k-second-0123456789";

/** A credential of an upstream that files its calls under a tag, and can be made to behave otherwise. */
async function taggedCredential(workspace: SeededWorkspace, more: Readonly<Record<string, unknown>> = {}) {
  const tag = unique(`change-${workspace.id.slice(-6)}`);
  const baseUrl = `https://ok.upstream.test/${tag}/v1`;
  const made = await addCredential(workspace, "openai_compatible", { api_key: first, base_url: baseUrl }, more);
  const path = `/workspaces/${workspace.id}/credentials/${made.body.id}`;
  return {
    id: made.body.id as string,
    tag,
    baseUrl,
    made,
    send: (method: string, suffix = "", body?: unknown, headers: Readonly<Record<string, string>> = {}) =>
      call(method, `${path}${suffix}`, { token: workspace.token, headers, ...(body === undefined ? {} : { body }) }),
    behave: (as: string) => fetch(`https://inspect.upstream.test/behave?tag=${tag}&as=${as}`, { method: "POST" }),
  };
}

/** The secret that last reached an upstream, as its hash. */
async function lastSecret(tag: string): Promise<string | null> {
  const answer = await fetch(`https://inspect.upstream.test/last?tag=${tag}`);
  const { last } = await answer.json<{ last: { authorization_sha256: string | null } | null }>();
  return last?.authorization_sha256 ?? null;
}

const bearer = (secret: string): Promise<string> => sha256Hex(`Bearer ${secret}`);

async function rowOf(id: string): Promise<Record<string, unknown>> {
  return (await env.DB.prepare("SELECT * FROM credentials WHERE id = ?").bind(id).first()) ?? {};
}

async function versionOf(workspaceId: string): Promise<number | null> {
  return await env.DB.prepare("SELECT config_version FROM workspaces WHERE id = ?")
    .bind(workspaceId)
    .first<number>("config_version");
}

describe("changing a credential", () => {
  it("renames and dates it under the ETag that was read, at both doors, with an audit row each", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, send } = await taggedCredential(workspace);
    const name = unique("Renamed");
    expect((await send("PATCH", "", { name }, { "if-match": '"7"' })).status).toBe(412);
    const renamed = await send("PATCH", "", { name }, { "if-match": '"1"' });
    expect([renamed.status, renamed.body.name, renamed.headers.get("etag")]).toEqual([200, name, '"2"']);
    const expiresAt = "2031-01-02T03:04:05.000Z";
    const path = `${credentialsPath(workspace, "openai_compatible")}/${id}`;
    const dated = await call("PATCH", path, { token: workspace.token, body: { expires_at: expiresAt } });
    expect([dated.status, dated.body.expires_at, dated.body.status]).toEqual([200, expiresAt, "active"]);
    expect((await send("GET")).body).toEqual(
      Object.fromEntries(Object.entries(dated.body).filter(([k]) => k !== "pools")),
    );
    const rows = await auditOf(id);
    expect(rows.map((row) => row.action)).toEqual(["credential.created", "credential.updated", "credential.updated"]);
    expect(rows[1]).toMatchObject({ after: { name } });
    expect(rows[2]).toMatchObject({ before: { expires_at: null }, after: { expires_at: expiresAt } });
    expect((await send("PATCH", "", { expires_at: null })).body.expires_at).toBeNull();
  });

  it("writes nothing for what stands already, and refuses names that are taken and fields that are not there", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, send, baseUrl, made } = await taggedCredential(workspace);
    const other = await taggedCredential(workspace);
    const before = [await rowOf(id), await versionOf(workspace.id)];
    for (const body of [
      {},
      { name: made.body.name, enabled: true, expires_at: null },
      { credentials: { base_url: `${baseUrl}/` } },
      { credentials: { base_url: baseUrl, api_key: ` ${first} ` } },
    ]) {
      const answer = await send("PATCH", "", body, { "if-match": '"1"' });
      expect([answer.status, answer.headers.get("etag")]).toEqual([200, '"1"']);
    }
    expect([await rowOf(id), await versionOf(workspace.id)]).toEqual(before);
    expect((await auditOf(id)).map((row) => row.action)).toEqual(["credential.created"]);
    const taken = await send("PATCH", "", { name: other.made.body.name });
    expect([taken.status, taken.body.code]).toEqual([409, "name_taken"]);
    for (const [body, pointer] of [
      [{ colour: "red" }, "/colour"],
      [{ name: "" }, "/name"],
      [{ expires_at: "soon" }, "/expires_at"],
      [{ expires_at: "9999-12-31T23:59:59-23:59" }, "/expires_at"],
      [{ credentials: { colour: "red" } }, "/credentials/colour"],
      [{ credentials: { base_url: "ftp://x" } }, "/credentials/base_url"],
    ] as const) {
      const answer = await send("PATCH", "", body);
      expect([answer.status, answer.body.errors[0].pointer]).toEqual([422, pointer]);
    }
  });

  it("takes another address only together with the secret, and sends the stored one nowhere", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, send, tag, made } = await taggedCredential(workspace);
    const elsewhere = unique("elsewhere");
    const before = await rowOf(id);
    for (const baseUrl of [
      `https://slow.upstream.test/${elsewhere}/v1`,
      // The same origin, another path: still another address.
      `https://ok.upstream.test/${elsewhere}/v1`,
    ]) {
      const refused = await send("PATCH", "", { credentials: { base_url: baseUrl } });
      expect([refused.status, refused.body.errors]).toEqual([
        422,
        [expect.objectContaining({ pointer: "/credentials/api_key", code: "secret_required" })],
      ]);
    }
    expect(await rowOf(id)).toEqual(before);
    expect(await lastSecret(elsewhere)).toBeNull();
    const baseUrl = `https://ok.upstream.test/${elsewhere}/v1`;
    const moved = await send("PATCH", "", { credentials: { base_url: baseUrl, api_key: second } });
    expect([moved.status, moved.body.base_url, moved.body.status]).toEqual([200, baseUrl, "active"]);
    expect(moved.body.masked).not.toEqual(made.body.masked);
    expect(await lastSecret(elsewhere)).toBe(await bearer(second));
    expect(await lastSecret(tag)).toBe(await bearer(first));
    const otherOrigin = { base_url: "https://no-models.upstream.test/v1", api_key: first };
    const far = await send("PATCH", "", { credentials: otherOrigin });
    expect([far.status, far.body.status]).toEqual([200, "unverified"]);
    expect(await rowOf(id)).toMatchObject({ origin: "https://no-models.upstream.test", secret_version: 3 });
    expect((await send("POST", "/validate")).body.status).toBe("unverified");
  });

  it("takes plain fields that make another address only with the secret, too, and calls what they make", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { json } = await makeServiceAccount();
    const made = await addCredential(workspace, "vertex_ai", { api_key: json }, { validate: false });
    const path = `/workspaces/${workspace.id}/credentials/${made.body.id}`;
    const change = (credentials: Readonly<Record<string, string>>) =>
      call("PATCH", path, { token: workspace.token, body: { credentials, validate: false } });
    const there = "https://aiplatform.googleapis.com/v1/projects";
    expect(made.body.base_url).toBe(`${there}/acme-prod/locations/global`);
    const before = await rowOf(made.body.id);
    for (const fields of [{ project: "acme-test" }, { location: "europe-west4" }]) {
      expect((await change(fields)).body.errors).toMatchObject([{ code: "secret_required" }]);
    }
    expect(await rowOf(made.body.id)).toEqual(before);
    const other = await change({ validate_model: "gemini-other" });
    expect([other.status, other.body.options.validate_model]).toEqual([200, "gemini-other"]);
    const moved = await change({ project: "acme-test", api_key: json });
    expect([moved.status, moved.body.base_url]).toEqual([200, `${there}/acme-test/locations/global`]);
    expect(await rowOf(made.body.id)).toMatchObject({ base_url: moved.body.base_url, secret_version: 2 });
  });

  it("stores nothing that its provider refuses, or that is at a wrong host", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, send } = await taggedCredential(workspace);
    const before = await rowOf(id);
    for (const [host, pointer, code] of [
      ["status-401", "/credentials/api_key", "refused"],
      ["html", "/credentials/base_url", "wrong_host"],
      ["redirect-other", "/credentials/base_url", "wrong_host"],
    ] as const) {
      const credentials = { base_url: `https://${host}.upstream.test/v1`, api_key: second };
      const answer = await send("PATCH", "", { credentials });
      expect([host, answer.status, answer.body.errors[0].pointer, answer.body.errors[0].code]).toEqual([
        host,
        422,
        pointer,
        code,
      ]);
      expect(answer.text).not.toContain(second);
    }
    expect(await rowOf(id)).toEqual(before);
  });

  it("takes one out of use and lets it back as it was last proved, though pools use it", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const ids = [await sandboxCredential(workspace, "ok-a"), await sandboxCredential(workspace, "ok-b")];
    const instances = ids.map((id, n) => sandboxInstance(id, { alias: `i${n}` }));
    const pool = await call("POST", `/workspaces/${workspace.id}/pools`, { token, body: { name: "chat", instances } });
    const { secret } = await seedKey(workspace);
    const aliases = async () => {
      const seen = new Set<string>();
      for (let n = 0; n < 4; n += 1) {
        const body = { model: "chat", messages: [{ role: "user", content: "hi" }] };
        const answer = await call("POST", "/v1/chat/completions", { token: secret, body });
        expect(answer.status).toBe(200);
        seen.add(answer.headers.get("x-gatehouse-instance") ?? "");
      }
      return [...seen].toSorted();
    };
    const path = `/workspaces/${workspace.id}/credentials/${ids[0]}`;
    expect(await aliases()).toEqual(["i0", "i1"]);
    const off = await call("PATCH", path, { token, body: { enabled: false } });
    expect([off.status, off.body.status, off.body.enabled]).toEqual([200, "disabled", false]);
    expect(off.body.pools).toEqual([{ id: pool.body.id, name: "chat" }]);
    expect(await aliases()).toEqual(["i1"]);
    // Proving it does not switch it on, but is not forgotten either.
    expect((await call("POST", `${path}/validate`, { token })).body).toMatchObject({
      status: "disabled",
      is_valid: true,
    });
    expect((await call("PATCH", path, { token, body: { enabled: false } })).headers.get("etag")).toMatch(/^"3/);
    const on = await call("PATCH", path, { token, body: { enabled: true } });
    expect([on.body.status, on.body.enabled]).toEqual(["active", true]);
    expect(await aliases()).toEqual(["i0", "i1"]);
    expect((await auditOf(ids[0] ?? "")).slice(1).map((row) => [row.action, row.after?.["status"]])).toEqual([
      ["credential.updated", "disabled"],
      ["credential.validated", "disabled"],
      ["credential.updated", "active"],
    ]);
  });

  it("lets one that was proved bad back as invalid, and an untried one as unverified", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const bad = await taggedCredential(workspace);
    await bad.behave("status-401");
    await bad.send("POST", "/validate");
    await bad.send("PATCH", "", { enabled: false });
    expect((await bad.send("PATCH", "", { enabled: true })).body.status).toBe("invalid");
    const untried = await taggedCredential(workspace, { validate: false });
    await untried.send("PATCH", "", { enabled: false });
    expect((await untried.send("PATCH", "", { enabled: true })).body.status).toBe("unverified");
  });
});

describe("rotating a credential", () => {
  it("proves the new secret, swaps it in, and keeps the old one for a rollback that can be rolled back", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, send, tag, made } = await taggedCredential(workspace, { expires_at: "2031-01-01T00:00:00.000Z" });
    const body = { credentials: { api_key: second }, grace_seconds: 3600 };
    const rotated = await send("POST", "/rotate", body, { "if-match": '"1"' });
    expect([rotated.status, rotated.body.status, rotated.body.expires_at]).toEqual([200, "active", null]);
    expect(rotated.body.masked).not.toEqual(made.body.masked);
    expect(rotated.body.previous.masked).toEqual(made.body.masked);
    const graceMs = Date.parse(rotated.body.previous.expires_at) - Date.now();
    expect(graceMs).toBeGreaterThan(3_500_000);
    expect(graceMs).toBeLessThanOrEqual(3_600_000);
    expect(await lastSecret(tag)).toBe(await bearer(second));
    expect((await send("GET")).body).toEqual(rotated.body);
    expect((await send("GET")).headers.get("etag")).toBe(rotated.headers.get("etag"));

    const back = await send("POST", "/rollback");
    expect([back.status, back.body.masked, back.body.expires_at]).toEqual([
      200,
      made.body.masked,
      made.body.expires_at,
    ]);
    expect(back.body.previous).toEqual({ masked: rotated.body.masked, expires_at: rotated.body.previous.expires_at });
    expect(await lastSecret(tag)).toBe(await bearer(first));
    expect(await rowOf(id)).toMatchObject({ secret_version: 3, previous_secret_version: 2, revision: 3 });
    const again = await send("POST", "/rollback");
    expect([again.body.masked, again.body.previous.masked]).toEqual([rotated.body.masked, made.body.masked]);
    await send("POST", "/validate");
    expect(await lastSecret(tag)).toBe(await bearer(second));
    const rows = await auditOf(id);
    expect(rows.map((row) => row.action)).toEqual([
      "credential.created",
      "credential.rotated",
      "credential.rolled_back",
      "credential.rolled_back",
      "credential.validated",
    ]);
    expect(rows[1]).toMatchObject({
      before: { masked: made.body.masked.api_key },
      after: { masked: rotated.body.masked.api_key, previous_until: rotated.body.previous.expires_at },
    });
  });

  it("leaves the old secret in use when the new one is refused, the same, of another form, or with other fields", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, send, behave, baseUrl } = await taggedCredential(workspace);
    const before = await rowOf(id);
    for (const [credentials, pointer, code] of [
      [{}, "/credentials/api_key", "required"],
      [{ api_key: " " }, "/credentials/api_key", "required"],
      [{ api_key: "two words" }, "/credentials/api_key", "format"],
      [{ api_key: first }, "/credentials/api_key", "same_secret"],
      [{ api_key: second, base_url: baseUrl }, "/credentials/base_url", "secret_only"],
      [{ api_key: second, "a/b~c": "x" }, "/credentials/a~1b~0c", "secret_only"],
    ] as const) {
      const answer = await send("POST", "/rotate", { credentials });
      expect([answer.status, answer.body.errors]).toEqual([422, [expect.objectContaining({ pointer, code })]]);
    }
    for (const grace of [-1, 0.5, 30 * 86_400 + 1]) {
      const answer = await send("POST", "/rotate", { credentials: { api_key: second }, grace_seconds: grace });
      expect([answer.status, answer.body.errors[0].pointer]).toEqual([422, "/grace_seconds"]);
    }
    await behave("status-401");
    const refused = await send("POST", "/rotate", { credentials: { api_key: second } });
    expect([refused.status, refused.body.errors[0].code]).toEqual([422, "refused"]);
    expect(await rowOf(id)).toEqual(before);
    expect((await auditOf(id)).map((row) => row.action)).toEqual(["credential.created"]);
    const none = await send("POST", "/rollback");
    expect([none.status, none.body.code]).toEqual([409, "no_previous_secret"]);
  });

  it("can be told not to try, and to keep nothing", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { send, behave } = await taggedCredential(workspace);
    await behave("status-401");
    const expires_at = "2032-01-01T00:00:00.000Z";
    const body = { credentials: { api_key: second }, grace_seconds: 0, validate: false, expires_at };
    const rotated = await send("POST", "/rotate", body);
    expect([rotated.status, rotated.body.status, rotated.body.previous]).toEqual([200, "unverified", null]);
    expect(rotated.body.expires_at).toBe(expires_at);
    expect((await send("POST", "/rollback")).status).toBe(409);
  });

  it("is won by one of ten at once; the others are 409 and change nothing", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, send } = await taggedCredential(workspace);
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        send("POST", "/rotate", { credentials: { api_key: `k-number-${n}-123456` }, validate: false }),
      ),
    );
    const won = answers.filter(({ status }) => status === 200);
    expect(answers.every(({ status, body }) => status === 200 || body.code === "conflict")).toBe(true);
    const rotations = (await auditOf(id)).filter((row) => row.action === "credential.rotated");
    // Those that read after the first commit follow it; none is lost under another.
    expect(rotations).toHaveLength(won.length);
    expect(await rowOf(id)).toMatchObject({ secret_version: 1 + won.length, revision: 1 + won.length });
    const stale = await Promise.all(
      ["a", "b"].map((word) =>
        send(
          "POST",
          "/rotate",
          { credentials: { api_key: `k-stale-${word}-123456` }, validate: false },
          { "if-match": `"${1 + won.length}"` },
        ),
      ),
    );
    expect(stale.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 412]);
  });

  it("names another credential with the same secret", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const one = await taggedCredential(workspace);
    const two = await taggedCredential(workspace, { validate: false });
    await one.send("POST", "/rotate", { credentials: { api_key: second } });
    const answer = await two.send("POST", "/rotate", { credentials: { api_key: second } });
    expect([answer.status, answer.body.duplicate_of]).toEqual([200, one.id]);
  });

  it("loses the way back when its time is over, at once in answers and by the sweep in the record", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const over = await taggedCredential(workspace);
    const open = await taggedCredential(workspace);
    for (const { send } of [over, open]) {
      expect((await send("POST", "/rotate", { credentials: { api_key: second } })).status).toBe(200);
    }
    const now = Date.now();
    await env.DB.prepare("UPDATE credentials SET previous_until = ? WHERE id = ?").bind(now, over.id).run();
    expect((await over.send("GET")).body.previous).toBeNull();
    expect((await over.send("POST", "/rollback")).body.code).toBe("no_previous_secret");
    const version = await versionOf(workspace.id);
    expect(await sweepPreviousSecrets(db, now)).toBeGreaterThan(0);
    const erased = Object.entries(await rowOf(over.id)).filter(([column]) => column.startsWith("previous_"));
    expect(erased.map(([, value]) => value)).toEqual(erased.map(() => null));
    expect(erased).toHaveLength(7);
    expect(await rowOf(open.id)).toMatchObject({ previous_secret_version: 1 });
    // Neither what is in force nor what callers hold an ETag of has changed.
    expect([await versionOf(workspace.id), (await rowOf(over.id))["revision"]]).toEqual([version, 2]);
    expect((await open.send("POST", "/rollback")).status).toBe(200);
  });

  it("loses it with another address, too", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { send } = await taggedCredential(workspace);
    await send("POST", "/rotate", { credentials: { api_key: second } });
    const credentials = { api_key: "k-third-0123456789", base_url: "https://no-models.upstream.test/v1" };
    expect((await send("PATCH", "", { credentials })).body.previous).toBeNull();
    expect((await send("POST", "/rollback")).body.code).toBe("no_previous_secret");
  });

  it("ends what calls met with the secret before: out is out no longer, and late refusals do not count", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { send, behave } = await taggedCredential(workspace);
    await behave("status-401");
    expect((await send("POST", "/validate")).body.status).toBe("invalid");
    await behave("ok");
    const rotated = await send("POST", "/rotate", { credentials: { api_key: second } });
    expect([rotated.body.status, rotated.body.is_valid, rotated.body.reason]).toEqual(["active", true, null]);
    const off = await send("PATCH", "", { enabled: false });
    expect(off.body.status).toBe("disabled");
    const quiet = await send("POST", "/rotate", { credentials: { api_key: "k-third-0123456789" } });
    expect([quiet.body.status, quiet.body.is_valid]).toEqual(["disabled", true]);
  });

  it("heals a secret that no longer opens, which is not kept", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, send, baseUrl } = await taggedCredential(workspace);
    await env.DB.prepare("UPDATE credentials SET sealed = replace(sealed, 'a256gcm', 'a256gcn') WHERE id = ?")
      .bind(id)
      .run();
    expect((await send("POST", "/validate")).body.status).toBe("undecryptable");
    const option = await send("PATCH", "", { credentials: { base_url: baseUrl } });
    expect(option.body.errors).toMatchObject([{ pointer: "/credentials/api_key", code: "secret_required" }]);
    const healed = await send("POST", "/rotate", { credentials: { api_key: first } });
    expect([healed.status, healed.body.status, healed.body.previous]).toEqual([200, "active", null]);
    expect((await send("POST", "/validate")).body.status).toBe("active");
  });

  it("leaves a disabled one disabled, also when its secret no longer opens", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, send } = await taggedCredential(workspace);
    await send("PATCH", "", { enabled: false });
    await env.DB.prepare("UPDATE credentials SET secret_version = 7 WHERE id = ?").bind(id).run();
    const found = await send("POST", "/validate");
    expect(found.body).toMatchObject({ status: "disabled", enabled: false, is_valid: null });
    expect(found.body.reason).toMatch(/cannot be opened/);
    const healed = await send("POST", "/rotate", { credentials: { api_key: second } });
    expect(healed.body).toMatchObject({ status: "disabled", enabled: false, is_valid: true, reason: null });
  });

  it("says no previous secret of one that no longer opens", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, send } = await taggedCredential(workspace);
    await send("POST", "/rotate", { credentials: { api_key: second } });
    // Moved into the other place of the same row: it is sealed to its own version.
    await env.DB.prepare("UPDATE credentials SET previous_sealed = sealed WHERE id = ?").bind(id).run();
    expect((await send("POST", "/rollback")).body.code).toBe("no_previous_secret");
  });
});

describe("a row that cannot be read", () => {
  it("is shown as undecryptable among the others, blocks no publishing, and is healed by entering it again", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const broken = await taggedCredential(workspace);
    const whole = await taggedCredential(workspace);
    const instances = [broken, whole].map(({ id }, n) => ({
      provider_name: "openai_compatible",
      model: "m",
      alias: `i${n}`,
      credential_id: id,
    }));
    await call("POST", `/workspaces/${workspace.id}/pools`, { token, body: { name: "chat", instances } });
    for (const options of ["{", "[]", '{"a":1}', "null"]) {
      await env.DB.prepare("UPDATE credentials SET options = ? WHERE id = ?").bind(options, broken.id).run();
      const list = await call("GET", credentialsPath(workspace, "openai_compatible"), { token });
      const statuses = list.body.data.map((row: { id: string; status: string }) => [row.id, row.status]);
      expect([list.status, Object.fromEntries(statuses)]).toEqual([
        200,
        { [broken.id]: "undecryptable", [whole.id]: "active" },
      ]);
      expect((await broken.send("GET")).body.options).toEqual({});
    }
    const { secret } = await seedKey(workspace);
    for (let n = 0; n < 3; n += 1) {
      const body = { model: "chat", messages: [{ role: "user", content: "hi" }] };
      const answer = await call("POST", "/v1/chat/completions", { token: secret, body });
      expect([answer.status, answer.headers.get("x-gatehouse-instance")]).toEqual([200, "i1"]);
    }
    expect((await call("GET", `/workspaces/${workspace.id}/export`, { token })).text).toContain(broken.id);
    expect((await broken.send("POST", "/validate")).body.status).toBe("undecryptable");
    const healed = await broken.send("PATCH", "", { credentials: { api_key: first } });
    expect([healed.status, healed.body.status, healed.body.options]).toEqual([200, "active", broken.made.body.options]);
  });
});

describe("who may change a credential", () => {
  it("is an admin of its workspace alone, by its own provider's door or none", async ({ expect }) => {
    const [workspace, other] = [await seedWorkspace(), await seedWorkspace()];
    const { id } = await taggedCredential(workspace);
    const member = await seedMember(workspace.id, "MEMBER");
    const own = `/workspaces/${workspace.id}/credentials/${id}`;
    const bodies = {
      PATCH: { path: "", body: { name: "x" } },
      POST: { path: "/rotate", body: { credentials: { api_key: second } } },
    } as const;
    for (const [method, { path, body }] of Object.entries(bodies)) {
      expect((await call(method, `${own}${path}`, { token: member.token, body })).status).toBe(403);
      for (const [place, token] of [
        [`/workspaces/${other.id}/credentials/${id}`, other.token],
        [`${credentialsPath(workspace, "openai")}/${id}`, workspace.token],
      ] as const) {
        expect((await call(method, `${place}${path}`, { token, body })).status).toBe(404);
      }
    }
    expect((await auditOf(id)).map((row) => row.action)).toEqual(["credential.created"]);
  });
});
