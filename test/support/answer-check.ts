/** Holds an answer against what an OpenAPI document declares of its operation: plain TypeScript, for workerd and for Node. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";

/** A JSON object as the document has it. */
export type JsonObject = Record<string, unknown>;

/** An answer. `text` is null where the body is not read, such as a stream's: then its type alone is checked. */
export interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string | null;
}

/** What the document declares of one operation, and the components that its references lead to. */
export interface Operation {
  readonly name: string;
  /** By status, or by such a word as `4XX`. */
  readonly responses: JsonObject;
  readonly components: { readonly responses: JsonObject; readonly schemas: JsonObject };
}

const ajv = new Ajv2020({ strict: false, allErrors: true });
ajv.addFormat("date-time", (text) => /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text) && !Number.isNaN(Date.parse(text)));
ajv.addFormat("email", /^\S+@\S+$/);
ajv.addFormat("uri-reference", /^\S*$/);
ajv.addFormat("uri", (text) => URL.canParse(text));
ajv.addFormat("int32", { type: "number", validate: (value) => Math.abs(value) <= 2 ** 31 });
ajv.addFormat("int64", { type: "number", validate: (value) => Number.isInteger(value) });

/** Headers that say how an answer travels, or how a browser may treat it, and nothing of what was asked: these are not declared. */
const plumbing = new Set([
  "cache-control",
  "connection",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-security-policy",
  "content-type",
  "cross-origin-opener-policy",
  "cross-origin-resource-policy",
  "date",
  "keep-alive",
  "permissions-policy",
  "referrer-policy",
  "set-cookie",
  "strict-transport-security",
  "transfer-encoding",
  "vary",
  "x-accel-buffering",
  "x-content-type-options",
  "x-frame-options",
]);

/**
 * The sentence for a test that got an answer which is not as declared, with the beginning of its body; null when it is.
 * An address without an operation may refuse or show a page, and nothing else.
 */
export function judge(operation: Operation | null, method: string, path: string, told: Told): string | null {
  if (operation === null) {
    const mayAnswer = method === "OPTIONS" || method === "HEAD" || (method === "GET" && !isJson(told));
    return mayAnswer || told.status >= 300
      ? null
      : `${method} ${path} answered ${told.status} and is not in the contract`;
  }
  // To a browser an invite's link and its forms are pages, found or not, which the contract says in words.
  const isPage = path.startsWith("/invites/") && told.headers.get("content-type")?.startsWith("text/html") === true;
  const problem = isPage ? null : findProblem(operation, told);
  return problem === null
    ? null
    : `${operation.name} answered ${told.status}, which its contract does not say: ${problem}\n${(told.text ?? "").slice(0, 600)}`;
}

/** What an answer has that its operation does not declare, or lacks, in a sentence; null when it is as declared. */
function findProblem(operation: Operation, told: Told): string | null {
  const { status, headers, text } = told;
  const range = `${Math.floor(status / 100)}XX`;
  const declared = operation.responses[status] ?? operation.responses[range];
  if (!isJsonObject(declared)) {
    return "the status is not declared";
  }
  const response = follow(declared, operation.components.responses);
  const declaredHeaders = Object.keys(partOf(response, "headers")).map((name) => name.toLowerCase());
  const stray = [...headers.keys()].find((name) => !isPlumbing(name) && !declaredHeaders.includes(name));
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
    return text === "" || (text === null && type === null) ? null : "it has a body";
  }
  const media = type === null ? undefined : (content[type] ?? content[`${type.split("/")[0]}/*`]);
  if (!isJsonObject(media)) {
    return `its content type is ${type}`;
  }
  return text !== null && isJson(told) ? checkJson(operation, response, media, text) : null;
}

/** Whether an answer's body is one JSON value, by its content type. */
export function isJson({ headers }: { readonly headers: Headers }): boolean {
  return /^[^;]*[/+]json\s*(;|$)/.test(headers.get("content-type") ?? "");
}

function isPlumbing(name: string): boolean {
  return plumbing.has(name) || name.startsWith("access-control-");
}

function checkJson(operation: Operation, response: JsonObject, media: JsonObject, text: string): string | null {
  const body = readJson(text);
  if (body === undefined) {
    return "its body is no JSON";
  }
  const validate = validatorOf(media, operation.components.schemas);
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

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
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

/** The operation that an address means: of the templates that fit, the one with more fixed segments goes before others. */
export function findRoute<R extends { readonly method: string; readonly template: string }>(
  routes: readonly R[],
  method: string,
  path: string,
): R | undefined {
  return routes
    .filter((candidate) => candidate.method === method.toLowerCase() && matches(candidate.template, path))
    .toSorted((left, right) => left.template.split("{").length - right.template.split("{").length)[0];
}

function matches(template: string, path: string): boolean {
  const [wanted, given] = [template.split("/"), path.split("/")];
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => (segment.startsWith("{") ? given[index] !== "" : segment === given[index]))
  );
}

/** A component response in place of the reference to it. */
function follow(part: JsonObject, responses: JsonObject): JsonObject {
  const reference = part["$ref"];
  return typeof reference === "string" ? partOf(responses, reference.split("/").at(-1) ?? "") : part;
}

/** An object's part that is an object too; an empty one when it is not. */
export function partOf(parent: JsonObject, name: string): JsonObject {
  const part = parent[name];
  return isJsonObject(part) ? part : {};
}

function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
