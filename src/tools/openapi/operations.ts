/** An operation becomes a tool: its parameters and body join in one input, and how it is called is written down. */
import type { CallParameter, OpenApiCall } from "../contract.js";
import { readBody, type ReadBody } from "./bodies.js";
import { isOpen, readParameters, type ReadParameter } from "./parameters.js";
import { member, membersOf, note, textOf, treeAt, type Place, type TreePlace } from "./place.js";
import { clip, type Definition, type Draft, type SchemaBook } from "./schemas.js";

/** An operation of the document. */
export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly place: TreePlace;
  readonly item: TreePlace;
  readonly operationId: string | null;
}

/** An operation as a tool without its name and definitions. */
export interface DraftTool {
  readonly title: string | null;
  readonly description: string;
  readonly input: Draft;
  readonly parts: readonly Definition[];
  readonly call: OpenApiCall;
}

/** The methods that can be sent; TRACE is none of them on this platform. */
const methods = ["get", "put", "post", "delete", "options", "head", "patch"];
const maxPath = 1000;
const maxTitle = 120;
const maxDescription = 4000;
const plainName = /^[a-zA-Z0-9_.-]{1,64}$/;

/** Every operation of the document, in its order. */
export function listOperations(book: SchemaBook, root: TreePlace): readonly Operation[] {
  const paths = treeAt(book.reading, member(root, "paths"));
  const found: Operation[] = [];
  for (const [path, at] of paths === null ? [] : membersOf(paths)) {
    if (!path.startsWith("/") || path.length > maxPath || /[\\\s]/.test(path)) {
      note(
        book.reading,
        at.pointer,
        `A path must begin with / and have at most ${maxPath} characters, without spaces.`,
      );
      continue;
    }
    const item = treeAt(book.reading, at);
    for (const method of item === null ? [] : methods) {
      const place = item === null ? null : treeAt(book.reading, member(item, method));
      if (item !== null && place !== null) {
        found.push({ method: method.toUpperCase(), path, place, item, operationId: textOf(place, "operationId") });
      }
    }
  }
  return found;
}

/** Reads one operation. `isKey` tells parameters that the credential fills. */
export function readOperation(
  book: SchemaBook,
  operation: Operation,
  server: string,
  isKey: (parameter: CallParameter) => boolean,
): DraftTool {
  const { method, path, place, item } = operation;
  const parameters = readParameters(book, member(item, "parameters"), member(place, "parameters"), path).filter(
    ({ parameter }) => isOpen(parameter) && !isKey(parameter),
  );
  // A body of GET and HEAD has no meaning (RFC 9110 §9.3.1), and fetch refuses it.
  const body = method === "GET" || method === "HEAD" ? null : readBody(book, member(place, "requestBody"));
  const named = nameInputs(parameters, body);
  return {
    title: clipText(textOf(place, "summary") ?? textOf(item, "summary"), maxTitle),
    description: describe(operation),
    input: joinInput(named, body),
    parts: [
      ...named.flatMap(({ definition }) => (definition === null ? [] : [definition])),
      ...(body?.definitions ?? []),
    ],
    call: {
      kind: "openapi",
      method,
      server,
      // Some documents tell operations of one path apart by a fragment, which is never sent.
      path: path.replace(/#.*$/, ""),
      parameters: named.map(({ parameter }) => parameter),
      body: body?.call ?? null,
    },
  };
}

/** The servers of an operation, or else of its path; null when the document's own count. */
export function serversOf(operation: Operation): Place | null {
  return member(operation.place, "servers") ?? member(operation.item, "servers");
}

function describe({ method, path, place, item }: Operation): string {
  const words = textOf(place, "description") ?? textOf(item, "description") ?? textOf(place, "summary");
  const prefix = place.value["deprecated"] === true ? "Deprecated. " : "";
  return clip(`${prefix}${words ?? `${method} ${path}`}`, maxDescription);
}

/** Gives each parameter its property: its own name, unless the body or a parameter before it has that. */
function nameInputs(parameters: readonly ReadParameter[], body: ReadBody | null): readonly ReadParameter[] {
  const taken = new Set(body === null ? [] : [body.call.input ?? "", ...Object.keys(body.properties)]);
  return parameters.map((read) => {
    const { parameter } = read;
    const stem = plainName.test(parameter.name)
      ? parameter.name
      : parameter.name
          .replace(/[^a-zA-Z0-9_.-]+/g, "_")
          .replace(/^_+|_+$/g, "")
          .slice(0, 50) || "value";
    let input = stem;
    for (let round = 1; taken.has(input); round += 1) {
      input = `${parameter.in}_${stem}`.slice(0, 60) + (round === 1 ? "" : `_${round}`);
    }
    taken.add(input);
    return { ...read, parameter: { ...parameter, input } };
  });
}

function joinInput(parameters: readonly ReadParameter[], body: ReadBody | null): Draft {
  const properties = new Map(parameters.map(({ parameter, schema }) => [parameter.input, schema]));
  const required = parameters.filter(({ isRequired }) => isRequired).map(({ parameter }) => parameter.input);
  if (body !== null && body.call.input !== null) {
    properties.set(body.call.input, body.schema);
  }
  for (const [name, schema] of Object.entries(body?.properties ?? {})) {
    properties.set(name, schema);
  }
  if (body?.isRequired === true) {
    required.push(...(body.call.input === null ? body.required : [body.call.input]));
  }
  // An optional body may be left out whole, but not in parts.
  const isPartial = body !== null && !body.isRequired && body.required.length > 0;
  const dependent = isPartial
    ? Object.fromEntries(
        Object.keys(body.properties).map((name) => [name, body.required.filter((word) => word !== name)]),
      )
    : null;
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    ...(required.length === 0 ? {} : { required }),
    ...(dependent === null ? {} : { dependentRequired: dependent }),
    additionalProperties: false,
  };
}

function clipText(text: string | null, length: number): string | null {
  return text === null ? null : clip(text, length);
}
