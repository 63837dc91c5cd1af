/** The contract that every provider keeps, whoever it is; and the catalogue they stand in. */
import { describe, it } from "vitest";
import { sha256Hex, utf8 } from "../../src/base/bytes.js";
import { AppError } from "../../src/base/errors.js";
import { fetchOutbound } from "../../src/base/outbound.js";
import { Secret } from "../../src/base/secret.js";
import { findProvider, listProviders, providers } from "../../src/providers/catalogue.js";
import type { CredentialInput, Provider, ValidationVerdict } from "../../src/providers/contract.js";
import type { Inspection } from "../support/upstream.js";

interface Expected {
  readonly form: readonly string[];
  readonly required: readonly string[];
  readonly goodKey: string;
  /** A key that cannot be one of this provider at its default address; null when any may be tried. */
  readonly badKey: string | null;
  /** The header that carries the key of the validation call. */
  readonly validationHeaders: (key: string) => Readonly<Record<string, string>>;
}

const bearer = (key: string): Readonly<Record<string, string>> => ({ authorization: `Bearer ${key}` });
const keyThenUrl = { form: ["api_key", "base_url"], required: ["api_key"] };

const expectations: Readonly<Record<string, Expected>> = {
  openai: { ...keyThenUrl, goodKey: "sk-good-openai", badKey: "gsk_wrong", validationHeaders: bearer },
  anthropic: {
    ...keyThenUrl,
    goodKey: "sk-ant-good",
    badKey: "sk-openai",
    validationHeaders: (key) => ({ "x-api-key": key, "anthropic-version": "2023-06-01" }),
  },
  openai_compatible: {
    form: ["base_url", "api_key"],
    required: ["base_url"],
    goodKey: "anything.goes",
    badKey: null,
    validationHeaders: bearer,
  },
  sandbox: {
    form: ["api_key"],
    required: ["api_key"],
    goodKey: "sk-sandbox-ok",
    badKey: "sk-ok",
    validationHeaders: bearer,
  },
};

const upstream = "https://ok.upstream.test/v1";

function expected(provider: Provider): Expected {
  const found = expectations[provider.name];
  if (found === undefined) {
    throw new Error(`say what is expected of ${provider.name}`);
  }
  return found;
}

/** A complete entry: the required fields and a good key. */
function entry(provider: Provider): Record<string, string> {
  const { goodKey } = expected(provider);
  return provider.default_base_url === null ? { api_key: goodKey, base_url: upstream } : { api_key: goodKey };
}

function pointersOf(provider: Provider, credentials: Record<string, string>): string[] {
  return provider.checkFormat(credentials).map((error) => error.pointer);
}

describe.each(providers.map((provider) => ({ name: provider.name, provider })))("provider $name", ({ provider }) => {
  const { form, required, goodKey, badKey, validationHeaders } = expected(provider);

  it("has a form of exactly the fields that it parses, the key alone being secret", ({ expect }) => {
    expect(provider.form.map((field) => field.name)).toEqual(form);
    expect(provider.form.filter((field) => field.required).map((field) => field.name)).toEqual(required);
    expect(provider.form.filter((field) => field.secret).map((field) => field.name)).toEqual(["api_key"]);
    expect(provider.form.every((field) => field.help !== "" && field.label !== "")).toBe(true);
    expect(pointersOf(provider, {})).toEqual(required.map((field) => `/credentials/${field}`));
    expect(pointersOf(provider, { ...entry(provider), "a/b": "x" })).toEqual(["/credentials/a~1b"]);
    expect(pointersOf(provider, { ...entry(provider), __proto__x: "x" })).toEqual(["/credentials/__proto__x"]);
  });

  it("parses a complete entry, and throws for one that its format check refuses", ({ expect }) => {
    const input = provider.parse({ ...entry(provider), api_key: ` ${goodKey}\n` });
    expect(input.api_key?.reveal()).toBe(goodKey);
    expect(input.base_url).toBe(provider.default_base_url ?? upstream);
    expect(JSON.stringify(input)).not.toContain(goodKey);
    expect(() => provider.parse({})).toThrow(AppError);
  });

  it("refuses a key that no header can carry, and at the default address one of another provider", ({ expect }) => {
    for (const key of ["sk-sandbox-ant ok", "sk-ant-sandbox-\u00e9", "sk-a\nb", "x".repeat(5000)]) {
      expect(pointersOf(provider, { ...entry(provider), api_key: key }), key).toEqual(["/credentials/api_key"]);
    }
    if (badKey !== null) {
      const errors = provider.checkFormat({ ...entry(provider), api_key: badKey });
      expect(errors.map((error) => error.pointer)).toEqual(["/credentials/api_key"]);
      expect(JSON.stringify(errors)).not.toContain(badKey);
    }
  });

  it("sends a call to base URL and endpoint with its key, and does not touch the body", async ({ expect }) => {
    const body = utf8('{ "model":"m",\n "messages" : [] , "x":1.0e0, "é":"\\u00e9" }');
    for (const stream of [false, true]) {
      const request = provider.request({
        endpoint: "chat/completions",
        base_url: upstream,
        options: {},
        api_key: new Secret(goodKey),
        model: "m",
        body,
        headers: new Headers({
          "x-client": "kept",
          authorization: "Bearer gatehouse-key",
          "content-type": "text/plain",
        }),
        stream,
      });
      expect(request.method).toBe("POST");
      expect(request.url).toBe(`${upstream}/chat/completions`);
      expect(request.redirect).toBe("manual");
      expect(Object.fromEntries(request.headers)).toEqual({
        accept: stream ? "text/event-stream" : "application/json",
        authorization: `Bearer ${goodKey}`,
        "content-type": "application/json",
        "x-client": "kept",
      });
      expect(new Uint8Array(await request.arrayBuffer())).toEqual(body);
    }
  });

  it("proves a key by the free model list, with the key in its own header", ({ expect }) => {
    const request = provider.validationRequest({ api_key: new Secret(goodKey), base_url: upstream, options: {} });
    expect(request.method).toBe("GET");
    expect(request.url).toBe(`${upstream}/models`);
    expect(request.redirect).toBe("manual");
    expect(Object.fromEntries(request.headers)).toEqual({ accept: "application/json", ...validationHeaders(goodKey) });
  });

  it("judges an answer by what it proves, and repeats nothing of it", ({ expect }) => {
    const list = '{"object":"list","data":[]}';
    const table: readonly (readonly [number, string, ValidationVerdict["outcome"]])[] = [
      [200, list, "valid"],
      [200, ` [{"id":"bare-array"}]`, "valid"],
      [200, `{"data":[{"id":"cut at 64 KiB`, "valid"],
      [200, '{"error":null,"data":[]}', "valid"],
      [200, "<!doctype html>", "wrong_host"],
      [200, '{"error":{"message":"boom"}}', "unknown"],
      [307, "", "wrong_host"],
      [400, '{"error":{"status":"API_KEY_INVALID"}}', "invalid"],
      [400, '{"error":{"message":"bad request"}}', "unknown"],
      [401, "", "invalid"],
      [402, "", "no_quota"],
      [403, "region not supported", "unknown"],
      [408, "", "unknown"],
      [429, '{"error":{"code":"insufficient_quota"}}', "no_quota"],
      [429, "", "no_quota"],
      [500, "", "unknown"],
      [503, "", "unknown"],
      [529, "", "unknown"],
    ];
    for (const [status, body, outcome] of table) {
      const verdict = provider.judge(status, body);
      expect(verdict.outcome, `${status} ${body}`).toBe(outcome);
      expect(verdict.reason === null).toBe(outcome === "valid");
    }
    expect(JSON.stringify(provider.judge(401, `Incorrect API key provided: ${goodKey}`))).not.toContain(goodKey);
  });
});

describe("what single providers add to the contract", () => {
  it("openai never takes 403 for a bad key, and sees a good one in missing scopes", ({ expect }) => {
    const openai = findProvider("openai", { sandbox: true });
    const scopes =
      '{"error":{"message":"You have insufficient permissions. Missing scopes: api.model.read. … restricted API key …"}}';
    expect(openai?.judge(403, scopes)).toMatchObject({
      outcome: "valid",
      reason: expect.stringContaining("may not list") as string,
    });
    expect(openai?.judge(403, '{"error":{"message":"API key?"}}').outcome).toBe("unknown");
    expect(
      findProvider("anthropic", { sandbox: true })?.judge(403, '{"error":{"message":"Your API key …"}}').outcome,
    ).toBe("invalid");
  });

  it("a missing model list means a wrong host for a vendor, and nothing for a compatible server", ({ expect }) => {
    expect(
      ["openai", "anthropic", "openai_compatible"].map(
        (name) => findProvider(name, { sandbox: true })?.judge(404, "").outcome,
      ),
    ).toEqual(["wrong_host", "wrong_host", "unknown"]);
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
  return provider.judge(response.status, await response.text());
}
