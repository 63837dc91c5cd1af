/** Every id's prefix in one list, so a value in a log says what it is. A secret never shares a prefix with the row that names it. */
import { TypeID } from "typeid-js";

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
} as const;

/** A kind of row that has ids. */
export type IdKind = keyof typeof idPrefixes;

/** A new TypeID such as `ws_01h455vb4pex5vsknk084sn02q`: time-ordered (UUIDv7), 26 characters after the prefix. */
export function newId(kind: IdKind): string {
  return new TypeID(idPrefixes[kind]).toString();
}

/** Whether a word has the form of an id of this kind; says nothing about a row behind it. */
export function isId(kind: IdKind, word: string): boolean {
  return new RegExp(`^${idPrefixes[kind]}_[0-7][0-9a-hjkmnp-tv-z]{25}$`).test(word);
}
