/** Input schemas as servers list them, made safe to apply: nothing in them can cost more than a bounded time, or points outside. */
import type { JsonSchema } from "../contract.js";
import { isSafePattern } from "../openapi/pattern.js";

/** Of one schema, as JSON. */
const maxChars = 262_144;
const maxDepth = 64;
/** Places that one look through the schema may come to, each `$ref` counted as what it stands for. */
const maxPlaces = 200_000;

/** Anything: the server itself says what is wrong with an input. */
const anyObject: JsonSchema = { type: "object" };

/**
 * The schema without patterns that can be slow and without references to other documents. One that is longer than 256 KiB,
 * deeper than 64 levels or grows beyond measure when its references are followed gives way to "any object".
 */
export function tameSchema(schema: unknown): JsonSchema {
  const text = JSON.stringify(schema);
  if (text.length > maxChars || depthOf(text) > maxDepth) {
    return anyObject;
  }
  const tame = tameNode(schema);
  return isNode(tame) && countPlaces(tame, tame, new Map()) <= maxPlaces ? { ...tame, type: "object" } : anyObject;
}

type Node = Readonly<Record<string, unknown>>;

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Levels of a JSON text. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    depth += token === "{" || token === "[" ? 1 : token === "}" || token === "]" ? -1 : 0;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

function tameNode(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(tameNode);
  }
  if (!isNode(value)) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, inner]) => !isWild(name, inner))
      .map(([name, inner]) => [name, name === "patternProperties" ? tamePatterns(inner) : tameNode(inner)]),
  );
}

/** A property may be named `pattern` or `$ref` too; then what it holds is a schema, not a text. */
function isWild(name: string, value: unknown): boolean {
  if (typeof value !== "string") {
    return false;
  }
  switch (name) {
    case "pattern":
      return !isSafePattern(value);
    case "$ref":
      return !value.startsWith("#");
    case "$id":
    case "$anchor":
    case "$dynamicRef":
    case "$recursiveRef":
      return true;
    default:
      return false;
  }
}

function tamePatterns(value: unknown): unknown {
  return isNode(value)
    ? Object.fromEntries(
        Object.entries(value)
          .filter(([pattern]) => isSafePattern(pattern))
          .map(([pattern, inner]) => [pattern, tameNode(inner)]),
      )
    : value;
}

/** Places below a value, with references followed once each way they are reached; one that is still being counted ends there. */
function countPlaces(root: Node, value: unknown, counted: Map<unknown, number>): number {
  if (typeof value !== "object" || value === null) {
    return 1;
  }
  const known = counted.get(value);
  if (known !== undefined) {
    return known;
  }
  counted.set(value, 1);
  let places = 1;
  for (const inner of Object.values(value)) {
    places += countPlaces(root, inner, counted);
  }
  const reference = isNode(value) ? value["$ref"] : undefined;
  if (typeof reference === "string") {
    places += countPlaces(root, resolve(root, reference), counted);
  }
  counted.set(value, places);
  return places;
}

/** What a reference within the schema stands for (RFC 6901 in a fragment). */
function resolve(root: Node, reference: string): unknown {
  let at: unknown = root;
  for (const part of reference.slice(1).split("/").slice(1)) {
    const name = decodePart(part);
    at = (isNode(at) || Array.isArray(at)) && Object.hasOwn(at, name) ? Reflect.get(at, name) : undefined;
  }
  return at;
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return part;
  }
}
