/** Each family of endpoints once, as a customer meets it on a running server: what is promised, what is refused, what never shows. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { startUpstream, type Upstream } from "./support/aimock.ts";
import { type Call, connect, expectOk, makeTeam, type Team } from "./support/client.ts";
import { sendRaw } from "./support/raw.ts";

const url = inject("serverUrl");
const stranger = connect(url, null);
const person = connect(url, inject("sessionToken"));

let team: Team;
let upstream: Upstream;

beforeAll(async () => {
  team = await makeTeam(url, inject("sessionToken"), "Families");
  upstream = await startUpstream(inject("upstreamPorts")[5] ?? 0, "Hello from the upstream.");
});

afterAll(() => upstream.stop());

describe("set-up", () => {
  it("is over once an account exists, and needs the token before that is said", async ({ expect }) => {
    const body = { email: "eve@example.com", name: "Eve", workspace: { name: "Eve's" } };
    const again = await connect(url, inject("setupToken"))("POST", "/setup", body);
    expect(again).toMatchObject({ status: 409, body: { code: "already_set_up" } });
    const guess = await connect(url, "not-the-token")("POST", "/setup", body);
    expect(guess).toMatchObject({ status: 403, body: { code: "invalid_setup_token" } });
  });
});

describe("workspaces", () => {
  it("are created whole, with their first credentials, and found at their Location", async ({ expect }) => {
    const name = `Whole ${Date.now().toString(36)}`;
    const providers = [
      { provider_name: "sandbox", name: "eu", credentials: { api_key: "sk-sandbox-ok-whole" } },
      { provider_name: "openai_compatible", credentials: { base_url: upstream.baseUrl, api_key: "sk-whole-secret" } },
    ];
    const created = await person("POST", "/workspaces", { name, providers });
    expect(created).toMatchObject({ status: 201, body: { name, role: "OWNER", members: 1 } });
    expect(created.body["settings"]).toMatchObject({ locale: "en-US", timezone: "UTC" });
    const location = created.headers.get("location") ?? "";
    expect(location).toBe(`/workspaces/${String(created.body["id"])}`);
    expect((await person("GET", location)).body).toEqual(created.body);
    for (const provider of ["sandbox", "openai_compatible"]) {
      const kept = await person("GET", `${location}/model-providers/${provider}/credentials`);
      expect(kept.body["data"]).toMatchObject([{ provider_name: provider, status: "active", is_valid: true }]);
      expect(kept.text).not.toMatch(/sk-sandbox-ok-whole|sk-whole-secret/);
    }
  });

  it("are not created at all when one credential is refused, and the answer points at it", async ({ expect }) => {
    const name = `Half ${Date.now().toString(36)}`;
    const providers = [
      { provider_name: "sandbox", name: "good", credentials: { api_key: "sk-sandbox-ok-1" } },
      { provider_name: "openai", name: "bad", credentials: { api_key: "no-prefix" } },
    ];
    const refused = await person("POST", "/workspaces", { name, providers });
    expect(refused).toMatchObject({ status: 422, body: { code: "validation_failed" } });
    expect(refused.headers.get("content-type")).toMatch(/^application\/problem\+json/);
    expect(refused.body["errors"]).toMatchObject([{ pointer: "/providers/1/credentials/api_key" }]);
    expect((await person("GET", "/workspaces?limit=200")).text).not.toContain(name);
  });

  it("are renamed under If-Match, refuse a stale one, and keep a taken slug", async ({ expect }) => {
    const path = `/workspaces/${team.id}`;
    const before = await person("GET", path);
    const etag = before.headers.get("etag") ?? "";
    const renamed = await person("PATCH", path, { name: "Renamed" }, { "if-match": etag });
    expect(renamed).toMatchObject({ status: 200, body: { name: "Renamed" } });
    expect(renamed.headers.get("etag")).not.toBe(etag);
    const stale = await person("PATCH", path, { name: "Late" }, { "if-match": etag });
    expect(stale).toMatchObject({ status: 412, body: { code: "precondition_failed" } });
    const taken = await person("POST", "/workspaces", { name: "Another", slug: before.body["slug"] });
    expect(taken).toMatchObject({ status: 409, body: { code: "workspace_exists" } });
  });

  it("are not there for strangers: no session 401, another's workspace the same 404 as none", async ({ expect }) => {
    expect(await stranger("GET", "/workspaces")).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
    const outsider = connect(url, (await team.addKey("outsider")).secret);
    const other = await makeTeam(url, inject("sessionToken"), "Other");
    const foreign = await outsider("GET", `/workspaces/${other.id}`);
    const none = await outsider("GET", "/workspaces/ws_00000000000000000000000000");
    expect(foreign.status).toBe(404);
    expect({ ...foreign.body, request_id: "" }).toEqual({ ...none.body, request_id: "" });
  });

  it("answer a repeated Idempotency-Key with the first answer, and make one workspace", async ({ expect }) => {
    const body = { name: `Once ${Date.now().toString(36)}` };
    const headers = { "idempotency-key": `e2e-${Date.now()}` };
    const answers = [];
    for (let n = 0; n < 3; n += 1) {
      answers.push(await person("POST", "/workspaces", body, headers));
    }
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers.map((answer) => answer.headers.get("idempotency-replayed"))).toEqual([null, "true", "true"]);
    const reused = await person("POST", "/workspaces", { name: "Something else" }, headers);
    expect(reused).toMatchObject({ status: 422, body: { code: "idempotency_key_reused" } });
  });
});

describe("model providers and credentials", () => {
  it("lists the catalogue with forms, and no secret", async ({ expect }) => {
    const answer = await team.call("GET", "/model-providers");
    const names = (answer.body["data"] as { provider_name: string }[]).map((provider) => provider.provider_name);
    expect(names).toEqual(expect.arrayContaining(["openai", "anthropic", "openai_compatible", "sandbox"]));
  });

  it("tries a credential live before it stores it, masks it, and says which field is refused", async ({ expect }) => {
    const path = "/model-providers/openai_compatible/credentials";
    const credentials = { base_url: upstream.baseUrl, api_key: "sk-live-4711-secret-9876" };
    const created = await team.call("POST", path, { name: "live", credentials });
    expect(created).toMatchObject({ status: 201, body: { status: "active", is_valid: true } });
    expect(created.text).not.toContain("4711");
    const again = await team.call("POST", path, { name: "live too", credentials });
    expect(again).toMatchObject({ status: 201, body: { duplicate_of: created.body["id"] } });
    expect(await team.call("POST", path, { name: "live", credentials })).toMatchObject({ status: 409 });

    const sandbox = "/model-providers/sandbox/credentials";
    const refused = await team.call("POST", sandbox, { name: "bad", credentials: { api_key: "sk-sandbox-401" } });
    expect(refused).toMatchObject({ status: 422, body: { errors: [{ pointer: "/credentials/api_key" }] } });
    const format = await team.call("POST", "/model-providers/anthropic/credentials", {
      name: "format",
      credentials: { api_key: "sk-not-ant" },
    });
    expect(format).toMatchObject({ status: 422, body: { errors: [{ pointer: "/credentials/api_key" }] } });
    const inside = await team.call("POST", path, { name: "inside", credentials: { base_url: "http://10.0.0.1/v1" } });
    expect(inside).toMatchObject({ status: 422, body: { errors: [{ pointer: "/credentials/base_url" }] } });
  });

  it("keeps a credential that a pool uses, and deletes it after", async ({ expect }) => {
    const instance = await team.addSandbox("used", "ok");
    await team.addPool("user-of-it", [instance]);
    const path = `/model-providers/sandbox/credentials/${instance.credential_id}`;
    const used = await team.call("DELETE", path);
    expect(used).toMatchObject({ status: 409, body: { code: "in_use" } });
    expect(used.text).toContain("user-of-it");
    expect((await team.call("DELETE", "/pools/user-of-it")).status).toBe(204);
    expect((await team.call("DELETE", path)).status).toBe(204);
    expect((await team.call("GET", path)).status).toBe(404);
  });
});

describe("pools", () => {
  it("are made, read, replaced under If-Match, and gone for callers in the moment of the answer", async ({
    expect,
  }) => {
    const instances = [await team.addSandbox("p-a", "ok-a", 3), await team.addSandbox("p-b", "ok-b", 1)];
    await team.addPool("life", instances);
    const gateway = connect(url, (await team.addKey("of the pool")).secret);
    const ask = (model: string) =>
      gateway("POST", "/v1/chat/completions", { model, messages: [{ role: "user", content: "hi" }] });
    expect((await ask("life")).status).toBe(200);

    const read = await team.call("GET", "/pools/life");
    const body = { name: "life", strategy: "weighted", instances: [instances[0], { ...instances[1], weight: 0 }] };
    const replaced = await team.call("PUT", "/pools/life", body, { "if-match": read.headers.get("etag") ?? "" });
    expect(replaced.status).toBe(200);
    for (let n = 0; n < 8; n += 1) {
      expect((await ask("life")).headers.get("x-gatehouse-instance")).toBe("p-a");
    }
    expect(await team.poolState("life")).toMatchObject([{ status: "ready" }, { status: "drained" }]);
    const stale = await team.call("PUT", "/pools/life", body, { "if-match": read.headers.get("etag") ?? "" });
    expect(stale.status).toBe(412);

    expect((await team.call("DELETE", "/pools/life")).status).toBe(204);
    expect(await ask("life")).toMatchObject({ status: 404, body: { error: { code: "model_not_found" } } });
  });

  it("refuse weights that mean nothing and credentials that are not there, by pointer", async ({ expect }) => {
    const good = await team.addSandbox("refused", "ok");
    const wrong = [
      { instances: [{ ...good, weight: -1 }], pointer: "/instances/0/weight" },
      { instances: [{ ...good, weight: 0 }], pointer: "/instances" },
      {
        instances: [{ ...good, credential_id: "cred_00000000000000000000000000" }],
        pointer: "/instances/0/credential_id",
      },
    ];
    for (const { instances, pointer } of wrong) {
      const answer = await team.call("POST", "/pools", { name: "wrong", strategy: "weighted", instances });
      expect(answer, pointer).toMatchObject({ status: 422, body: { errors: [{ pointer }] } });
    }
  });
});

describe("API keys", () => {
  it("show their secret once, do what their scopes say, and end with the 204", async ({ expect }) => {
    const created = await team.call("POST", "/api-keys", { name: "reader", scopes: ["pools:read"] });
    const secret = String(created.body["secret"]);
    expect(created.status).toBe(201);
    expect(secret).toMatch(/^ghk_/);
    const id = String(created.body["id"]);
    const listed = await team.call("GET", "/api-keys?limit=200");
    expect(listed.text).toContain(id);
    expect(listed.text + (await team.call("GET", `/api-keys/${id}`)).text).not.toContain(secret);

    const key = connect(url, secret);
    expect((await key("GET", "/workspaces/current/pools")).status).toBe(200);
    const beyond = await key("POST", "/workspaces/current/api-keys", { name: "more", scopes: ["pools:read"] });
    expect(beyond).toMatchObject({ status: 403, body: { code: "forbidden" } });
    expect(await key("GET", "/v1/models")).toMatchObject({ status: 403, body: { error: { code: "scope_missing" } } });

    expect((await team.call("DELETE", `/api-keys/${id}`)).status).toBe(204);
    expect((await key("GET", "/workspaces/current/pools")).status).toBe(401);
    expect((await team.call("GET", `/api-keys/${id}`)).body).toMatchObject({ status: "revoked" });
  });

  it("take tokens a minute, budgets and a rate of their own", async ({ expect }) => {
    const spending = { tpm: 1000, budget_usd: { day: 1 } };
    const named = { name: "spending", scopes: ["models:invoke"], limits: spending };
    expect(await team.call("POST", "/api-keys", named)).toMatchObject({ status: 201, body: { limits: spending } });
    await team.addPool("rated", [await team.addSandbox("rated", "ok")]);
    const limits = { rpm: 3 };
    const made = await team.call("POST", "/api-keys", { name: "rated", scopes: ["models:invoke"], limits });
    const gateway = connect(url, String(expectOk(made)["secret"]));
    const body = { model: "rated", messages: [{ role: "user", content: "hi" }] };
    const answers = await Promise.all(Array.from({ length: 6 }, () => gateway("POST", "/v1/chat/completions", body)));
    const statuses = Map.groupBy(answers, ({ status }) => status);
    expect([...statuses].map(([status, all]) => `${all.length} × ${status}`).toSorted()).toEqual([
      "3 × 200",
      "3 × 429",
    ]);
  });
});

describe("invites", () => {
  const address = `grace.${Date.now().toString(36)}@example.com`;

  interface Letter {
    readonly to: string;
    readonly text: string;
  }

  /** The token in the newest letter to the address; the queue takes a moment. */
  async function readLetter(call: Call): Promise<string> {
    for (let waits = 0; waits < 150; waits += 1) {
      const { data } = expectOk(await call("GET", "/dev/outbox")) as { data: readonly Letter[] };
      const letter = data.find(({ to }) => to === address);
      if (letter !== undefined) {
        return new RegExp(`${url}/invites/(\\S+)`).exec(letter.text)?.[1] ?? "";
      }
      await sleep(200);
    }
    throw new Error("no letter came within 30 s");
  }

  it("travel by queue and letter to a new account that joins, once", async ({ expect }) => {
    const sent = await team.call("POST", "/members/invite", { emails: [address], role: "ADMIN" });
    expect(sent).toMatchObject({ status: 200, body: { results: [{ email: address, status: "invited" }] } });
    expect(await team.call("POST", "/members/invite", { emails: [address] })).toMatchObject({
      status: 409,
      body: { code: "already_invited" },
    });
    const token = await readLetter(stranger);
    const listed = await team.call("GET", "/invites");
    expect(listed.body["data"]).toMatchObject([{ email: address, state: "sent", role: "ADMIN" }]);
    expect(listed.text).not.toContain(token);

    const offer = await stranger("GET", `/invites/${token}`);
    expect(offer).toMatchObject({ status: 200, body: { email: address, role: "ADMIN", has_account: false } });
    expect(offer.headers.get("referrer-policy")).toBe("no-referrer");
    const joined = await stranger("POST", `/invites/${token}/accept`, { name: "Grace" });
    expect(joined).toMatchObject({ status: 200, body: { workspace: { id: team.id, role: "ADMIN", members: 2 } } });

    const grace = connect(url, String(joined.body["session_token"]));
    expect((await grace("GET", "/workspaces")).body["data"]).toMatchObject([{ id: team.id, role: "ADMIN" }]);
    expect((await grace("GET", `/workspaces/${team.id}/pools`)).status).toBe(200);
    expect((await team.call("GET", "/invites")).body["data"]).toMatchObject([{ email: address, state: "accepted" }]);
    for (const used of [
      await stranger("GET", `/invites/${token}`),
      await stranger("POST", `/invites/${token}/accept`, {}),
      await stranger("GET", "/invites/inv_unknown.token"),
    ]) {
      expect(used).toMatchObject({ status: 404, body: { code: "not_found" } });
    }
  });
});

describe("the door", () => {
  it("refuses a Host that is not ours, on every face and on the local pages", async ({ expect }) => {
    const statusAs = async (host: string, path: string): Promise<number> =>
      (await sendRaw(`${url}${path}`, { headers: { host } })).status;
    for (const path of ["/", "/dev/outbox", "/workspaces", "/v1/models", "/setup", "/openapi.json"]) {
      expect(await statusAs("evil.example", path), path).toBe(421);
    }
    expect(await statusAs(`localhost:${new URL(url).port}`, "/dev/outbox")).toBe(200);
  });

  it("names each part on /readyz", async ({ expect }) => {
    const { status, body } = await stranger("GET", "/readyz");
    expect(status).toBe(200);
    const parts = (body["parts"] as { name: string; ok: boolean }[]).filter(({ ok }) => ok).map(({ name }) => name);
    expect(parts.toSorted()).toEqual(["d1", "keyring", "kv", "queue", "router"]);
  });

  it("serves the pages and what they load, under a policy that lets in nothing foreign", async ({ expect }) => {
    for (const [path, type] of [
      ["/", "text/html"],
      ["/setup", "text/html"],
      ["/setup.js", "text/javascript"],
      ["/page.css", "text/css"],
    ] as const) {
      const page = await stranger("GET", path);
      expect(page.status, path).toBe(200);
      expect(page.headers.get("content-type"), path).toContain(type);
      expect(page.headers.get("x-content-type-options"), path).toBe("nosniff");
      if (type === "text/html") {
        expect(page.headers.get("content-security-policy"), path).toContain("default-src 'self'");
        expect(page.text).not.toMatch(/(?:src|href)="https?:/);
      }
    }
  });

  it("describes every family in its contract", async ({ expect }) => {
    const { body } = await stranger("GET", "/openapi.json");
    expect(body["openapi"]).toMatch(/^3\.1/);
    const paths = Object.keys(body["paths"] as object);
    expect(paths).toEqual(
      expect.arrayContaining([
        "/setup",
        "/workspaces",
        "/workspaces/{ws}",
        "/workspaces/{ws}/members/invite",
        "/invites/{token}/accept",
        "/workspaces/{ws}/api-keys",
        "/workspaces/{ws}/model-providers/{provider}/credentials",
        "/workspaces/{ws}/pools",
        "/workspaces/{ws}/pools/{pool}/state",
      ]),
    );
  });
});
