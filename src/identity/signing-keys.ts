/** The key pairs that sign access tokens: Ed25519, derived from AUTH_SECRET and the month, so rotation needs no row, no cron and no race, and a dump of D1 holds no key. */
import { fromBase64Url, hmacSha256, utf8 } from "../base/bytes.js";
import { keyringIdPattern, type Keyring } from "../base/keyring.js";

/** How long one key signs. */
export const keyPeriodMs = 30 * 24 * 3_600_000;

/** A public key as the key set shows it. */
export interface PublicKey {
  readonly kid: string;
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly alg: "EdDSA";
  readonly use: "sig";
  readonly x: string;
}

interface KeyPair {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly shown: PublicKey;
}

/** The key that signs at `now`. */
export async function signingKey(authSecret: Keyring, now: number): Promise<{ kid: string; key: CryptoKey }> {
  const pair = await findPair(authSecret, authSecret.primary, periodAt(now));
  if (pair === null) {
    throw new TypeError("the keyring lacks its own primary");
  }
  return { kid: pair.kid, key: pair.privateKey };
}

/** The public key of a kid that may have signed a token which is still good at `now`, or null. No kid leads to any other place. */
export async function verifyingKey(authSecret: Keyring, kid: string, now: number): Promise<CryptoKey | null> {
  const [, secretId, period] = new RegExp(`^(${keyringIdPattern})-(\\d{1,6})$`).exec(kid) ?? [];
  const current = periodAt(now);
  if (secretId === undefined || ![current, current - 1].includes(Number(period))) {
    return null;
  }
  return (await findPair(authSecret, secretId, Number(period)))?.publicKey ?? null;
}

/** Every public key that signs, signed last, or will sign next: whoever keeps the set for a day knows a key before its first token. */
export async function publicKeys(authSecret: Keyring, now: number): Promise<PublicKey[]> {
  const current = periodAt(now);
  const wanted = authSecret.ids.flatMap((id) => [-1, 0, 1].map((step) => findPair(authSecret, id, current + step)));
  return (await Promise.all(wanted)).flatMap((pair) => (pair === null ? [] : [pair.shown]));
}

function periodAt(now: number): number {
  return Math.floor(now / keyPeriodMs);
}

const pairs = new WeakMap<Keyring, Map<string, KeyPair>>();

async function findPair(authSecret: Keyring, secretId: string, period: number): Promise<KeyPair | null> {
  const known = pairs.get(authSecret) ?? new Map<string, KeyPair>();
  pairs.set(authSecret, known);
  const kid = `${secretId}-${period}`;
  const kept = known.get(kid);
  if (kept !== undefined) {
    return kept;
  }
  const root = authSecret.get(secretId);
  if (root === undefined) {
    return null;
  }
  const seed = await hmacSha256(root, utf8(`gatehouse.jwt-ed25519.v1|${period}`));
  root.fill(0);
  const pair = await makePair(kid, seed);
  known.set(kid, pair);
  return pair;
}

/** RFC 8410 §7: an Ed25519 private key is its 32-byte seed behind these 16 bytes. */
const pkcs8Head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

async function makePair(kid: string, seed: Uint8Array<ArrayBuffer>): Promise<KeyPair> {
  const pkcs8 = new Uint8Array([...pkcs8Head, ...seed]);
  seed.fill(0);
  // Exportable for this frame only: the platform gives a public key out of a private one by no other way.
  const open = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  pkcs8.fill(0);
  const exported = await crypto.subtle.exportKey("jwk", open);
  const x = "x" in exported && typeof exported.x === "string" ? exported.x : "";
  const raw = fromBase64Url(x);
  if (raw === null || raw.byteLength !== 32) {
    throw new TypeError("no public key of an Ed25519 pair");
  }
  const publicKey = await crypto.subtle.importKey("raw", raw, "Ed25519", true, ["verify"]);
  return { kid, privateKey, publicKey, shown: { kid, kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig", x } };
}
