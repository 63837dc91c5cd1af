/** An OpenAPI document becomes tools: what is wrong with it is said with its place in it, and nothing that it names is ever fetched. */
import { AppError } from "../../base/errors.js";
import type { CallParameter, OpenApiCall, ToolAuth, ToolDefinition, ToolDocument } from "../contract.js";
import { collectDefinitions, settleDefinitions } from "./definitions.js";
import { nameTools } from "./names.js";
import { listOperations, readOperation, serversOf, type DraftTool, type Operation } from "./operations.js";
import { parseDocument } from "./parse.js";
import { member, note, textOf, treeAt, type Reading, type TreePlace } from "./place.js";
import { clip, openBook, type SchemaBook } from "./schemas.js";
import { readSecurity } from "./security.js";
import { normaliseBase, readServers } from "./servers.js";
import { documentFault, type Tree } from "./tree.js";
import { upgradeDocument } from "./upgrade.js";

/** Where a document stands, and where its calls are to go. */
export interface DocumentOptions {
  /** Replaces the document's own servers; null to use the first of them. */
  readonly baseUrl: string | null;
  /** Where the document came from, against which relative server addresses are read; null when it was given as text. */
  readonly documentUrl: string | null;
  /** How calls will be authenticated: a parameter that it fills is no input, whatever the document says. */
  readonly auth?: ToolAuth;
}

/** The most operations that one provider may have. */
const maxOperations = 300;
/** The longest input schema of one tool, in characters of JSON: its row stays far below D1's 2 MB. */
const maxSchema = 256 * 1024;
/** All input schemas of a document together. */
const maxSchemas = 12 * 1024 * 1024;

/**
 * Reads OpenAPI 3.0, 3.1 or Swagger 2.0, JSON or YAML. Throws `AppError` `validation_failed` whose errors have the pointer
 * `/document` and name the place in the document in their detail, and `body_too_large` over 5 MB or too many parts.
 */
export async function readDocument(text: string, options: DocumentOptions): Promise<ToolDocument> {
  const root = upgradeDocument(parseDocument(text));
  const reading: Reading = { root, faults: [] };
  const book = openBook(reading);
  const place: TreePlace = { value: root, pointer: "#" };
  const operations = listOperations(book, place);
  throwFaults(reading);
  refuseCount(operations);
  const servers = serversFor(reading, place, operations, options);
  const security = readSecurity(
    reading,
    place,
    operations.map((operation) => member(operation.place, "security")),
  );
  const isKey = (parameter: CallParameter): boolean =>
    security.keyParameters.has(`${parameter.in} ${parameter.name}`) || fills(options.auth, parameter);
  const drafts = operations.map((operation, index) => readOperation(book, operation, servers.each[index] ?? "", isKey));
  settleDefinitions(book);
  throwFaults(reading);
  const names = await nameTools(operations);
  const tools = drafts.map((draft, index) => finish(book, draft, operations[index], names[index] ?? ""));
  refuseSize(tools.map(({ size }) => size));
  throwFaults(reading);
  const info = treeAt(reading, member(place, "info"));
  return {
    title: clip((info === null ? null : textOf(info, "title")) ?? "Untitled", 200),
    description: clip((info === null ? null : (textOf(info, "description") ?? textOf(info, "summary"))) ?? "", 4000),
    version: clip((info === null ? null : textOf(info, "version")) ?? "", 60),
    base_url: servers.base,
    servers: servers.all,
    auth: security.auth,
    auth_alternatives: security.alternatives,
    tools: tools.map(({ tool }) => tool),
  };
}

function fills(auth: ToolAuth | undefined, parameter: CallParameter): boolean {
  const names = auth?.type === "headers" ? auth.names : auth?.type === "api_key" ? [auth.name] : [];
  const place = auth?.type === "api_key" ? auth.in : "header";
  // Only the names of headers are the same in any case.
  const plain = (name: string): string => (place === "header" ? name.toLowerCase() : name);
  return parameter.in === place && names.some((name) => plain(name) === plain(parameter.name));
}

interface Servers {
  readonly base: string;
  readonly all: readonly string[];
  /** The base of each operation. */
  readonly each: readonly string[];
}

function serversFor(
  reading: Reading,
  root: TreePlace,
  operations: readonly Operation[],
  options: DocumentOptions,
): Servers {
  if (options.baseUrl !== null) {
    const base = normaliseBase(options.baseUrl, null);
    if (base === null) {
      throw new AppError("validation_failed", {
        errors: [{ pointer: "/base_url", detail: "The base URL must be a web address, such as https://host/v1." }],
      });
    }
    return { base, all: [base], each: operations.map(() => base) };
  }
  const at = member(root, "servers");
  const own = operations.map((operation) => readServers(reading, serversOf(operation), options.documentUrl)[0] ?? null);
  const named = readServers(reading, at, options.documentUrl);
  const fallback = named.length > 0 || options.documentUrl === null ? null : normaliseBase("/", options.documentUrl);
  // Swagger 2.0 lists the same host once for each scheme.
  const base =
    named.find((server) => server === named[0]?.replace(/^http:/, "https:")) ??
    named[0] ??
    fallback ??
    own.find((server) => server !== null);
  if (base === undefined) {
    note(reading, "#", "The document names no server. Enter a base URL.");
    throw documentFault(reading.faults);
  }
  const origin = new URL(base).origin;
  operations.forEach((operation, index) => {
    const server = own[index] ?? base;
    if (new URL(server).origin !== origin) {
      // A credential is good for one origin.
      note(
        reading,
        operation.place.pointer,
        `This operation goes to ${server}, the others to ${origin}. Enter a base URL for all, or register it apart.`,
      );
    }
  });
  return { base, all: [...new Set(named)], each: own.map((server) => server ?? base) };
}

function finish(
  book: SchemaBook,
  draft: DraftTool,
  operation: Operation | undefined,
  name: string,
): { readonly tool: ToolDefinition & { readonly call: OpenApiCall }; readonly size: number } {
  const { definitions, size } = collectDefinitions(book, draft.parts);
  const schema: Tree = Object.keys(definitions).length === 0 ? draft.input : { ...draft.input, $defs: definitions };
  const total = JSON.stringify(draft.input).length + size;
  if (total > maxSchema) {
    note(
      book.reading,
      operation?.place.pointer ?? "#",
      `The input's schema has ${Math.ceil(total / 1024)} KB with all that it refers to; ${maxSchema / 1024} KB is the most.`,
    );
  }
  const { title, description, call } = draft;
  return { tool: { name, title, description, input_schema: schema, call }, size: total };
}

function refuseCount(operations: readonly Operation[]): void {
  if (operations.length > maxOperations) {
    throw documentFault([
      {
        pointer: "/document",
        detail: `The document has ${operations.length} operations; one provider takes at most ${maxOperations}. Leave out the paths that are not needed.`,
        code: "too_many_operations",
      },
    ]);
  }
  if (operations.length === 0) {
    throw documentFault([{ pointer: "/document", detail: "At #/paths: The document has no operation." }]);
  }
}

function refuseSize(sizes: readonly number[]): void {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > maxSchemas) {
    throw new AppError("body_too_large", {
      detail: `The input schemas of the document have ${Math.ceil(total / 1024 / 1024)} MB together; ${maxSchemas / 1024 / 1024} MB is the most. Leave out operations that are not needed.`,
    });
  }
}

function throwFaults(reading: Reading): void {
  if (reading.faults.length > 0) {
    throw documentFault(reading.faults);
  }
}
