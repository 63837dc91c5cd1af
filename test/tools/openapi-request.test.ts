/** What a tool's input puts on the wire, style by style, and what an answer becomes. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AppError } from "../../src/base/errors.js";
import { Secret } from "../../src/base/secret.js";
import type { BodyProperty, CallBody, CallParameter, OpenApiCall, ToolAuth } from "../../src/tools/contract.js";
import { buildToolRequest } from "../../src/tools/openapi/request.js";
import { readToolResponse } from "../../src/tools/openapi/response.js";
import { deep, seed } from "../support/deep.js";

const none: ToolAuth = { type: "none" };
const array = ["blue", "black", "brown"];
const object = { R: 100, G: 200, B: 150 };

function parameter(place: CallParameter["in"], more: Partial<CallParameter> = {}): CallParameter {
  const style = place === "query" || place === "cookie" ? "form" : "simple";
  const fixed = { allow_reserved: false, content_type: null };
  return { name: "color", in: place, input: "color", style, explode: style === "form", ...fixed, ...more };
}

function callOf(parameters: readonly CallParameter[], more: Partial<OpenApiCall> = {}): OpenApiCall {
  const path = parameters.some((known) => known.in === "path") ? "/a/{color}" : "/a";
  return { kind: "openapi", method: "GET", server: "https://api.test/v1", path, parameters, body: null, ...more };
}

function post(body: Partial<CallBody> & Pick<CallBody, "content_type" | "encoding">): OpenApiCall {
  return callOf([], { method: "POST", body: { input: null, properties: [], ...body } });
}

function field(name: string, more: Partial<BodyProperty> = {}): BodyProperty {
  return { name, encoding: "value", style: "form", explode: true, content_type: null, ...more };
}

function send(
  call: OpenApiCall,
  input: Readonly<Record<string, unknown>>,
  auth: ToolAuth = none,
  secret = "s3cret/+ é",
): Request {
  const credential = auth.type === "none" ? null : { secret: new Secret(secret), options: { username: "ann" } };
  return buildToolRequest(call, input, auth, credential);
}

function refusal(call: OpenApiCall, input: Readonly<Record<string, unknown>>, auth: ToolAuth = none): AppError {
  try {
    send(call, input, auth);
  } catch (error) {
    if (error instanceof AppError) {
      return error;
    }
    throw error;
  }
  throw new Error("not refused");
}

describe("a parameter", () => {
  // The table of the OpenAPI specification, section "Style Examples", and what RFC 6570 says of the rest.
  it.for([
    ["path", "simple", false, "blue", "blue"],
    ["path", "simple", false, array, "blue,black,brown"],
    ["path", "simple", true, array, "blue,black,brown"],
    ["path", "simple", false, object, "R,100,G,200,B,150"],
    ["path", "simple", true, object, "R=100,G=200,B=150"],
    ["path", "label", false, "blue", ".blue"],
    ["path", "label", false, array, ".blue,black,brown"],
    ["path", "label", true, array, ".blue.black.brown"],
    ["path", "label", false, object, ".R,100,G,200,B,150"],
    ["path", "label", true, object, ".R=100.G=200.B=150"],
    ["path", "matrix", false, "blue", ";color=blue"],
    ["path", "matrix", false, array, ";color=blue,black,brown"],
    ["path", "matrix", true, array, ";color=blue;color=black;color=brown"],
    ["path", "matrix", false, object, ";color=R,100,G,200,B,150"],
    ["path", "matrix", true, object, ";R=100;G=200;B=150"],
    ["query", "form", false, "blue", "color=blue"],
    ["query", "form", true, "", "color="],
    ["query", "form", false, array, "color=blue,black,brown"],
    ["query", "form", true, array, "color=blue&color=black&color=brown"],
    ["query", "form", false, object, "color=R,100,G,200,B,150"],
    ["query", "form", true, object, "R=100&G=200&B=150"],
    ["query", "form", true, [], ""],
    ["query", "spaceDelimited", false, array, "color=blue%20black%20brown"],
    ["query", "spaceDelimited", true, array, "color=blue&color=black&color=brown"],
    ["query", "spaceDelimited", false, object, "color=R%20100%20G%20200%20B%20150"],
    ["query", "pipeDelimited", false, array, "color=blue%7Cblack%7Cbrown"],
    ["query", "pipeDelimited", false, object, "color=R%7C100%7CG%7C200%7CB%7C150"],
    ["query", "deepObject", true, object, "color[R]=100&color[G]=200&color[B]=150"],
    ["query", "deepObject", false, { a: { b: [1, 2] } }, "color[a][b]=1&color[a][b]=2"],
    ["query", "form", true, true, "color=true"],
    ["query", "form", true, 1.5, "color=1.5"],
    ["query", "form", true, [{ a: 1 }], "color=%7B%22a%22%3A1%7D"],
    ["header", "simple", false, array, "blue,black,brown"],
    ["header", "simple", false, object, "R,100,G,200,B,150"],
    ["header", "simple", true, object, "R=100,G=200,B=150"],
    ["cookie", "form", false, array, "color=blue,black,brown"],
    ["cookie", "form", true, "a b;c", "color=a%20b%3Bc"],
  ] as const)("in %s, style %s, explode %s: %j is %s", ([place, style, explode, value, written]) => {
    const request = send(callOf([parameter(place, { style, explode })]), { color: value });
    const url = new URL(request.url);
    const shown = {
      path: url.pathname.slice("/v1/a/".length),
      query: url.search.slice(1),
      header: request.headers.get("color"),
      cookie: request.headers.get("cookie"),
    };
    expect(shown[place]).toBe(written);
    expect(request.redirect).toBe("manual");
  });

  it("with a media type is one text of that type", () => {
    const request = send(callOf([parameter("query", { content_type: "application/json" })]), { color: { a: [1] } });
    expect(new URL(request.url).searchParams.get("color")).toBe('{"a":[1]}');
  });

  it("that may keep reserved characters keeps none that ends it", () => {
    const request = send(callOf([parameter("query", { allow_reserved: true })]), { color: "a/b?c:d@e&f=g+h#i" });
    expect(new URL(request.url).search).toBe("?color=a/b?c:d@e%26f%3Dg%2Bh%23i");
  });

  it("fills its own property of the input, and is left out with it", () => {
    const call = callOf([
      parameter("path", { input: "path_color" }),
      parameter("query"),
      parameter("header", { name: "X-A", input: "a" }),
    ]);
    const request = send(call, { path_color: "x y", color: null });
    expect(request.url).toBe("https://api.test/v1/a/x%20y");
    expect(request.headers.has("x-a")).toBe(false);
  });

  it("joins a query that stands in the path already", () => {
    const request = send(callOf([parameter("query")], { path: "/a?action=list" }), { color: "x" });
    expect(request.url).toBe("https://api.test/v1/a?action=list&color=x");
  });

  it.for([
    ["..", "/input/color"],
    [".", "/input/color"],
    ["", "/input/color"],
    [[], "/input/color"],
  ] as const)("in a path is refused as %j, which would lead elsewhere", ([value, pointer]) => {
    const error = refusal(callOf([parameter("path")]), { color: value });
    expect(error).toMatchObject({ code: "validation_failed", errors: [{ pointer }] });
  });

  it("in a path is refused where two together make dots", () => {
    const call = callOf([parameter("path", { name: "a", input: "a" }), parameter("path", { name: "b", input: "b" })], {
      path: "/x/{a}{b}/y",
    });
    expect(refusal(call, { a: ".", b: "." }).errors[0]?.pointer).toBe("/input/a");
    expect(send(call, { a: ".", b: "b" }).url).toBe("https://api.test/v1/x/.b/y");
  });

  it.for(["a\r\nX-Evil: 1", "a\u0000", "日本"])("in a header is refused as %j", (value) => {
    expect(refusal(callOf([parameter("header")]), { color: value }).errors[0]?.pointer).toBe("/input/color");
  });

  it("never reaches another path, query field or host, whatever its text", () => {
    const runs = { numRuns: deep(300, 5_000), seed: seed() };
    const call = callOf([
      parameter("path"),
      parameter("query", { name: "q", input: "q" }),
      parameter("cookie", { name: "c", input: "c" }),
    ]);
    const auth: ToolAuth = { type: "api_key", in: "query", name: "key" };
    const anything = fc.oneof(
      fc.string({ unit: "binary", minLength: 1 }),
      fc.constantFrom("../x", "%2e%2e", "a/../../b", "x?y#z", "&key=mine", "\\..\\", "//evil.test", "@evil.test"),
    );
    const property = fc.property(anything, anything, (color, q) => {
      fc.pre(color !== "." && color !== "..");
      const url = new URL(send(call, { color, q, c: q }, auth, "the-key").url);
      expect(url.origin).toBe("https://api.test");
      expect(url.pathname.split("/")).toHaveLength(4);
      expect(decodeURIComponent(url.pathname.split("/")[3] ?? "")).toBe(color.toWellFormed());
      expect([...url.searchParams]).toEqual([
        ["q", q.toWellFormed()],
        ["key", "the-key"],
      ]);
    });
    fc.assert(property, runs);
  });
});

describe("a body", () => {
  it("is JSON of the input's own properties, and none where none is given", async () => {
    const call = post({ content_type: "application/json", encoding: "json", properties: [field("a"), field("b")] });
    const request = send(call, { a: [1, { x: null }], c: 5 });
    expect(request.headers.get("content-type")).toBe("application/json");
    expect(await request.json()).toEqual({ a: [1, { x: null }] });
    expect(send(call, {}).body).toBeNull();
    expect(send(call, {}).headers.has("content-type")).toBe(false);
  });

  it("is one property as JSON, text or bytes", async () => {
    const json = send(post({ content_type: "application/vnd.a+json", encoding: "json", input: "body" }), {
      body: [1, 2],
    });
    expect([json.headers.get("content-type"), await json.text()]).toEqual(["application/vnd.a+json", "[1,2]"]);
    const text = send(post({ content_type: "text/csv", encoding: "text", input: "body" }), { body: "a,b" });
    expect([text.headers.get("content-type"), await text.text()]).toEqual(["text/csv", "a,b"]);
    const bytes = send(post({ content_type: "image/png", encoding: "file", input: "body" }), { body: "_-8=" });
    expect(new Uint8Array(await bytes.arrayBuffer())).toEqual(new Uint8Array([255, 239]));
    const typed = send(post({ content_type: "image/png", encoding: "file", input: "body" }), {
      body: { base64: "aGk", mime_type: "image/gif" },
    });
    expect(typed.headers.get("content-type")).toBe("image/gif");
  });

  it("is a form whose lists and objects are spread as the document says", async () => {
    const properties = [
      field("text"),
      field("list"),
      field("joined", { explode: false }),
      field("deep", { style: "deepObject" }),
      field("json", { encoding: "json" }),
    ];
    const call = post({ content_type: "application/x-www-form-urlencoded", encoding: "value", properties });
    const request = send(call, { text: "a b&c=é", list: [1, 2], joined: ["x", "y"], deep: { k: "v" }, json: { n: 1 } });
    expect(await request.text()).toBe(
      "text=a+b%26c%3D%C3%A9&list=1&list=2&joined=x,y&deep[k]=v&json=%7B%22n%22%3A1%7D",
    );
    expect(request.headers.get("content-type")).toBe("application/x-www-form-urlencoded");
  });

  it("is multipart with files from base64", async () => {
    const properties = [
      field("file", { encoding: "file", content_type: "image/png" }),
      field("more", { encoding: "file" }),
      field("meta", { encoding: "json" }),
      field("tags"),
    ];
    const call = post({ content_type: "multipart/form-data", encoding: "value", properties });
    const named = { base64: "aG8=", filename: 'a"b\n/c.txt', mime_type: "text/plain" };
    const request = send(call, { file: "aGk=", more: ["aA==", named], meta: { a: 1 }, tags: ["x", "y"] });
    expect(request.headers.get("content-type")).toMatch(/^multipart\/form-data; ?boundary=/);
    const form = await request.formData();
    const files = [...form.getAll("file"), ...form.getAll("more")] as unknown as File[];
    expect(files.map(({ name, type }) => [name, type])).toEqual([
      ["file", "image/png"],
      ["more", "application/octet-stream"],
      ["a_b__c.txt", "text/plain"],
    ]);
    expect(await Promise.all(files.map((file) => file.text()))).toEqual(["hi", "h", "ho"]);
    expect(form.getAll("meta")).toEqual(['{"a":1}']);
    expect(form.getAll("tags")).toEqual(["x", "y"]);
  });

  it.for([
    [post({ content_type: "image/png", encoding: "file", input: "body" }), { body: "not base64!" }, "/input/body"],
    [
      post({ content_type: "multipart/form-data", encoding: "value", properties: [field("f", { encoding: "file" })] }),
      { f: ["aGk=", 5] },
      "/input/f/1",
    ],
    [
      post({ content_type: "image/png", encoding: "file", input: "body" }),
      { body: { base64: "aGk=", mime_type: "x\r\ny" } },
      "/input/body/mime_type",
    ],
    [
      post({ content_type: "multipart/form-data", encoding: "value", input: "body" }),
      { body: { 'a"\r\nb': 1 } },
      "/input/body",
    ],
  ] as const)("%# is refused with the place at fault", ([call, input, pointer]) => {
    expect(refusal(call, input)).toMatchObject({ status: 422, errors: [{ pointer }] });
  });
});

describe("authentication", () => {
  it.for([
    [{ type: "api_key", in: "header", name: "X-Key" }, "plain", { "x-key": "plain" }, ""],
    [
      { type: "api_key", in: "header", name: "Authorization", prefix: "DeepL-Auth-Key " },
      "k:fx",
      { authorization: "DeepL-Auth-Key k:fx" },
      "",
    ],
    [{ type: "api_key", in: "query", name: "appid" }, "a&b=c", {}, "?appid=a%26b%3Dc"],
    [{ type: "api_key", in: "cookie", name: "sid" }, "a;b", { cookie: "sid=a%3Bb" }, ""],
    [{ type: "bearer" }, "tok", { authorization: "Bearer tok" }, ""],
    [
      { type: "oauth_client_credentials", token_url: "https://a.test/t", scopes: [] },
      "access",
      { authorization: "Bearer access" },
      "",
    ],
    [{ type: "headers", names: ["X-Id", "X-Key"] }, '{"X-Key": "k", "X-Id": "i"}', { "x-id": "i", "x-key": "k" }, ""],
    [{ type: "basic" }, "pä:ss", { authorization: `Basic ${btoa("ann:pÃ¤:ss")}` }, ""],
  ] as const)("%j writes the secret where it belongs", ([auth, secret, headers, search]) => {
    const request = send(callOf([]), {}, auth, secret);
    expect(Object.fromEntries(request.headers)).toMatchObject(headers);
    expect(new URL(request.url).search).toBe(search);
  });

  it("fills the path for a webhook, and wins over what the input says", () => {
    const call = callOf([], { path: "/{hook}", server: "https://hooks.test/services" });
    expect(send(call, {}, { type: "api_key", in: "path", name: "hook" }, "T1/B2/x y").url).toBe(
      "https://hooks.test/services/T1/B2/x%20y",
    );
    const header = callOf([parameter("header", { name: "X-Key", input: "k" })]);
    expect(
      send(header, { k: "mine" }, { type: "api_key", in: "header", name: "x-key" }, "theirs").headers.get("x-key"),
    ).toBe("theirs");
  });

  it("is left out without a credential", () => {
    const request = buildToolRequest(callOf([]), {}, { type: "bearer" }, null);
    expect(request.headers.has("authorization")).toBe(false);
  });
});

const secrets = [new Secret("sk-the-secret-0123456789")];

async function read(body: BodyInit | null, type: string | null, status = 200) {
  const headers: HeadersInit = type === null ? {} : { "content-type": type };
  const response = new Response(body, { status, headers });
  if (type === null) {
    response.headers.delete("content-type");
  }
  return await readToolResponse(response, { secrets, maxBytes: 1_000 });
}

describe("an answer", () => {
  it.for([
    ['{"a":1}', "application/json", { type: "json", value: { a: 1 } }],
    ['{"a":1}', "application/problem+json; charset=utf-8", { type: "json", value: { a: 1 } }],
    ["{broken", "application/json", { type: "text", text: "{broken", mime_type: "text/plain" }],
    ["<b>é</b>", "text/html; charset=utf-8", { type: "text", text: "<b>é</b>", mime_type: "text/html" }],
    ["<a/>", "application/atom+xml", { type: "text", text: "<a/>", mime_type: "application/atom+xml" }],
    [new Uint8Array([0xe9]), "text/plain; charset=iso-8859-1", { type: "text", text: "é", mime_type: "text/plain" }],
    [new Uint8Array([0xe9]), "text/plain; charset=nonsense", { type: "text", text: "\uFFFD", mime_type: "text/plain" }],
    [new Uint8Array([1, 2, 255]), "image/png", { type: "binary", base64: "AQL/", mime_type: "image/png" }],
    [new Uint8Array([123, 125]), null, { type: "json", value: {} }],
    [new Uint8Array([104, 105]), null, { type: "text", text: "hi", mime_type: "text/plain" }],
    [new Uint8Array([255, 254]), null, { type: "binary", base64: "//4=", mime_type: "application/octet-stream" }],
    [new Uint8Array([255]), "nonsense", { type: "binary", base64: "/w==", mime_type: "application/octet-stream" }],
  ] as const)("%j of type %s is %j", async ([body, type, content]) => {
    expect(await read(body, type)).toEqual({ is_error: false, status: 200, content: [content] });
  });

  it("of nothing is nothing, and of any status but 2xx an error", async () => {
    expect(await read(null, null, 204)).toEqual({ is_error: false, status: 204, content: [] });
    expect(await read("no", "text/plain", 404)).toMatchObject({
      is_error: true,
      status: 404,
      content: [{ text: "no" }],
    });
    expect(await read(null, null, 302)).toMatchObject({ is_error: true, status: 302 });
  });

  it.for([
    ['{"key":"sk-the-secret-0123456789"}', "application/json"],
    ['{"url":"https://x/?k=sk-the-secret-0123456789"}', "application/json"],
    ["key SK-THE-SECRET-0123456789", "text/plain"],
    [btoa("sk-the-secret-0123456789"), "text/plain"],
    ["\u0000\u0001sk-the-secret-0123456789\u0002", "application/zip"],
    ["hi", "text/sk-the-secret-0123456789"],
  ] as const)("%j of type %s comes without the secret", async ([body, type]) => {
    const shown = JSON.stringify(await read(body, type));
    expect(shown.toLowerCase()).not.toContain("the-secret");
    expect(shown).not.toContain(btoa("sk-the-secret-0123456789"));
    expect(shown).not.toContain("AAFzay10aGUtc2VjcmV0");
  });

  it("is refused when it is larger than allowed, said or not, and its rest is not read", async () => {
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1;
        controller.enqueue(new Uint8Array(400));
      },
    });
    const rules = { secrets, maxBytes: 1_000 };
    await expect(readToolResponse(new Response(endless), rules)).rejects.toMatchObject({ code: "upstream_failed" });
    expect(pulled).toBeLessThan(6);
    const said = new Response("x", { headers: { "content-length": "1001" } });
    await expect(readToolResponse(said, rules)).rejects.toMatchObject({ code: "upstream_failed" });
    expect(await readToolResponse(new Response("x".repeat(1_000)), rules)).toMatchObject({ status: 200 });
  });

  it("that breaks off is refused", async () => {
    const broken = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new Error("sk-the-secret-0123456789"));
      },
    });
    const error = await readToolResponse(new Response(broken), { secrets, maxBytes: 10 }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: "upstream_failed", detail: "The provider's answer broke off." });
  });

  it("of large binary content is whole", async () => {
    const bytes = Uint8Array.from({ length: 100_001 }, (_, index) => index % 251);
    const response = new Response(bytes, { headers: { "content-type": "image/png" } });
    const { content } = await readToolResponse(response, { secrets, maxBytes: 200_000 });
    const base64 = content[0]?.type === "binary" ? content[0].base64 : "";
    expect(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))).toEqual(bytes);
  });
});
