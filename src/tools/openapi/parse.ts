/** Text becomes a tree that is safe to walk: its size, depth, number of parts and alias expansion are bounded before anything reads it. */
import { CORE_SCHEMA, YAMLException, load, mergeTag } from "js-yaml";
import { AppError } from "../../base/errors.js";
import { childPointer, documentFault, fault, isTree, type Tree } from "./tree.js";

/** The largest document, in UTF-16 units of text. */
const maxDocumentLength = 5 * 1024 * 1024;
/** Values a document may hold, aliases written out. Real ones have up to 45,000 in a megabyte. */
const maxValues = 250_000;
/** Members that one object may have. */
const maxMembers = 20_000;
/** Line feeds, commas and the like that its text may hold. Real ones, indented, have up to 60,000 in a megabyte. */
const maxSeparators = 400_000;
const maxDepth = 100;
const maxAliases = 10_000;

const yamlSchema = CORE_SCHEMA.withTags(mergeTag);

/** Parses JSON or YAML. Throws `AppError` `body_too_large` or `validation_failed` with the line or place at fault. */
export function parseDocument(text: string): Tree {
  if (text.length > maxDocumentLength) {
    throw new AppError("body_too_large", { detail: "An OpenAPI document may have at most 5 MB of text." });
  }
  refuseCrowds(text);
  const plain = text.replace(/^\uFEFF/, "");
  const isJson = plain.trimStart().startsWith("{");
  const value = isJson ? parseJson(plain) : parseYaml(plain);
  if (!isTree(value)) {
    throw documentFault([fault("#", "The document must be an object with `openapi` and `paths`.")]);
  }
  measure(value);
  // Aliases share one object in several places; a tree has each of them once, so that a change of one is none of another.
  const tree: unknown = isJson ? value : JSON.parse(JSON.stringify(value));
  return isTree(tree) ? tree : value;
}

function tooManyParts(): AppError {
  return new AppError("body_too_large", {
    detail: `The OpenAPI document has too many parts: at most ${maxValues} values, aliases written out, and ${maxMembers} in one object.`,
  });
}

/** Parsers need up to 170 bytes a value, so text that is nearly all separators is turned away unparsed. */
function refuseCrowds(text: string): void {
  let separators = 0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    // Line feed, comma, opening brackets, asterisk.
    if (unit === 0x0a || unit === 0x2c || unit === 0x5b || unit === 0x7b || unit === 0x2a) {
      separators += 1;
    }
  }
  if (separators > maxSeparators) {
    throw tooManyParts();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const offset = /position (\d+)/.exec(String(error))?.[1];
    const before = text.slice(0, offset === undefined ? findFault(text) : Number(offset)).split("\n");
    const where = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    throw documentFault([{ pointer: "/document", detail: `The document is not valid JSON: ${where}.` }]);
  }
}

/** Where JSON stops being any, for errors that do not say: the longest beginning that fails for being cut alone. */
function findFault(text: string): number {
  let [good, bad] = [0, text.length];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (isBeginning(text.slice(0, middle))) {
      good = middle;
    } else {
      bad = middle;
    }
  }
  return good;
}

function isBeginning(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const message = String(error);
    return /Unexpected end|Unterminated/.test(message) || message.includes(`at position ${text.length}`);
  }
}

function parseYaml(text: string): unknown {
  try {
    return load(text, { schema: yamlSchema, maxDepth, maxAliases, json: false });
  } catch (error) {
    if (error instanceof YAMLException) {
      const where = error.mark === undefined ? "" : ` (line ${error.mark.line + 1}, column ${error.mark.column + 1})`;
      throw documentFault([
        { pointer: "/document", detail: `The document is not usable YAML: ${error.reason.slice(0, 200)}${where}.` },
      ]);
    }
    throw documentFault([{ pointer: "/document", detail: "The document is neither JSON nor YAML." }]);
  }
}

/** A value on the way down, with the way that led to it: its pointer is only made when it is told. */
interface Step {
  readonly value: object;
  readonly depth: number;
  readonly key: string;
  readonly parent: Step | null;
}

/** Walks without recursion. An alias that leads back to itself ends at the depth limit. */
function measure(root: Tree): void {
  const open: Step[] = [{ value: root, depth: 1, key: "", parent: null }];
  let values = 0;
  for (let step = open.pop(); step !== undefined; step = open.pop()) {
    if (step.depth > maxDepth) {
      throw documentFault([{ pointer: "/document", detail: `The document is nested deeper than ${maxDepth} levels.` }]);
    }
    values += Array.isArray(step.value) ? pushItems(step.value, step, open) : pushMembers(step.value, step, open);
    if (values > maxValues) {
      throw tooManyParts();
    }
  }
}

function pushItems(items: readonly unknown[], parent: Step, open: Step[]): number {
  items.forEach((value, index) => {
    if (typeof value === "object" && value !== null) {
      open.push({ value, depth: parent.depth + 1, key: String(index), parent });
    }
  });
  return items.length;
}

function pushMembers(tree: object, parent: Step, open: Step[]): number {
  const members = Object.entries(tree);
  if (members.length > maxMembers) {
    throw tooManyParts();
  }
  for (const [key, value] of members) {
    if (key === "__proto__") {
      throw documentFault([fault(pointerOf(parent), "A member may not be called `__proto__`.")]);
    }
    if (typeof value === "object" && value !== null) {
      open.push({ value, depth: parent.depth + 1, key, parent });
    }
  }
  return members.length;
}

function pointerOf(step: Step): string {
  return step.parent === null ? "#" : childPointer(pointerOf(step.parent), step.key);
}
