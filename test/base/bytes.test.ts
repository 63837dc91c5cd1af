import { describe, it } from "vitest";
import { fromBase64Url, toBase32, toBase64Url, toHex, utf8 } from "../../src/base/bytes.js";

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
