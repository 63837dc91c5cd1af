/** The contract as it is served: whole, by the declarations, and with examples that are what they are examples of. */
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, it } from "vitest";
import { endpoints } from "../src/app.js";
import { errorTable } from "../src/base/error-table.js";
import { endpoints as gatewayEndpoints } from "../src/gateway/endpoints.js";
import { call } from "./support/client.js";

interface Media {
  readonly schema: object;
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, { readonly $ref?: string; readonly value?: unknown }>>;
}

interface Holder {
  readonly $ref?: string;
  readonly content?: Readonly<Record<string, Media>>;
  readonly headers?: object;
  readonly "x-error-codes"?: readonly string[];
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly security: readonly object[];
  readonly "x-permission": { readonly kind: string };
  readonly parameters?: readonly { readonly schema?: object; readonly example?: unknown; readonly in?: string }[];
  readonly requestBody?: Holder;
  readonly responses: Readonly<Record<string, Holder>>;
}

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

async function readDocument(): Promise<Document> {
  return (await call("GET", "/openapi.json")).body as Document;
}

function operationsOf(document: Document): Operation[] {
  return Object.values(document.paths).flatMap((path) => Object.values(path));
}

/** What a reference leads to. */
function follow<T extends { readonly $ref?: string }>(document: Document, part: T): T {
  const names = part.$ref?.slice(2).split("/") ?? [];
  let at: unknown = document;
  for (const name of names) {
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  if (at === undefined) {
    throw new Error(`nothing at ${part.$ref}`);
  }
  return names.length === 0 ? part : (at as T);
}

/** Every error code that an operation says it can answer. */
function codesOf(document: Document, operation: Operation): string[] {
  return Object.values(operation.responses).flatMap((part) => follow(document, part)["x-error-codes"] ?? []);
}

describe("the contract", () => {
  it("is OpenAPI 3.1 and holds every declared endpoint with its caller and its errors", async ({ expect }) => {
    const document = await readDocument();
    expect(document.openapi).toBe("3.1.0");
    for (const { spec } of endpoints) {
      const operation = document.paths[spec.path]?.[spec.method];
      expect(operation?.operationId).toBe(spec.operation);
      expect(operation === undefined ? [] : codesOf(document, operation)).toEqual(
        expect.arrayContaining([...spec.errors]),
      );
      const isSetup = spec.errors.includes("invalid_setup_token");
      const security = isSetup ? [{ setup_token: [] }] : spec.permission.kind === "public" ? [] : [{ bearer: [] }];
      expect(operation?.security).toEqual(security);
      expect(operation?.["x-permission"]).toMatchObject({ kind: isSetup ? "setup_token" : spec.permission.kind });
    }
  });

  it("is kept by who has it until it changes, and by the isolate", async ({ expect }) => {
    const first = await call("GET", "/openapi.json");
    const etag = first.headers.get("etag") ?? "";
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
    expect(first.headers.get("cache-control")).toBe("public, max-age=300");
    const again = await call("GET", "/openapi.json", { headers: { "if-none-match": `W/${etag}` } });
    expect([again.status, again.text, again.headers.get("etag")]).toEqual([304, "", etag]);
    const other = await call("GET", "/openapi.json", { headers: { "if-none-match": '"other"' } });
    expect([other.status, other.text]).toEqual([200, first.text]);
  });

  it("holds the gateway, the door of agents, and the service's own pages", async ({ expect }) => {
    const document = await readDocument();
    for (const { path } of gatewayEndpoints) {
      expect(document.paths[path]?.["post"]?.security, path).toEqual([{ bearer: [] }, { api_key: [] }]);
    }
    expect(document.paths["/mcp"]).toMatchObject({ post: {}, get: {}, delete: {} });
    for (const path of [
      "/v1/models/{id}",
      "/anthropic/v1/models",
      "/healthz",
      "/readyz",
      "/openapi.json",
      "/dev/outbox",
    ]) {
      expect(document.paths[path]?.["get"]?.summary, path).toBeTypeOf("string");
    }
  });

  it("says of every operation who may call, which errors it has, and how a request is named", async ({ expect }) => {
    const document = await readDocument();
    const operations = operationsOf(document);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const operation of operations) {
      expect(operation.summary.length, operation.operationId).toBeGreaterThan(5);
      expect(operation.description, operation.operationId).toMatch(/\.$/);
      expect(codesOf(document, operation), operation.operationId).toContain("internal");
      for (const code of codesOf(document, operation)) {
        expect(Object.keys(errorTable)).toContain(code);
      }
      for (const [status, part] of Object.entries(operation.responses)) {
        const { headers } = follow(document, part);
        expect(headers, `${operation.operationId} ${status}`).toHaveProperty("x-request-id");
      }
    }
  });

  it("has an example of every body, true to its schema", async ({ expect }) => {
    const document = await readDocument();
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    ajv.addFormat("date-time", (text) => !Number.isNaN(Date.parse(text)));
    ajv.addFormat("int32", true);
    ajv.addFormat("int64", true);
    ajv.addFormat("email", /^\S+@\S+$/);
    ajv.addFormat("uri-reference", /^\S+$/);
    ajv.addFormat("uri", (text) => URL.canParse(text));
    ajv.addSchema(document, "contract");
    const compiled = new Map<string, ReturnType<typeof ajv.compile>>();
    const validate = (schema: object, value: unknown): string => {
      const text = JSON.stringify(schema).replaceAll('"#/', '"contract#/');
      const check = compiled.get(text) ?? ajv.compile(JSON.parse(text) as object);
      compiled.set(text, check);
      return check(value) ? "" : ajv.errorsText(check.errors);
    };
    const wrong: string[] = [];
    let checked = 0;
    for (const operation of operationsOf(document)) {
      const parts = [operation.requestBody ?? {}, ...Object.values(operation.responses)];
      for (const { content = {} } of parts.map((part) => follow(document, part))) {
        for (const [type, media] of Object.entries(content)) {
          const examples = Object.values(media.examples ?? {}).map((example) => follow(document, example).value);
          const values = "example" in media ? [media.example, ...examples] : examples;
          if (values.length === 0 && Object.keys(media.schema).length > 0) {
            wrong.push(`${operation.operationId} ${type}: no example`);
          }
          checked += values.length;
          wrong.push(...values.map((value) => validate(media.schema, value)).filter((text) => text !== ""));
        }
      }
      for (const parameter of operation.parameters ?? []) {
        if (parameter.in === "path") {
          const text = validate(parameter.schema ?? {}, parameter.example);
          wrong.push(...(text === "" ? [] : [`${operation.operationId}: ${text}`]));
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(checked).toBeGreaterThan(500);
  });
});
