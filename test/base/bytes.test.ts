import { describe, it } from "vitest";
import { fromBase64Url, toBase32, toBase64Url, toHex, utf8 } from "../../src/base/bytes.js";
import { isId, newId } from "../../src/base/ids.js";

/** The 128 bits of an id, as RFC 9562 writes them. */
function uuidOf(id: string): string {
  const digits = Array.from(id.slice(-26), (char) => "0123456789abcdefghjkmnpqrstvwxyz".indexOf(char));
  const value = digits.reduce((sum, digit) => sum * 32n + BigInt(digit), 0n);
  return value.toString(16).padStart(32, "0");
}

describe("ids", () => {
  it("are UUIDv7 in TypeID's form, of the time they were made at, and in the order they were made in", ({ expect }) => {
    const before = Date.now();
    const ids = Array.from({ length: 5_000 }, () => newId("request"));
    const after = Date.now();
    expect(ids.every((id) => isId("request", id))).toBe(true);
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(ids.length);
    for (const uuid of [uuidOf(ids[0] ?? ""), uuidOf(ids.at(-1) ?? "")]) {
      expect(uuid).toMatch(/^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
      const madeAt = Number.parseInt(uuid.slice(0, 12), 16);
      expect(madeAt).toBeGreaterThanOrEqual(before);
      expect(madeAt).toBeLessThanOrEqual(after);
    }
  });
});

describe("bytes", () => {
  it("base32 of known bytes is Crockford's lower-case alphabet, unpadded", ({ expect }) => {
    expect(toBase32(new Uint8Array([0xff, 0x00, 0xab]))).toBe("zw0ap");
    expect(toBase32(new Uint8Array(32)).length).toBe(52);
  });
  it("base64url round-trips every byte and refuses what it never writes", ({ expect }) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    expect(toHex(fromBase64Url(toBase64Url(bytes)) ?? utf8(""))).toBe(toHex(bytes));
    expect(fromBase64Url("a+b/")).toBeNull();
    expect(fromBase64Url("abcde")).toBeNull();
  });
});
