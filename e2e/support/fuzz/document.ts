/** The served contract as the generator reads it: operations with what they take and what they may answer. */

/** A JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** The keywords of JSON Schema that the contract uses for input. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly Json[];
  readonly const?: Json;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}

/** One input outside the body. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: boolean;
  readonly schema: Schema;
}

type Content = Readonly<Record<string, { readonly schema?: Schema }>>;

interface Reference {
  readonly $ref: string;
}

interface RawOperation {
  readonly operationId: string;
  readonly parameters?: readonly (Parameter | Reference)[];
  readonly requestBody?: { readonly required?: boolean; readonly content: Content };
  readonly responses: Readonly<Record<string, Omit<Declared, "trail"> | Reference>>;
}

/** A declared answer. */
export interface Declared {
  /** Where it stands in the document: the names that lead there. */
  readonly trail: readonly string[];
  /** Absent when it has no body. */
  readonly content?: Content;
  /** The codes that a problem of this status may have. */
  readonly "x-error-codes"?: readonly string[];
}

/** One operation. */
export interface Operation {
  readonly id: string;
  /** In capitals. */
  readonly method: string;
  /** Such as `/workspaces/{ws}`. */
  readonly template: string;
  readonly parameters: readonly Parameter[];
  /** Media types that it takes, the usual one first; none when it takes no body. */
  readonly bodies: readonly { readonly type: string; readonly schema: Schema }[];
  /** By status, or by such a word as `4XX`. */
  readonly responses: Readonly<Record<string, Declared>>;
}

/** The contract. */
export interface Contract {
  readonly operations: readonly Operation[];
  /** The whole document, for a validator. */
  readonly document: object;
  /** The schema with its reference followed and its `allOf` put together. */
  resolve(schema: Schema): Schema;
}

/** The parts of a document that are read. */
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const methods = new Set(["get", "post", "put", "patch", "delete"]);

/** Reads the contract of a running server. */
export async function fetchContract(url: string): Promise<Contract> {
  const response = await fetch(`${url}/openapi.json`);
  return readContract((await response.json()) as Document);
}

/** Reads an OpenAPI 3.1 document of the form that the service writes. */
export function readContract(document: Document): Contract {
  const operations = Object.entries(document.paths).flatMap(([template, item]) => readPath(document, template, item));
  return { document, operations, resolve: resolver(document.components.schemas) };
}

function readPath(document: Document, template: string, item: Readonly<Record<string, RawOperation>>): Operation[] {
  return Object.entries(item)
    .filter(([method]) => methods.has(method))
    .map(([method, raw]) => ({
      id: raw.operationId,
      method: method.toUpperCase(),
      template,
      parameters: (raw.parameters ?? []).map((one) => ("$ref" in one ? (follow(document, one) as Parameter) : one)),
      bodies: Object.entries(raw.requestBody?.content ?? {}).map(([type, { schema }]) => ({
        type,
        schema: schema ?? {},
      })),
      responses: Object.fromEntries(
        Object.entries(raw.responses).map(([status, one]) => {
          const here = ["paths", template, method, "responses", status];
          return [
            status,
            "$ref" in one ? { ...(follow(document, one) as Declared), trail: trailOf(one) } : { ...one, trail: here },
          ];
        }),
      ),
    }));
}

function trailOf({ $ref }: Reference): string[] {
  return $ref
    .slice(2)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function follow(document: Document, reference: Reference): unknown {
  return trailOf(reference).reduce<unknown>((at, name) => (at as Readonly<Record<string, unknown>>)[name], document);
}

function resolver(schemas: Readonly<Record<string, Schema>>): Contract["resolve"] {
  return function resolve(schema: Schema): Schema {
    if (schema.$ref !== undefined) {
      const { $ref, ...beside } = schema;
      return resolve({ ...schemas[$ref.slice($ref.lastIndexOf("/") + 1)], ...beside });
    }
    const { allOf, ...own } = schema;
    if (allOf === undefined) {
      return schema;
    }
    return allOf.map(resolve).reduce(
      (merged, part) => ({
        ...merged,
        ...part,
        properties: { ...merged.properties, ...part.properties },
        required: [...(merged.required ?? []), ...(part.required ?? [])],
      }),
      own,
    );
  };
}

/** The operations whose template fits a path, as a browser or the platform would write it. */
export function findOperations(contract: Contract, method: string, pathname: string): readonly Operation[] {
  const fitting = contract.operations.filter(
    (operation) => operation.method === method && toPattern(operation.template).test(pathname),
  );
  // `/workspaces/members/invite` also looks like `/workspaces/{ws}/invite`: the one with fewer holes is meant.
  const fewest = Math.min(...fitting.map(({ template }) => template.split("{").length));
  return fitting.filter(({ template }) => template.split("{").length === fewest);
}

const patterns = new Map<string, RegExp>();

function toPattern(template: string): RegExp {
  const known = patterns.get(template);
  if (known !== undefined) {
    return known;
  }
  const text = template.replaceAll(/[.*+?^$()|[\]\\]/g, String.raw`\$&`).replaceAll(/\{\w+\}/g, "[^/]+");
  const pattern = new RegExp(`^${text}$`);
  patterns.set(template, pattern);
  return pattern;
}
