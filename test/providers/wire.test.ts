/** Every provider's requests against the recorded ones: address, headers, body and model, for chat, streams, embeddings, messages and validation. */
import { describe, it } from "vitest";
import { utf8 } from "../../src/base/bytes.js";
import { Secret } from "../../src/base/secret.js";
import { toRequest } from "../../src/gateway/send.js";
import { findProvider, providers } from "../../src/providers/catalogue.js";
import type { CredentialInput, Provider, UpstreamEndpoint } from "../../src/providers/contract.js";
import { defineProvider } from "../../src/providers/define.js";
import { apiKeyField, baseUrlField } from "../../src/providers/form.js";
import { makeServiceAccount } from "./service-account.js";
import { recordings, type Recording } from "./recorded.js";

/** Vertex AI's secret signs; what its calls carry is the token it gets for that. */
const serviceAccount = await makeServiceAccount();

interface Filled {
  readonly provider: Provider;
  readonly input: CredentialInput;
  /** The secret as it travels; "" for none. */
  readonly key: string;
}

function fill(recording: Recording): Filled {
  const provider = findProvider(recording.provider, { sandbox: false });
  if (provider === null) {
    throw new Error(`no provider ${recording.provider}`);
  }
  if (provider.name === "vertex_ai") {
    const input = provider.parse({ api_key: serviceAccount.json, ...recording.entered });
    return { provider, input: { ...input, api_key: new Secret("ya29.token") }, key: "ya29.token" };
  }
  const input = provider.parse(recording.entered);
  return { provider, input, key: recording.entered["api_key"] ?? "" };
}

/** The recorded headers with the key in its place. */
function withKey(headers: Readonly<Record<string, string>>, key: string): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replace(/\bkey$/, key)]));
}

function callOf({ provider, input }: Filled, endpoint: UpstreamEndpoint, model: string, stream = false): Request {
  const { base_url, options, api_key } = input;
  const headers = { "openai-beta": "kept", authorization: "Bearer gh_client", "x-api-key": "gh_client" };
  const body = utf8(JSON.stringify({ model, stream }));
  return toRequest(provider.request({ endpoint, base_url, options, api_key, model, body, headers, stream }));
}

describe.for(recordings.map((recording) => [`${recording.provider} ${recording.variant ?? ""}`, recording] as const))(
  "%s",
  ([, recording]) => {
    const filled = fill(recording);
    const { provider, input, key } = filled;
    const [given, sent] = recording.model;

    it("reads its form into address and options", ({ expect }) => {
      expect(input.base_url).toBe(recording.base_url);
      expect(input.options).toEqual(recording.options ?? {});
    });

    it("chats, plainly and streaming", async ({ expect }) => {
      expect(provider.modelName(given)).toBe(sent);
      expect(provider.takesStreamOptions(input.options)).toBe(recording.streamOptions);
      expect(provider.endpoints.includes("chat/completions")).toBe(recording.chat !== null);
      for (const stream of recording.chat === null ? [] : [false, true]) {
        const request = callOf(filled, "chat/completions", sent, stream);
        expect([request.method, request.url, request.redirect]).toEqual(["POST", recording.chat, "manual"]);
        expect(Object.fromEntries(request.headers)).toEqual({
          ...withKey(recording.headers, key),
          accept: stream ? "text/event-stream" : "application/json",
          "content-type": "application/json",
          "openai-beta": "kept",
        });
        expect(await request.json()).toEqual({ model: sent, stream });
      }
    });

    it("embeds where it can, and says so where it can't", ({ expect }) => {
      expect(provider.endpoints.includes("embeddings")).toBe(recording.embeddings !== null);
      if (recording.embeddings === null) {
        expect(() => callOf(filled, "embeddings", sent)).toThrow();
        return;
      }
      const request = callOf(filled, "embeddings", sent);
      expect(request.url).toBe(recording.embeddings);
      expect(Object.fromEntries(request.headers)).toMatchObject(withKey(recording.headers, key));
    });

    it("speaks Anthropic's wire only where it is recorded", ({ expect }) => {
      expect(provider.endpoints.includes("messages")).toBe(recording.messages !== undefined);
      if (recording.messages !== undefined) {
        const request = callOf(filled, "messages", sent, true);
        expect(request.url).toBe(recording.messages);
        const isBearer = recording.messages_auth === "bearer";
        expect(request.headers.get("x-api-key")).toBe(isBearer ? null : key);
        expect(request.headers.get("anthropic-version")).toBe("2023-06-01");
        expect(request.headers.get("authorization")).toBe(isBearer ? `Bearer ${key}` : null);
      }
    });

    it("proves its key", async ({ expect }) => {
      const { method, url, headers, body } = recording.validation;
      const request = provider.validationRequest(input);
      expect([request.method, request.url, request.redirect]).toEqual([method, url, "manual"]);
      expect(Object.fromEntries(request.headers)).toEqual({ accept: "application/json", ...withKey(headers, key) });
      expect(await request.text()).toBe(body === undefined ? "" : JSON.stringify(body));
    });

    it("sends its key to its own origin, and to others of the vendor only from the vendor's own address", ({
      expect,
    }) => {
      const own = new URL(recording.base_url).origin;
      for (const endpoint of provider.endpoints) {
        expect(new URL(callOf(filled, endpoint, sent).url).origin).toBe(own);
      }
      const validated = new URL(recording.validation.url).origin;
      expect(provider.origins(input)).toContain(validated);
      const elsewhere: CredentialInput = { ...input, base_url: "https://elsewhere.example.com/v1" };
      expect(provider.origins(elsewhere)).toEqual(["https://elsewhere.example.com"]);
      expect(new URL(provider.validationRequest(elsewhere).url).origin).toBe("https://elsewhere.example.com");
    });
  },
);

describe("the recordings", () => {
  it("cover every provider of the catalogue but the sandbox, 22 in all", ({ expect }) => {
    const recorded = [...new Set(recordings.map(({ provider }) => provider))];
    expect(recorded).toHaveLength(22);
    expect(providers.map(({ name }) => name).toSorted()).toEqual([...recorded, "sandbox"].toSorted());
  });

  it("another host of the vendor is asked only from the vendor's own address, whatever an entry says", ({ expect }) => {
    const base_url = "https://api.vendor.example/v1";
    const vendor = defineProvider({
      name: "vendor",
      title: "Vendor",
      docs_url: "https://docs.vendor.example",
      base_url,
      form: [apiKeyField("A key."), baseUrlField("Another address.")],
      auth: "bearer",
      endpoints: { "chat/completions": "/chat/completions" },
      validation: { method: "GET", host: "https://control.vendor.example", path: "/keys" },
    });
    const urlOf = (fields: Record<string, string>) =>
      vendor.validationRequest(vendor.parse({ api_key: "k", ...fields })).url;
    expect(urlOf({})).toBe("https://control.vendor.example/keys");
    expect(urlOf({ base_url: "https://proxy.example.com/v1" })).toBe("https://proxy.example.com/v1/keys");
  });

  it("the form's fields can't move an address to another host", ({ expect }) => {
    const hostile = [
      "evil.example/",
      "evil.example#",
      "a.b",
      "a@evil.example",
      "..",
      "a b",
      "a%2eb",
      "a\\b",
      "x?y",
      "a:1",
    ];
    const fields: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
      ["azure_openai", "resource", { api_key: "k-123456" }],
      ["bedrock", "region", { api_key: "k-123456" }],
      ["cloudflare_workers_ai", "account_id", { api_key: "k-123456" }],
      ["vertex_ai", "location", { api_key: serviceAccount.json }],
      ["vertex_ai", "project", { api_key: serviceAccount.json }],
      ["vertex_ai", "validate_model", { api_key: serviceAccount.json }],
      ["moonshot", "region", { api_key: "k-123456" }],
      ["openai", "organization", { api_key: "sk-123456" }],
    ];
    for (const [name, field, rest] of fields) {
      const provider = findProvider(name, { sandbox: false });
      // Google's older projects have their domain in their name, and models their version; both stand in the path.
      const harmless = { project: ["a.b", "a:1"], validate_model: ["a.b", "a@evil.example"] }[field] ?? [];
      for (const value of hostile.filter((text) => !harmless.includes(text))) {
        const pointers = provider?.checkFormat({ ...rest, [field]: value }).map(({ pointer }) => pointer);
        expect(pointers, `${name} ${field} ${value}`).toContain(`/credentials/${field}`);
      }
    }
  });
});
