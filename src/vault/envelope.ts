/** The vault's one sealed form, AES-256-GCM as text: `v1.a256gcm.<key id>.<iv>.<ciphertext and tag>`. It opens whole, under all it was bound to, or not at all. */
import { fromBase64Url, randomBytes, toBase64Url, utf8 } from "../base/bytes.js";
import { AppError } from "../base/errors.js";

const ivBytes = 12;
const tagBytes = 16;
const form = /^v1\.a256gcm\.([a-z0-9_]{1,64})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22,})$/;

/** The id of the key an envelope was sealed under, or null when the text is no envelope. Proves nothing about its content. */
export function envelopeKeyId(envelope: string): string | null {
  return form.exec(envelope)?.[1] ?? null;
}

/** Seals bytes under a key with a fresh random 96-bit IV. `bound` is authenticated, not stored: opening needs the same parts in the same order. */
export async function sealEnvelope(
  key: CryptoKey,
  keyId: string,
  bound: readonly string[],
  plain: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const iv = randomBytes(ivBytes);
  const params = { name: "AES-GCM", iv, additionalData: associate(keyId, bound), tagLength: tagBytes * 8 };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(params, key, plain));
  return `v1.a256gcm.${keyId}.${toBase64Url(iv)}.${toBase64Url(sealed)}`;
}

/** An envelope that was read, with all it was bound to, and can be opened without reading it again. Holds nothing that is secret. */
export interface ReadEnvelope {
  readonly keyId: string;
  readonly iv: Uint8Array<ArrayBuffer>;
  readonly sealed: Uint8Array<ArrayBuffer>;
  readonly associated: Uint8Array<ArrayBuffer>;
}

/** Reads an envelope that was sealed under `keyId`. Throws `AppError` `undecryptable` for a text that is none, or names another key. */
export function readEnvelope(keyId: string, bound: readonly string[], envelope: string): ReadEnvelope {
  const [, namedId, ivText = "", sealedText = ""] = form.exec(envelope) ?? [];
  const iv = decodeExactly(ivText);
  const sealed = decodeExactly(sealedText);
  if (namedId !== keyId || iv === null || sealed === null) {
    throw new AppError("undecryptable");
  }
  return { keyId, iv, sealed, associated: associate(keyId, bound) };
}

/** Opens what `sealEnvelope` made. Throws `AppError` `undecryptable` for any other text, key, key id or bound part. */
export async function openEnvelope(
  key: CryptoKey,
  { iv, sealed, associated }: ReadEnvelope,
): Promise<Uint8Array<ArrayBuffer>> {
  const params = { name: "AES-GCM", iv, additionalData: associated, tagLength: tagBytes * 8 };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(params, key, sealed));
  } catch {
    throw new AppError("undecryptable");
  }
}

/** Base64url leaves spare bits in a last character; a text with other ones would be a second name for the same bytes. */
function decodeExactly(text: string): Uint8Array<ArrayBuffer> | null {
  const bytes = fromBase64Url(text);
  const spare = bytes === null ? 0 : bytes.byteLength % 3;
  return bytes !== null && text.endsWith(toBase64Url(bytes.subarray(bytes.byteLength - spare))) ? bytes : null;
}

/** Each part behind its length (32-bit big-endian bytes), so that no two lists of parts give the same associated data. */
function associate(keyId: string, bound: readonly string[]): Uint8Array<ArrayBuffer> {
  const parts = ["gatehouse.v1.a256gcm", keyId, ...bound].map((part) => {
    if (!part.isWellFormed()) {
      // UTF-8 would fold every lone surrogate into one replacement character.
      throw new TypeError("associated data must be well-formed Unicode");
    }
    return utf8(part);
  });
  const all = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.byteLength, 0));
  const view = new DataView(all.buffer);
  let at = 0;
  for (const part of parts) {
    view.setUint32(at, part.byteLength);
    all.set(part, at + 4);
    at += 4 + part.byteLength;
  }
  return all;
}
