/** The last step of the schemas: circles that would never end are cut, small definitions are written where they are used, and each tool gets the definitions that it needs. */
import type { JsonSchema } from "../contract.js";
import { note } from "./place.js";
import type { Definition, Draft, SchemaBook } from "./schemas.js";

/** Definitions up to this many characters of JSON, without refs of their own, are written out at every use: clients understand that better than `$defs`. */
const maxInlined = 400;
/** How deep, and how wide in all, one value may have to be checked by schemas that apply to it in place. */
const maxChain = 100;
const maxWork = 20_000;
/** What may stand beside a `$ref` and not narrow it. */
const annotations = ["$ref", "title", "description", "default", "examples", "deprecated", "writeOnly"];

/** Finishes all schemas of a document. To be called once, when everything is read. */
export function settleDefinitions(book: SchemaBook): void {
  const all = [...book.definitions.values(), ...book.roots.values()];
  const work = new Map<Definition, number>();
  for (const definition of all) {
    measureWork(book, definition, work, []);
  }
  for (const definition of all) {
    definition.size = sizeOf(definition.schema);
  }
  const leaves = new Map(
    [...book.definitions.values()]
      .filter((definition) => definition.refs.length === 0 && definition.size <= maxInlined)
      .flatMap(({ pointer, schema }) => (typeof schema === "object" ? [[pointer, schema] as const] : [])),
  );
  for (const definition of all) {
    definition.refs = definition.refs.filter(({ target, node }) => !writeInPlace(node, leaves.get(target)));
    definition.size = sizeOf(definition.schema);
  }
}

/** The definitions that these schemas need, by name, and the length of their JSON. */
export function collectDefinitions(
  book: SchemaBook,
  parts: readonly Definition[],
): { readonly definitions: JsonSchema; readonly size: number } {
  const needed = new Map<string, Definition>();
  const open = [...parts];
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    for (const { target } of part.refs) {
      const definition = book.definitions.get(target);
      if (definition !== undefined && !needed.has(definition.name)) {
        needed.set(definition.name, definition);
        open.push(definition);
      }
    }
  }
  const sorted = [...needed.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    definitions: Object.fromEntries(sorted.map(({ name, schema }) => [name, schema])),
    size: sorted.reduce((sum, { name, size }) => sum + name.length + size + 4, 0),
  };
}

/**
 * How many schemas one value may have to pass because of a definition. A schema that comes back to itself without going
 * into a member or item says nothing at that point, so the ref is cut there.
 */
function measureWork(
  book: SchemaBook,
  definition: Definition,
  work: Map<Definition, number>,
  path: readonly Definition[],
): number {
  const known = work.get(definition);
  if (known !== undefined) {
    return known;
  }
  if (path.length > maxChain) {
    note(book.reading, definition.pointer, `Schemas apply to one value through more than ${maxChain} \`$ref\`s.`);
    return 0;
  }
  let sum = 1;
  const here = [...path, definition];
  for (const { target, node, inPlace } of definition.refs) {
    const next = book.definitions.get(target);
    if (!inPlace || next === undefined) {
      continue;
    }
    if (here.includes(next)) {
      delete node["$ref"];
    } else {
      sum += measureWork(book, next, work, here);
    }
  }
  definition.refs = definition.refs.filter(({ node }) => node["$ref"] !== undefined);
  if (sum > maxWork) {
    note(
      book.reading,
      definition.pointer,
      "One value would have to be checked by too many schemas that refer to each other.",
    );
  }
  work.set(definition, Math.min(sum, maxWork + 1));
  return Math.min(sum, maxWork + 1);
}

function writeInPlace(node: Draft, leaf: Draft | undefined): boolean {
  if (leaf === undefined || !Object.keys(node).every((keyword) => annotations.includes(keyword))) {
    return false;
  }
  delete node["$ref"];
  const own = { ...node };
  Object.assign(node, structuredClone(leaf), own);
  return true;
}

function sizeOf(schema: Draft | boolean): number {
  return JSON.stringify(schema).length;
}
