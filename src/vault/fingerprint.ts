/**
 * Finds "the same secret again" inside one workspace without storing anything that can be guessed at.
 *
 * The key is a subkey of the workspace's data key, not of the KEYRING: two workspaces with the same secret stay unlinkable, purging the
 * data key makes what is left meaningless, and changing the KEYRING leaves every fingerprint true (re-wrapping never opens a credential,
 * so fingerprints under a keyring entry would go stale or pin that entry for ever). Changing the data key opens each credential anyway,
 * so the same pass can make its new fingerprint; the data key's id stands in the text, so old and new ones are never taken for equal.
 */
import { toBase64Url, utf8 } from "../base/bytes.js";
import type { Secret } from "../base/secret.js";
import type { DataKey } from "./data-keys.js";

/** A fingerprint such as `f1.<data key id>.<22 characters>`: equal exactly for equal secrets under one data key. 128 bits of HMAC-SHA-256. */
export async function fingerprintSecret(dataKey: DataKey, secret: Secret): Promise<string> {
  const bytes = utf8(secret.reveal());
  try {
    const mac = new Uint8Array(await crypto.subtle.sign("HMAC", dataKey.fingerprinting, bytes));
    return `f1.${dataKey.id}.${toBase64Url(mac.subarray(0, 16))}`;
  } finally {
    bytes.fill(0);
  }
}
