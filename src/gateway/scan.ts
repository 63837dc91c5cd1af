/** Finds the top-level fields the gateway reads in a chat call's bytes, and splices new values in: every other byte stays as the caller sent it. */
import { fromUtf8, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import { type Member, skipSpace, walkDocument, walkObject } from "./json.js";

const readFields = ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "user"] as const;

/** A top-level field that the gateway reads. */
export type ReadField = (typeof readFields)[number];

/** A field's value and its byte range in the body, end exclusive. Objects and arrays are not built: their value is undefined. */
export interface Field {
  readonly value: string | number | boolean | null | undefined;
  readonly start: number;
  readonly end: number;
}

/** What a scan found. */
export interface Scan {
  readonly fields: Readonly<Partial<Record<ReadField, Field>>>;
  /** `stream_options.include_usage`, when `stream_options` is an object that names it. */
  readonly includeUsage: Field | undefined;
}

/** What to change in a body. */
export interface Edit {
  readonly model: string;
  /** Makes a stream tell its usage, which is needed to settle. */
  readonly streamUsage: boolean;
}

/** A body with its edits, and whether the usage chunk of the stream was our wish and not the caller's. */
export interface Spliced {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly usageAdded: boolean;
}

/** The longest name we read, all its characters written as \u escapes, and two quotes. */
const longestName = Math.max(...readFields.map((name) => name.length)) * 6 + 2;
const openBrace = 0x7b;
const openBracket = 0x5b;

/** Reads a JSON body. Throws `malformed_json` for anything but one well-formed object, `repeated_field` when a field we read stands twice. */
export function scanBody(body: Uint8Array): Scan {
  const fields: Partial<Record<ReadField, Field>> = {};
  walkDocument(body, (member) => {
    const name = readName(body, member);
    const known = readFields.find((field) => field === name);
    if (known !== undefined) {
      fields[known] = readField(body, member, fields[known]);
    }
  });
  return { fields, includeUsage: findIncludeUsage(body, fields.stream_options) };
}

/** Replaces the model and, for streams, asks for usage. Only the ranges named by the scan change; without a change the body itself is given back. */
export function splice(body: Uint8Array<ArrayBuffer>, scan: Scan, edit: Edit): Spliced {
  const edits: Patch[] = [];
  const { model } = scan.fields;
  if (model !== undefined && model.value !== edit.model) {
    edits.push({ start: model.start, end: model.end, text: JSON.stringify(edit.model) });
  }
  const usage = edit.streamUsage ? usagePatch(body, scan) : null;
  if (usage !== null) {
    edits.push(usage);
  }
  return { body: patch(body, edits), usageAdded: usage !== null };
}

interface Patch {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** An explicit `false` is turned too: the relay leaves the extra chunk out again, so the caller sees what it asked for. */
function usagePatch(body: Uint8Array, scan: Scan): Patch | null {
  const { stream, stream_options: options } = scan.fields;
  if (stream?.value !== true || scan.includeUsage?.value === true) {
    return null;
  }
  if (options === undefined) {
    return { start: stream.end, end: stream.end, text: ',"stream_options":{"include_usage":true}' };
  }
  if (options.value === null) {
    return { start: options.start, end: options.end, text: '{"include_usage":true}' };
  }
  if (scan.includeUsage !== undefined) {
    const { start, end, value } = scan.includeUsage;
    return value === false || value === null ? { start, end, text: "true" } : null;
  }
  if (body[options.start] !== openBrace) {
    return null;
  }
  const inside = options.start + 1;
  const isEmpty = skipSpace(body, inside) === options.end - 1;
  return { start: inside, end: inside, text: isEmpty ? '"include_usage":true' : '"include_usage":true,' };
}

function patch(body: Uint8Array<ArrayBuffer>, edits: readonly Patch[]): Uint8Array<ArrayBuffer> {
  if (edits.length === 0) {
    return body;
  }
  const sorted = edits.map((edit) => ({ ...edit, bytes: utf8(edit.text) })).toSorted((a, b) => a.start - b.start);
  const grown = sorted.reduce((sum, edit) => sum + edit.bytes.length - (edit.end - edit.start), 0);
  const result = new Uint8Array(body.length + grown);
  let from = 0;
  let to = 0;
  for (const edit of sorted) {
    result.set(body.subarray(from, edit.start), to);
    to += edit.start - from;
    result.set(edit.bytes, to);
    to += edit.bytes.length;
    from = edit.end;
  }
  result.set(body.subarray(from), to);
  return result;
}

function findIncludeUsage(body: Uint8Array, options: Field | undefined): Field | undefined {
  let found: Field | undefined;
  if (options !== undefined && body[options.start] === openBrace) {
    walkObject(body, options.start, 1, (member) => {
      if (readName(body, member) === "include_usage") {
        found = readField(body, member, found);
      }
    });
  }
  return found;
}

/** A member's name with its escapes resolved, or null when it cannot be one of ours. */
function readName(body: Uint8Array, member: Member): string | null {
  if (member.nameEnd - member.nameStart > longestName) {
    return null;
  }
  try {
    return String(JSON.parse(fromUtf8(body.subarray(member.nameStart, member.nameEnd))));
  } catch {
    return null;
  }
}

function readField(body: Uint8Array, member: Member, earlier: Field | undefined): Field {
  if (earlier !== undefined) {
    throw new AppError("repeated_field");
  }
  const { start, end } = member;
  const first = body[start];
  if (first === openBrace || first === openBracket) {
    return { value: undefined, start, end };
  }
  const value: unknown = parseScalar(body.subarray(start, end));
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean" || value === null) {
    return { value, start, end };
  }
  throw new AppError("malformed_json");
}

function parseScalar(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (error) {
    throw new AppError("malformed_json", { cause: error });
  }
}
