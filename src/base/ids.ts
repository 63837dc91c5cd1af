/** Every id's prefix in one list, so a value in a log says what it is. A secret never shares a prefix with the row that names it. */
import { base32Alphabet, randomBytes, toBase32 } from "./bytes.js";

/** Row-id prefixes by kind. */
export const idPrefixes = {
  account: "usr",
  session: "ses",
  workspace: "ws",
  member: "mem",
  invite: "inv",
  key: "key",
  credential: "cred",
  dataKey: "dk",
  pool: "pool",
  instance: "inst",
  audit: "aud",
  letter: "mail",
  request: "req",
  operation: "op",
  emailCode: "code",
  personalToken: "pat",
  passkey: "psk",
  identity: "idn",
  transfer: "xfer",
  toolProvider: "tprov",
  webhook: "wh",
  webhookSecret: "whk",
  webhookDelivery: "whd",
} as const;

/** A kind of row that has ids. */
export type IdKind = keyof typeof idPrefixes;

/** A new TypeID such as `ws_01h455vb4pex5vsknk084sn02q`: time-ordered (UUIDv7), 26 characters after the prefix. */
export function newId(kind: IdKind): string {
  return `${idPrefixes[kind]}_${newSuffix(Date.now())}`;
}

/** The last suffix's time, epoch milliseconds, and its counter of 31 bits. */
const last = { at: 0, count: 0 };

/**
 * A UUIDv7 (RFC 9562 §5.7) in TypeID's base32. Within a millisecond a counter that begins at random keeps them in order, as its method 1
 * has it. By hand, since every call of the gateway makes one, and the library takes longer for it than the Router for its pick.
 */
function newSuffix(now: number): string {
  const tail = randomBytes(10);
  if (now > last.at || last.count === 0x7fff_ffff) {
    const [a = 0, b = 0, c = 0, d = 0] = tail;
    // Half of the range is left to count in.
    last.count = ((a << 22) | (b << 14) | (c << 6) | (d >> 2)) & 0x3fff_ffff;
    last.at = Math.max(now, last.at + 1);
  } else {
    last.count += 1;
  }
  const { at, count } = last;
  tail[0] = 0x70 | (count >>> 27);
  tail[1] = count >>> 19;
  tail[2] = 0x80 | ((count >>> 13) & 0x3f);
  tail[3] = count >>> 5;
  tail[4] = (count << 3) | ((tail[4] ?? 0) & 7);
  return timePart(at) + toBase32(tail);
}

/** 48 bits of time behind two zero bits: ten characters. */
function timePart(at: number): string {
  let text = "";
  for (let left = at; text.length < 10; left = Math.floor(left / 32)) {
    text = base32Alphabet.charAt(left % 32) + text;
  }
  return text;
}

/** Whether a word has the form of an id of this kind; says nothing about a row behind it. */
export function isId(kind: IdKind, word: string): boolean {
  return new RegExp(`^${idPrefixes[kind]}_[0-7][0-9a-hjkmnp-tv-z]{25}$`).test(word);
}
