/** Schemas of a document (OpenAPI 3.1) become JSON Schema 2020-12 that a tool's input is checked by. What a `$ref` names becomes a definition, once, so a cycle is never written out. */
import { AppError } from "../../base/errors.js";
import { isSafePattern } from "./pattern.js";
import { followRefs, membersOf, note, resolveRef, treeAt, type Place, type Reading, type TreePlace } from "./place.js";
import { childPointer, isTree, ownMember, type Tree } from "./tree.js";

/** A schema under way to be written. */
export type Draft = Record<string, unknown>;

/** A `$ref` in a draft. */
export interface RefNode {
  /** The pointer of what it names in the document. */
  readonly target: string;
  readonly node: Draft;
  /** It applies to the same value as the schema that holds it, so a cycle of such refs would never end. */
  readonly inPlace: boolean;
}

/** A schema with the refs that it holds. */
export interface Definition {
  readonly name: string;
  readonly pointer: string;
  schema: Draft | boolean;
  refs: RefNode[];
  /** Length of its JSON, once it is finished. */
  size: number;
}

/** All schemas of a document that were read so far. */
export interface SchemaBook {
  readonly reading: Reading;
  readonly definitions: Map<string, Definition>;
  readonly names: Set<string>;
  readonly waiting: { readonly place: Place; readonly definition: Definition }[];
  /** Schemas that stand where parameters and bodies have them, by pointer: several operations may share one. */
  readonly roots: Map<string, Definition>;
  written: number;
}

const types = ["string", "number", "integer", "boolean", "object", "array", "null"];
/** Schemas written for one document; refs into the midst of others can have one part written several times. */
const maxWritten = 40_000;
const maxTitle = 120;
const maxDescription = 1000;
const maxExample = 200;

/** An empty book. */
export function openBook(reading: Reading): SchemaBook {
  return { reading, definitions: new Map(), names: new Set(), waiting: [], roots: new Map(), written: 0 };
}

/** Reads one schema, and with it all that it refers to. Throws `AppError` `body_too_large` when there are too many. */
export function readSchema(book: SchemaBook, place: Place): Definition {
  const known = book.roots.get(place.pointer);
  if (known !== undefined) {
    return known;
  }
  const root: Definition = { name: "", pointer: place.pointer, schema: true, refs: [], size: 0 };
  book.roots.set(place.pointer, root);
  root.schema = write({ book, refs: root.refs, inPlace: true }, place);
  for (let next = book.waiting.pop(); next !== undefined; next = book.waiting.pop()) {
    const { definition } = next;
    if (followRefs(book.reading, next.place) !== null) {
      definition.schema = write({ book, refs: definition.refs, inPlace: true }, next.place);
    }
  }
  return root;
}

/** Whether a schema of the document stands for raw bytes: OpenAPI 3.1 names a media type and no encoding, 3.0 says `format: binary`. */
export function isRawBytes(schema: Tree): boolean {
  const mediaType = schema["contentMediaType"];
  if (schema["format"] === "binary") {
    return true;
  }
  const isText = typeof mediaType === "string" && /^text\/|json|xml/.test(mediaType);
  return (
    typeof mediaType === "string" &&
    !isText &&
    schema["contentEncoding"] === undefined &&
    (schema["type"] === undefined || schema["type"] === "string")
  );
}

interface Writing {
  readonly book: SchemaBook;
  readonly refs: RefNode[];
  readonly inPlace: boolean;
}

/** What a keyword's value must be. Malformed values are left out: the provider's own server checks them anyway. */
type Keyword = "schema" | "schemas" | "map" | "count" | "number" | "positive" | "flag" | "text" | "names" | "any";

const keywords: ReadonlyMap<string, Keyword> = new Map([
  ...keywordsOf("text", "format", "contentEncoding", "contentMediaType"),
  ...keywordsOf("any", "const", "default"),
  ...keywordsOf("flag", "deprecated", "writeOnly", "uniqueItems"),
  ...keywordsOf("number", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
  ...keywordsOf("positive", "multipleOf"),
  ...keywordsOf(
    "count",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
  ),
  ...keywordsOf("names", "required"),
  ...keywordsOf("map", "properties", "patternProperties", "dependentSchemas"),
  ...keywordsOf("schema", "additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else"),
  ...keywordsOf("schemas", "prefixItems", "allOf", "anyOf", "oneOf"),
]);

function keywordsOf(kind: Keyword, ...names: readonly string[]): readonly (readonly [string, Keyword])[] {
  return names.map((name) => [name, kind] as const);
}

/** Keywords whose schemas apply to the very value that the schema itself applies to. */
const inPlaceKeywords = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];

function write(writing: Writing, place: Place): Draft | boolean {
  const { reading } = writing.book;
  writing.book.written += 1;
  if (writing.book.written > maxWritten) {
    throw new AppError("body_too_large", {
      detail: `The operations of the OpenAPI document use more than ${maxWritten} schemas. Leave out operations that are not needed.`,
    });
  }
  if (typeof place.value === "boolean") {
    return place.value;
  }
  if (!isTree(place.value)) {
    note(reading, place.pointer, "Expected a schema: an object, or true or false.");
    return true;
  }
  const from: TreePlace = { value: place.value, pointer: place.pointer };
  const draft: Draft = {};
  writeRef(writing, from, draft);
  writeTexts(from.value, draft);
  writeType(reading, from, draft);
  for (const [keyword, value] of Object.entries(from.value)) {
    const kind = keywords.get(keyword);
    if (kind === undefined || value === undefined) {
      continue;
    }
    const at = { value, pointer: childPointer(from.pointer, keyword) };
    const written = writeKeyword({ ...writing, inPlace: inPlaceKeywords.includes(keyword) }, kind, at);
    if (written !== undefined) {
      draft[keyword] = written;
    }
  }
  writePatterns(from.value, draft);
  dropReadOnly(reading, from, draft);
  if (isRawBytes(from.value)) {
    writeBytes(draft);
  }
  return draft;
}

function writeRef(writing: Writing, from: TreePlace, draft: Draft): void {
  const ref = from.value["$ref"];
  if (typeof ref !== "string") {
    return;
  }
  const target = resolveRef(writing.book.reading, { value: from.value, pointer: from.pointer });
  if (target !== null) {
    draft["$ref"] = `#/$defs/${define(writing.book, target).name}`;
    writing.refs.push({ target: target.pointer, node: draft, inPlace: writing.inPlace });
  }
}

function define(book: SchemaBook, place: Place): Definition {
  const known = book.definitions.get(place.pointer);
  if (known !== undefined) {
    return known;
  }
  const last = place.pointer.slice(place.pointer.lastIndexOf("/") + 1);
  const stem = last.replace(/[^A-Za-z0-9_.-]+/g, "_").slice(0, 60) || "schema";
  let name = stem;
  for (let suffix = 2; book.names.has(name); suffix += 1) {
    name = `${stem}_${suffix}`;
  }
  book.names.add(name);
  const definition: Definition = { name, pointer: place.pointer, schema: true, refs: [], size: 0 };
  book.definitions.set(place.pointer, definition);
  book.waiting.push({ place, definition });
  return definition;
}

function writeTexts(tree: Tree, draft: Draft): void {
  const title = tree["title"];
  if (typeof title === "string" && title !== "") {
    draft["title"] = clip(title, maxTitle);
  }
  const description = tree["description"];
  if (typeof description === "string" && description !== "") {
    draft["description"] = clip(description, maxDescription);
  }
  const examples: unknown = tree["examples"];
  const example: unknown = Array.isArray(examples) ? examples[0] : undefined;
  if (example !== undefined && JSON.stringify(example).length <= maxExample) {
    draft["examples"] = [example];
  }
}

function writeType(reading: Reading, from: TreePlace, draft: Draft): void {
  const given = ownMember(from.value, "type");
  // The upgrade of a nullable list of types nests the list.
  const names: readonly unknown[] = [given].flat(2).filter((name) => name !== undefined && name !== "any");
  const wrong = names.find((name) => typeof name !== "string" || !types.includes(name));
  if (wrong !== undefined) {
    const shown = typeof wrong === "string" ? `"${clip(wrong, 40)}"` : "This";
    note(reading, childPointer(from.pointer, "type"), `${shown} is no type. The types are ${types.join(", ")}.`);
    return;
  }
  const unique = [...new Set(names)];
  if (unique.length > 0) {
    draft["type"] = unique.length === 1 ? unique[0] : unique;
  }
  const values: unknown = ownMember(from.value, "enum");
  if (Array.isArray(values) && values.length > 0) {
    draft["enum"] = values;
  }
}

function writeKeyword(writing: Writing, kind: Keyword, at: Place): unknown {
  const { value } = at;
  switch (kind) {
    case "schema":
      return Array.isArray(value) ? undefined : write(writing, at);
    case "schemas":
      return writeSchemas(writing, at);
    case "map":
      return writeMap(writing, at);
    case "count":
      return Number.isSafeInteger(value) && Number(value) >= 0 ? value : undefined;
    case "number":
      return Number.isFinite(value) ? value : undefined;
    case "positive":
      return Number.isFinite(value) && Number(value) > 0 ? value : undefined;
    case "flag":
      return value === true ? true : undefined;
    case "text":
      return typeof value === "string" ? value : undefined;
    case "names":
      return Array.isArray(value) ? [...new Set(value.filter((name) => typeof name === "string"))] : undefined;
    case "any":
      return value;
  }
}

function writeSchemas(writing: Writing, at: Place): readonly (Draft | boolean)[] | undefined {
  if (!Array.isArray(at.value)) {
    note(writing.book.reading, at.pointer, "Expected a list of schemas.");
    return undefined;
  }
  const schemas: readonly unknown[] = at.value;
  return schemas.length === 0
    ? undefined
    : schemas.map((value, index) => write(writing, { value, pointer: childPointer(at.pointer, String(index)) }));
}

function writeMap(writing: Writing, at: Place): Readonly<Record<string, Draft | boolean>> | undefined {
  const place = treeAt(writing.book.reading, at);
  return place === null
    ? undefined
    : Object.fromEntries(membersOf(place, true).map(([name, child]) => [name, write(writing, child)]));
}

/** A costly pattern is not checked here but told: in the description, where whoever fills the input reads it. */
function writePatterns(tree: Tree, draft: Draft): void {
  const pattern = tree["pattern"];
  if (typeof pattern === "string" && isSafePattern(pattern)) {
    draft["pattern"] = pattern;
  } else if (typeof pattern === "string" && pattern.length <= maxExample) {
    const before = draft["description"];
    draft["description"] = `${typeof before === "string" ? `${before} ` : ""}Must match /${pattern}/.`;
  }
  const byPattern = draft["patternProperties"];
  if (isTree(byPattern)) {
    const safe = Object.entries(byPattern).filter(([name]) => isSafePattern(name));
    draft["patternProperties"] = Object.fromEntries(safe);
    if (safe.length < Object.keys(byPattern).length) {
      // What an unchecked pattern would have allowed must not be refused.
      delete draft["additionalProperties"];
    }
  }
}

/** What only an answer holds is no input. */
function dropReadOnly(reading: Reading, from: TreePlace, draft: Draft): void {
  const { properties, required } = draft;
  if (!isTree(properties)) {
    return;
  }
  const given = ownMember(from.value, "properties");
  const hidden = Object.keys(properties).filter((name) => {
    const child = ownMember(given, name);
    const place = { value: child, pointer: childPointer(childPointer(from.pointer, "properties"), name) };
    const target =
      isTree(child) && typeof child["$ref"] === "string" ? resolveRef(reading, { ...place, value: child }) : place;
    return ownMember(child, "readOnly") === true || ownMember(target?.value, "readOnly") === true;
  });
  if (hidden.length > 0) {
    draft["properties"] = Object.fromEntries(Object.entries(properties).filter(([name]) => !hidden.includes(name)));
    if (Array.isArray(required)) {
      draft["required"] = required.filter((name) => !hidden.includes(String(name)));
    }
  }
}

function writeBytes(draft: Draft): void {
  delete draft["format"];
  draft["type"] = "string";
  draft["contentEncoding"] = "base64";
}

/** A text cut to a length, with an ellipsis where it was. */
export function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).toWellFormed()}…`;
}
