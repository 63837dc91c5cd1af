/** A keyring as the environment gives it: named 32-byte keys, one of them primary. Prints its ids only, never a key. */
import { fromBase64Url, toHex } from "./bytes.js";

/** New things are made under `primary`; what was made under any other id of the ring still opens. */
export interface Keyring {
  readonly primary: string;
  readonly ids: readonly string[];
  /** A fresh copy of the 32 bytes, so the caller may zero it; undefined for an id that is not in the ring. */
  get(id: string): Uint8Array<ArrayBuffer> | undefined;
}

/** The form of an id in a keyring, unanchored, for use in larger patterns. */
export const keyringIdPattern = "[a-z0-9]{1,8}";

/** Reads `{"primary": id, "keys": {id: 32 bytes in base64url}}`. Answers a ring, or one sentence that says what is wrong; it never holds a key. */
export function parseKeyring(text: string): Keyring | string {
  const shape = readShape(text);
  if (typeof shape === "string") {
    return shape;
  }
  const keys = new Map<string, Uint8Array<ArrayBuffer>>();
  const seen = new Map<string, string>();
  for (const [id, value] of Object.entries(shape.keys)) {
    const bytes = readKey(id, value);
    if (typeof bytes === "string") {
      return bytes;
    }
    const twin = seen.get(toHex(bytes));
    if (twin !== undefined) {
      return `keys "${twin}" and "${id}" are the same key, so changing from one to the other would change nothing`;
    }
    seen.set(toHex(bytes), id);
    keys.set(id, bytes);
  }
  if (!keys.has(shape.primary)) {
    return `its primary is not one of its keys (${[...keys.keys()].join(", ")})`;
  }
  return keyringOf(shape.primary, keys);
}

function keyringOf(primary: string, keys: ReadonlyMap<string, Uint8Array<ArrayBuffer>>): Keyring {
  return Object.freeze({
    primary,
    ids: Object.freeze([...keys.keys()]),
    get: (id: string): Uint8Array<ArrayBuffer> | undefined => keys.get(id)?.slice(),
  });
}

function readShape(text: string): { primary: string; keys: object } | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "it is not JSON";
  }
  if (typeof value !== "object" || value === null || !("primary" in value) || !("keys" in value)) {
    return 'it is not an object with "primary" and "keys"';
  }
  const { primary, keys } = value;
  if (typeof primary !== "string") {
    return '"primary" is not a text';
  }
  if (typeof keys !== "object" || keys === null || Array.isArray(keys) || Object.keys(keys).length === 0) {
    return '"keys" is not an object with at least one key';
  }
  return { primary, keys };
}

function readKey(id: string, value: unknown): Uint8Array<ArrayBuffer> | string {
  if (!new RegExp(`^${keyringIdPattern}$`).test(id)) {
    return "a key id is not 1 to 8 characters of a-z and 0-9";
  }
  const bytes = typeof value === "string" ? fromBase64Url(value) : null;
  if (bytes === null) {
    return `key "${id}" is not base64url without padding`;
  }
  if (bytes.byteLength !== 32) {
    return `key "${id}" is ${bytes.byteLength} bytes long, not 32`;
  }
  return bytes.every((byte) => byte === 0) ? `key "${id}" is all zero` : bytes;
}
