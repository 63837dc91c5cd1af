/** How values are written into paths, queries, headers and cookies: OpenAPI's styles, which are those of RFC 6570. */
import type { CallParameter } from "../contract.js";
import { isTree } from "./tree.js";

type Written = Pick<CallParameter, "name" | "style" | "explode" | "allow_reserved">;

/** A query or form field, encoded. */
export type Pair = readonly [name: string, value: string];

/** A value in a path: encoded, with the marks of its style. */
export function writePathValue({ name, style, explode }: Written, value: unknown): string {
  if (style === "matrix") {
    return writeMatrix(encode(name), explode, value);
  }
  const separator = style === "label" && explode ? "." : ",";
  return `${style === "label" ? "." : ""}${writeSimple(value, explode, separator, encode)}`;
}

/** A value in a header: as it is, lists and objects joined by commas. */
export function writeHeaderValue({ explode }: Pick<Written, "explode">, value: unknown): string {
  return writeSimple(value, explode, ",", (text) => text);
}

/** A value as query or form fields. Reserved characters stay where the document allows them, but none that would end the field. */
export function writeFields({ name, style, explode, allow_reserved }: Written, value: unknown): readonly Pair[] {
  const text = allow_reserved ? encodeReserved : encode;
  const key = encode(name);
  if (Array.isArray(value)) {
    const items: readonly string[] = value.map((item) => text(scalar(item)));
    if (explode && style !== "deepObject") {
      return items.map((item) => [key, item] as const);
    }
    return style === "deepObject"
      ? items.map((item, index) => [`${key}[${index}]`, item] as const)
      : items.length === 0
        ? []
        : [[key, items.join(separators[style])]];
  }
  if (isTree(value)) {
    if (style === "deepObject") {
      return writeDeep(key, value, text);
    }
    const members = Object.entries(value).filter(([, member]) => member !== undefined && member !== null);
    return explode && style === "form"
      ? members.map(([member, item]) => [encode(member), text(scalar(item))] as const)
      : [[key, members.flatMap(([member, item]) => [encode(member), text(scalar(item))]).join(separators[style])]];
  }
  return [[key, text(scalar(value))]];
}

/** A scalar as text; anything nested as JSON, for which OpenAPI has no style. */
export function scalar(value: unknown): string {
  if (typeof value === "string") {
    return value;
  }
  return value === null || value === undefined ? "" : JSON.stringify(value);
}

/** Percent-encodes all but the unreserved characters of RFC 3986. Lone surrogates become U+FFFD. */
export function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

const separators: Readonly<Record<CallParameter["style"], string>> = {
  simple: ",",
  label: ",",
  matrix: ",",
  form: ",",
  spaceDelimited: "%20",
  pipeDelimited: "%7C",
  deepObject: ",",
};

/** `#`, `&`, `+` and `=` stay encoded: with them a value could end its field and begin another, such as the credential's. */
function encodeReserved(text: string): string {
  return encode(text).replace(/%(3A|2F|3F|5B|5D|40|21|24|27|28|29|2A|2C|3B)/g, (code) => decodeURIComponent(code));
}

function writeSimple(value: unknown, explode: boolean, separator: string, text: (value: string) => string): string {
  if (Array.isArray(value)) {
    return value.map((item) => text(scalar(item))).join(separator);
  }
  if (isTree(value)) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined && member !== null);
    return explode
      ? members.map(([name, item]) => `${text(name)}=${text(scalar(item))}`).join(separator)
      : members.flatMap(([name, item]) => [text(name), text(scalar(item))]).join(separator);
  }
  return text(scalar(value));
}

function writeMatrix(name: string, explode: boolean, value: unknown): string {
  if (explode && Array.isArray(value)) {
    return value.map((item) => `;${name}=${encode(scalar(item))}`).join("");
  }
  if (explode && isTree(value)) {
    return Object.entries(value)
      .map(([member, item]) => `;${encode(member)}=${encode(scalar(item))}`)
      .join("");
  }
  return `;${name}=${writeSimple(value, false, ",", encode)}`;
}

function writeDeep(
  key: string,
  value: Readonly<Record<string, unknown>>,
  text: (value: string) => string,
): readonly Pair[] {
  return Object.entries(value).flatMap(([name, item]): readonly Pair[] => {
    const inner = `${key}[${encode(name)}]`;
    if (item === undefined || item === null) {
      return [];
    }
    if (Array.isArray(item)) {
      return item.map((one) => [inner, text(scalar(one))] as const);
    }
    return isTree(item) ? writeDeep(inner, item, text) : [[inner, text(scalar(item))]];
  });
}
