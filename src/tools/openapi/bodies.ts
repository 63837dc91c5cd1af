/** The body of an operation: which media type is sent, and whether its properties stand in the input themselves or the body is one property. */
import type { BodyProperty, CallBody, CallParameter } from "../contract.js";
import { followRefs, itemsOf, member, membersOf, treeAt, type Place, type TreePlace } from "./place.js";
import { isRawBytes, readSchema, type Definition, type Draft, type SchemaBook } from "./schemas.js";
import { isTree, ownMember } from "./tree.js";

/** A body together with the part of the input that fills it. */
export interface ReadBody {
  readonly call: CallBody;
  readonly isRequired: boolean;
  /** The schema of the whole body, when `call.input` is not null. */
  readonly schema: Draft | boolean;
  /** The properties that stand in the input, otherwise. */
  readonly properties: Readonly<Record<string, Draft | boolean>>;
  readonly required: readonly string[];
  readonly definitions: readonly Definition[];
}

/** Members of an object's schema that say nothing beyond its properties. */
const plainKeywords: readonly string[] = [
  "type",
  "properties",
  "required",
  "allOf",
  "title",
  "description",
  "examples",
  "default",
  "deprecated",
  "$ref",
];
const maxMerge = 20;
/** Names that every client takes as a property of a tool's input. */
const plainName = /^[a-zA-Z0-9_.-]{1,64}$/;

/** The body's media type in the order in which we would rather write it. */
const preferred: readonly RegExp[] = [
  /^application\/json\b/,
  /^application\/([a-z0-9.+-]+\+)?json\b/,
  /^\*\/\*$|^application\/\*$/,
  /^application\/x-www-form-urlencoded\b/,
  /^multipart\/form-data\b/,
  /^text\/|\bxml\b/,
];

/** What an operation takes as its body; null when it takes none that can be written. */
export function readBody(book: SchemaBook, at: Place | null): ReadBody | null {
  const place = treeAt(book.reading, at);
  const content = place === null ? null : treeAt(book.reading, member(place, "content"));
  if (place === null || content === null) {
    return null;
  }
  const types = membersOf(content);
  const [best] = types.toSorted(([a], [b]) => rank(a) - rank(b));
  const media = best === undefined ? null : treeAt(book.reading, best[1]);
  if (best === undefined || media === null) {
    return null;
  }
  const isRequired = place.value["required"] === true;
  const type = rank(best[0]) === 2 ? "application/json" : best[0];
  const schema = member(media, "schema");
  if (rank(best[0]) <= 2) {
    return readJson(book, schema, type, isRequired);
  }
  if (rank(best[0]) <= 4) {
    return readForm(book, media, type, isRequired);
  }
  return rank(best[0]) === 5
    ? whole(type, "text", { type: "string" }, null, isRequired)
    : whole(type.includes("*") ? "application/octet-stream" : type, "file", fileSchema(null), null, isRequired);
}

/** A type's index in `preferred`, or the list's length. */
function rank(type: string): number {
  const index = preferred.findIndex((pattern) => pattern.test(type.toLowerCase()));
  return index === -1 ? preferred.length : index;
}

function readJson(book: SchemaBook, at: Place | null, type: string, isRequired: boolean): ReadBody {
  const definition = at === null ? null : readSchema(book, at);
  const flat = at === null ? null : flatten(book, at);
  return flat === null
    ? whole(type, "json", definition?.schema ?? {}, definition, isRequired)
    : {
        ...whole(type, "json", true, null, isRequired),
        call: {
          content_type: type,
          input: null,
          encoding: "json",
          properties: flat.names.map((name) => bodyProperty(name, "json")),
        },
        properties: flat.properties,
        required: flat.required,
        definitions: flat.definitions,
      };
}

function readForm(book: SchemaBook, media: TreePlace, type: string, isRequired: boolean): ReadBody {
  const at = member(media, "schema");
  const flat = at === null ? null : flatten(book, at);
  if (flat === null) {
    return whole(type, "value", { type: "object" }, null, isRequired);
  }
  const encodings = treeAt(book.reading, member(media, "encoding"));
  const written = flat.names.map((name) => {
    const place = flat.places.get(name) ?? null;
    const encoding = encodings === null ? null : treeAt(book.reading, member(encodings, name));
    return formProperty(book, name, place, encoding);
  });
  const properties = Object.fromEntries(
    written.map(({ name, encoding }) => [
      name,
      encoding === "file" ? fileOf(flat, name) : (flat.properties[name] ?? true),
    ]),
  );
  return {
    ...whole(type, "value", true, null, isRequired),
    call: { content_type: type, input: null, encoding: "value", properties: written },
    properties,
    required: flat.required,
    definitions: flat.definitions,
  };
}

function formProperty(book: SchemaBook, name: string, at: Place | null, encoding: TreePlace | null): BodyProperty {
  const schema = at === null ? null : followRefs(book.reading, at)?.value;
  const items = ownMember(schema, "items");
  const item =
    isTree(items) && at !== null
      ? followRefs(book.reading, { value: items, pointer: `${at.pointer}/items` })?.value
      : null;
  const given = encoding?.value["contentType"];
  const contentType = typeof given === "string" ? (given.split(",")[0]?.trim() ?? null) : null;
  const isFile = [schema, item].some((tree) => isTree(tree) && isRawBytes(tree));
  const isNested =
    ownMember(schema, "type") === "object" ||
    (ownMember(schema, "properties") ?? ownMember(item, "properties")) !== undefined;
  const isJson = contentType === null ? isNested && encoding?.value["style"] === undefined : /json/.test(contentType);
  const style = encoding?.value["style"];
  const explode = encoding?.value["explode"];
  const known: CallParameter["style"] =
    style === "spaceDelimited" || style === "pipeDelimited" || style === "deepObject" ? style : "form";
  return {
    name,
    encoding: isFile ? "file" : isJson ? "json" : "value",
    style: known,
    explode: typeof explode === "boolean" ? explode : known === "form",
    content_type: contentType,
  };
}

function bodyProperty(name: string, encoding: BodyProperty["encoding"]): BodyProperty {
  return { name, encoding, style: "form", explode: true, content_type: null };
}

function whole(
  type: string,
  encoding: CallBody["encoding"],
  schema: Draft | boolean,
  definition: Definition | null,
  isRequired: boolean,
): ReadBody {
  return {
    call: { content_type: type, input: "body", encoding, properties: [] },
    isRequired,
    schema,
    properties: {},
    required: [],
    definitions: definition === null ? [] : [definition],
  };
}

/** Bytes in an input: base64, or base64 with a name and type. A list of files stays a list. */
function fileSchema(description: string | null): Draft {
  const base64 = { type: "string", contentEncoding: "base64" };
  const named = {
    type: "object",
    properties: { base64, filename: { type: "string" }, mime_type: { type: "string" } },
    required: ["base64"],
    additionalProperties: false,
  };
  return { ...(description === null ? {} : { description }), anyOf: [base64, named] };
}

function fileOf(flat: Flat, name: string): Draft {
  const schema = flat.properties[name];
  const words = isTree(schema) ? schema["description"] : undefined;
  const description = typeof words === "string" ? words : null;
  return isTree(schema) && schema["type"] === "array"
    ? { ...(description === null ? {} : { description }), type: "array", items: fileSchema(null) }
    : fileSchema(description);
}

interface Flat {
  readonly names: readonly string[];
  readonly properties: Readonly<Record<string, Draft | boolean>>;
  readonly required: readonly string[];
  readonly places: ReadonlyMap<string, Place>;
  readonly definitions: readonly Definition[];
}

/** The properties of a plain object, those of its `allOf` with them; null for any schema that says more than properties can. */
function flatten(book: SchemaBook, at: Place): Flat | null {
  const properties = new Map<string, Draft | boolean>();
  const places = new Map<string, Place>();
  const required = new Set<string>();
  const definitions: Definition[] = [];
  const open: Place[] = [at];
  for (let merged = 0, next = open.shift(); next !== undefined; merged += 1, next = open.shift()) {
    const target = followRefs(book.reading, next);
    const tree = target?.value;
    if (target === null || !isTree(tree) || !isPlain(tree) || merged > maxMerge) {
      return null;
    }
    const definition = readSchema(book, target);
    const schema = definition.schema;
    definitions.push(definition);
    const given = isTree(schema) ? schema["properties"] : undefined;
    for (const [name, value] of Object.entries(isTree(given) ? given : {})) {
      if (properties.has(name) || !plainName.test(name) || (typeof value !== "boolean" && !isTree(value))) {
        return null;
      }
      properties.set(name, value);
      places.set(name, { value: ownMember(tree["properties"], name), pointer: `${target.pointer}/properties/${name}` });
    }
    for (const name of isTree(schema) && Array.isArray(schema["required"]) ? schema["required"] : []) {
      required.add(String(name));
    }
    open.push(...itemsOf(book.reading, member({ value: tree, pointer: target.pointer }, "allOf")));
  }
  return properties.size === 0
    ? null
    : {
        names: [...properties.keys()],
        properties: Object.fromEntries(properties),
        required: [...required].filter((name) => properties.has(name)),
        places,
        definitions,
      };
}

function isPlain(tree: Readonly<Record<string, unknown>>): boolean {
  const others = Object.keys(tree).filter((key) => !plainKeywords.includes(key) && !key.startsWith("x-"));
  return (
    (tree["type"] === undefined || tree["type"] === "object") &&
    others.every(
      (key) =>
        ["externalDocs", "xml", "nullable"].includes(key) || (key === "additionalProperties" && tree[key] === false),
    )
  );
}
