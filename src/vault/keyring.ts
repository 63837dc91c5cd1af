/** Wraps workspace data keys under the KEYRING. A wrapped key opens only for its own workspace and id, under the entry it names. */
import { AppError } from "../base/errors.js";
import type { Keyring } from "../base/keyring.js";
import { deriveSealingKey, takeRoot } from "./derive.js";
import { envelopeKeyId, openEnvelope, readEnvelope, sealEnvelope } from "./envelope.js";

/** Which data key is wrapped; both are bound into the wrapping. */
export interface DataKeyName {
  readonly workspaceId: string;
  readonly dataKeyId: string;
}

/** Wraps 32 raw bytes under an entry of the ring (`sealingEntry`). The bytes are left as they are: zeroing them is the caller's. Throws `keyring_entry_missing`. */
export async function wrapDataKey(
  keyring: Keyring,
  entry: string,
  name: DataKeyName,
  raw: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const key = await keyringSubkey(keyring, entry, "wrap");
  return await sealEnvelope(key, entry, boundParts(name), raw);
}

/** The same data key wrapped under another entry. Throws as `unwrapDataKey` and `wrapDataKey`. */
export async function rewrapDataKey(
  keyring: Keyring,
  entry: string,
  name: DataKeyName,
  wrapped: string,
): Promise<string> {
  const raw = await unwrapDataKey(keyring, name, wrapped);
  try {
    return await wrapDataKey(keyring, entry, name, raw);
  } finally {
    raw.fill(0);
  }
}

/** The 32 raw bytes of a wrapped data key. Throws `AppError` `keyring_entry_missing` (503) when this ring lacks the entry it names, else `undecryptable`. */
export async function unwrapDataKey(
  keyring: Keyring,
  name: DataKeyName,
  wrapped: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const entry = envelopeKeyId(wrapped);
  if (entry === null) {
    throw new AppError("undecryptable");
  }
  const key = await keyringSubkey(keyring, entry, "wrap");
  const raw = await openEnvelope(key, readEnvelope(entry, boundParts(name), wrapped));
  if (raw.byteLength !== 32) {
    raw.fill(0);
    throw new AppError("undecryptable");
  }
  return raw;
}

const subkeys = new WeakMap<Keyring, Map<string, CryptoKey>>();

/** A non-extractable subkey of one keyring entry, derived once per isolate. Throws `AppError` `keyring_entry_missing` for an id that is not in the ring. */
export async function keyringSubkey(keyring: Keyring, id: string, use: "wrap" | "answers"): Promise<CryptoKey> {
  const ofRing = subkeys.get(keyring) ?? new Map<string, CryptoKey>();
  subkeys.set(keyring, ofRing);
  const known = ofRing.get(`${use}.${id}`);
  if (known !== undefined) {
    return known;
  }
  const raw = keyring.get(id);
  if (raw === undefined) {
    throw new AppError("keyring_entry_missing", { retryAfterMs: 5000 });
  }
  const key = await deriveSealingKey(await takeRoot(raw), use);
  ofRing.set(`${use}.${id}`, key);
  return key;
}

function boundParts(name: DataKeyName): readonly string[] {
  return ["data_key", name.workspaceId, name.dataKeyId];
}
