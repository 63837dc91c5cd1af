/** Access tokens: what is signed and sent for one, how long it is kept, and that a secret goes nowhere else. */
import { exportPKCS8, generateKeyPair, jwtVerify, decodeProtectedHeader } from "jose";
import { describe, it } from "vitest";
import { OutboundError } from "../../src/base/outbound.js";
import { Secret } from "../../src/base/secret.js";
import {
  findToken,
  forgetToken,
  newTokenMemory,
  renewToken,
  type TokenOutcome,
} from "../../src/providers/access-token.js";
import { findProvider } from "../../src/providers/catalogue.js";
import type { CredentialInput, Provider } from "../../src/providers/contract.js";
import { addCredential, auditOf, credentialsPath } from "../connections/seed.js";
import { call } from "../support/client.js";
import { seedKey, seedWorkspace } from "../support/seed.js";
import type { SeenByGoogle } from "../support/upstream-google.js";
import { makeServiceAccount, type TestServiceAccount } from "./service-account.js";

const account = await makeServiceAccount("unit");
const vertex = provider("vertex_ai");
const azure = provider("azure_openai");
const tenant = "11111111-2222-3333-4444-555555555555";
const client = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
const entra = { resource: "acme", auth_method: "entra_id", tenant_id: tenant, client_id: client };

function provider(name: string): Provider {
  const found = findProvider(name, { sandbox: false });
  if (found === null) {
    throw new Error(`no provider ${name}`);
  }
  return found;
}

/** A token endpoint that answers by the number of the exchange, and what was sent to it. */
function tokenEndpoint(answer: (count: number) => Response | Promise<Response>) {
  const sent: Request[] = [];
  const send = async (request: Request): Promise<Response> => {
    sent.push(request);
    return await answer(sent.length);
  };
  return { sent, send };
}

function grant(count: number, expiresIn: number | string = 3600): Response {
  return Response.json({ access_token: `token-${count}`, expires_in: expiresIn, token_type: "Bearer" });
}

function tokenOf(outcome: TokenOutcome | null): string | undefined {
  return outcome?.kind === "token" ? outcome.token.reveal() : undefined;
}

function vertexInput(from: Pick<TestServiceAccount, "json"> = account): CredentialInput {
  return vertex.parse({ api_key: from.json, location: "europe-west4" });
}

describe("a service account's exchange", () => {
  it("is a signed assertion for the account, good for an hour, sent to Google's own token endpoint", async ({
    expect,
  }) => {
    const endpoint = tokenEndpoint(grant);
    const input = vertexInput();
    expect(tokenOf(await findToken(vertex, input, endpoint.send, newTokenMemory()))).toBe("token-1");
    const [request] = endpoint.sent;
    // The file's own token_uri is another one.
    expect(account.json).toContain("evil.upstream.test");
    expect([request?.method, request?.url, request?.redirect]).toEqual([
      "POST",
      "https://oauth2.googleapis.com/token",
      "manual",
    ]);
    const text = (await request?.text()) ?? "";
    const form = new URLSearchParams(text);
    expect([...form.keys()]).toEqual(["grant_type", "assertion"]);
    expect(form.get("grant_type")).toBe("urn:ietf:params:oauth:grant-type:jwt-bearer");
    const assertion = form.get("assertion") ?? "";
    const { payload } = await jwtVerify(assertion, account.publicKey, { algorithms: ["RS256"] });
    expect(payload).toMatchObject({
      iss: account.email,
      aud: "https://oauth2.googleapis.com/token",
      scope: "https://www.googleapis.com/auth/cloud-platform",
    });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3600);
    expect(decodeProtectedHeader(assertion)).toMatchObject({ alg: "RS256", kid: "kid-1" });
    expect(text).not.toContain("PRIVATE");
  });

  it("reads the file as it is or in base64, keeps what it needs, and says what it wants of any other text", async ({
    expect,
  }) => {
    const asBase64 = vertex.parse({ api_key: btoa(account.json) });
    expect(asBase64.api_key?.reveal()).toBe(vertexInput().api_key?.reveal());
    expect(Object.keys(JSON.parse(asBase64.api_key?.reveal() ?? ""))).toEqual([
      "client_email",
      "private_key",
      "private_key_id",
      "project_id",
    ]);
    expect(asBase64.options["project"]).toBe("acme-prod");
    const file = JSON.parse(account.json) as Record<string, unknown>;
    const others = [
      "AIzaSomething",
      "{",
      "{}",
      "[]",
      "bnVsbA==",
      JSON.stringify({ ...file, type: "authorized_user" }),
      JSON.stringify({
        ...file,
        private_key: "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n",
      }),
      JSON.stringify({ ...file, client_email: 7 }),
    ];
    for (const text of others) {
      const errors = vertex.checkFormat({ api_key: text });
      expect(errors, text).toMatchObject([{ pointer: "/credentials/api_key", code: "format" }]);
      expect(errors[0]?.detail).toContain("JSON");
    }
    const { project_id: _, ...homeless } = file;
    expect(vertex.checkFormat({ api_key: JSON.stringify(homeless) })).toMatchObject([
      { pointer: "/credentials/project", code: "required" },
    ]);
    expect(vertex.checkFormat({ api_key: JSON.stringify(homeless), project: "acme-prod" })).toEqual([]);
  });

  it("says that a key can't sign before anything is sent", async ({ expect }) => {
    const { privateKey } = await generateKeyPair("ES256", { extractable: true });
    const file = { ...(JSON.parse(account.json) as object), private_key: await exportPKCS8(privateKey) };
    const endpoint = tokenEndpoint(grant);
    const outcome = await findToken(
      vertex,
      vertexInput({ json: JSON.stringify(file) }),
      endpoint.send,
      newTokenMemory(),
    );
    expect(outcome).toMatchObject({ kind: "refused", reason: expect.stringContaining("private_key") });
    expect(endpoint.sent).toHaveLength(0);
  });
});

describe("a token", () => {
  it("is fetched once for all who wait, and kept until a minute before its end", async ({ expect }) => {
    const memory = newTokenMemory();
    const endpoint = tokenEndpoint(async (count) => {
      await scheduler.wait(20);
      return grant(count);
    });
    const before = Date.now();
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => findToken(vertex, vertexInput(), endpoint.send, memory)),
    );
    expect(outcomes.map(tokenOf)).toEqual(Array(20).fill("token-1"));
    expect(tokenOf(await findToken(vertex, vertexInput(), endpoint.send, memory))).toBe("token-1");
    expect(endpoint.sent).toHaveLength(1);
    const [key, kept] = [...memory.kept][0] ?? [];
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    const left = (kept?.until ?? 0) - before;
    expect(left).toBeGreaterThanOrEqual(3_540_000);
    expect(left).toBeLessThan(3_600_000);
    if (key !== undefined && kept !== undefined) {
      memory.kept.set(key, { ...kept, until: Date.now() });
    }
    expect(tokenOf(await findToken(vertex, vertexInput(), endpoint.send, memory))).toBe("token-2");
  });

  it("that ends within a minute, or at no time, serves this one call", async ({ expect }) => {
    for (const expiresIn of [60, 0, "soon"]) {
      const memory = newTokenMemory();
      const endpoint = tokenEndpoint((count) => grant(count, expiresIn));
      expect(tokenOf(await findToken(vertex, vertexInput(), endpoint.send, memory))).toBe("token-1");
      expect(tokenOf(await findToken(vertex, vertexInput(), endpoint.send, memory))).toBe("token-2");
    }
  });

  it("is fetched anew to prove a secret, and after it was refused", async ({ expect }) => {
    const memory = newTokenMemory();
    const endpoint = tokenEndpoint((count) => grant(count));
    const input = vertexInput();
    await findToken(vertex, input, endpoint.send, memory);
    expect(tokenOf(await renewToken(vertex, input, endpoint.send, memory))).toBe("token-2");
    await forgetToken(vertex, input, new Secret("token-2"), memory);
    expect(tokenOf(await findToken(vertex, input, endpoint.send, memory))).toBe("token-3");
  });

  it("is dropped by the first of many calls that it failed, and not again by those that come after", async ({
    expect,
  }) => {
    const memory = newTokenMemory();
    const endpoint = tokenEndpoint((count) => grant(count));
    const input = vertexInput();
    const first = new Secret(tokenOf(await findToken(vertex, input, endpoint.send, memory)) ?? "");
    for (let late = 0; late < 10; late += 1) {
      await forgetToken(vertex, input, first, memory);
      expect(tokenOf(await findToken(vertex, input, endpoint.send, memory))).toBe("token-2");
    }
  });

  it("is never met by another secret, nor by the same one under other fields", async ({ expect }) => {
    const memory = newTokenMemory();
    const endpoint = tokenEndpoint((count) => grant(count));
    const other = await makeServiceAccount("unit");
    const inputs = [
      vertexInput(),
      vertexInput(other),
      vertex.parse({ api_key: account.json, location: "europe-west4", project: "acme-other" }),
    ];
    const tokens = await Promise.all(inputs.map((input) => findToken(vertex, input, endpoint.send, memory)));
    expect(new Set(tokens.map(tokenOf)).size).toBe(3);
  });

  it("makes room when 256 others are kept", async ({ expect }) => {
    const memory = newTokenMemory();
    const endpoint = tokenEndpoint((count) => grant(count));
    const input = { base_url: "https://acme.openai.azure.com/openai/v1", options: entra };
    for (let at = 0; at <= 256; at += 1) {
      await findToken(azure, { ...input, api_key: new Secret(`secret-${at}`) }, endpoint.send, memory);
    }
    expect(memory.kept.size).toBe(256);
    expect(
      tokenOf(await findToken(azure, { ...input, api_key: new Secret("secret-256") }, endpoint.send, memory)),
    ).toBe("token-257");
    expect(tokenOf(await findToken(azure, { ...input, api_key: new Secret("secret-0") }, endpoint.send, memory))).toBe(
      "token-258",
    );
  });

  it("that is not given says whether that is the secret's fault, without repeating it", async ({ expect }) => {
    const refusal = { error: "invalid_grant", error_description: `No: ${account.privateKey}` };
    const table: readonly (readonly [string, () => Response, Partial<TokenOutcome>])[] = [
      ["400", () => Response.json(refusal, { status: 400 }), { kind: "refused" }],
      ["401", () => Response.json({ error: "invalid_client" }, { status: 401 }), { kind: "refused" }],
      ["429", () => Response.json({ error: "slow_down" }, { status: 429 }), { kind: "failed", failure: "answer" }],
      ["400 of a proxy", () => new Response("<html>", { status: 400 }), { kind: "failed", failure: "answer" }],
      ["503", () => Response.json(refusal, { status: 503 }), { kind: "failed", failure: "answer" }],
      ["a page", () => new Response("<html>"), { kind: "failed", failure: "answer" }],
      ["no token", () => Response.json({ access_token: "" }), { kind: "failed", failure: "answer" }],
    ];
    for (const [name, answer, expected] of table) {
      const memory = newTokenMemory();
      const outcome = await findToken(vertex, vertexInput(), tokenEndpoint(answer).send, memory);
      expect(outcome, name).toMatchObject(expected);
      expect(JSON.stringify(outcome)).not.toContain("PRIVATE");
      expect(memory.kept.size).toBe(0);
    }
    const down = await findToken(
      vertex,
      vertexInput(),
      () => Promise.reject(new OutboundError("network", "The address could not be reached.")),
      newTokenMemory(),
    );
    expect(down).toEqual({ kind: "failed", failure: "network", reason: "The address could not be reached." });
  });
});

describe("an Entra application's secret", () => {
  it("goes to Microsoft's sign-in of its tenant, and its token where the key would go", async ({ expect }) => {
    const endpoint = tokenEndpoint(grant);
    const input = azure.parse({ api_key: "entra~secret", ...entra });
    expect(tokenOf(await findToken(azure, input, endpoint.send, newTokenMemory()))).toBe("token-1");
    expect(endpoint.sent[0]?.url).toBe(`https://login.microsoftonline.com/${tenant}/oauth2/v2.0/token`);
    expect(Object.fromEntries(new URLSearchParams(await endpoint.sent[0]?.text()))).toEqual({
      grant_type: "client_credentials",
      client_id: client,
      client_secret: "entra~secret",
      scope: "https://cognitiveservices.azure.com/.default",
    });
    const proof = azure.validationRequest({ ...input, api_key: new Secret("token-1") });
    expect(proof.headers.get("authorization")).toBe("Bearer token-1");
    expect(proof.headers.has("api-key")).toBe(false);
  });

  it("is not for an address of one's own, whatever the form or the record says", async ({ expect }) => {
    const base_url = "https://acme.example.com/openai/v1";
    expect(azure.checkFormat({ api_key: "entra~secret", ...entra, base_url })).toMatchObject([
      { pointer: "/credentials/base_url" },
    ]);
    expect(azure.checkFormat({ api_key: "k", resource: "acme", auth_method: "entra_id" })).toMatchObject([
      { pointer: "/credentials/tenant_id", code: "required" },
    ]);
    const endpoint = tokenEndpoint(grant);
    const stored = { api_key: new Secret("entra~secret"), base_url, options: entra };
    expect(await findToken(azure, stored, endpoint.send, newTokenMemory())).toMatchObject({ kind: "refused" });
    expect(endpoint.sent).toHaveLength(0);
  });

  it("is not what a resource's key is exchanged for: that travels itself", async ({ expect }) => {
    const endpoint = tokenEndpoint(grant);
    const input = azure.parse({ api_key: "plain-key", resource: "acme" });
    expect(await findToken(azure, input, endpoint.send, newTokenMemory())).toBeNull();
    expect(endpoint.sent).toHaveLength(0);
  });
});

async function seen(email: string): Promise<SeenByGoogle> {
  const answer = await fetch(`https://oauth2.googleapis.com/seen?email=${encodeURIComponent(email)}`);
  return await answer.json<SeenByGoogle>();
}

function behave(email: string, as: string) {
  return fetch(`https://oauth2.googleapis.com/behave?email=${encodeURIComponent(email)}&as=${as}`, {
    method: "POST",
  });
}

describe("Vertex AI through the service", () => {
  it("proves a service account, calls with its token, and asks for no other while that holds", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { json, email } = await makeServiceAccount("ok-service");
    const made = await addCredential(workspace, "vertex_ai", { api_key: json, location: "europe-west4" });
    expect(made.status, made.text).toBe(201);
    expect(made.body).toMatchObject({
      status: "active",
      is_valid: true,
      base_url: "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme-prod/locations/europe-west4",
      options: { location: "europe-west4", project: "acme-prod" },
    });
    expect(made.text).not.toContain("PRIVATE");
    expect((await auditOf(made.body.id))[0]?.action).toBe("credential.created");
    const model = "gemini-2.5-pro";
    const instances = [{ provider_name: "vertex_ai", model, credential_id: made.body.id }];
    const pool = { name: "vertex", strategy: "weighted", instances };
    expect(
      (await call("POST", `/workspaces/${workspace.id}/pools`, { token: workspace.token, body: pool })).status,
    ).toBe(201);
    const { secret } = await seedKey(workspace);
    const body = { model: "vertex", messages: [{ role: "user", content: "Hello" }] };
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => call("POST", "/v1/chat/completions", { token: secret, body })),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    const google = await seen(email);
    expect(google.tokens).toBe(1);
    expect(google.audiences).toEqual(["https://oauth2.googleapis.com/token"]);
    const chat = `europe-west4-aiplatform.googleapis.com/v1/projects/acme-prod/locations/europe-west4/endpoints/openapi/chat/completions ya29.${email}.1`;
    expect(google.calls.slice(1)).toEqual([chat, chat, chat, chat, chat]);
    expect(JSON.parse(google.bodies[1] ?? "")).toMatchObject({ model: "google/gemini-2.5-pro" });

    // A validation asks for a token of its own, with which calls go on.
    const path = `/workspaces/${workspace.id}/credentials/${made.body.id}`;
    await call("POST", `${path}/validate`, { token: workspace.token });
    expect((await call("POST", "/v1/chat/completions", { token: secret, body })).status).toBe(200);
    expect((await seen(email)).calls.at(-1)).toBe(`${chat.slice(0, -1)}2`);

    // Google takes the token back before its time: the call itself fetches another, and the credential stays in use.
    await behave(email, "revoke");
    expect((await call("POST", "/v1/chat/completions", { token: secret, body })).status).toBe(200);
    const after = await seen(email);
    expect(after.calls.slice(-2).map((line) => line.slice(-1))).toEqual(["2", "4"]);
    expect((await call("GET", path, { token: workspace.token })).body.status).toBe("active");
  });

  it("refuses a service account that Google refuses, and keeps one that could not be asked about", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const refused = await makeServiceAccount("refused");
    const answer = await addCredential(workspace, "vertex_ai", { api_key: refused.json });
    expect([answer.status, answer.body.errors[0].pointer]).toEqual([422, "/credentials/api_key"]);
    expect(answer.text).toContain("invalid_grant");
    const list = await call("GET", credentialsPath(workspace, "vertex_ai"), { token: workspace.token });
    expect(list.body.data).toEqual([]);
    const down = await makeServiceAccount("down");
    const kept = await addCredential(workspace, "vertex_ai", { api_key: down.json });
    expect([kept.status, kept.body.status, kept.body.is_valid]).toEqual([201, "unverified", null]);
    expect((await seen(down.email)).calls).toEqual([]);
  });

  it("takes an account out whose exchange Google refuses during a call", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { json, email } = await makeServiceAccount("ok-then-refused");
    const made = await addCredential(workspace, "vertex_ai", { api_key: json }, { validate: false });
    const instances = [{ provider_name: "vertex_ai", model: "gemini-2.5-pro", credential_id: made.body.id }];
    const pool = { name: "vertex", strategy: "weighted", instances };
    await call("POST", `/workspaces/${workspace.id}/pools`, { token: workspace.token, body: pool });
    const { secret } = await seedKey(workspace);
    await behave(email, "refused");
    const body = { model: "vertex", messages: [{ role: "user", content: "Hello" }] };
    const refused = await call("POST", "/v1/chat/completions", { token: secret, body });
    expect(refused.status).toBe(502);
    expect((await seen(email)).calls).toEqual([]);
    const path = `/workspaces/${workspace.id}/credentials/${made.body.id}`;
    await expect
      .poll(async () => (await call("GET", path, { token: workspace.token })).body.status, { timeout: 10_000 })
      .toBe("invalid");
    expect((await call("GET", path, { token: workspace.token })).body.reason).toContain("invalid_grant");
  });
});
