/** Finds the fields of a multipart form (RFC 7578) in its bytes. What two readers could read differently is refused, for the upstream is the other one. */
import { fromUtf8, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import type { Field, ReadField, Scan } from "./scan.js";

interface Part {
  readonly name: string;
  readonly isFile: boolean;
  readonly start: number;
  readonly end: number;
}

const carriageReturn = 0x0d;
const dash = 0x2d;
/** No field that is read is longer, and no honest part has more headers. */
const maxFieldBytes = 4_096;
const maxHeaderBytes = 8_192;
const maxParts = 1_000;

/** Reads a form's fields of the given names. Throws `malformed_form`, and `repeated_field` when a field that is read stands twice. */
export function scanForm(body: Uint8Array, contentType: string, names: readonly ReadField[]): Scan {
  const boundary = readBoundary(contentType);
  const fields: Partial<Record<ReadField, Field>> = {};
  let fileBytes = 0;
  for (const part of readParts(body, boundary)) {
    fileBytes += part.isFile ? part.end - part.start : 0;
    const known = names.find((name) => name === part.name);
    if (known !== undefined) {
      if (fields[known] !== undefined) {
        throw new AppError("repeated_field");
      }
      fields[known] = readField(body, part);
    }
  }
  return { fields, includeUsage: undefined, isForm: true, fileBytes };
}

/** RFC 2046 §5.1.1, quoted or not. */
function readBoundary(contentType: string): string {
  const found = /;\s*boundary=(?:"([\w'()+,./:=? -]{1,70})"|([\w'()+./:=?-]{1,70}))\s*(?:;|$)/i.exec(contentType);
  const boundary = found?.[1] ?? found?.[2];
  if (boundary === undefined || boundary.endsWith(" ")) {
    throw malformed("The Content-Type names no boundary.");
  }
  return boundary;
}

function* readParts(body: Uint8Array, boundary: string): Generator<Part> {
  const delimiter = utf8(`\r\n--${boundary}`);
  // The first one may stand at the very beginning, without the line end before it.
  let at = startsWith(body, 0, delimiter.subarray(2)) ? delimiter.length - 2 : afterDelimiter(body, delimiter, 0);
  for (let count = 0; count < maxParts; count += 1) {
    if (body[at] === dash && body[at + 1] === dash) {
      return;
    }
    const headers = skipLineEnd(body, at);
    const blank = findBlankLine(body, headers);
    const start = blank + 4;
    const next = afterDelimiter(body, delimiter, blank + 2);
    const end = Math.max(start, next - delimiter.length);
    yield { ...readDisposition(body.subarray(headers, blank)), start, end };
    at = next;
  }
  throw malformed("The form has too many parts.");
}

/** The place after the next delimiter at or after `from`. */
function afterDelimiter(body: Uint8Array, delimiter: Uint8Array, from: number): number {
  for (let at = body.indexOf(carriageReturn, from); at >= 0; at = body.indexOf(carriageReturn, at + 1)) {
    if (startsWith(body, at, delimiter)) {
      return at + delimiter.length;
    }
  }
  throw malformed("The form breaks off before its closing boundary.");
}

function skipLineEnd(body: Uint8Array, at: number): number {
  if (body[at] !== carriageReturn || body[at + 1] !== 0x0a) {
    throw malformed("A boundary is followed by something else than a line end.");
  }
  return at + 2;
}

function findBlankLine(body: Uint8Array, from: number): number {
  for (let at = from; at < from + maxHeaderBytes; at += 1) {
    if (body[at] === carriageReturn && startsWith(body, at, blankLine)) {
      return at;
    }
  }
  throw malformed("A part's headers have no end.");
}

const blankLine = utf8("\r\n\r\n");

function readDisposition(bytes: Uint8Array): Pick<Part, "name" | "isFile"> {
  const lines = decode(bytes).split("\r\n");
  const found = lines.filter((line) => /^content-disposition\s*:/i.test(line));
  const [, rest] =
    /^content-disposition: *form-data((?: *; *[\w-]+\*?=(?:"(?:[^"\\]|\\.)*"|[^\s";]+))*) *$/i.exec(found[0] ?? "") ??
    [];
  if (rest === undefined || found.length > 1 || lines.some((line) => /^[ \t]/.test(line))) {
    throw malformed("A part's Content-Disposition cannot be read.");
  }
  const params = Array.from(
    rest.matchAll(/; *([\w-]+\*?)=("(?:[^"\\]|\\.)*"|[^\s";]+)/g),
    ([, name = "", value = ""]) => {
      return [name.toLowerCase(), value.replace(/^"(.*)"$/s, "$1")] as const;
    },
  );
  const names = params.filter(([name]) => name === "name" || name === "name*");
  const [, name] = names[0] ?? [];
  if (name === undefined || names.length > 1 || names[0]?.[0] !== "name") {
    throw malformed("A part has no plain name, or two.");
  }
  return { name, isFile: params.some(([param]) => param.startsWith("filename")) };
}

function readField(body: Uint8Array, { isFile, start, end }: Part): Field {
  if (isFile || end - start > maxFieldBytes) {
    throw malformed("A field that is a text was sent as a file, or is too long.");
  }
  return { value: decode(body.subarray(start, end)), start, end };
}

function decode(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch (error) {
    throw new AppError("malformed_form", { cause: error });
  }
}

function startsWith(body: Uint8Array, at: number, word: Uint8Array): boolean {
  for (let index = 0; index < word.length; index += 1) {
    if (body[at + index] !== word[index]) {
      return false;
    }
  }
  return true;
}

function malformed(detail: string): AppError {
  return new AppError("malformed_form", { detail: `The form cannot be read. ${detail}` });
}
