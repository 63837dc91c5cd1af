/** Walks JSON bytes by the grammar of RFC 8259 without building a value: every malformed text is refused, and only the members of one object are told. */
import { AppError } from "../base/errors.js";

/** One member of an object: byte ranges of its name (with quotes) and its value, end exclusive. */
export interface Member {
  readonly nameStart: number;
  readonly nameEnd: number;
  readonly start: number;
  readonly end: number;
}

/** Deeper nesting is refused: an upstream's parser may recurse, and no honest call comes near. */
export const maxDepth = 256;

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const comma = 0x2c;
const colon = 0x3a;
const minus = 0x2d;
const plus = 0x2b;
const point = 0x2e;
const zero = 0x30;
const letterU = 0x75;
const simpleEscapes = new Set(Array.from('"\\/bfnrt', (char) => char.charCodeAt(0)));
const literals = ["true", "false", "null"].map((word) => Uint8Array.from(word, (char) => char.charCodeAt(0)));

/** Walks the whole text, which must be one object, and tells each of its own members in order. Throws `malformed_json`. */
export function walkDocument(bytes: Uint8Array, visit: (member: Member) => void): void {
  const start = skipSpace(bytes, 0);
  if (bytes[start] !== openBrace) {
    throw malformed();
  }
  if (skipSpace(bytes, walkObject(bytes, start, 1, visit)) !== bytes.length) {
    throw malformed();
  }
}

/** Walks the object that opens at `open`, tells its members, and returns the index after its brace. Throws `malformed_json`. */
export function walkObject(bytes: Uint8Array, open: number, depth: number, visit?: (member: Member) => void): number {
  let at = skipSpace(bytes, open + 1);
  if (bytes[at] === closeBrace) {
    return at + 1;
  }
  for (;;) {
    const nameStart = at;
    const nameEnd = skipString(bytes, at);
    at = skipSpace(bytes, nameEnd);
    if (bytes[at] !== colon) {
      throw malformed();
    }
    const start = skipSpace(bytes, at + 1);
    const end = skipValue(bytes, start, depth);
    visit?.({ nameStart, nameEnd, start, end });
    at = skipSpace(bytes, end);
    if (bytes[at] === closeBrace) {
      return at + 1;
    }
    if (bytes[at] !== comma) {
      throw malformed();
    }
    at = skipSpace(bytes, at + 1);
  }
}

/** Index of the first byte at or after `at` that is not JSON white space. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  let index = at;
  for (;;) {
    const byte = bytes[index];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
      return index;
    }
    index += 1;
  }
}

function skipValue(bytes: Uint8Array, at: number, depth: number): number {
  const byte = bytes[at];
  if (byte === quote) {
    return skipString(bytes, at);
  }
  if (byte !== openBrace && byte !== openBracket) {
    return byte === minus || isDigit(byte) ? skipNumber(bytes, at) : skipLiteral(bytes, at);
  }
  if (depth >= maxDepth) {
    throw malformed();
  }
  return byte === openBrace ? walkObject(bytes, at, depth + 1) : skipArray(bytes, at, depth + 1);
}

/** How many items the array has that opens at `open`. Throws `malformed_json`. */
export function countItems(bytes: Uint8Array, open: number): number {
  let count = 0;
  skipArray(bytes, open, 1, () => {
    count += 1;
  });
  return count;
}

function skipArray(bytes: Uint8Array, open: number, depth: number, visit?: () => void): number {
  let at = skipSpace(bytes, open + 1);
  if (bytes[at] === closeBracket) {
    return at + 1;
  }
  for (;;) {
    visit?.();
    at = skipSpace(bytes, skipValue(bytes, at, depth));
    if (bytes[at] === closeBracket) {
      return at + 1;
    }
    if (bytes[at] !== comma) {
      throw malformed();
    }
    at = skipSpace(bytes, at + 1);
  }
}

function skipString(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== quote) {
    throw malformed();
  }
  let index = at + 1;
  for (;;) {
    // Past the end reads as 0, a control character, which no string may hold.
    const byte = bytes[index] ?? 0;
    if (byte === quote) {
      return index + 1;
    }
    if (byte < 0x20) {
      throw malformed();
    }
    index += byte === backslash ? escapeLength(bytes, index) : 1;
  }
}

function escapeLength(bytes: Uint8Array, at: number): number {
  const kind = bytes[at + 1] ?? 0;
  if (simpleEscapes.has(kind)) {
    return 2;
  }
  if (kind !== letterU) {
    throw malformed();
  }
  for (let index = at + 2; index < at + 6; index += 1) {
    if (!isHexDigit(bytes[index])) {
      throw malformed();
    }
  }
  return 6;
}

function skipNumber(bytes: Uint8Array, at: number): number {
  let index = bytes[at] === minus ? at + 1 : at;
  index = bytes[index] === zero ? index + 1 : skipDigits(bytes, index);
  if (bytes[index] === point) {
    index = skipDigits(bytes, index + 1);
  }
  if (bytes[index] === 0x65 || bytes[index] === 0x45) {
    const sign = bytes[index + 1];
    index = skipDigits(bytes, sign === plus || sign === minus ? index + 2 : index + 1);
  }
  return index;
}

function skipDigits(bytes: Uint8Array, at: number): number {
  let index = at;
  while (isDigit(bytes[index])) {
    index += 1;
  }
  if (index === at) {
    throw malformed();
  }
  return index;
}

function skipLiteral(bytes: Uint8Array, at: number): number {
  for (const word of literals) {
    if (word.every((byte, index) => bytes[at + index] === byte)) {
      return at + word.length;
    }
  }
  throw malformed();
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHexDigit(byte: number | undefined): boolean {
  return isDigit(byte) || (byte !== undefined && ((byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66)));
}

function malformed(): AppError {
  return new AppError("malformed_json");
}
