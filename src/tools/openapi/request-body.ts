/** The body of a tool's request: JSON, form, multipart with files, text or bytes. */
import { invalidField } from "../../base/errors.js";
import type { BodyProperty, CallBody } from "../contract.js";
import { scalar, writeFields, type Pair } from "./serialise.js";
import { isTree } from "./tree.js";

/** A body and the type it is sent with; null where the platform writes the type itself (multipart has a boundary in it). */
export interface WrittenBody {
  readonly content: string | FormData | Uint8Array<ArrayBuffer>;
  readonly contentType: string | null;
}

type Input = Readonly<Record<string, unknown>>;

/** The body that an input gives; null when it gives nothing of an optional one. Throws `AppError` `validation_failed`. */
export function writeBody(body: CallBody, input: Input): WrittenBody | null {
  if (body.input !== null) {
    const value = Object.hasOwn(input, body.input) ? input[body.input] : undefined;
    return value === undefined ? null : writeWhole(body, value, `/input/${body.input}`);
  }
  const known = body.properties.filter(({ name }) => Object.hasOwn(input, name) && input[name] !== undefined);
  if (known.length === 0) {
    return null;
  }
  const value = Object.fromEntries(known.map(({ name }) => [name, input[name]]));
  return body.encoding === "json"
    ? { content: JSON.stringify(value), contentType: body.content_type }
    : writeForm(body.content_type, known, value, "/input");
}

function writeWhole(body: CallBody, value: unknown, pointer: string): WrittenBody {
  switch (body.encoding) {
    case "json":
      return { content: JSON.stringify(value), contentType: body.content_type };
    case "text":
      return { content: scalar(value), contentType: body.content_type };
    case "file": {
      const file = readFile(value, pointer);
      return { content: file.bytes, contentType: file.type ?? body.content_type };
    }
    case "value": {
      const members = isTree(value) ? value : {};
      const strange = Object.keys(members).find((name) => /[\p{Cc}"]/u.test(name));
      if (strange !== undefined) {
        throw invalidField(pointer, "The name of a form field must not have quotes or control characters.");
      }
      return writeForm(body.content_type, Object.keys(members).map(plainProperty), members, pointer);
    }
  }
}

function plainProperty(name: string): BodyProperty {
  return { name, encoding: "value", style: "form", explode: true, content_type: null };
}

function writeForm(type: string, properties: readonly BodyProperty[], value: Input, pointer: string): WrittenBody {
  if (/^multipart\//i.test(type)) {
    return { content: writeParts(properties, value, pointer), contentType: null };
  }
  const pairs: readonly Pair[] = properties.flatMap((property) => {
    const { name, encoding, style, explode } = property;
    const shown = encoding === "json" ? JSON.stringify(value[name]) : value[name];
    return shown === null ? [] : writeFields({ name, style, explode, allow_reserved: false }, shown);
  });
  // The URL standard's form serialiser writes a space as +.
  const text = pairs
    .map(([name, field]) => `${name}=${field}`)
    .join("&")
    .replaceAll("%20", "+");
  return { content: text, contentType: type };
}

function writeParts(properties: readonly BodyProperty[], value: Input, pointer: string): FormData {
  const form = new FormData();
  for (const property of properties) {
    const given = value[property.name];
    // A list is sent as one part for each item.
    const items: readonly unknown[] = Array.isArray(given) && property.encoding !== "json" ? given : [given];
    items.forEach((item, index) => {
      const at = `${pointer}/${property.name}${Array.isArray(given) ? `/${index}` : ""}`;
      appendPart(form, property, item, at);
    });
  }
  return form;
}

function appendPart(
  form: FormData,
  { name, encoding, content_type }: BodyProperty,
  item: unknown,
  pointer: string,
): void {
  if (item === undefined || item === null) {
    return;
  }
  if (encoding === "file") {
    const file = readFile(item, pointer);
    const type = file.type ?? content_type ?? "application/octet-stream";
    form.append(name, new Blob([file.bytes], { type }), file.name ?? name);
    return;
  }
  const text = encoding === "json" ? JSON.stringify(item) : scalar(item);
  if (content_type === null) {
    form.append(name, text);
  } else {
    // The platform can give a part a type only together with a file name.
    form.append(name, new Blob([text], { type: content_type }), name);
  }
}

interface GivenFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly name: string | null;
  readonly type: string | null;
}

function readFile(value: unknown, pointer: string): GivenFile {
  const named = isTree(value) ? value : { base64: value };
  const { base64, filename, mime_type: type } = named;
  const bytes = typeof base64 === "string" ? fromBase64(base64) : null;
  if (bytes === null) {
    throw invalidField(pointer, "Send bytes as base64, or as {base64, filename, mime_type}.");
  }
  if (typeof type === "string" && !/^[\w.+-]+\/[\w.+-]+(;[\x20-\x7e]*)?$/.test(type)) {
    throw invalidField(`${pointer}/mime_type`, "This is no media type, such as image/png.");
  }
  return {
    bytes,
    name: typeof filename === "string" && filename !== "" ? filename.replace(/[\p{Cc}"\\/]/gu, "_") : null,
    type: typeof type === "string" ? type : null,
  };
}

/** Bytes of base64 in either alphabet, padded or not; null for anything else. */
function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(binary, (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}
