/** The parameters of an operation: which there are, how each is written into the request, and which property of the input fills it. */
import type { CallParameter } from "../contract.js";
import { itemsOf, member, membersOf, note, textOf, treeAt, type Place, type Reading, type TreePlace } from "./place.js";
import { clip, readSchema, type Definition, type Draft, type SchemaBook } from "./schemas.js";
import { isTree } from "./tree.js";

/** A parameter together with the schema of its value. */
export interface ReadParameter {
  readonly parameter: CallParameter;
  readonly isRequired: boolean;
  readonly schema: Draft | boolean;
  /** What the schema belongs to; null for one that the document does not give. */
  readonly definition: Definition | null;
}

const locations = ["path", "query", "header", "cookie"] as const;
const styles = {
  path: ["simple", "label", "matrix"],
  query: ["form", "spaceDelimited", "pipeDelimited", "deepObject"],
  header: ["simple"],
  cookie: ["form"],
} as const;
const maxParameters = 200;
const maxName = 200;

/** Headers that describe the transport or carry credentials: never an input. The first three by the specification's word. */
const closedHeaders =
  /^(accept|content-type|authorization|host|cookie|content-length|content-encoding|connection|transfer-encoding|te|trailer|upgrade|keep-alive|expect|user-agent|origin|referer|via|forwarded|x-forwarded-.*|x-real-ip|true-client-ip|proxy-.*|sec-.*|cf-.*|idempotency-key)$/i;

/** What an operation takes beside its body: its own parameters before those of its path, then what the template names and nobody declares. */
export function readParameters(
  book: SchemaBook,
  shared: Place | null,
  own: Place | null,
  path: string,
): readonly ReadParameter[] {
  const { reading } = book;
  const found = new Map<string, ReadParameter>();
  for (const place of [...itemsOf(reading, own), ...itemsOf(reading, shared)]) {
    const read = readParameter(book, place);
    const key = read === null ? "" : `${read.parameter.in} ${read.parameter.name}`;
    if (read !== null && !found.has(key)) {
      found.set(key, read);
    }
    if (found.size > maxParameters) {
      note(reading, place.pointer, `An operation may have at most ${maxParameters} parameters.`);
      break;
    }
  }
  const named = new Set(Array.from(path.matchAll(/\{([^{}]+)\}/g), (match) => match[1] ?? ""));
  const undeclared = [...named].filter((name) => !found.has(`path ${name}`));
  return [
    ...undeclared.map((name) => pathParameter(name)),
    // A declared one without a place in the template has nowhere to go.
    ...[...found.values()].filter(({ parameter }) => parameter.in !== "path" || named.has(parameter.name)),
  ].toSorted((a, b) => locations.indexOf(a.parameter.in) - locations.indexOf(b.parameter.in));
}

/** Whether an operation's input can hold this parameter at all. */
export function isOpen(parameter: CallParameter): boolean {
  return parameter.in !== "header" || !closedHeaders.test(parameter.name);
}

function readParameter(book: SchemaBook, at: Place): ReadParameter | null {
  const { reading } = book;
  const place = treeAt(reading, at);
  if (place === null) {
    return null;
  }
  const name = member(place, "name")?.value;
  if (typeof name !== "string" || name === "" || name.length > maxName) {
    note(reading, place.pointer, `A parameter needs a \`name\` of at most ${maxName} characters.`);
    return null;
  }
  const location = locations.find((word) => word === place.value["in"]);
  if (location === undefined) {
    note(reading, place.pointer, "`in` must be one of path, query, header, cookie.");
    return null;
  }
  const style = readStyle(reading, place, location);
  const content = readContent(reading, place);
  const schema = content?.schema ?? member(place, "schema");
  const definition = schema === null ? null : readSchema(book, schema);
  const explode = place.value["explode"];
  return {
    parameter: {
      name,
      in: location,
      input: name,
      style,
      explode: typeof explode === "boolean" ? explode : style === "form",
      allow_reserved: place.value["allowReserved"] === true,
      content_type: content?.type ?? null,
    },
    isRequired: location === "path" || place.value["required"] === true,
    schema: describe(definition?.schema ?? {}, textOf(place, "description"), place.value["deprecated"] === true),
    definition,
  };
}

function readStyle(reading: Reading, place: TreePlace, location: CallParameter["in"]): CallParameter["style"] {
  const given = place.value["style"];
  const allowed: readonly CallParameter["style"][] = styles[location];
  const style = allowed.find((word) => word === given);
  if (given !== undefined && style === undefined) {
    note(reading, place.pointer, `\`style\` of a ${location} parameter must be one of ${allowed.join(", ")}.`);
  }
  return style ?? styles[location][0];
}

function readContent(
  reading: Reading,
  place: TreePlace,
): { readonly type: string; readonly schema: Place | null } | null {
  const content = treeAt(reading, member(place, "content"));
  const [entry] = content === null ? [] : membersOf(content);
  if (entry === undefined) {
    return null;
  }
  const media = treeAt(reading, entry[1]);
  return { type: entry[0], schema: media === null ? null : member(media, "schema") };
}

/** The schema with the parameter's own words, where it has none itself. */
function describe(schema: Draft | boolean, description: string | null, isDeprecated: boolean): Draft | boolean {
  const draft = isTree(schema) ? schema : {};
  const words =
    description === null || typeof draft["description"] === "string" ? {} : { description: clip(description, 1000) };
  return schema === false ? false : Object.assign(draft, words, isDeprecated ? { deprecated: true } : {});
}

function pathParameter(name: string): ReadParameter {
  return {
    parameter: {
      name,
      in: "path",
      input: name,
      style: "simple",
      explode: false,
      allow_reserved: false,
      content_type: null,
    },
    isRequired: true,
    schema: { type: "string" },
    definition: null,
  };
}
