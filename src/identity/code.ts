/** The mailed code as text: eight digits derived from its row's id, and the handle without which it cannot be tried. Neither stands in D1 or in the queue. */
import { equalBytes, hmacSha256, randomBytes, sha256Hex, toBase32, utf8 } from "../base/bytes.js";
import type { Keyring } from "../base/keyring.js";
import { Secret } from "../base/secret.js";

const digits = 8;

/** The code of a row, the same at every call; null when the ring has lost the entry that derives it. */
export async function deriveCode(mailSecret: Keyring, secretId: string, codeId: string): Promise<Secret | null> {
  const key = mailSecret.get(secretId);
  if (key === undefined) {
    return null;
  }
  const mac = await hmacSha256(key, utf8(`gatehouse.code.v1|${codeId}`));
  key.fill(0);
  // 64 bits over 10^8: no code is likelier than another by more than 10^-11.
  const number = new DataView(mac.buffer).getBigUint64(0) % 10n ** BigInt(digits);
  return new Secret(number.toString().padStart(digits, "0"));
}

/** Whether what a person typed is the code. Spaces and dashes, which letters and people put in, do not count. */
export function isCode(code: Secret | null, typed: string): boolean {
  return code !== null && equalBytes(utf8(code.reveal()), utf8(typed.replaceAll(/[\s-]/g, "")));
}

/** A new handle, 256 random bits, for the one browser that asked. */
export function mintHandle(): Secret {
  return new Secret(`cdh_${toBase32(randomBytes(32))}`);
}

/** What a row keeps of a handle. */
export async function digestHandle(handle: string): Promise<string> {
  return await sha256Hex(`gatehouse.code-handle.v1|${handle}`);
}

/** Where an ask comes from, as limits count it: an IPv4 address, an IPv6 /64 (what one customer gets), or `unknown`. */
export function networkOf(ip: string | null): string {
  if (ip === null) {
    return "unknown";
  }
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1];
  if (mapped !== undefined || !ip.includes(":")) {
    return mapped ?? ip;
  }
  const [head = "", tail = ""] = ip.toLowerCase().split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === "" ? [] : tail.split(":");
  const zeros = ip.includes("::")
    ? Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => "0")
    : [];
  const groups = [...before, ...zeros, ...after].slice(0, 4);
  return `${groups.map((group) => group.replace(/^0+(?=.)/, "")).join(":")}::/64`;
}
