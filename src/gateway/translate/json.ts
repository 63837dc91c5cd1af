/** Reads JSON of a foreign wire: what is not of the expected kind reads as null, and nothing is cast. */
import { AppError, type FieldError } from "../../base/errors.js";

/** Any JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | JsonRecord;

/** A JSON object, or one under construction: a member that is undefined is not written. */
export interface JsonRecord {
  readonly [name: string]: Json | undefined;
}

/** Larger bodies are not translated: as text, value, new text and bytes one exists some five times at once. */
const maxTranslatedBytes = 10 * 1_048_576;

/** Parses a body that must be an object with a list in the field named. Throws `body_too_large`, `malformed_json`, `validation_failed`. */
export function readBody(body: Uint8Array, list: string): JsonRecord {
  if (body.length > maxTranslatedBytes) {
    throw new AppError("body_too_large", {
      detail:
        "Calls that are translated to another wire format hold at most 10 MiB. Send less, or call a model whose provider has this endpoint.",
    });
  }
  const record = asRecord(parse(new TextDecoder().decode(body)));
  if (record === null) {
    throw new AppError("malformed_json");
  }
  if (!Array.isArray(record[list])) {
    throw refuse("validation_failed", [list], "Send a list.");
  }
  return record;
}

/** Parses text; undefined for what is not JSON. */
export function parse(text: string): Json | undefined {
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

export function asRecord(value: Json | undefined): JsonRecord | null {
  return typeof value === "object" && value !== null && !isList(value) ? value : null;
}

/** An empty list for anything else. */
export function asList(value: Json | undefined): readonly Json[] {
  return isList(value) ? value : [];
}

export function asText(value: Json | undefined): string | null {
  return typeof value === "string" ? value : null;
}

export function asNumber(value: Json | undefined): number | null {
  return typeof value === "number" ? value : null;
}

/** Whether a field says something: null, absent and empty lists or objects do not. */
export function isSaid(value: Json | undefined): boolean {
  return value !== undefined && value !== null && (typeof value !== "object" || Object.keys(value).length > 0);
}

/** A table's entry for a word from outside, which may be the name of anything that every object has. */
export function lookUp<T>(table: Readonly<Record<string, T>>, word: string | null): T | undefined {
  return word !== null && Object.hasOwn(table, word) ? table[word] : undefined;
}

/** Where a value stands in the caller's body. */
export type Path = readonly (string | number)[];

/** An error that names a field by its JSON pointer (RFC 6901). */
export function refuse(code: "untranslatable" | "validation_failed", path: Path, detail: string): AppError {
  const pointer = path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  const errors: readonly FieldError[] = [{ pointer, detail }];
  return new AppError(code, { errors });
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

export function isTrue(value: Json | undefined): boolean {
  return value === true;
}

/** Which members an object may have on its way to the other wire. */
export interface KnownFields {
  readonly known: readonly string[];
  /** Values under which a member that is not known asks for nothing. */
  readonly idle?: Readonly<Record<string, readonly Json[]>>;
  readonly path: Path;
  readonly otherWire: string;
}

/** Refuses the first member that is neither known nor idle: what is left out in silence is not answered as asked. Throws `untranslatable`. */
export function refuseUnknown(record: JsonRecord, { known, idle, path, otherWire }: KnownFields): void {
  for (const [name, value] of Object.entries(record)) {
    if (
      !known.includes(name) &&
      isSaid(value) &&
      !(lookUp(idle ?? {}, name) ?? []).some((one) => JSON.stringify(one) === JSON.stringify(value))
    ) {
      throw refuse("untranslatable", [...path, name], `${otherWire} cannot say this. Leave it out.`);
    }
  }
}
