/** What becomes of an OpenAPI document: whole public ones, single constructs, wrong ones and hostile ones. */
import { Validator } from "@cfworker/json-schema";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it, vi } from "vitest";
import dialogporten from "../../node_modules/@digdir/dialogporten-schema/swagger.verified.json?raw";
import petstore2 from "../../node_modules/@readme/oas-examples/2.0/json/petstore.json?raw";
import starTrek from "../../node_modules/@readme/oas-examples/3.0/json/star-trek.json?raw";
import circular from "../../node_modules/@readme/oas-examples/3.0/json/schema-circular.json?raw";
import galaxy from "../../node_modules/@scalar/galaxy/dist/3.1.yaml?raw";
import { AppError } from "../../src/base/errors.js";
import type { JsonSchema, ToolDefinition, ToolDocument } from "../../src/tools/contract.js";
import { readDocument } from "../../src/tools/openapi/document.js";
import { isSafePattern } from "../../src/tools/openapi/pattern.js";

const nowhere = { baseUrl: null, documentUrl: null };

/** A document of these paths, OpenAPI 3.1 unless told. */
function documentOf(paths: object, more: object = {}): string {
  const info = { title: "Test", version: "1" };
  return JSON.stringify({ openapi: "3.1.0", info, servers: [{ url: "https://api.test/v1/" }], paths, ...more });
}

function get(more: object = {}): object {
  return { get: { operationId: "it", ...more } };
}

function postBody(content: object, isRequired = true): object {
  return { post: { operationId: "it", requestBody: { required: isRequired, content } } };
}

async function only(text: string): Promise<ToolDefinition> {
  const { tools } = await readDocument(text, nowhere);
  expect(tools).toHaveLength(1);
  return tools[0] as ToolDefinition;
}

async function refusal(text: string, options: Parameters<typeof readDocument>[1] = nowhere): Promise<AppError> {
  const error = await readDocument(text, options).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AppError)) {
    throw new Error(`not refused: ${String(error)}`);
  }
  return error;
}

function isValid(schema: JsonSchema, input: unknown): boolean {
  return new Validator({ ...schema }, "2020-12", false).validate(input).valid;
}

/** The meta-schema of 2020-12. It needs code made at run time, which the test runner has. */
const metaSchema = new Ajv2020({ strict: false });

/** Every `$ref` of a schema, and every keyword that a checker could stumble over. */
function troubles(schema: JsonSchema): string[] {
  const found: string[] = [];
  const definitions = (schema["$defs"] ?? {}) as Readonly<Record<string, unknown>>;
  const walk = (value: unknown, at: string): void => {
    if (typeof value !== "object" || value === null) {
      return;
    }
    for (const [key, child] of Object.entries(value)) {
      if (key === "$ref" && typeof child === "string" && !Object.hasOwn(definitions, child.replace("#/$defs/", ""))) {
        found.push(`${at}: ${child}`);
      }
      if (
        ["nullable", "discriminator", "xml", "example", "$id", "$anchor", "id"].includes(key) &&
        !at.endsWith("/properties")
      ) {
        found.push(`${at}/${key}`);
      }
      walk(child, `${at}/${key}`);
    }
  };
  walk(schema, "#");
  return found;
}

function forbidden(): never {
  throw new Error("code made at run time");
}

function serversAt(path: string): object {
  return { servers: [{ url: `https://api.test${path}` }] };
}

function manyPaths(count: number): object {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`/p${index}`, { get: {} }]));
}

function isRead(outcome: unknown): boolean {
  return Array.isArray((outcome as ToolDocument).tools);
}

function isRefused(outcome: unknown): boolean {
  return outcome instanceof AppError && outcome.status === 422;
}

/** Operations of a document, counted by another way than the reader's. */
function countOperations(text: string): number {
  const plain = text.replace("\uFEFF", "");
  if (!plain.startsWith("{")) {
    return plain.replace(/^webhooks:.*/ms, "").match(/^ {4}(get|put|post|delete|patch):$/gm)?.length ?? 0;
  }
  const { paths } = JSON.parse(plain) as { paths: Record<string, object> };
  return Object.values(paths).flatMap((item) => Object.keys(item).filter((key) => methods.includes(key))).length;
}

const publicDocuments = [
  ["@scalar/galaxy 3.1.yaml", galaxy, 9, "https://galaxy.scalar.com"],
  [
    "@digdir/dialogporten-schema swagger.verified.json",
    dialogporten,
    29,
    "https://altinn-dev-api.azure-api.net/dialogporten",
  ],
  ["@readme/oas-examples star-trek.json", starTrek, 120, "http://stapi.co/api/v1/rest"],
  ["@readme/oas-examples 2.0 petstore.json", petstore2, 20, "http://petstore.swagger.io/v2"],
] as const;

const methods = ["get", "put", "post", "delete", "options", "head", "patch"];

describe("a public document", () => {
  it.for(publicDocuments)("%s is taken in whole", async ([, text, count, base]) => {
    const document = await readDocument(text, nowhere);
    expect(document.base_url).toBe(base);
    expect(document.tools).toHaveLength(count);
    const names = document.tools.map((tool) => tool.name);
    expect(new Set(names).size).toBe(count);
    expect(names.filter((name) => !/^[a-zA-Z0-9_-]{1,64}$/.test(name))).toEqual([]);
    expect(countOperations(text)).toBe(count);
    for (const { input_schema: schema } of document.tools) {
      expect(troubles(schema)).toEqual([]);
      expect(schema["type"]).toBe("object");
      expect(metaSchema.validateSchema({ ...schema }) === true ? "" : metaSchema.errorsText()).toBe("");
      isValid(schema, {});
    }
    // A second import gives the same rows.
    expect(await readDocument(text, nowhere)).toEqual(document);
  });

  it("needs no code made at run time", async () => {
    vi.stubGlobal("Function", forbidden);
    vi.stubGlobal("eval", forbidden);
    try {
      expect((await readDocument(galaxy, nowhere)).tools).toHaveLength(9);
      expect((await readDocument(petstore2, nowhere)).tools).toHaveLength(20);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe("an operation", () => {
  it("becomes a tool with its words, and everything it takes in one input", async () => {
    const tool = await only(
      documentOf({
        "/pets/{petId}": {
          parameters: [{ name: "petId", in: "path", required: true, schema: { type: "integer" } }],
          put: {
            operationId: "update Pet!",
            summary: "Update a pet",
            description: "Changes what is known of a pet.",
            parameters: [
              { name: "dry_run", in: "query", description: "Only try", schema: { type: "boolean" } },
              { name: "X-Trace", in: "header", schema: { type: "string" } },
              { name: "Authorization", in: "header", required: true, schema: { type: "string" } },
              { name: "lang", in: "cookie", schema: { type: "string", enum: ["en", "zh"] } },
            ],
            requestBody: {
              required: true,
              content: {
                "application/xml": { schema: { type: "string" } },
                "application/json": {
                  schema: {
                    type: "object",
                    required: ["name", "id"],
                    properties: {
                      name: { type: "string" },
                      id: { type: "string", readOnly: true },
                      lang: { type: "string" },
                    },
                  },
                },
              },
            },
          },
        },
      }),
    );
    expect(tool).toEqual({
      name: "update_Pet",
      title: "Update a pet",
      description: "Changes what is known of a pet.",
      input_schema: {
        type: "object",
        properties: {
          petId: { type: "integer" },
          dry_run: { type: "boolean", description: "Only try" },
          "X-Trace": { type: "string" },
          cookie_lang: { type: "string", enum: ["en", "zh"] },
          name: { type: "string" },
          lang: { type: "string" },
        },
        required: ["petId", "name"],
        additionalProperties: false,
      },
      call: {
        kind: "openapi",
        method: "PUT",
        server: "https://api.test/v1",
        path: "/pets/{petId}",
        parameters: [
          {
            name: "petId",
            in: "path",
            input: "petId",
            style: "simple",
            explode: false,
            allow_reserved: false,
            content_type: null,
          },
          {
            name: "dry_run",
            in: "query",
            input: "dry_run",
            style: "form",
            explode: true,
            allow_reserved: false,
            content_type: null,
          },
          {
            name: "X-Trace",
            in: "header",
            input: "X-Trace",
            style: "simple",
            explode: false,
            allow_reserved: false,
            content_type: null,
          },
          {
            name: "lang",
            in: "cookie",
            input: "cookie_lang",
            style: "form",
            explode: true,
            allow_reserved: false,
            content_type: null,
          },
        ],
        body: {
          content_type: "application/json",
          input: null,
          encoding: "json",
          properties: [
            { name: "name", encoding: "json", style: "form", explode: true, content_type: null },
            { name: "lang", encoding: "json", style: "form", explode: true, content_type: null },
          ],
        },
      },
    });
  });

  it("keeps its own parameter over the path's, and gets those that only the template names", async () => {
    const tool = await only(
      documentOf({
        "/a/{one}/{two}": {
          parameters: [{ name: "one", in: "path", required: true, schema: { type: "string" } }],
          ...get({ parameters: [{ name: "one", in: "path", required: true, schema: { type: "integer" } }] }),
        },
      }),
    );
    expect(tool.input_schema["properties"]).toEqual({ two: { type: "string" }, one: { type: "integer" } });
    expect(tool.input_schema["required"]).toEqual(["two", "one"]);
  });

  it("is named by its id, else by method and path; what clashes or is too long carries a hash of its own", async () => {
    const long = "x".repeat(80);
    const { tools } = await readDocument(
      documentOf({
        "/a": { get: { operationId: "list" }, post: { operationId: "list" } },
        "/b/{c}": { delete: {} },
        "/d": { get: { operationId: long } },
        "/e": { get: { operationId: "名前" } },
      }),
      nowhere,
    );
    const names = tools.map((tool) => tool.name);
    expect(names[0]).toBe("list");
    expect(names[1]).toMatch(/^list_[0-9a-f]{6}$/);
    expect(names[2]).toBe("delete_b_c");
    expect(names[3]).toMatch(/^x{57}_[0-9a-f]{6}$/);
    expect(names[4]).toBe("get_e");
  });

  it.for([
    [
      "JSON that is no plain object",
      { "application/json": { schema: { type: "array", items: { type: "integer" } } } },
      "json",
      "application/json",
    ],
    [
      "JSON with free members",
      { "application/vnd.a+json": { schema: { type: "object", additionalProperties: true, properties: { a: {} } } } },
      "json",
      "application/vnd.a+json",
    ],
    ["text", { "text/csv": { schema: { type: "string" } } }, "text", "text/csv"],
    ["bytes", { "image/png": { schema: {} } }, "file", "image/png"],
  ] as const)("takes a body of %s as one property", async ([, content, encoding, type]) => {
    const tool = await only(documentOf({ "/x": postBody(content) }));
    expect(tool.call).toMatchObject({ body: { input: "body", encoding, content_type: type, properties: [] } });
    expect(tool.input_schema["required"]).toEqual(["body"]);
  });

  it("merges a plain allOf, and asks for an optional body whole or not at all", async () => {
    const parts = {
      allOf: [{ $ref: "#/components/schemas/A" }, { properties: { b: { type: "string" } }, required: ["b"] }],
    };
    const schemas = { A: { type: "object", properties: { a: { type: "integer" } }, required: ["a"] } };
    const text = documentOf(
      { "/x": postBody({ "application/json": { schema: parts } }, false) },
      { components: { schemas } },
    );
    const { input_schema: schema } = await only(text);
    expect(schema["properties"]).toEqual({ a: { type: "integer" }, b: { type: "string" } });
    expect(isValid(schema, {})).toBe(true);
    expect(isValid(schema, { a: 1, b: "x" })).toBe(true);
    expect(isValid(schema, { a: 1 })).toBe(false);
  });

  it("takes files of a multipart form as base64, and nested properties as JSON", async () => {
    const schema = {
      type: "object",
      required: ["file"],
      properties: {
        file: { type: "string", contentMediaType: "image/png" },
        more: { type: "array", items: { type: "string", format: "binary" } },
        meta: { type: "object", properties: { a: {} } },
        title: { type: "string" },
      },
    };
    const tool = await only(documentOf({ "/x": postBody({ "multipart/form-data": { schema } }) }));
    expect(tool.call).toMatchObject({
      body: {
        properties: [
          { name: "file", encoding: "file" },
          { name: "more", encoding: "file" },
          { name: "meta", encoding: "json" },
          { name: "title", encoding: "value" },
        ],
      },
    });
    expect(isValid(tool.input_schema, { file: "aGk=", more: ["aGk=", { base64: "aGk=", filename: "a.txt" }] })).toBe(
      true,
    );
    expect(isValid(tool.input_schema, { file: 5 })).toBe(false);
  });

  it("brings schemas of OpenAPI 3.0 to JSON Schema", async () => {
    const schema = { type: "integer", nullable: true, minimum: 3, exclusiveMinimum: true, example: 5 };
    const text = documentOf({ "/x": get({ parameters: [{ name: "n", in: "query", schema }] }) }, { openapi: "3.0.3" });
    const { input_schema } = await only(text);
    expect(input_schema["properties"]).toEqual({
      n: { type: ["integer", "null"], exclusiveMinimum: 3, examples: [5] },
    });
  });

  it("keeps recursive schemas as definitions, and writes small ones out", async () => {
    const schemas = {
      Node: {
        type: "object",
        properties: {
          colour: { $ref: "#/components/schemas/Colour" },
          children: { type: "array", items: { $ref: "#/components/schemas/Node" } },
        },
      },
      Colour: { type: "string", enum: ["red", "blue"] },
    };
    const body = {
      "application/json": { schema: { type: "object", properties: { root: { $ref: "#/components/schemas/Node" } } } },
    };
    const { input_schema: schema } = await only(documentOf({ "/x": postBody(body) }, { components: { schemas } }));
    expect(schema).toMatchObject({
      properties: { root: { $ref: "#/$defs/Node" } },
      $defs: {
        Node: { properties: { colour: { enum: ["red", "blue"] }, children: { items: { $ref: "#/$defs/Node" } } } },
      },
    });
    expect(Object.keys(schema["$defs"] as object)).toEqual(["Node"]);
    expect(isValid(schema, { root: { children: [{ colour: "red" }] } })).toBe(true);
    expect(isValid(schema, { root: { children: [{ colour: "green" }] } })).toBe(false);
    await readDocument(circular, nowhere);
  });

  it("cuts the circle of a parent that lists its children, who include the parent", async () => {
    const schemas = {
      Pet: { type: "object", required: ["kind"], oneOf: [{ $ref: "#/components/schemas/Cat" }] },
      Cat: { allOf: [{ $ref: "#/components/schemas/Pet" }, { properties: { lives: { type: "integer" } } }] },
    };
    const body = { "application/json": { schema: { $ref: "#/components/schemas/Pet" } } };
    const { input_schema: schema } = await only(documentOf({ "/x": postBody(body) }, { components: { schemas } }));
    expect(isValid(schema, { body: { kind: "cat", lives: 9 } })).toBe(true);
    expect(isValid(schema, { body: { kind: "cat", lives: "nine" } })).toBe(false);
    expect(isValid(schema, { body: { lives: 9 } })).toBe(false);
  });

  it("checks no pattern that could take long, but tells it", async () => {
    const parameters = [
      { name: "a", in: "query", schema: { type: "string", pattern: "^[a-z]+$" } },
      { name: "b", in: "query", schema: { type: "string", description: "B.", pattern: "^(a+)+$" } },
    ];
    const { input_schema } = await only(documentOf({ "/x": get({ parameters }) }));
    expect(input_schema["properties"]).toEqual({
      a: { type: "string", pattern: "^[a-z]+$" },
      b: { type: "string", description: "B. Must match /^(a+)+$/." },
    });
  });
});

describe("a pattern", () => {
  it.for([
    "^[a-z0-9-]+$",
    "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "^(foo|bar|baz)$",
    "^\\d{4}-\\d{2}-\\d{2}(T\\d{2})?$",
    "[0-9]{3}",
    "^\\+?[1-9]\\d{1,14}$",
  ])("%s runs", (pattern) => {
    expect(isSafePattern(pattern)).toBe(true);
  });

  it.for([
    "(a+)+$",
    "^(a|a)*$",
    "^(a?){30}a{30}$",
    "^(a|aa){20}$",
    "^a*a*b$",
    "a+b",
    "^(?=a).*$",
    "^(a)\\1$",
    "^x|y+z",
    "^a?a?a?a?a?a?a?a?a?a?a?a?b$",
    "(",
    "^(a{1,30}){1,30}$",
    "^a{1,3000}b$",
  ])("%s does not", (pattern) => {
    expect(isSafePattern(pattern)).toBe(false);
  });
});

describe("where calls go", () => {
  const item = get();

  it.for([
    [
      [
        {
          url: "https://{host}.test/{v}/",
          variables: { host: { default: "api" }, v: { enum: ["v2", "v1"], default: "v1" } },
        },
      ],
      null,
      "https://api.test/v1",
    ],
    [[{ url: "/v3" }], "https://docs.test/a/openapi.json", "https://docs.test/v3"],
    [[], "https://docs.test/a/openapi.json", "https://docs.test"],
    [[{ url: "https://one.test" }, { url: "https://two.test" }], null, "https://one.test"],
  ] as const)("is the first server %j", async ([servers, documentUrl, base]) => {
    const document = await readDocument(documentOf({ "/x": item }, { servers }), { baseUrl: null, documentUrl });
    expect(document.base_url).toBe(base);
    expect(document.tools[0]?.call.server).toBe(base);
  });

  it("is the operation's server before the path's before the document's, within one origin", async () => {
    const { tools } = await readDocument(
      documentOf({ "/x": { ...serversAt("/path"), get: {}, post: serversAt("/operation") }, "/y": { get: {} } }),
      nowhere,
    );
    expect(tools.map(({ call }) => call.server)).toEqual([
      "https://api.test/path",
      "https://api.test/operation",
      "https://api.test/v1",
    ]);
    const other = documentOf({ "/x": { get: { servers: [{ url: "https://elsewhere.test" }] } } });
    expect((await refusal(other)).errors[0]?.detail).toContain(
      "At #/paths/~1x/get: This operation goes to https://elsewhere.test",
    );
    const forced = await readDocument(other, { baseUrl: "https://mine.test/api/", documentUrl: null });
    expect(forced.tools[0]?.call.server).toBe("https://mine.test/api");
  });

  it("is refused where nobody says it", async () => {
    expect((await refusal(documentOf({ "/x": item }, { servers: [] }))).errors[0]?.detail).toContain("names no server");
    expect((await refusal(documentOf({ "/x": item }, { servers: [{ url: "/v1" }] }))).errors[0]?.detail).toContain(
      "At #/servers/0",
    );
    expect(
      (await refusal(documentOf({ "/x": item }), { baseUrl: "ftp://x", documentUrl: null })).errors[0]?.pointer,
    ).toBe("/base_url");
  });
});

describe("security schemes", () => {
  it.for([
    [{ type: "http", scheme: "Bearer" }, { type: "bearer" }],
    [{ type: "http", scheme: "basic" }, { type: "basic" }],
    [
      { type: "apiKey", in: "header", name: "X-Key" },
      { type: "api_key", in: "header", name: "X-Key" },
    ],
    [
      { type: "apiKey", in: "query", name: "key" },
      { type: "api_key", in: "query", name: "key" },
    ],
    [
      {
        type: "oauth2",
        flows: { clientCredentials: { tokenUrl: "https://auth.test/token", scopes: { read: "", write: "" } } },
      },
      { type: "oauth_client_credentials", token_url: "https://auth.test/token", scopes: ["read", "write"] },
    ],
    [{ type: "oauth2", flows: { implicit: { authorizationUrl: "https://a.test", scopes: {} } } }, { type: "bearer" }],
    [{ type: "mutualTLS" }, { type: "none" }],
  ] as const)("%j asks for %j", async ([scheme, auth]) => {
    const more = { security: [{ it: [] }], components: { securitySchemes: { it: scheme } } };
    expect((await readDocument(documentOf({ "/x": get() }, more), nowhere)).auth).toEqual(auth);
  });

  it("are offered in the order in which the document asks, and their keys are no input", async () => {
    const more = {
      security: [{ b: [] }, { a: [] }],
      components: {
        securitySchemes: { a: { type: "http", scheme: "basic" }, b: { type: "apiKey", in: "query", name: "key" } },
      },
    };
    const parameters = [
      { name: "key", in: "query", required: true, schema: { type: "string" } },
      { name: "q", in: "query", schema: { type: "string" } },
    ];
    const document = await readDocument(documentOf({ "/x": get({ parameters }) }, more), nowhere);
    expect(document.auth).toEqual({ type: "api_key", in: "query", name: "key" });
    expect(document.auth_alternatives).toEqual([{ type: "basic" }]);
    expect(Object.keys(document.tools[0]?.input_schema["properties"] as object)).toEqual(["q"]);
  });
});

describe("a wrong document", () => {
  it.for([
    ["{", "not valid JSON"],
    ['{\n "a": 1,\n "b": }', "line 3, column 7"],
    ["a: [1, 2", "not usable YAML"],
    ["a: 1\nb: c: d", "line 2"],
    ["[1]", "must be an object"],
    ["hello", "must be an object"],
    ["", "not usable YAML"],
    [JSON.stringify({ openapi: "3.2.0" }), "#/openapi"],
    [JSON.stringify({ swagger: "1.2" }), "#/openapi"],
    [documentOf({}), "#/paths"],
    [documentOf({ x: get() }), "At #/paths/x: A path must begin with /"],
    [documentOf({ "/x": [] }), "At #/paths/~1x: Expected an object."],
    [documentOf({ "/x": get({ parameters: {} }) }), "At #/paths/~1x/get/parameters: Expected a list."],
    [
      documentOf({ "/x": get({ parameters: [{ in: "query" }] }) }),
      "At #/paths/~1x/get/parameters/0: A parameter needs a `name`",
    ],
    [
      documentOf({ "/x": get({ parameters: [{ name: "a", in: "body" }] }) }),
      "`in` must be one of path, query, header, cookie.",
    ],
    [
      documentOf({ "/x": get({ parameters: [{ name: "a", in: "query", style: "matrix" }] }) }),
      "`style` of a query parameter",
    ],
    [
      documentOf({ "/x": get({ parameters: [{ name: "a", in: "query", schema: { type: "int" } }] }) }),
      'At #/paths/~1x/get/parameters/0/schema/type: "int" is no type.',
    ],
    [documentOf({ "/x": get({ parameters: [{ name: "a", in: "query", schema: 5 }] }) }), "/schema: Expected a schema"],
    [
      documentOf({ "/x": get({ parameters: [{ name: "a", in: "query", schema: { allOf: {} } }] }) }),
      "/schema/allOf: Expected a list of schemas.",
    ],
    [
      documentOf({ "/x": get({ parameters: [{ $ref: "#/components/parameters/None" }] }) }),
      "names nothing in this document",
    ],
    [documentOf({ "/x": get({ parameters: [{ $ref: "#thing" }] }) }), "must be a JSON pointer"],
    [documentOf({ "/x": get() }, { servers: [{ url: "https://{a}.test" }] }), "no `default`"],
    ["swagger: '2.0'\nhost: a.test\npaths: {/x: {get: {parameters: [{name: a}]}}}", "cannot be converted"],
  ] as const)("%# says where: %s", async ([text, words]) => {
    const error = await refusal(text);
    expect(error.status).toBe(422);
    expect(error.errors.length).toBeGreaterThan(0);
    expect(error.errors.every(({ pointer }) => pointer === "/document")).toBe(true);
    expect(error.errors.map(({ detail }) => detail).join("\n")).toContain(words);
  });

  it("names all its faults, up to twenty, each once", async () => {
    const wrong = { $ref: "#/components/schemas/None" };
    const parameters = Array.from({ length: 30 }, (_, index) => ({
      name: `p${index}`,
      in: "query",
      schema: { type: "int" },
    }));
    expect((await refusal(documentOf({ "/x": get({ parameters }) }))).errors).toHaveLength(20);
    const shared = documentOf({
      "/x": get({ parameters: [{ name: "a", in: "query", schema: wrong }] }),
      "/y": get({ parameters: [{ name: "a", in: "query", schema: { type: "string" } }] }),
    });
    expect((await refusal(shared)).errors).toHaveLength(1);
  });

  it("has at most 300 operations", async () => {
    expect((await readDocument(documentOf(manyPaths(300)), nowhere)).tools).toHaveLength(300);
    const error = await refusal(documentOf(manyPaths(301)));
    expect(error.errors[0]).toMatchObject({ code: "too_many_operations" });
    expect(error.errors[0]?.detail).toContain("301 operations");
  });

  it("is told which operation's schema is too large for a row", async () => {
    const properties = Object.fromEntries(
      Array.from({ length: 400 }, (_, index) => [`p${index}`, { type: "string", description: "x".repeat(900) }]),
    );
    const error = await refusal(
      documentOf({ "/big": postBody({ "application/json": { schema: { type: "object", properties } } }) }),
    );
    expect(error.errors[0]?.detail).toMatch(/^At #\/paths\/~1big\/post: The input's schema has 3\d\d KB/);
  });
});

const anyOfTwice = (name: string): object => ({
  anyOf: [{ $ref: `#/components/schemas/${name}` }, { $ref: `#/components/schemas/${name}`, title: "again" }],
});

/** Documents made to cost time, memory or a request. Each with the status that it must end in. */
const hostile: readonly (readonly [string, number, () => string])[] = [
  ["a million aliases", 413, () => `a: &a x\nb:\n${"- *a\n".repeat(1_000_000 - 2)}`],
  ["30,000 aliases", 422, () => `a: &a x\nb:\n${"- *a\n".repeat(30_000)}`],
  [
    "a billion laughs",
    413,
    () =>
      `a0: &a0 [x,x,x,x,x,x,x,x,x]\n${Array.from({ length: 11 }, (_, at) => `a${at + 1}: &a${at + 1} [${Array.from({ length: 9 }, () => `*a${at}`).join(",")}]\n`).join("")}`,
  ],
  ["an alias of itself", 422, () => "a: &a\n  b: *a\n"],
  ["100,000 levels of JSON", 422, () => `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
  ["100,000 levels of objects", 422, () => `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`],
  ["100,000 levels of YAML", 422, () => `a: ${"[".repeat(100_000)}${"]".repeat(100_000)}`],
  ["10 MB", 413, () => documentOf({ "/x": get({ description: "x".repeat(10 * 1024 * 1024) }) })],
  ["5 MB of commas", 413, () => `[${"1,".repeat(2_600_000)}1]`],
  [
    "a remote ref to a private address",
    422,
    () => documentOf({ "/x": get({ parameters: [{ $ref: "http://169.254.169.254/latest/meta-data" }] }) }),
  ],
  [
    "a remote schema",
    422,
    () => documentOf({ "/x": postBody({ "application/json": { schema: { $ref: "http://10.0.0.1/a.json#/x" } } }) }),
  ],
  ["a file ref", 422, () => documentOf({ "/x": { $ref: "../../etc/passwd" } })],
  [
    "a member called __proto__",
    422,
    () => '{"openapi":"3.1.0","__proto__":{"polluted":true},"paths":{"/x":{"get":{}}}}',
  ],
  [
    "a schema called __proto__",
    422,
    () => "openapi: 3.1.0\npaths:\n  /x:\n    __proto__: {polluted: true}\n    get: {}\n",
  ],
  [
    "a million parameters",
    413,
    () => `{"openapi":"3.1.0","paths":{"/x":{"get":{"parameters":[${"{},".repeat(1_000_000)}{}]}}}}`,
  ],
  [
    "120,000 properties",
    413,
    () => {
      const properties = Object.fromEntries(Array.from({ length: 120_000 }, (_, at) => [`p${at}`, { type: "string" }]));
      return documentOf({ "/x": postBody({ "application/json": { schema: { type: "object", properties } } }) });
    },
  ],
  [
    "72,000 properties in six schemas",
    413,
    () => {
      const properties = Object.fromEntries(Array.from({ length: 12_000 }, (_, at) => [`p${at}`, { type: "string" }]));
      const operation = postBody({ "application/json": { schema: { type: "object", properties } } });
      return documentOf(Object.fromEntries(Array.from({ length: 6 }, (_, at) => [`/p${at}`, operation])));
    },
  ],
  ["a path of 3,000 parameters", 422, () => documentOf({ [`/${"{a}".repeat(3_000)}`]: get() })],
  ["a path of a million parameters", 413, () => documentOf({ [`/${"{a}".repeat(1_000_000)}`]: get() })],
  [
    "300 parameters",
    422,
    () =>
      documentOf({
        "/x": get({ parameters: Array.from({ length: 300 }, (_, at) => ({ name: `p${at}`, in: "query" })) }),
      }),
  ],
  [
    "a ref to itself",
    422,
    () =>
      documentOf(
        { "/x": postBody({ "application/json": { schema: { $ref: "#/components/schemas/A" } } }) },
        { components: { schemas: { A: { $ref: "#/components/schemas/B" }, B: { $ref: "#/components/schemas/A" } } } },
      ),
  ],
  [
    "schemas that double at every step",
    422,
    () => {
      const schemas = Object.fromEntries(
        Array.from({ length: 60 }, (_, at) => [
          `S${at}`,
          at === 59 ? { type: "string", description: "x".repeat(500) } : anyOfTwice(`S${at + 1}`),
        ]),
      );
      return documentOf(
        { "/x": postBody({ "application/json": { schema: { $ref: "#/components/schemas/S0" } } }) },
        { components: { schemas } },
      );
    },
  ],
  [
    "a chain of 5,000 schemas",
    422,
    () => {
      const schemas = Object.fromEntries(
        Array.from({ length: 5_000 }, (_, at) => [
          `S${at}`,
          { allOf: [{ $ref: `#/components/schemas/S${at + 1}` }, { title: "x".repeat(500) }] },
        ]),
      );
      return documentOf(
        { "/x": postBody({ "application/json": { schema: { $ref: "#/components/schemas/S0" } } }) },
        { components: { schemas: { ...schemas, S5000: {} } } },
      );
    },
  ],
  [
    "one large schema behind 300 operations",
    413,
    () => {
      const Big = {
        type: "object",
        properties: Object.fromEntries(
          Array.from({ length: 100 }, (_, at) => [`p${at}`, { type: "string", description: "x".repeat(500) }]),
        ),
        additionalProperties: true,
      };
      const operation = postBody({ "application/json": { schema: { $ref: "#/components/schemas/Big" } } });
      return documentOf(Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`/p${at}`, operation])), {
        components: { schemas: { Big } },
      });
    },
  ],
];

/** How many times slower than an idle one this machine is right now, by work that takes 100 ms there. At least 1. */
async function slowness(): Promise<number> {
  const begun = Date.now();
  for (let sum = 0, at = 0; at < 24; at += 1) {
    sum += JSON.stringify(JSON.parse(`[${'{"a":1},'.repeat(20_000)}0]`)).length;
  }
  await scheduler.wait(0);
  return Math.max(1, (Date.now() - begun) / 100);
}

describe("a hostile document", () => {
  it.for(hostile)("of %s ends in %i within two seconds and asks nobody", async ([, status, make]) => {
    const asked = vi.spyOn(globalThis, "fetch");
    const text = make();
    await scheduler.wait(0);
    const begun = Date.now();
    const error = await refusal(text);
    await scheduler.wait(0);
    const took = Date.now() - begun;
    expect(took < 2_000 ? 0 : took / (await slowness())).toBeLessThan(2_000);
    expect(error.status).toBe(status);
    expect(error.errors.length + error.detail.length).toBeGreaterThan(0);
    expect(JSON.stringify([error.detail, error.errors]).length).toBeLessThan(5_000);
    expect(asked).not.toHaveBeenCalled();
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    asked.mockRestore();
  });

  it("is told that it refers elsewhere, or uses a name that is none", async () => {
    const remote = documentOf({ "/x": get({ parameters: [{ $ref: "http://169.254.169.254/latest" }] }) });
    expect((await refusal(remote)).errors[0]?.detail).toContain("may only point into this document");
    const named = documentOf({ "/x": get() }).replace('"info":', '"__proto__":{"polluted":true},"info":');
    expect((await refusal(named)).errors[0]?.detail).toContain("may not be called `__proto__`");
  });

  it("may name what every object has, and gets no more for it", async () => {
    const schemas = {
      constructor: { type: "string", enum: ["x"], description: "y".repeat(500) },
      toString: { type: "integer" },
    };
    const properties = {
      constructor: { $ref: "#/components/schemas/constructor" },
      toString: { $ref: "#/components/schemas/toString" },
    };
    const text = documentOf(
      { "/x": postBody({ "application/json": { schema: { type: "object", properties } } }) },
      { components: { schemas } },
    );
    const { input_schema: schema } = await only(text);
    expect(isValid(schema, { constructor: "x", toString: 1 })).toBe(true);
    expect(isValid(schema, { constructor: "z" })).toBe(false);
    const missing = documentOf(
      { "/x": get({ parameters: [{ $ref: "#/components/constructor" }] }) },
      { components: {} },
    );
    expect((await refusal(missing)).errors[0]?.detail).toContain("names nothing");
  });

  it("of any shape is either read or refused, never anything else", async () => {
    const outcomes: unknown[] = [];
    for (const value of [null, 1, true, [], "x", { $ref: "#" }, { $ref: 5 }, { "": {} }]) {
      for (const place of ["info", "paths", "servers", "components", "security"]) {
        const text = JSON.stringify({ ...(JSON.parse(documentOf({ "/x": get() })) as object), [place]: value });
        outcomes.push(await readDocument(text, nowhere).catch((error: unknown) => error));
      }
    }
    expect(outcomes.filter((outcome) => !isRead(outcome) && !isRefused(outcome))).toEqual([]);
    expect(outcomes.some(isRead) && outcomes.some(isRefused)).toBe(true);
  });
});
