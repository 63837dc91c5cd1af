/** Holds what the Worker answers against its own contract: what is sent must be declared, field by field. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { endpoints } from "../../src/app.js";
import { describeGateway } from "../../src/contract/gateway.js";
import { describeMcp } from "../../src/contract/mcp.js";
import { describeService } from "../../src/contract/service.js";
import type { Endpoint } from "../../src/http/endpoint.js";
import { type Description, describeEndpoints } from "../../src/http/openapi.js";
import { isJsonObject, type JsonObject } from "../../src/http/openapi-parts.js";

/** An answer, read to its end. */
interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

interface Operation {
  readonly name: string;
  readonly responses: JsonObject;
  readonly schemas: JsonObject;
}

interface Route {
  readonly method: string;
  readonly template: string;
  readonly describe: () => Operation;
}

const shared = { responses: {} as JsonObject, examples: {} as JsonObject };
const ajv = new Ajv2020({ strict: false, allErrors: true });
ajv.addFormat("date-time", (text) => /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text) && !Number.isNaN(Date.parse(text)));
ajv.addFormat("email", /^\S+@\S+$/);
ajv.addFormat("uri-reference", /^\S*$/);
ajv.addFormat("uri", (text) => URL.canParse(text));

/** Headers that mean something to a caller, and are declared where they may stand. */
const meaningful = ["etag", "location", "retry-after", "idempotency-replayed", "www-authenticate", "allow"];

/** Throws an `Error` that says how an answer differs from the contract. Addresses that the contract does not know are nobody's. */
export function checkAnswer(method: string, pathAndQuery: string, told: Told): void {
  const operation = operationFor(method, pathAndQuery.split("?")[0] ?? "");
  if (operation === null) {
    return;
  }
  const problem = findProblem(operation, told);
  if (problem !== null) {
    const { status, text } = told;
    const what = `${operation.name} answered ${status}, which its contract does not say: ${problem}`;
    throw new Error(`${what}\n${text.slice(0, 600)}`);
  }
}

function findProblem(operation: Operation, told: Told): string | null {
  const { status, headers, text } = told;
  const range = `${Math.floor(status / 100)}XX`;
  const declared = operation.responses[status] ?? operation.responses[range];
  if (!isJsonObject(declared)) {
    return "the status is not declared";
  }
  const response = follow(declared);
  const declaredHeaders = Object.keys(partOf(response, "headers")).map((name) => name.toLowerCase());
  const stray = meaningful.find((name) => headers.has(name) && !declaredHeaders.includes(name));
  if (stray !== undefined) {
    return `the header ${stray} is not declared`;
  }
  const missing = ["x-request-id", "location"].find((name) => declaredHeaders.includes(name) && !headers.has(name));
  if (missing !== undefined) {
    return `the header ${missing} is missing`;
  }
  const content = partOf(response, "content");
  const type = headers.get("content-type")?.split(";")[0] ?? null;
  if (Object.keys(content).length === 0) {
    return text === "" ? null : "it has a body";
  }
  const media = type === null ? undefined : (content[type] ?? content[`${type.split("/")[0]}/*`]);
  if (!isJsonObject(media)) {
    return `its content type is ${type}`;
  }
  return type !== null && /[/+]json$/.test(type) ? checkJson(operation, response, media, told) : null;
}

function checkJson(operation: Operation, response: JsonObject, media: JsonObject, told: Told): string | null {
  const body: unknown = JSON.parse(told.text);
  const validate = validatorOf(media, operation.schemas);
  if (!validate(body)) {
    return ajv.errorsText(validate.errors, { dataVar: "body" });
  }
  const codes = response["x-error-codes"];
  const code = isJsonObject(body) ? body["code"] : undefined;
  // On the wires of the gateway the provider's own errors have any code.
  return Array.isArray(codes) && code !== undefined && !codes.includes(code)
    ? `the code ${JSON.stringify(code)} is not declared`
    : null;
}

const validators = new Map<JsonObject, ValidateFunction>();

function validatorOf(media: JsonObject, schemas: JsonObject): ValidateFunction {
  const known = validators.get(media);
  if (known !== undefined) {
    return known;
  }
  const validate = ajv.compile(close(media["schema"], schemas));
  validators.set(media, validate);
  return validate;
}

/** A schema with its references followed, and taking no field that it does not name unless it says so. */
function close(schema: unknown, schemas: JsonObject, isPart = false): JsonObject {
  if (!isJsonObject(schema)) {
    return {};
  }
  const reference = schema["$ref"];
  if (typeof reference === "string") {
    const { $ref: _, ...beside } = schema;
    return { ...close(schemas[reference.split("/").at(-1) ?? ""], schemas, isPart), ...beside };
  }
  const closed: JsonObject = { ...schema };
  const { properties, items, additionalProperties } = schema;
  if (isJsonObject(properties)) {
    closed["properties"] = Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, close(property, schemas)]),
    );
  }
  if (isJsonObject(items)) {
    closed["items"] = close(items, schemas);
  }
  if (isJsonObject(additionalProperties)) {
    closed["additionalProperties"] = close(additionalProperties, schemas);
  }
  for (const word of ["oneOf", "anyOf", "allOf"]) {
    const parts: unknown = schema[word];
    if (Array.isArray(parts)) {
      closed[word] = parts.map((part) => close(part, schemas, isPart || word === "allOf"));
    }
  }
  if (!isPart && additionalProperties === undefined && ("allOf" in schema || isJsonObject(properties))) {
    closed["allOf" in schema ? "unevaluatedProperties" : "additionalProperties"] = false;
  }
  return closed;
}

const described = new Map<Route, Operation>();

/** The operation behind an address; a template with more fixed segments goes before others. */
function operationFor(method: string, path: string): Operation | null {
  const route = routesOf()
    .filter((candidate) => candidate.method === method.toLowerCase() && matches(candidate.template, path))
    .toSorted((left, right) => left.template.split("{").length - right.template.split("{").length)[0];
  if (route === undefined) {
    return null;
  }
  const operation = described.get(route) ?? route.describe();
  described.set(route, operation);
  return operation;
}

function matches(template: string, path: string): boolean {
  const [wanted, given] = [template.split("/"), path.split("/")];
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => (segment.startsWith("{") ? given[index] !== "" : segment === given[index]))
  );
}

let routes: readonly Route[] | undefined;

function routesOf(): readonly Route[] {
  routes ??= [...endpoints.map(toRoute), ...[describeService, describeGateway, describeMcp].flatMap(toRoutes)];
  return routes;
}

/** Describing them all would take a tenth of a second in every file. */
function toRoute(endpoint: Endpoint): Route {
  const { method, path } = endpoint.spec;
  return {
    method,
    template: path,
    describe: () => toOperation(describeEndpoints([endpoint], shared), path, method),
  };
}

function toRoutes(describe: (components: typeof shared) => Description): Route[] {
  const description = describe(shared);
  return Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.keys(isJsonObject(methods) ? methods : {}).map((method) => ({
      method,
      template: path,
      describe: () => toOperation(description, path, method),
    })),
  );
}

function toOperation({ paths, schemas }: Description, path: string, method: string): Operation {
  const operation = partOf(partOf(paths, path), method);
  return { name: String(operation["operationId"]), responses: partOf(operation, "responses"), schemas };
}

function follow(part: JsonObject): JsonObject {
  const reference = part["$ref"];
  return typeof reference === "string" ? partOf(shared.responses, reference.split("/").at(-1) ?? "") : part;
}

function partOf(parent: JsonObject, name: string): JsonObject {
  const part = parent[name];
  return isJsonObject(part) ? part : {};
}
