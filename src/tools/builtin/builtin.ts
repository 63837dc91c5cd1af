/** The tool providers that Gatehouse ships, each an OpenAPI document with a note on what it needs and where to get it. */
import type { ToolDocument } from "../contract.js";
import { readDocument } from "../openapi/document.js";
import { github } from "./github.js";
import { openMeteo, openMeteoPlaces, wikipedia, wolfram } from "./knowledge.js";
import { deepl, slack } from "./office.js";
import { documentFor, type Builtin, type BuiltinSource } from "./parts.js";
import { firecrawl, jina } from "./reading.js";
import { brave, exa, serpapi, tavily } from "./web-search.js";

export type { Builtin } from "./parts.js";

const sources: readonly BuiltinSource[] = [
  brave,
  deepl,
  exa,
  firecrawl,
  github,
  jina,
  openMeteo,
  openMeteoPlaces,
  serpapi,
  slack,
  tavily,
  wikipedia,
  wolfram,
];

/** Every provider of the catalogue, by name. */
export function listBuiltins(): readonly Builtin[] {
  return sources;
}

/** A provider of the catalogue, or null. */
export function findBuiltin(name: string): Builtin | null {
  return sources.find((source) => source.name === name) ?? null;
}

/** A built-in provider's document, read. Null for a name that the catalogue does not have. */
export async function readBuiltin(name: string): Promise<ToolDocument | null> {
  const source = sources.find((known) => known.name === name);
  if (source === undefined) {
    return null;
  }
  const { auth } = source;
  const document = await readDocument(JSON.stringify(documentFor(source)), { baseUrl: null, documentUrl: null, auth });
  return { ...document, auth };
}
