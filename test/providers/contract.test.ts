/** The contract that every provider keeps, whoever it is; and the catalogue they stand in. */
import { describe, it } from "vitest";
import { sha256Hex, utf8 } from "../../src/base/bytes.js";
import { AppError } from "../../src/base/errors.js";
import { checkOutboundUrl, fetchOutbound } from "../../src/base/outbound.js";
import { Secret } from "../../src/base/secret.js";
import { findProvider, listProviders, providers } from "../../src/providers/catalogue.js";
import type { CredentialInput, Provider, ValidationVerdict } from "../../src/providers/contract.js";
import { knownModels, type KnownModel } from "../../src/providers/known-models.js";
import { serves } from "../../src/providers/serving.js";
import type { Inspection } from "../support/upstream.js";
import { makeServiceAccount } from "./service-account.js";

interface Expected {
  readonly form: readonly string[];
  readonly required: readonly string[];
  /** A complete entry. */
  readonly entry: Readonly<Record<string, string>>;
  /** A key that cannot be one of this provider at its default address; null when any may be tried. */
  readonly badKey: string | null;
  /** A key that looks as this provider's do; null where nothing is known of their look. */
  readonly plausibleKey: string | null;
}

const keyThenUrl = { form: ["api_key", "base_url"], required: ["api_key"], badKey: null };
const regional = { form: ["api_key", "region", "base_url"], required: ["api_key"], badKey: null };
const goodKeyEntry = { api_key: "good-key-0123456789" };
const upstream = "https://ok.upstream.test/v1";
const account = "0123456789abcdef0123456789abcdef";
const serviceAccount = await makeServiceAccount();

const expectations: Readonly<Record<string, Expected>> = {
  openai: {
    form: ["api_key", "organization", "project", "base_url"],
    required: ["api_key"],
    entry: { api_key: "sk-good-openai" },
    badKey: "gsk_wrong",
    plausibleKey: null,
  },
  anthropic: { ...keyThenUrl, entry: { api_key: "sk-ant-good" }, badKey: "sk-openai", plausibleKey: null },
  azure_openai: {
    form: ["api_key", "resource", "auth_method", "tenant_id", "client_id", "validate_model", "base_url"],
    required: ["api_key", "resource"],
    entry: { ...goodKeyEntry, resource: "acme" },
    badKey: null,
    plausibleKey: null,
  },
  gemini: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: `AIza${"x".repeat(35)}` },
  vertex_ai: {
    form: ["api_key", "location", "project", "validate_model"],
    required: ["api_key"],
    entry: { api_key: serviceAccount.json },
    badKey: "AIza-a-key",
    plausibleKey: null,
  },
  bedrock: {
    form: ["api_key", "region", "validate_model", "base_url"],
    required: ["api_key", "region"],
    entry: { ...goodKeyEntry, region: "us-east-1" },
    badKey: null,
    plausibleKey: "ABSKabcdef",
  },
  mistral: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: "a".repeat(32) },
  deepseek: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: `sk-${"a".repeat(32)}` },
  groq: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: `gsk_${"A".repeat(52)}` },
  xai: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: `xai-${"A".repeat(80)}` },
  cohere: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: "a".repeat(40) },
  together: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: "tgp_v1_abc" },
  fireworks: { ...keyThenUrl, entry: goodKeyEntry, plausibleKey: "fw_abc" },
  openrouter: {
    form: ["api_key", "base_url", "site_url", "app_title"],
    required: ["api_key"],
    entry: goodKeyEntry,
    badKey: null,
    plausibleKey: `sk-or-v1-${"a".repeat(64)}`,
  },
  moonshot: { ...regional, entry: goodKeyEntry, plausibleKey: "sk-abc" },
  zhipu: { ...regional, entry: goodKeyEntry, plausibleKey: `${"a".repeat(32)}.${"B".repeat(16)}` },
  dashscope: { ...regional, entry: goodKeyEntry, plausibleKey: "sk-abc" },
  siliconflow: { ...regional, entry: goodKeyEntry, plausibleKey: "sk-abc" },
  minimax: {
    ...regional,
    form: ["api_key", "region", "validate_model", "base_url"],
    entry: goodKeyEntry,
    plausibleKey: "eyJhbGciOi",
  },
  ollama: {
    form: ["base_url", "api_key"],
    required: ["base_url"],
    entry: { ...goodKeyEntry, base_url: upstream },
    badKey: null,
    plausibleKey: null,
  },
  openai_compatible: {
    form: ["base_url", "api_key", "validate_model", "stream_usage"],
    required: ["base_url"],
    entry: { ...goodKeyEntry, base_url: upstream },
    badKey: null,
    plausibleKey: null,
  },
  cloudflare_workers_ai: {
    form: ["api_key", "account_id", "base_url"],
    required: ["api_key", "account_id"],
    entry: { ...goodKeyEntry, account_id: account },
    badKey: null,
    plausibleKey: `cfut_${"a".repeat(48)}`,
  },
  sandbox: {
    form: ["api_key"],
    required: ["api_key"],
    entry: { api_key: "sk-sandbox-ok" },
    badKey: "sk-ok",
    plausibleKey: null,
  },
};

function expected(provider: Provider): Expected {
  const found = expectations[provider.name];
  if (found === undefined) {
    throw new Error(`say what is expected of ${provider.name}`);
  }
  return found;
}

function pointersOf(provider: Provider, credentials: Readonly<Record<string, string>>): string[] {
  return provider.checkFormat(credentials).map((error) => error.pointer);
}

describe.for(providers.map((provider) => [provider.name, provider] as const))("provider %s", ([, provider]) => {
  const { form, required, entry, badKey, plausibleKey } = expected(provider);
  const goodKey = entry["api_key"] ?? "";

  it("has a form of exactly the fields that it parses, the key alone being secret", ({ expect }) => {
    expect(provider.form.map((field) => field.name)).toEqual(form);
    expect(provider.form.filter((field) => field.required).map((field) => field.name)).toEqual(required);
    expect(provider.form.filter((field) => field.secret).map((field) => field.name)).toEqual(["api_key"]);
    expect(provider.form.every((field) => field.help !== "" && field.label !== "")).toBe(true);
    expect(pointersOf(provider, {}).toSorted()).toEqual(required.map((field) => `/credentials/${field}`).toSorted());
    expect(pointersOf(provider, { ...entry, "a/b": "x" })).toEqual(["/credentials/a~1b"]);
    expect(provider.checkFormat({ ...entry, endpoint_url: "x" })[0]?.detail).toContain(form.join(", "));
    expect(pointersOf(provider, { ...entry, __proto__x: "x" })).toEqual(["/credentials/__proto__x"]);
    for (const { name, choices, default: usual } of provider.form) {
      expect(choices === undefined || choices.some(({ value }) => value === usual), name).toBe(true);
      expect(choices === undefined || pointersOf(provider, { ...entry, [name]: "no such choice" }), name).toEqual(
        choices === undefined || [`/credentials/${name}`],
      );
    }
  });

  it("parses a complete entry, and throws for one that its format check refuses", ({ expect }) => {
    const input = provider.parse({ ...entry, api_key: ` ${goodKey}\n` });
    expect(provider.name === "vertex_ai" || input.api_key?.reveal() === goodKey).toBe(true);
    expect(new URL(input.base_url).href).toMatch(/^https:/);
    expect(JSON.stringify(input)).not.toContain(goodKey);
    expect(() => provider.parse({})).toThrow(AppError);
    // What is stored is read again at every use: the same form must come of it.
    const again = provider.parse({ ...entry, ...input.options, api_key: input.api_key?.reveal() ?? "" });
    expect([again.base_url, again.options]).toEqual([input.base_url, input.options]);
    expect(again.api_key?.reveal()).toBe(input.api_key?.reveal());
  });

  it("refuses a key that no header can carry, and at the default address one of another provider", ({ expect }) => {
    for (const odd of ["sk-sandbox-ant ok", "sk-ant-sandbox-\u00e9", "sk-a\nb", "x".repeat(5000)]) {
      expect(pointersOf(provider, { ...entry, api_key: odd }), odd).toEqual(["/credentials/api_key"]);
    }
    if (badKey !== null) {
      const errors = provider.checkFormat({ ...entry, api_key: badKey });
      expect(errors.map((error) => error.pointer)).toEqual(["/credentials/api_key"]);
      expect(JSON.stringify(errors)).not.toContain(badKey);
    }
  });

  it("takes a key that looks odd, and says so without repeating it", ({ expect }) => {
    const warnings = provider.warnings(provider.parse(entry));
    expect(warnings).toHaveLength(plausibleKey === null ? 0 : 1);
    expect(warnings.join()).not.toContain(goodKey);
    if (plausibleKey !== null) {
      expect(provider.warnings(provider.parse({ ...entry, api_key: plausibleKey }))).toEqual([]);
    }
  });

  it("serves chats, itself or by translation, has a picture and pages about itself", ({ expect }) => {
    expect(serves(provider.name, "chat/completions")).toBe(true);
    expect(provider.icon).toBe(`/provider-icons/${provider.name}.svg`);
    expect(provider.docs_url).toMatch(/^(?:https:\/\/|\/docs$)/);
    expect(provider.auth).toMatch(/sent|goes/);
  });

  it("does not touch the body of a call", async ({ expect }) => {
    const body = utf8('{ "model":"m",\n "messages" : [] , "x":1.0e0, "é":"\\u00e9" }');
    const { base_url, options } = provider.parse(entry);
    const [endpoint = "messages"] = provider.endpoints;
    const call = { endpoint, base_url, options, model: "m", body, stream: false };
    const request = provider.request({ ...call, api_key: new Secret("k"), headers: {} });
    expect(request.body).toEqual(body);
  });

  it("judges an answer by what it proves, and repeats nothing of it", ({ expect }) => {
    const input = provider.parse(entry);
    const table: readonly (readonly [number, string, ValidationVerdict["outcome"]])[] = [
      [200, '{"object":"list","data":[]}', "valid"],
      [200, ` [{"id":"bare-array"}]`, "valid"],
      [200, `{"data":[{"id":"cut at 64 KiB`, "valid"],
      [200, '{"error":null,"data":[]}', "valid"],
      [200, "<!doctype html>", "wrong_host"],
      [200, '{"error":{"message":"boom"}}', "unknown"],
      [307, "", "wrong_host"],
      [400, '{"error":{"status":"API_KEY_INVALID"}}', "invalid"],
      [401, "", "invalid"],
      [402, "", "no_quota"],
      [403, "region not supported", "unknown"],
      [408, "", "unknown"],
      [429, '{"error":{"code":"insufficient_quota"}}', "no_quota"],
      [429, "", "no_quota"],
      [500, "", "unknown"],
      [503, "", "unknown"],
      [522, "error code: 522", "network"],
      [529, "", "unknown"],
      [530, "error code: 1016", "network"],
    ];
    for (const [status, body, outcome] of table) {
      const verdict = provider.judge(status, body, input);
      expect(verdict.outcome, `${status} ${body}`).toBe(outcome);
      expect(verdict.reason === null).toBe(outcome === "valid");
    }
    expect(JSON.stringify(provider.judge(401, `Incorrect API key provided: ${goodKey}`, input))).not.toContain(goodKey);
  });
});

describe("what single providers add to the contract", () => {
  it("openai never takes 403 for a bad key, and sees a good one in missing scopes", ({ expect }) => {
    const scopes =
      '{"error":{"message":"You have insufficient permissions. Missing scopes: api.model.read. … restricted API key …"}}';
    expect(judge("openai", 403, scopes)).toMatchObject({
      outcome: "valid",
      reason: expect.stringContaining("may not list") as string,
    });
    expect(judge("openai", 403, '{"error":{"message":"API key?"}}').outcome).toBe("unknown");
    expect(judge("anthropic", 403, '{"error":{"message":"Your API key …"}}').outcome).toBe("invalid");
  });

  it("a page that is not there is the fault of an address that was entered, not of one from the catalogue", ({
    expect,
  }) => {
    const elsewhere = { base_url: "https://proxy.example.com/v1" };
    expect(judge("openai", 404, "").outcome).toBe("unknown");
    expect(judge("openai", 404, "", elsewhere).outcome).toBe("wrong_host");
    expect(judge("moonshot", 404, "", { region: "cn" }).outcome).toBe("unknown");
    expect(judge("azure_openai", 404, "").outcome).toBe("wrong_host");
    expect(judge("cloudflare_workers_ai", 404, "").outcome).toBe("wrong_host");
    expect(judge("openai_compatible", 404, "").outcome).toBe("unknown");
    expect(judge("openai", 404, "", elsewhere).reason).toMatch(/Check the base URL\./);
    expect(judge("azure_openai", 404, "").reason).toMatch(/Check Resource\./);
    expect(judge("azure_openai", 404, "", elsewhere).reason).toMatch(/Check the base URL\./);
    expect(judge("cloudflare_workers_ai", 404, "").reason).toMatch(/Check Account id\./);
  });

  it.for([
    ["deepseek", 200, '{"is_available": false, "balance_infos": []}', "no_quota"],
    ["deepseek", 200, '{"is_available": true}', "valid"],
    ["moonshot", 200, '{"code":0,"data":{"available_balance":0,"cash_balance":0}}', "no_quota"],
    ["moonshot", 200, '{"code":0,"data":{"available_balance":-1.5}}', "no_quota"],
    ["moonshot", 200, '{"code":0,"data":{"available_balance":0.5}}', "valid"],
    ["xai", 400, '{"code":"invalid-argument","error":"Incorrect"}', "invalid"],
    ["xai", 200, '{"api_key_blocked":false,"api_key_disabled":true}', "invalid"],
    ["cohere", 200, '{"valid": false}', "invalid"],
    ["cohere", 200, '{"valid": true}', "valid"],
    ["minimax", 200, '{"base_resp":{"status_code":1004,"status_msg":"login fail"}}', "invalid"],
    ["minimax", 200, '{"base_resp":{"status_code":1008}}', "no_quota"],
    ["bedrock", 403, '{"Message":"User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:List"}', "unknown"],
    ["bedrock", 403, '{"Message":"Authentication failed: Please make sure your API Key is valid."}', "invalid"],
    [
      "cloudflare_workers_ai",
      400,
      '{"success":false,"errors":[{"code":6003,"error_chain":[{"code":6111,"message":"Invalid format for Authorization header"}]}]}',
      "invalid",
    ],
    ["cloudflare_workers_ai", 400, '{"success":false,"errors":[{"code":7003,"message":"Could not route"}]}', "unknown"],
    ["cloudflare_workers_ai", 403, '{"errors":[{"code":10000,"message":"Authentication error"}]}', "unknown"],
    ["vertex_ai", 403, '{"error":{"status":"PERMISSION_DENIED"}}', "unknown"],
    ["vertex_ai", 404, '{"error":{"status":"NOT_FOUND"}}', "model_missing"],
    ["azure_openai", 404, '{"error":{"code":"DeploymentNotFound"}}', "model_missing"],
    ["openai_compatible", 404, '{"error":{"code":"model_not_found","message":"no"}}', "model_missing"],
    ["azure_openai", 400, `{"error":{"message":"Unsupported parameter: 'max_tokens'"}}`, "valid"],
    ["gemini", 400, '[{"error":{"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]', "invalid"],
  ] as const)("%s reads %i %s as %s", ([name, status, body, outcome], { expect }) => {
    expect(judge(name, status, body).outcome).toBe(outcome);
  });

  it("a key refused in one region is not tried in another: its owner is told that regions don't share keys", ({
    expect,
  }) => {
    for (const name of ["moonshot", "zhipu", "dashscope", "siliconflow", "minimax"]) {
      expect(judge(name, 401, "").reason, name).toMatch(/not interchangeable.*Mainland China/);
      expect(judge(name, 401, "", { region: "cn" }).reason, name).toMatch(/not interchangeable.*International/);
      expect(judge(name, 401, "", { base_url: "https://proxy.example.com/v1" }).reason).not.toMatch(/region/);
    }
  });

  it("an address may be pasted as its OpenAI-compatible form is written", ({ expect }) => {
    const pasted = [
      [
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        "https://generativelanguage.googleapis.com/v1beta",
      ],
      ["dashscope", "https://dashscope-us.aliyuncs.com/compatible-mode/v1", "https://dashscope-us.aliyuncs.com"],
      ["minimax", "https://api.minimax.io/v1", "https://api.minimax.io"],
      ["deepseek", "https://api.deepseek.com/v1", "https://api.deepseek.com"],
      ["ollama", "https://ollama.example.com/v1/", "https://ollama.example.com"],
      ["azure_openai", "https://acme.openai.azure.com/", "https://acme.openai.azure.com/openai/v1"],
      ["openai_compatible", "https://llm.example.com/v1/chat/completions", "https://llm.example.com/v1"],
      ["gemini", "https://proxy.example.com/v1beta/openai/chat/completions", "https://proxy.example.com/v1beta"],
      ["deepseek", "https://proxy.example.com/anthropic/v1/messages/", "https://proxy.example.com"],
      ["cloudflare_workers_ai", "https://proxy.example.com/v1", "https://proxy.example.com"],
    ] as const;
    for (const [name, base_url, read] of pasted) {
      expect(expectProvider(name).parse({ api_key: "k-0123456789", base_url }).base_url, name).toBe(read);
    }
  });

  it("an address that is stored reads as itself, whatever was pasted", ({ expect }) => {
    const paths = [
      "",
      "/",
      "//v1",
      "/v1",
      "/v1/v1",
      "/x/v1",
      "/openai",
      "/openai/openai",
      "/paas/v4",
      "/compatible-mode/v1",
    ];
    const ends = ["", "/", "/chat/completions", "/v1/chat/completions/", "/v1/messages", "/anthropic/v1/messages"];
    const pasted = paths.flatMap((path) => ends.map((end) => `https://proxy.example.com${path}${end}`));
    for (const provider of providers.filter(({ form }) => form.some(({ name }) => name === "base_url"))) {
      const { entry } = expected(provider);
      for (const base_url of pasted) {
        const read = provider.parse({ ...entry, base_url }).base_url;
        expect(read, `${provider.name} ${base_url}`).not.toMatch(/[{}]|\/$/);
        expect(provider.parse({ ...entry, base_url: read }).base_url, `${provider.name} ${base_url}`).toBe(read);
      }
    }
  });

  it("the key's prefix counts only at the default address, however that is written", ({ expect }) => {
    const openai = expectProvider("openai");
    const anthropic = expectProvider("anthropic");
    for (const base_url of [
      "https://api.openai.com/v1",
      "https://api.openai.com/v1//",
      "https://API.openai.com",
      " ",
    ]) {
      expect(pointersOf(openai, { api_key: "proxy-key", base_url }), base_url).toEqual(["/credentials/api_key"]);
    }
    expect(pointersOf(openai, { api_key: "proxy-key", base_url: "https://proxy.example.com/v1" })).toEqual([]);
    expect(pointersOf(anthropic, { api_key: "proxy-key", base_url: "https://proxy.example.com" })).toEqual([]);
  });

  it("a base URL is normalised: no slash at its end, /v1 where there is no path, any other path kept", ({ expect }) => {
    const compatible = expectProvider("openai_compatible");
    const read = (base_url: string): string => compatible.parse({ base_url }).base_url;
    expect(read("https://llm.example.com")).toBe("https://llm.example.com/v1");
    expect(read("https://llm.example.com/")).toBe("https://llm.example.com/v1");
    expect(read("HTTPS://LLM.example.com:443/v1/")).toBe("https://llm.example.com/v1");
    expect(read("https://open.bigmodel.cn/api/paas/v4")).toBe("https://open.bigmodel.cn/api/paas/v4");
    for (const base_url of [
      "llm.example.com",
      "ftp://x.example",
      "https://u:p@x.example",
      "https://x.example/v1?a=1",
      "https://x.example/#",
      `https://x.example${"/v1".repeat(700)}`,
    ]) {
      expect(pointersOf(compatible, { base_url }), base_url).toEqual(["/credentials/base_url"]);
    }
  });

  it("a compatible server without a key is called without an authorization header", ({ expect }) => {
    const compatible = expectProvider("openai_compatible");
    const input = compatible.parse({ base_url: upstream, api_key: "" });
    expect(input.api_key).toBeNull();
    expect(compatible.validationRequest(input).headers.has("authorization")).toBe(false);
  });

  it.for([
    ["openai", "sk-good", "valid"],
    ["openai", "sk-bad", "invalid"],
    ["anthropic", "sk-ant-good", "valid"],
    ["anthropic", "sk-ant-bad", "invalid"],
  ] as const)("%s, asked over the wire about %s, proves it %s", async ([name, key, outcome], { expect }) => {
    expect((await validate(expectProvider(name), { api_key: key })).outcome).toBe(outcome);
  });

  it("a compatible server is tried with a chat where a model is named", async ({ expect }) => {
    expect((await tryByChat("no-models")).outcome).toBe("valid");
    expect((await tryByChat("lists-to-anyone")).outcome).toBe("invalid");
    const answer = await fetch("https://inspect.upstream.test/last?tag=trial-no-models");
    const { last } = await answer.json<Inspection>();
    expect(JSON.parse(last?.body ?? "")).toMatchObject({ model: "m-1", max_tokens: 1 });
  });

  it.for([
    ["ok", "valid"],
    ["html", "wrong_host"],
    ["no-models", "unknown"],
    ["redirect-same", "valid"],
    ["status-401", "invalid"],
    ["status-500", "unknown"],
  ] as const)("a compatible server that is %s proves a key %s", async ([behaviour, outcome], { expect }) => {
    const base_url = `https://${behaviour}.upstream.test/contract-${behaviour}/v1`;
    const verdict = await validate(expectProvider("openai_compatible"), { api_key: "compatible-key", base_url });
    expect(verdict.outcome).toBe(outcome);
    const answer = await fetch(`https://inspect.upstream.test/last?tag=contract-${behaviour}`);
    const { last } = await answer.json<Inspection>();
    expect(last?.authorization_sha256).toBe(await sha256Hex("Bearer compatible-key"));
  });
});

describe("known models", () => {
  it("are named once, typed, and priced in decimal texts, for every provider whose models are the vendor's", async ({
    expect,
  }) => {
    const own = new Set(["ollama", "openai_compatible"]);
    for (const { name } of providers) {
      const models = await knownModels(name);
      expect(models.length > 0, name).toBe(!own.has(name));
      expect(new Set(models.map(({ model }) => model)).size, name).toBe(models.length);
      for (const { model, type, title, context_window: context, price } of models) {
        expect(model, `${name} ${model}`).toMatch(/^[\w@][\w@./:+-]*$/);
        expect(["llm", "embedding", "rerank", "speech", "image", "moderation"], model).toContain(type);
        expect(title, model).not.toBe("");
        expect(context === null || (Number.isInteger(context) && context > 0), model).toBe(true);
        for (const usd of Object.values(price ?? {})) {
          expect(usd ?? "0", `${name} ${model}`).toMatch(/^\d+(?:\.\d*[1-9])?$/);
        }
      }
    }
    expect(await knownModels("constructor")).toEqual([]);
    expect(await knownModels("nobody")).toEqual([]);
  });

  it("are told apart by what they are for, and carry the vendor's present price", async ({ expect }) => {
    expect(await findModel("openai", "gpt-5")).toEqual({
      model: "gpt-5",
      type: "llm",
      title: "GPT-5",
      context_window: 400_000,
      max_output: null,
      price: { input_usd_per_mtok: "1.25", output_usd_per_mtok: "10", cached_input_usd_per_mtok: "0.125" },
    });
    const types = [
      ["openai", "text-embedding-3-small", "embedding"],
      ["openai", "whisper-1", "speech"],
      ["openai", "gpt-image-1", "image"],
      ["openai", "omni-moderation-latest", "moderation"],
      ["cohere", "rerank-v3.5", "rerank"],
      ["cloudflare_workers_ai", "@cf/baai/bge-reranker-base", "rerank"],
      ["cloudflare_workers_ai", "@cf/baai/bge-m3", "embedding"],
      ["groq", "meta-llama/llama-guard-4-12b", "moderation"],
      ["mistral", "mistral-embed", "embedding"],
      ["dashscope", "qwen-turbo", "llm"],
    ] as const;
    for (const [name, model, type] of types) {
      expect((await findModel(name, model))?.type, model).toBe(type);
    }
    // A price by the hour counts as its dearest, one with a later beginning not yet, and a deprecated model not at all.
    expect((await findModel("deepseek", "deepseek-chat"))?.price?.input_usd_per_mtok).toBe("0.27");
    expect((await findModel("gemini", "gemini-3.8-flash"))?.price?.input_usd_per_mtok).toBe("0.75");
    expect(await findModel("openai", "whisper-1")).toMatchObject({ price: null });
    expect((await knownModels("bedrock")).some(({ model }) => model.startsWith("regional."))).toBe(false);
  });
});

describe("the outbound guard's part", () => {
  it("lets a server of one's own be public https, and anything else only by name", ({ expect }) => {
    const rules = { allow: "http://localhost:11434", ownHosts: [] };
    const strict = { ...rules, allow: "" };
    for (const name of ["ollama", "openai_compatible"]) {
      const read = (base_url: string) => expectProvider(name).parse({ base_url }).base_url;
      expect(checkOutboundUrl(read("https://llm.example.com"), strict)).toHaveProperty("url");
      for (const base_url of ["http://llm.example.com", "http://localhost:11434", "https://192.168.1.2:11434"]) {
        expect(checkOutboundUrl(read(base_url), strict), base_url).toHaveProperty("error");
      }
      expect(checkOutboundUrl(read("http://localhost:11434"), rules)).toHaveProperty("url");
      expect(checkOutboundUrl(read("http://localhost:11435"), rules)).toHaveProperty("error");
    }
  });
});

describe("the catalogue", () => {
  it("lists and finds the sandbox only where it is switched on", ({ expect }) => {
    expect(listProviders({ sandbox: true }).map((provider) => provider.name)).toEqual(Object.keys(expectations));
    expect(listProviders({ sandbox: false }).map((provider) => provider.name)).not.toContain("sandbox");
    expect(findProvider("sandbox", { sandbox: false })).toBeNull();
    expect(findProvider("sandbox", { sandbox: true })?.name).toBe("sandbox");
    expect(findProvider("openai", { sandbox: false })?.name).toBe("openai");
    expect(findProvider("constructor", { sandbox: true })).toBeNull();
  });
});

async function findModel(name: string, model: string): Promise<KnownModel | undefined> {
  return (await knownModels(name)).find((one) => one.model === model);
}

/** Proves a key of a compatible server by a chat of one token. */
function tryByChat(behaviour: string): Promise<ValidationVerdict> {
  const base_url = `https://${behaviour}.upstream.test/trial-${behaviour}/v1`;
  const fields = { api_key: "k-0123456789", base_url, validate_model: "m-1" };
  return validate(expectProvider("openai_compatible"), fields);
}

/** The verdict on an answer to the provider's usual entry, or that with other fields. */
function judge(
  name: string,
  status: number,
  body: string,
  fields: Readonly<Record<string, string>> = {},
): ValidationVerdict {
  const provider = expectProvider(name);
  return provider.judge(status, body, provider.parse({ ...expected(provider).entry, ...fields }));
}

function expectProvider(name: string): Provider {
  const provider = findProvider(name, { sandbox: true });
  if (provider === null) {
    throw new Error(`no provider ${name}`);
  }
  return provider;
}

async function validate(provider: Provider, credentials: Record<string, string>): Promise<ValidationVerdict> {
  const input: CredentialInput = provider.parse(credentials);
  const options = { allow: "", ownHosts: [], timeoutMs: 5000 };
  const response = await fetchOutbound(provider.validationRequest(input), options);
  return provider.judge(response.status, await response.text(), input);
}
