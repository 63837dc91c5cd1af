/** Checkpoints: C2SP tlog-checkpoint bodies in C2SP signed notes, Ed25519 under CHECKPOINT_KEY. */
import { fromBase64Url, toHex, utf8 } from "../base/bytes.js";
import type { Secret } from "../base/secret.js";
import type { Settings } from "../base/settings.js";
import type { Hash } from "./tree.js";

/** A tree head as its note says it. */
export interface TreeHead {
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
}

interface NoteKey {
  readonly sign: CryptoKey;
  /** 32 bytes. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/** RFC 8410 §7: an Ed25519 private key is its 32-byte seed behind these 16 bytes. */
const pkcs8Head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const keys = new WeakMap<Secret, NoteKey>();

/** The log's name: one for each workspace of a service. */
export function originOf(settings: Settings, workspaceId: string): string {
  return `${new URL(settings.publicUrl).host}/workspaces/${workspaceId}/audit-log`;
}

/** Bytes in padded base64, as notes and proofs have them. */
export function toBase64(bytes: Uint8Array<ArrayBuffer>): string {
  return bytes.toBase64();
}

/** A hash out of base64, or null when it is not 32 bytes. */
export function fromBase64(text: string): Hash | null {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) {
    return null;
  }
  return Uint8Array.fromBase64(text);
}

/** The public key of the service's checkpoints, 32 bytes. */
export async function publicKey(settings: Settings): Promise<Uint8Array<ArrayBuffer>> {
  return (await openKey(settings.checkpointKey)).publicKey;
}

/** The verifier key of a log, `name+id+base64`. */
export async function verifierKey(settings: Settings, origin: string): Promise<string> {
  const key = await openKey(settings.checkpointKey);
  return `${origin}+${toHex(await keyId(origin, key))}+${toBase64(new Uint8Array([1, ...key.publicKey]))}`;
}

/** Signs a tree head. Extension lines say more of it. */
export async function signNote(
  settings: Settings,
  head: TreeHead,
  extensions: readonly string[] = [],
): Promise<string> {
  const key = await openKey(settings.checkpointKey);
  const text = [head.origin, String(head.size), toBase64(head.root), ...extensions].map((line) => `${line}\n`).join("");
  const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", key.sign, utf8(text)));
  const tail = toBase64(new Uint8Array([...(await keyId(head.origin, key)), ...signature]));
  return `${text}\n— ${head.origin} ${tail}\n`;
}

/** Signs a text that is no note, base64. Its beginning must say what it is, so that none is ever taken for the other. */
export async function signText(settings: Settings, text: string): Promise<string> {
  const key = await openKey(settings.checkpointKey);
  return toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", key.sign, utf8(text))));
}

async function keyId(name: string, { publicKey: raw }: NoteKey): Promise<Uint8Array<ArrayBuffer>> {
  const named = new Uint8Array([...utf8(name), 0x0a, 1, ...raw]);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", named)).slice(0, 4);
}

async function openKey(secret: Secret): Promise<NoteKey> {
  const known = keys.get(secret);
  if (known !== undefined) {
    return known;
  }
  const seed = fromBase64Url(secret.reveal());
  if (seed === null) {
    throw new TypeError("CHECKPOINT_KEY is not base64url");
  }
  const pkcs8 = new Uint8Array([...pkcs8Head, ...seed]);
  seed.fill(0);
  // Exportable for this frame only: the platform gives a public key out of a private one by no other way.
  const open = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const sign = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  pkcs8.fill(0);
  const exported = await crypto.subtle.exportKey("jwk", open);
  const raw = fromBase64Url("x" in exported && typeof exported.x === "string" ? exported.x : "");
  if (raw === null || raw.byteLength !== 32) {
    throw new TypeError("no public key of an Ed25519 pair");
  }
  const made = { sign, publicKey: raw };
  keys.set(secret, made);
  return made;
}
