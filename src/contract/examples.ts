/** Examples of everything that the contract describes, put together from the schemas and a list of words, so that a field is never missing in one. */
import { isJsonObject, type JsonObject, refTo } from "../http/openapi-parts.js";
import { words } from "./words.js";

interface Place {
  readonly schemas: JsonObject;
  /** The named schema that the value belongs to. */
  readonly owner: string;
  /** From there, the names that lead to it. */
  readonly path: readonly string[];
}

/** Adds examples to every parameter in a path, request and answer of a document that has none. Named schemas are shown once, in `components`. */
export function addExamples(document: JsonObject): void {
  const components = partOf(document, "components");
  const [schemas, examples] = [partOf(components, "schemas"), partOf(components, "examples")];
  for (const [path, operation] of operationsOf(document)) {
    for (const parameter of listOf(operation["parameters"])) {
      addPathExample(parameter, path.split("/"));
    }
    const place = { schemas, owner: String(operation["operationId"]), path: [] };
    for (const holder of [operation["requestBody"], ...Object.values(partOf(operation, "responses"))]) {
      for (const [type, media] of Object.entries(isJsonObject(holder) ? partOf(holder, "content") : {})) {
        if (isJsonObject(media)) {
          addExample(media, type, place, examples);
        }
      }
    }
  }
}

/** A parameter in a path is known by the segment before it. */
function addPathExample(parameter: JsonObject, segments: readonly string[]): void {
  const name = `{${String(parameter["name"])}}`;
  const word = words[`${segments[segments.indexOf(name) - 1] ?? ""}/${name}`];
  if (parameter["in"] === "path" && word !== undefined) {
    parameter["example"] = word;
  }
}

function addExample(media: JsonObject, type: string, place: Place, examples: JsonObject): void {
  const { schema } = media;
  if ("examples" in media || "example" in media || !isJsonObject(schema)) {
    return;
  }
  const name = nameOf(schema);
  if (name !== null) {
    examples[name] ??= { value: exampleOf(schema, place) };
    media["examples"] = { example: refTo("examples", name) };
    return;
  }
  const isText = !type.endsWith("json");
  const example = exampleOf(schema, isText ? { ...place, path: [type] } : place);
  if (example !== undefined) {
    media["example"] = example;
  }
}

/** An example of a schema; undefined where nothing is known of its form. */
function exampleOf(schema: JsonObject, place: Place): unknown {
  const name = nameOf(schema);
  if (name !== null) {
    const named = place.schemas[name];
    const told = ownWord(place);
    return told === null && isJsonObject(named) ? exampleOf(named, { ...place, owner: name, path: [] }) : told?.value;
  }
  const word = ownWord(place) ?? commonWord(schema, place);
  if (word !== null) {
    return word.value;
  }
  if (Array.isArray(schema["allOf"])) {
    const parts = listOf(schema["allOf"]).map((part) => exampleOf(part, partPlace(part, place)));
    return parts.some((part) => !isJsonObject(part)) ? parts[0] : Object.assign({}, ...parts);
  }
  const [first] = [...listOf(schema["oneOf"]), ...listOf(schema["anyOf"])];
  return first === undefined ? plainExample(schema, place) : exampleOf(first, place);
}

/** What a schema takes over from another keeps its words unless the whole has its own. */
function partPlace(part: JsonObject, place: Place): Place {
  return nameOf(part) === null ? place : { ...place, path: [] };
}

function plainExample(schema: JsonObject, place: Place): unknown {
  if ("example" in schema) {
    return schema["example"];
  }
  const values: unknown = schema["enum"];
  if (Array.isArray(values)) {
    return values[0];
  }
  if ("const" in schema) {
    return schema["const"];
  }
  const types = [schema["type"]].flat();
  switch (types.find((type) => type !== "null")) {
    case "object":
      return objectExample(schema, place);
    case "array":
      return isJsonObject(schema["items"]) ? [exampleOf(schema["items"], place)] : [];
    case "string":
      return schema["default"] ?? (schema["format"] === "date-time" ? "2026-11-20T09:30:00.000Z" : "text");
    case "boolean":
      return schema["default"] ?? true;
    case "integer":
    case "number":
      return schema["default"] ?? Math.max(1, Number(schema["minimum"] ?? 1));
    default:
      return undefined;
  }
}

function objectExample(schema: JsonObject, place: Place): JsonObject {
  const example: JsonObject = {};
  for (const [name, property] of Object.entries(partOf(schema, "properties"))) {
    const value = isJsonObject(property) ? exampleOf(property, { ...place, path: [...place.path, name] }) : undefined;
    if (value !== undefined) {
      example[name] = value;
    }
  }
  return example;
}

/** The word for the whole way from the owner. */
function ownWord({ owner, path }: Place): { readonly value: unknown } | null {
  const key = [owner, ...path].join(".");
  return Object.hasOwn(words, key) ? { value: words[key] } : null;
}

/** The word for the end of the way alone, where the schema takes any value of its type. */
function commonWord(schema: JsonObject, { path }: Place): { readonly value: unknown } | null {
  const last = path.at(-1);
  if (last === undefined || !Object.hasOwn(words, last) || "enum" in schema || "const" in schema) {
    return null;
  }
  const value = words[last];
  const types = [schema["type"]].flat();
  return types.includes(undefined) ||
    types.includes(typeOf(value)) ||
    (types.includes("number") && typeof value === "number")
    ? { value }
    : null;
}

/** The type of a value as schemas call it. */
function typeOf(value: unknown): string {
  if (value === null || Array.isArray(value)) {
    return value === null ? "null" : "array";
  }
  return Number.isInteger(value) ? "integer" : typeof value;
}

function nameOf(schema: JsonObject): string | null {
  const reference = schema["$ref"];
  return typeof reference === "string" ? (reference.split("/").at(-1) ?? null) : null;
}

/** Every operation of a document, with its path. */
export function operationsOf(document: JsonObject): [path: string, operation: JsonObject][] {
  return Object.entries(partOf(document, "paths")).flatMap(([path, item]) =>
    Object.values(isJsonObject(item) ? item : {})
      .filter(isJsonObject)
      .map((operation): [string, JsonObject] => [path, operation]),
  );
}

function partOf(parent: JsonObject, name: string): JsonObject {
  const part = parent[name];
  return isJsonObject(part) ? part : {};
}

function listOf(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}
