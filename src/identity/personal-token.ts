/** The personal token as text: made here once, and told from any other text without I/O by a keyed check. Only its digest is ever stored. */
import { equalBytes, hmacSha256, randomBytes, sha256Hex, toBase32, utf8 } from "../base/bytes.js";
import { keyringIdPattern, type Keyring } from "../base/keyring.js";
import { Secret } from "../base/secret.js";

/** Before every personal token, so that a leak is recognised for what it is. */
export const tokenPrefix = "ghp_";

/** A new token. `secret` is shown once; the rest is what its row keeps. */
export interface MintedToken {
  readonly secret: Secret;
  /** SHA-256 of the whole token, lower-case hex. */
  readonly digest: string;
  readonly lastFour: string;
}

const checkLength = 16;
const form = new RegExp(`^${tokenPrefix}(${keyringIdPattern})_[0-9a-hjkmnp-tv-z]{${52 + checkLength}}$`);
const longest = tokenPrefix.length + 8 + 1 + 52 + checkLength;

/** Makes a token `ghp_<kid>_<256 random bits><80-bit check>` under the ring's primary. */
export async function mintToken(tokenSecret: Keyring): Promise<MintedToken> {
  const body = `${tokenPrefix}${tokenSecret.primary}_${toBase32(randomBytes(32))}`;
  const check = await checkOf(tokenSecret, tokenSecret.primary, body);
  if (check === null) {
    throw new TypeError("the keyring lacks its own primary");
  }
  const text = body + check;
  return { secret: new Secret(text), digest: await sha256Hex(text), lastFour: text.slice(-4) };
}

/** The digest of a token this service made, or null for any other text: wrong shape, unknown key id, wrong check. No I/O. */
export async function digestToken(text: string, tokenSecret: Keyring): Promise<string | null> {
  const kid = text.length > longest ? undefined : form.exec(text)?.[1];
  const expected = kid === undefined ? null : await checkOf(tokenSecret, kid, text.slice(0, -checkLength));
  const isOurs = expected !== null && equalBytes(utf8(expected), utf8(text.slice(-checkLength)));
  return isOurs ? await sha256Hex(text) : null;
}

/** The first 80 bits of HMAC-SHA-256 over everything before the check; its prefix tells it from an API key's. */
async function checkOf(tokenSecret: Keyring, kid: string, body: string): Promise<string | null> {
  const key = tokenSecret.get(kid);
  if (key === undefined) {
    return null;
  }
  const mac = await hmacSha256(key, utf8(body));
  key.fill(0);
  return toBase32(mac.subarray(0, 10));
}
