/** Places in a document: every value is read together with the JSON pointer that says where it stands, and `$ref`s are followed within the document only. */
import type { FieldError } from "../../base/errors.js";
import { childPointer, documentFault, fault, isTree, ownMember, type Tree } from "./tree.js";

/** A value and where it stands, as a URI fragment such as `#/paths/~1pets`. */
export interface Place {
  readonly value: unknown;
  readonly pointer: string;
}

/** A place that is known to hold an object. */
export interface TreePlace extends Place {
  readonly value: Tree;
}

/** A document being read, and what was found wrong so far. */
export interface Reading {
  readonly root: Tree;
  readonly faults: FieldError[];
}

const maxFaults = 20;
const maxHops = 50;

/** Notes a fault; from the twentieth on the reading ends. */
export function note(reading: Reading, pointer: string, sentence: string): void {
  const found = fault(pointer, sentence);
  // What several operations refer to is met several times.
  if (reading.faults.every((known) => known.detail !== found.detail)) {
    reading.faults.push(found);
  }
  if (reading.faults.length >= maxFaults) {
    throw documentFault(reading.faults);
  }
}

/** A member of an object, or null where there is none. Never an inherited one. */
export function member(place: TreePlace, key: string): Place | null {
  return Object.hasOwn(place.value, key) && place.value[key] !== undefined
    ? { value: place.value[key], pointer: childPointer(place.pointer, key) }
    : null;
}

/** An object at a place, `$ref` followed; null, with a fault noted, for anything else. */
export function treeAt(reading: Reading, place: Place | null): TreePlace | null {
  if (place === null) {
    return null;
  }
  const followed = followRefs(reading, place);
  if (followed === null) {
    return null;
  }
  if (!isTree(followed.value)) {
    note(reading, followed.pointer, "Expected an object.");
    return null;
  }
  return { value: followed.value, pointer: followed.pointer };
}

/** The members of an object, those whose names begin with `x-` only where names are free. */
export function membersOf(place: TreePlace, areNamesFree = false): readonly (readonly [string, Place])[] {
  return Object.entries(place.value)
    .filter(([key]) => areNamesFree || !key.startsWith("x-"))
    .map(([key, value]) => [key, { value, pointer: childPointer(place.pointer, key) }] as const);
}

/** The items of a list; none, with a fault noted, for anything else. */
export function itemsOf(reading: Reading, place: Place | null): readonly Place[] {
  if (place === null) {
    return [];
  }
  if (!Array.isArray(place.value)) {
    note(reading, place.pointer, "Expected a list.");
    return [];
  }
  const items: readonly unknown[] = place.value;
  return items.map((value, index) => ({ value, pointer: childPointer(place.pointer, String(index)) }));
}

/** A text member, or null. */
export function textOf(place: TreePlace, key: string): string | null {
  const value = ownMember(place.value, key);
  return typeof value === "string" && value.trim() !== "" ? value.trim() : null;
}

/** Follows `$ref`s to what they name. Null, with a fault noted, for one that leaves the document, leads nowhere or leads back to itself. */
export function followRefs(reading: Reading, start: Place): Place | null {
  let place: Place | null = start;
  for (let hops = 0; hops < maxHops && place !== null; hops += 1) {
    const { value, pointer }: Place = place;
    if (!isTree(value) || typeof value["$ref"] !== "string") {
      return place;
    }
    place = resolveRef(reading, { value, pointer });
  }
  if (place !== null) {
    note(reading, start.pointer, "This `$ref` leads back to itself.");
  }
  return null;
}

/** What the `$ref` of an object names. Null, with a fault noted, where it cannot be used. Nothing is ever fetched. */
export function resolveRef(reading: Reading, at: TreePlace): Place | null {
  const ref = String(at.value["$ref"]);
  const from = at.pointer;
  if (!ref.startsWith("#")) {
    note(reading, from, "A `$ref` may only point into this document (`#/…`). Bundle the document into one file first.");
    return null;
  }
  const path = decodeFragment(ref.slice(1));
  if (path === null || (path !== "" && !path.startsWith("/"))) {
    note(reading, from, "A `$ref` must be a JSON pointer, such as `#/components/schemas/Pet`.");
    return null;
  }
  let value: unknown = reading.root;
  let pointer = "#";
  for (const key of path.split("/").slice(1).map(unescapeKey)) {
    value = ownMember(value, key);
    if (value === undefined) {
      note(reading, from, `The \`$ref\` ${ref.slice(0, 200)} names nothing in this document.`);
      return null;
    }
    pointer = childPointer(pointer, key);
  }
  return { value, pointer };
}

function decodeFragment(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function unescapeKey(key: string): string {
  return key.replaceAll("~1", "/").replaceAll("~0", "~");
}
