/** The token in an invite's link: derived, never stored, so neither D1 nor the queue holds it. Whoever has the link had the letter. */
import { equalBytes, hmacSha256, toBase32, utf8 } from "../base/bytes.js";
import { isId } from "../base/ids.js";
import { keyringIdPattern, type Keyring } from "../base/keyring.js";
import { Secret } from "../base/secret.js";

/** What a token says by itself; it is good only when `isTokenOf` holds for the invite's present version. */
export interface InviteToken {
  readonly inviteId: string;
  readonly keyringId: string;
  readonly mac: string;
}

const macBytes = 20;
const form = new RegExp(`^(inv_[0-9a-z]{26})\\.(${keyringIdPattern})\\.([0-9a-hjkmnp-tv-z]{32})$`);

/**
 * `inv_<id>.<kid>.<mac>` under the ring's primary; mac = the first 160 bits of HMAC-SHA-256 over invite id and version,
 * in base32: mail programs cut trailing `-` and `_` off links. The same input gives the same token at every delivery.
 */
export async function writeInviteToken(mailSecret: Keyring, inviteId: string, version: number): Promise<Secret> {
  const mac = await macOf(mailSecret, mailSecret.primary, inviteId, version);
  if (mac === null) {
    throw new TypeError("the keyring lacks its own primary");
  }
  return new Secret(`${inviteId}.${mailSecret.primary}.${mac}`);
}

/** Reads a token's form, or null. No I/O. */
export function readInviteToken(text: string): InviteToken | null {
  const [, inviteId, keyringId, mac] = form.exec(text) ?? [];
  if (inviteId === undefined || keyringId === undefined || mac === undefined || !isId("invite", inviteId)) {
    return null;
  }
  return { inviteId, keyringId, mac };
}

/** Whether this service made the token for this version of the invite. */
export async function isTokenOf(mailSecret: Keyring, token: InviteToken, version: number): Promise<boolean> {
  const expected = await macOf(mailSecret, token.keyringId, token.inviteId, version);
  return expected !== null && equalBytes(utf8(expected), utf8(token.mac));
}

async function macOf(ring: Keyring, keyringId: string, inviteId: string, version: number): Promise<string | null> {
  const key = ring.get(keyringId);
  if (key === undefined) {
    return null;
  }
  const mac = await hmacSha256(key, utf8(`gatehouse.invite.v1|${inviteId}|${version}`));
  key.fill(0);
  return toBase32(mac.subarray(0, macBytes));
}
