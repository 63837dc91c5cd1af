/** One root key, many uses: each use works under its own HKDF-SHA-256 subkey, non-extractable, so no use can be turned against another. */
import { utf8 } from "../base/bytes.js";

/** What a subkey is for; stands in its derivation, so a word here is never changed. */
export type SubkeyUse = "wrap" | "answers" | "seal" | "fingerprint";

/** An AES-256-GCM subkey of a 32-byte root. */
export async function deriveSealingKey(root: CryptoKey, use: Exclude<SubkeyUse, "fingerprint">): Promise<CryptoKey> {
  return await crypto.subtle.deriveKey(hkdf(use), root, { name: "AES-GCM", length: 256 }, false, [
    "encrypt",
    "decrypt",
  ]);
}

/** An HMAC-SHA-256 subkey of a 32-byte root. */
export async function deriveMacKey(root: CryptoKey, use: "fingerprint"): Promise<CryptoKey> {
  return await crypto.subtle.deriveKey(hkdf(use), root, { name: "HMAC", hash: "SHA-256", length: 256 }, false, [
    "sign",
  ]);
}

/** Takes over 32 raw bytes as a root: imports them for derivation only and zeroes the array, also when the import fails. */
export async function takeRoot(raw: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  try {
    return await crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveKey"]);
  } finally {
    raw.fill(0);
  }
}

/** The salt may be empty: RFC 5869 §3.1, the roots are uniformly random. */
function hkdf(use: SubkeyUse): {
  name: string;
  hash: string;
  salt: Uint8Array<ArrayBuffer>;
  info: Uint8Array<ArrayBuffer>;
} {
  return { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: utf8(`gatehouse.v1.${use}`) };
}
