/** What verify-audit computes with: the tree, canonical JSON, signed notes, and numbers in sentences. */
import { createHash, createPublicKey, verify } from "node:crypto";

/** What is wrong with the way it was called, or a file that cannot be read. */
export class Refusal extends Error {}

/** @typedef {{ origin: string, size: number, root: Buffer, extensions: string[] }} Head */

/** @param {number} count @param {string} noun */
export function countOf(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {number} first @param {number} last */
export function placesOf(first, last) {
  return first === last ? `place ${first}` : `places ${first} to ${last}`;
}

/** Without the line ends that a shell or an editor puts after the last line. @param {Buffer} bytes */
export function withoutEmptyEnd(bytes) {
  let end = bytes.length;
  while (end > 1 && bytes[end - 1] === 0x0a && bytes[end - 2] === 0x0a) {
    end -= 1;
  }
  return bytes.subarray(0, end);
}

/** @param {...(Buffer | string)} parts */
export function sha256(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) {
    hash.update(part);
  }
  return hash.digest();
}

export const zero = Buffer.from([0]);
const inner = Buffer.from([1]);

/** RFC 8785, with lone surrogates kept as their escapes. @param {any} value @returns {string} */
export function canonicalJson(value) {
  if (Array.isArray(value)) {
    return `[${value.map(canonicalJson).join(",")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const names = Object.keys(value).toSorted();
    return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** A tree that grows leaf by leaf: the whole subtrees so far, smallest last. */
export class Growing {
  /** @type {{ size: number, hash: Buffer }[]} */
  peaks = [];
  size = 0;

  /** @param {Buffer} hash @param {number} size */
  add(hash, size = 1) {
    this.peaks.push({ hash, size });
    this.size += size;
    for (;;) {
      const [left, right] = this.peaks.slice(-2);
      if (left === undefined || right === undefined || left.size !== right.size) {
        return;
      }
      this.peaks.splice(-2, 2, { size: left.size * 2, hash: sha256(inner, left.hash, right.hash) });
    }
  }

  root() {
    const last = this.peaks.at(-1);
    if (last === undefined) {
      return sha256();
    }
    return this.peaks.slice(0, -1).reduceRight((right, { hash }) => sha256(inner, hash, right), last.hash);
  }
}

/** @param {string} given */
export function readKey(given) {
  const text = given.trim();
  const plus = text.lastIndexOf("+", text.length - 45);
  const bytes = Buffer.from(/\+[0-9a-f]{8}\+/.test(text) ? text.slice(plus + 1) : text, "base64");
  const raw = bytes.length === 33 && bytes[0] === 1 ? bytes.subarray(1) : bytes;
  if (raw.length !== 32) {
    throw new Refusal("The key is neither 32 bytes in base64 nor a verifier key.");
  }
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
  return { raw, key: createPublicKey({ key: der, format: "der", type: "spki" }) };
}

/**
 * Opens a signed note. Throws `Refusal` for one that is none or not signed by the key.
 * @param {unknown} note @param {ReturnType<typeof readKey>} key @param {string} what @returns {Head}
 */
export function openNote(note, { raw, key }, what) {
  const [, text, signatures] = typeof note === "string" ? (/^([^]*\n)\n((?:— [^\n]+\n)+)$/.exec(note) ?? []) : [];
  if (text === undefined || signatures === undefined) {
    throw new Refusal(`${what} is no signed note.`);
  }
  const [origin = "", size = "", root = "", ...extensions] = text.slice(0, -1).split("\n");
  const id = sha256(`${origin}\n`, inner, raw).subarray(0, 4);
  const isSigned = signatures
    .split("\n")
    .filter((line) => line.startsWith(`— ${origin} `))
    .some((line) => {
      const encoded = line.slice(`— ${origin} `.length);
      const bytes = Buffer.from(encoded, "base64");
      // Base64 that says the same in another way counts as changed.
      const isExact = bytes.toString("base64") === encoded && bytes.length === 68;
      return isExact && bytes.subarray(0, 4).equals(id) && verify(null, Buffer.from(text), key, bytes.subarray(4));
    });
  if (!isSigned) {
    throw new Refusal(`${what} is not signed by the key.`);
  }
  const hash = Buffer.from(root, "base64");
  if (!/^(?:0|[1-9]\d*)$/.test(size) || hash.length !== 32 || hash.toString("base64") !== root) {
    throw new Refusal(`${what} is no checkpoint.`);
  }
  return { origin, size: Number(size), root: hash, extensions };
}

/** A note as it was signed, out of a letter or an editor that wrote line ends its own way. @param {string} note */
export function tidy(note) {
  return `${note
    .replaceAll("\r\n", "\n")
    .replace(/^\uFEFF/, "")
    .trim()}\n`;
}

/** @param {unknown} text @returns {Buffer | null} */
export function readHash(text) {
  const bytes = typeof text === "string" ? Buffer.from(text, "base64") : Buffer.alloc(0);
  return bytes.length === 32 && bytes.toString("base64") === text ? bytes : null;
}
