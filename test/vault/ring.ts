/** Keyrings and bindings for the vault's tests. */
import * as fc from "fast-check";
import { toBase64Url } from "../../src/base/bytes.js";
import { parseKeyring, type Keyring } from "../../src/base/keyring.js";
import type { SealBinding } from "../../src/vault/seal.js";

/** A ring of entries by id, each 32 times the given byte; the first is primary. */
export function ringOf(entries: Readonly<Record<string, number>>): Keyring {
  const keys = Object.fromEntries(
    Object.entries(entries).map(([id, byte]) => [id, toBase64Url(new Uint8Array(32).fill(byte))]),
  );
  const ring = parseKeyring(JSON.stringify({ primary: Object.keys(entries)[0], keys }));
  if (typeof ring === "string") {
    throw new TypeError(ring);
  }
  return ring;
}

export const workspaceId = "ws_01h455vb4pex5vsknk084sn02q";
export const otherWorkspaceId = "ws_01h455vb4pex5vsknk084sn02r";

export const place: SealBinding = {
  workspaceId,
  table: "credentials",
  row: "cred_01h455vb4pex5vsknk084sn02q",
  field: "api_key",
  secretVersion: 1,
  origin: "https://api.openai.com",
};

/** Any Unicode text a person could enter as a secret. */
export function anyText(): fc.Arbitrary<string> {
  return fc.string({ unit: "grapheme", maxLength: 300 });
}
