/** The built-in tool providers: every document is read like anybody's, and one tool of each is called against a recording upstream. */
import { Validator } from "@cfworker/json-schema";
import { describe, expect, it } from "vitest";
import { checkOutboundUrl, fetchOutbound } from "../../src/base/outbound.js";
import { Secret } from "../../src/base/secret.js";
import { findBuiltin, listBuiltins, readBuiltin } from "../../src/tools/builtin/builtin.js";
import type { ToolDefinition, ToolDocument } from "../../src/tools/contract.js";
import { buildToolRequest } from "../../src/tools/openapi/request.js";
import { readToolResponse } from "../../src/tools/openapi/response.js";

const rules = { allow: "", ownHosts: [] };
const key = "k3y-of-the-builtin-tests/+=";
const webhook = "T0123ABC/B0456DEF/aBcDeFgHiJkLmNoPqRsTuVwX";

interface Case {
  readonly provider: string;
  readonly tool: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly secret?: string;
  readonly base?: string;
  readonly method: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const encodedKey = "k3y-of-the-builtin-tests%2F%2B%3D";

/** What must stand on the wire, written by hand from each vendor's reference. */
const cases: readonly Case[] = [
  {
    provider: "tavily",
    tool: "search",
    input: { query: "who won?", max_results: 3, include_domains: ["example.com"] },
    method: "POST",
    url: "https://api.tavily.com/search",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: { query: "who won?", max_results: 3, include_domains: ["example.com"] },
  },
  {
    provider: "brave_search",
    tool: "web_search",
    input: { q: "a & b", count: 5 },
    method: "GET",
    url: "https://api.search.brave.com/res/v1/web/search?q=a%20%26%20b&count=5",
    headers: { "x-subscription-token": key },
  },
  {
    provider: "exa",
    tool: "search",
    input: { query: "q", numResults: 2, contents: { text: true } },
    method: "POST",
    url: "https://api.exa.ai/search",
    headers: { "x-api-key": key },
    body: { query: "q", numResults: 2, contents: { text: true } },
  },
  {
    provider: "serpapi",
    tool: "search",
    input: { engine: "google", q: "x" },
    method: "GET",
    url: `https://serpapi.com/search.json?engine=google&q=x&api_key=${encodedKey}`,
  },
  {
    provider: "firecrawl",
    tool: "scrape",
    input: { url: "https://example.com", formats: ["markdown"] },
    method: "POST",
    url: "https://api.firecrawl.dev/v2/scrape",
    headers: { authorization: `Bearer ${key}` },
    body: { url: "https://example.com", formats: ["markdown"] },
  },
  {
    provider: "jina_reader",
    tool: "read",
    input: { url: "https://example.com", "X-Return-Format": "text" },
    base: "https://eu.r.jina.ai",
    method: "POST",
    url: "https://eu.r.jina.ai/",
    headers: { authorization: `Bearer ${key}`, "x-return-format": "text" },
    body: { url: "https://example.com" },
  },
  {
    provider: "github",
    tool: "get_contents",
    input: { owner: "octo", repo: "cat", path: "src/index.ts", ref: "main" },
    method: "GET",
    url: "https://api.github.com/repos/octo/cat/contents/src%2Findex.ts?ref=main",
    headers: { authorization: `Bearer ${key}`, "user-agent": "Gatehouse" },
  },
  {
    provider: "slack_webhook",
    tool: "post_message",
    input: { text: "hello" },
    secret: webhook,
    method: "POST",
    url: `https://hooks.slack.com/services/${webhook}`,
    body: { text: "hello" },
  },
  {
    provider: "deepl",
    tool: "translate",
    input: { text: ["Hallo"], target_lang: "EN-US" },
    base: "https://api-free.deepl.com/v2",
    method: "POST",
    url: "https://api-free.deepl.com/v2/translate",
    headers: { authorization: `DeepL-Auth-Key ${key}` },
    body: { text: ["Hallo"], target_lang: "EN-US" },
  },
  {
    provider: "wolframalpha",
    tool: "query",
    input: { input: "2+2" },
    method: "GET",
    url: `https://api.wolframalpha.com/v2/query?output=json&format=plaintext&input=2%2B2&appid=${encodedKey}`,
  },
  {
    provider: "wikipedia",
    tool: "search",
    input: { srsearch: "Zürich", srlimit: 2 },
    method: "GET",
    url: "https://en.wikipedia.org/w/api.php?action=query&list=search&format=json&formatversion=2&srsearch=Z%C3%BCrich&srlimit=2",
  },
  {
    provider: "open_meteo",
    tool: "forecast",
    input: { latitude: 47.37, longitude: 8.54, current: ["temperature_2m", "wind_speed_10m"] },
    method: "GET",
    url: "https://api.open-meteo.com/v1/forecast?latitude=47.37&longitude=8.54&current=temperature_2m,wind_speed_10m",
  },
  {
    provider: "open_meteo_places",
    tool: "find_place",
    input: { name: "Zürich", count: 1 },
    method: "GET",
    url: "https://geocoding-api.open-meteo.com/v1/search?name=Z%C3%BCrich&count=1",
  },
];

async function read(name: string): Promise<ToolDocument> {
  const document = await readBuiltin(name);
  if (document === null) {
    throw new Error(`no document of ${name}`);
  }
  return document;
}

function toolOf(document: ToolDocument, name: string): ToolDocument["tools"][number] {
  const tool = document.tools.find((candidate) => candidate.name === name);
  if (tool === undefined) {
    throw new Error(`no tool ${name}`);
  }
  return tool;
}

function problems(tool: ToolDefinition, input: unknown): readonly string[] {
  const { errors } = new Validator({ ...tool.input_schema }, "2020-12", false).validate(input);
  return errors.map(({ instanceLocation, error }) => `${instanceLocation}: ${error}`);
}

describe("the built-in catalogue", () => {
  it("has every provider once, by name, and nothing else", async () => {
    const names = listBuiltins().map(({ name }) => name);
    expect(names).toEqual([...new Set(cases.map(({ provider }) => provider))].toSorted());
    expect(findBuiltin("tavily")?.title).toBe("Tavily");
    expect(findBuiltin("constructor")).toBeNull();
    expect(await readBuiltin("nothing")).toBeNull();
  });

  it.for(listBuiltins().map((builtin) => [builtin.name, builtin] as const))(
    "%s says what it needs and where to get it, and its document is whole",
    async ([name, builtin]) => {
      expect(name).toMatch(/^[a-z0-9_-]{1,64}$/);
      const addresses = [builtin.docs_url, ...(builtin.key_url === null ? [] : [builtin.key_url])];
      for (const address of [...addresses, ...builtin.bases.map(({ url }) => url)]) {
        expect(checkOutboundUrl(address, rules)).toHaveProperty("url");
      }
      const needsKey = builtin.auth.type !== "none";
      expect(builtin.key_url !== null).toBe(needsKey);
      expect(builtin.form.filter((field) => field.secret).map((field) => field.name)).toEqual(
        needsKey ? ["api_key"] : [],
      );
      expect(builtin.form.every(({ help, label }) => help !== "" && label !== "")).toBe(true);
      // Without a credential there is nowhere to choose a host.
      expect(builtin.form.some((field) => field.name === "base_url")).toBe(name === "deepl" || name === "jina_reader");
      expect(builtin.bases.length > 1).toBe(name === "deepl" || name === "jina_reader");
      const document = await read(name);
      expect(document.auth).toEqual(builtin.auth);
      expect(document.base_url).toBe(builtin.bases[0]?.url);
      expect(document.tools.length).toBeGreaterThan(0);
      for (const { title, description, input_schema: schema } of document.tools) {
        expect(title).not.toBeNull();
        expect(description.length).toBeGreaterThan(10);
        expect(schema["additionalProperties"]).toBe(false);
        const properties = Object.values(schema["properties"] as Record<string, { description?: string }>);
        expect(properties.every((property) => (property.description ?? "") !== "")).toBe(true);
        expect(Object.keys(schema["properties"] as object)).not.toContain("webhook");
      }
    },
  );

  it.for(cases)("$provider is called as its vendor says", async (call) => {
    const builtin = findBuiltin(call.provider);
    const document = await read(call.provider);
    const tool = toolOf(document, call.tool);
    expect(problems(tool, call.input)).toEqual([]);
    const secret = new Secret(call.secret ?? key);
    const credential = builtin?.auth.type === "none" ? null : { secret, options: {} };
    const stored = call.base === undefined ? tool.call : { ...tool.call, server: call.base };
    const request = buildToolRequest(stored, call.input, document.auth, credential);
    const arrived: { method: string; url: string; headers: Record<string, string>; body: string }[] = [];
    const fetcher = async (outgoing: Request): Promise<Response> => {
      const { method, url } = outgoing;
      arrived.push({ method, url, headers: Object.fromEntries(outgoing.headers), body: await outgoing.text() });
      return Response.json({ echo: `${url} ${outgoing.headers.get("authorization") ?? ""}` });
    };
    const response = await fetchOutbound(request, { ...rules, timeoutMs: 5_000, fetcher });
    expect(arrived).toHaveLength(1);
    const [wire] = arrived;
    expect(wire).toMatchObject({ method: call.method, url: call.url, headers: call.headers ?? {} });
    expect(wire?.body === "" ? undefined : JSON.parse(wire?.body ?? "")).toEqual(call.body);
    const outcome = await readToolResponse(response, { secrets: [secret], maxBytes: 10_000 });
    expect(outcome).toMatchObject({ is_error: false, status: 200, content: [{ type: "json" }] });
    expect(JSON.stringify(outcome)).not.toContain(secret.reveal());
    expect(JSON.stringify(outcome)).not.toContain(encodeURIComponent(secret.reveal()));
  });

  it("refuses input that a vendor would", async () => {
    const search = toolOf(await read("tavily"), "search");
    expect(problems(search, {})).not.toEqual([]);
    expect(problems(search, { query: "x", max_results: 500 })).not.toEqual([]);
    expect(problems(search, { query: "x", api_key: "mine" })).not.toEqual([]);
  });
});
