/** Finds the top-level fields the gateway reads in a call's bytes, and splices new values in: every other byte stays as the caller sent it. */
import { fromUtf8, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import { type Member, skipSpace, walkDocument, walkObject } from "./json.js";
import type { Parts } from "./upload.js";

/** A top-level field that the gateway reads at some endpoint. */
export type ReadField =
  | "model"
  | "stream"
  | "stream_options"
  | "stream_format"
  | "max_tokens"
  | "max_completion_tokens"
  | "max_output_tokens"
  | "n"
  | "best_of"
  | "prompt"
  | "user"
  | "metadata"
  | "background"
  | "input";

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
  /** The body is a multipart form, whose values are plain text. */
  readonly isForm: boolean;
  /** Bytes of the files in a form. */
  readonly fileBytes: number;
}

/** What to change in a body. */
export interface Edit {
  readonly model: string;
  /** Makes a stream tell its usage, which is needed to settle. */
  readonly streamUsage: boolean;
  /** A cap of output tokens, where the caller set none. */
  readonly cap: { readonly field: ReadField; readonly tokens: number } | null;
}

/** A body with its edits, of which all but these is the caller's own bytes, not copied; and whether the usage chunk of the stream was our wish and not the caller's. */
export interface Spliced {
  readonly parts: Parts;
  readonly usageAdded: boolean;
}

/** The longest name we read, all its characters written as \u escapes, and two quotes. */
const longestName = "max_completion_tokens".length * 6 + 2;
const openBrace = 0x7b;
const openBracket = 0x5b;

/** Reads a JSON body's fields of the given names. Throws `malformed_json` for anything but one well-formed object, `repeated_field` when a field we read stands twice. */
export function scanBody(body: Uint8Array, names: readonly ReadField[]): Scan {
  const fields: Partial<Record<ReadField, Field>> = {};
  walkDocument(body, (member) => {
    const name = readName(body, member);
    const known = names.find((field) => field === name);
    if (known !== undefined) {
      fields[known] = readField(body, member, fields[known]);
    }
  });
  // Anthropic's wire names the caller's user inside `metadata`.
  const user = fields.user ?? findInside(body, fields.metadata, "user_id");
  if (user !== undefined) {
    fields.user = user;
  }
  return {
    fields,
    includeUsage: findInside(body, fields.stream_options, "include_usage"),
    isForm: false,
    fileBytes: 0,
  };
}

/** Replaces the model, caps the output and, for streams, asks for usage. Only the ranges named by the scan change; without a change the body itself is the one part. */
export function splice(body: Uint8Array<ArrayBuffer>, scan: Scan, edit: Edit): Spliced {
  const edits: Patch[] = [];
  const { model } = scan.fields;
  if (model !== undefined && model.value !== edit.model) {
    edits.push({ start: model.start, end: model.end, text: scan.isForm ? edit.model : JSON.stringify(edit.model) });
  }
  edits.push(...capPatch(scan, edit.cap));
  const usage = edit.streamUsage ? usagePatch(body, scan) : null;
  if (usage !== null) {
    edits.push(usage);
  }
  return { parts: patch(body, edits), usageAdded: usage !== null };
}

interface Patch {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Behind the model, which every call has; in the place of what is no cap, such as null, -1 or a text that a lenient provider would take for a number. */
function capPatch({ fields, isForm }: Scan, cap: Edit["cap"]): readonly Patch[] {
  const { model } = fields;
  if (cap === null || model === undefined || isForm) {
    return [];
  }
  const known = fields[cap.field];
  return known === undefined
    ? [{ start: model.end, end: model.end, text: `,${JSON.stringify(cap.field)}:${cap.tokens}` }]
    : typeof known.value !== "number" || known.value < 0
      ? [{ start: known.start, end: known.end, text: String(cap.tokens) }]
      : [];
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

function patch(body: Uint8Array<ArrayBuffer>, edits: readonly Patch[]): Parts {
  if (edits.length === 0) {
    return [body];
  }
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let from = 0;
  for (const { start, end, text } of edits.toSorted((a, b) => a.start - b.start)) {
    parts.push(body.subarray(from, start), utf8(text));
    from = end;
  }
  return [...parts, body.subarray(from)];
}

/** A member of an object that is a field's value. */
function findInside(body: Uint8Array, outer: Field | undefined, name: string): Field | undefined {
  let found: Field | undefined;
  if (outer !== undefined && body[outer.start] === openBrace) {
    walkObject(body, outer.start, 1, (member) => {
      if (readName(body, member) === name) {
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
