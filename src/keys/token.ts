/** The API key as text: made here once, and told from any other text without I/O by a keyed check. Only its digest is ever stored. */
import { equalBytes, randomBytes, sha256Hex, toBase32, utf8 } from "../base/bytes.js";
import { idPrefixes, isId } from "../base/ids.js";
import { keyringIdPattern, type Keyring } from "../base/keyring.js";
import { Secret } from "../base/secret.js";
import { regions, type Region } from "../tenancy/model.js";

/** A new key. `secret` is shown once; the rest is what its row keeps. */
export interface MintedKey {
  readonly secret: Secret;
  /** SHA-256 of the whole key, lower-case hex. */
  readonly digest: string;
  /** The key's true beginning, safe to show: everything before the random part and 4 characters (20 bits) of that. */
  readonly prefix: string;
  readonly lastFour: string;
}

/** What a key says by itself. That its check holds means only that this service made it, not that it is still good. */
export interface ParsedKey {
  readonly workspaceId: string;
  readonly region: Region;
  /** SHA-256 of the whole key, lower-case hex. */
  readonly digest: string;
}

const randomLength = 52;
const checkLength = 16;
const workspaceLength = 26;
/** ghk_ + kid + _ + region + _ + workspace + _ + random + check */
const longest = 4 + 8 + 1 + 4 + 1 + workspaceLength + 1 + randomLength + checkLength;
const form = new RegExp(
  `^ghk_(${keyringIdPattern})_(${regions.join("|")})_([0-7][0-9a-hjkmnp-tv-z]{${workspaceLength - 1}})_[0-9a-hjkmnp-tv-z]{${randomLength + checkLength}}$`,
);

/** Makes a key `ghk_<kid>_<region>_<workspace>_<256 random bits><80-bit check>` under the ring's primary. Throws `TypeError` when the workspace id is none. */
export async function mintKey(keyring: Keyring, workspaceId: string, region: Region): Promise<MintedKey> {
  if (!isId("workspace", workspaceId)) {
    throw new TypeError("not a workspace id");
  }
  const workspace = workspaceId.slice(idPrefixes.workspace.length + 1);
  const body = `ghk_${keyring.primary}_${region}_${workspace}_${toBase32(randomBytes(32))}`;
  const check = await checkOf(keyring, keyring.primary, body);
  if (check === null) {
    throw new TypeError("the keyring lacks its own primary");
  }
  const text = body + check;
  return {
    secret: new Secret(text),
    digest: await sha256Hex(text),
    prefix: body.slice(0, body.length - randomLength + 4),
    lastFour: text.slice(-4),
  };
}

/**
 * Reads a key, or null for any text this service did not make: wrong shape, unknown key id, wrong check. No I/O; a long text costs no more
 * than a short one. A key that was recognised is for a minute, since its check and digest take as long as all the rest of a call's reading.
 */
export async function parseKey(text: string, keyring: Keyring): Promise<ParsedKey | null> {
  if (text.length > longest) {
    return null;
  }
  const known = recognised.find(keyring, text);
  if (known !== null) {
    return known;
  }
  const key = await recognise(text, keyring);
  if (key !== null) {
    recognised.keep(keyring, text, key);
  }
  return key;
}

/** Whether a key is still good is the Router's to say at every call: what is kept here is only what its text says. */
const recognised = {
  keptMs: 60_000,
  atMost: 1_000,
  byRing: new WeakMap<Keyring, Map<string, { readonly key: ParsedKey; readonly until: number }>>(),

  find(keyring: Keyring, text: string): ParsedKey | null {
    const entry = this.byRing.get(keyring)?.get(text);
    return entry !== undefined && Date.now() < entry.until ? entry.key : null;
  },

  keep(keyring: Keyring, text: string, key: ParsedKey): void {
    const now = Date.now();
    const entries = this.byRing.get(keyring) ?? new Map<string, { readonly key: ParsedKey; readonly until: number }>();
    this.byRing.set(keyring, entries);
    entries.delete(text);
    entries.set(text, { key, until: now + this.keptMs });
    // Maps keep insertion order, so the oldest come first.
    for (const [oldest, { until }] of entries) {
      if (entries.size <= this.atMost && now < until) {
        return;
      }
      entries.delete(oldest);
    }
  },
};

async function recognise(text: string, keyring: Keyring): Promise<ParsedKey | null> {
  const [, kid, regionWord, workspace] = form.exec(text) ?? [];
  const region = regions.find((word) => word === regionWord);
  if (kid === undefined || region === undefined || workspace === undefined) {
    return null;
  }
  const expected = await checkOf(keyring, kid, text.slice(0, -checkLength));
  if (expected === null || !equalBytes(utf8(expected), utf8(text.slice(-checkLength)))) {
    return null;
  }
  return { workspaceId: `${idPrefixes.workspace}_${workspace}`, region, digest: await sha256Hex(text) };
}

/** The first 80 bits of HMAC-SHA-256 over everything before the check, in base32; null for a kid that is not in the ring. */
async function checkOf(keyring: Keyring, kid: string, body: string): Promise<string | null> {
  const key = await macKey(keyring, kid);
  if (key === null) {
    return null;
  }
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8(body)));
  return toBase32(mac.subarray(0, 10));
}

const macKeys = new WeakMap<Keyring, Map<string, CryptoKey>>();

async function macKey(keyring: Keyring, kid: string): Promise<CryptoKey | null> {
  const ofRing = macKeys.get(keyring) ?? new Map<string, CryptoKey>();
  macKeys.set(keyring, ofRing);
  const known = ofRing.get(kid);
  if (known !== undefined) {
    return known;
  }
  const raw = keyring.get(kid);
  if (raw === undefined) {
    return null;
  }
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  raw.fill(0);
  ofRing.set(kid, key);
  return key;
}
