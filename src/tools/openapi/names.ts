/** Names of tools: what clients take (`[a-zA-Z0-9_-]{1,64}`), unique in a document, and the same at every import of the same operations. */
import { sha256Hex } from "../../base/bytes.js";

/** What a tool is named after. */
export interface Named {
  readonly operationId: string | null;
  readonly method: string;
  readonly path: string;
}

const maxName = 64;
const hashLength = 6;

/** One name for each operation, in their order. An operation whose name is taken, or too long, gets a part of its own hash. */
export async function nameTools(operations: readonly Named[]): Promise<readonly string[]> {
  const hashes = await Promise.all(operations.map(({ method, path }) => sha256Hex(`${method} ${path}`)));
  const taken = new Set<string>();
  return operations.map((operation, index) => {
    const hash = hashes[index] ?? "";
    const stem = stemOf(operation);
    let name = stem.length <= maxName ? stem : cut(stem, hash.slice(0, hashLength));
    for (let length = hashLength; taken.has(name.toLowerCase()) && length <= hash.length; length += 2) {
      name = cut(stem, hash.slice(0, length));
    }
    taken.add(name.toLowerCase());
    return name;
  });
}

function stemOf({ operationId, method, path }: Named): string {
  const own = operationId === null ? "" : sanitise(operationId);
  const made = sanitise(`${method.toLowerCase()}${path}`);
  return own === "" ? made : own;
}

function sanitise(text: string): string {
  return text.replace(/[^a-zA-Z0-9_-]+/g, "_").replace(/^_+|_+$/g, "");
}

function cut(stem: string, hash: string): string {
  return `${stem.slice(0, maxName - hash.length - 1)}_${hash}`;
}
