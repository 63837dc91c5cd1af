/** The pieces that the built-in documents are put together from: values, operations, and the provider that they belong to. */
import type { FormField } from "../../providers/contract.js";
import type { ToolAuth } from "../contract.js";

/** One host of a provider that has several, such as a free and a paid one. */
export interface BuiltinBase {
  readonly title: string;
  readonly url: string;
}

/** A tool provider of the catalogue. */
export interface Builtin {
  /** The wire name, such as `tavily`. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly docs_url: string;
  /** Where one gets a key; null when none is needed. */
  readonly key_url: string | null;
  readonly auth: ToolAuth;
  /** The credential's form; its only secret is `api_key`. Empty when no credential is needed. */
  readonly form: readonly FormField[];
  /** Where calls may go; the first is the default. With more than one, the form has a field `base_url`. */
  readonly bases: readonly BuiltinBase[];
}

/** A provider with its operations. */
export interface BuiltinSource extends Builtin {
  readonly operations: readonly BuiltinOperation[];
}

/** One operation: a property of the input for each value, and where it goes. */
export interface BuiltinOperation {
  readonly id: string;
  readonly method: "get" | "post" | "patch" | "put" | "delete";
  readonly path: string;
  readonly title: string;
  readonly description: string;
  readonly in_path?: Values;
  readonly query?: Values;
  readonly header?: Values;
  /** Properties of the JSON body. */
  readonly body?: Values;
  /** Names of query parameters and body properties that must be given. */
  readonly required?: readonly string[];
  /** Query parameters whose lists are written with commas. */
  readonly joined?: readonly string[];
}

/** Schemas by property. */
export type Values = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** A text. */
export function text(description: string): Values[string] {
  return { type: "string", description };
}

/** A text that must not be empty. */
export function words(description: string, maxLength: number): Values[string] {
  return { type: "string", description, minLength: 1, maxLength };
}

/** A whole number within bounds. */
export function whole(description: string, minimum: number, maximum: number): Values[string] {
  return { type: "integer", description, minimum, maximum };
}

/** A number within bounds. */
export function decimal(description: string, minimum: number, maximum: number): Values[string] {
  return { type: "number", description, minimum, maximum };
}

/** True or false. */
export function flag(description: string): Values[string] {
  return { type: "boolean", description };
}

/** One of some words. */
export function choice(description: string, ...values: readonly string[]): Values[string] {
  return { type: "string", description, enum: values };
}

/** A list of texts. */
export function list(description: string, maxItems: number): Values[string] {
  return { type: "array", description, items: { type: "string" }, maxItems };
}

/** The form's one secret. */
export function keyField(label: string, help: string): FormField {
  return { name: "api_key", label, secret: true, required: true, help };
}

/** The choice of a host. */
export function baseField(help: string, bases: readonly BuiltinBase[]): FormField {
  const choices = bases.map(({ url, title }) => ({ value: url, label: title }));
  return { name: "base_url", label: "API address", secret: false, required: false, help, choices };
}

/** The OpenAPI 3.1 document of a provider. */
export function documentFor(source: BuiltinSource): object {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of source.operations) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: toOperation(operation) };
  }
  return {
    openapi: "3.1.0",
    info: { title: source.title, description: source.description, version: "1" },
    servers: source.bases.map(({ url }) => ({ url })),
    paths,
  };
}

function toOperation({
  id,
  title,
  description,
  in_path,
  query,
  header,
  body,
  required,
  joined,
}: BuiltinOperation): object {
  const parameters = (place: string, values: Values | undefined): object[] =>
    Object.entries(values ?? {}).map(([name, schema]) => ({
      name,
      in: place,
      required: place === "path" || required?.includes(name) === true,
      schema,
      ...(joined?.includes(name) === true ? { explode: false } : {}),
    }));
  const needed = Object.keys(body ?? {}).filter((name) => required?.includes(name) === true);
  const schema = { type: "object", properties: body, required: needed };
  return {
    operationId: id,
    summary: title,
    description,
    parameters: [...parameters("path", in_path), ...parameters("query", query), ...parameters("header", header)],
    ...(body === undefined ? {} : { requestBody: { required: true, content: { "application/json": { schema } } } }),
  };
}
