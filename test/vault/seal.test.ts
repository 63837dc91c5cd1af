/** A sealed secret opens in its own place and nowhere else. */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { Secret } from "../../src/base/secret.js";
import { newDataKey, openDataKey, type DataKey } from "../../src/vault/data-keys.js";
import { openSecret, sealedUnder, sealSecret, type SealBinding } from "../../src/vault/seal.js";
import { deep, seed } from "../support/deep.js";
import { anyText, otherWorkspaceId, place, ringOf, workspaceId } from "./ring.js";

const ring = ringOf({ k1: 7 });
const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

async function dataKey(): Promise<DataKey> {
  return (await newDataKey(ring, ring.primary, workspaceId, 0)).key;
}

async function codeOf(attempt: Promise<unknown>): Promise<unknown> {
  return await attempt.then(
    () => "opened",
    (error: unknown) => (error as { code?: unknown }).code ?? String(error),
  );
}

describe("a sealed secret", () => {
  it("opens to the very text that was sealed, whatever text it is", async ({ expect }) => {
    const key = await dataKey();
    const property = fc.asyncProperty(anyText(), async (text) => {
      const sealed = await sealSecret(key, place, new Secret(text));
      expect((await openSecret(key, place, sealed)).reveal()).toBe(text);
      expect(sealed).toMatch(/^v1\.a256gcm\.dk_[0-9a-z]{26}\.[\w-]{16}\.[\w-]{22,}$/);
    });
    await fc.assert(property, { numRuns: deep(100, 5_000), seed: seed() });
  });

  it("does not open once any one character of it is another", async ({ expect }) => {
    const key = await dataKey();
    const sealed = await sealSecret(key, place, new Secret("sk-a-secret-of-odd-length"));
    for (let at = 0; at < sealed.length; at += 1) {
      for (const letter of deep(0, 1) === 1 ? base64url : pickLetters(at)) {
        if (letter !== sealed.charAt(at)) {
          const changed = sealed.slice(0, at) + letter + sealed.slice(at + 1);
          expect(await codeOf(openSecret(key, place, changed)), changed).toBe("undecryptable");
        }
      }
    }
  });

  it("does not open when any one bit of its IV, ciphertext or tag is flipped", async ({ expect }) => {
    const key = await dataKey();
    const property = fc.asyncProperty(anyText(), fc.nat(), fc.nat(7), async (text, where, bit) => {
      const sealed = await sealSecret(key, place, new Secret(text));
      const [version, algorithm, id, iv = "", body = ""] = sealed.split(".");
      const bytes = [...fromText(iv), ...fromText(body)];
      const at = where % bytes.length;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      const changed = [version, algorithm, id, toText(bytes.slice(0, 12)), toText(bytes.slice(12))].join(".");
      expect(await codeOf(openSecret(key, place, changed))).toBe("undecryptable");
    });
    await fc.assert(property, { numRuns: deep(100, 5_000), seed: seed() });
  });

  it("does not open cut short, lengthened, empty, or as any other text", async ({ expect }) => {
    const key = await dataKey();
    const sealed = await sealSecret(key, place, new Secret("sk-a-secret"));
    for (let length = 0; length < sealed.length; length += 1) {
      expect(await codeOf(openSecret(key, place, sealed.slice(0, length)))).toBe("undecryptable");
    }
    for (const text of [
      `${sealed}A`,
      `${sealed}AAAA`,
      `${sealed}=`,
      ` ${sealed}`,
      `${sealed}\n`,
      "sk-a-secret",
      "v1.a256gcm",
    ]) {
      expect(await codeOf(openSecret(key, place, text)), text).toBe("undecryptable");
    }
    const property = fc.asyncProperty(fc.string(), async (text) => {
      expect(await codeOf(openSecret(key, place, text))).toBe("undecryptable");
    });
    await fc.assert(property, { numRuns: deep(100, 5_000), seed: seed() });
  });

  it("does not open with the IV of another one", async ({ expect }) => {
    const key = await dataKey();
    const [one, two] = await Promise.all([
      sealSecret(key, place, new Secret("sk-same")),
      sealSecret(key, place, new Secret("sk-same")),
    ]);
    const parts = one.split(".");
    parts[3] = two.split(".")[3] ?? "";
    expect(await codeOf(openSecret(key, place, parts.join(".")))).toBe("undecryptable");
  });

  it("does not open in another row, field, table, version or origin", async ({ expect }) => {
    const key = await dataKey();
    const sealed = await sealSecret(key, place, new Secret("sk-a-secret"));
    const moves: readonly Partial<SealBinding>[] = [
      { workspaceId: otherWorkspaceId },
      { table: "tool_credentials" },
      { row: "cred_01h455vb4pex5vsknk084sn02r" },
      { field: "api_secret" },
      { secretVersion: 2 },
      { secretVersion: Number.NaN },
      { origin: "https://api.openai.com.evil.example" },
      { origin: "" },
      // The same characters, cut elsewhere.
      { table: "credentialsc", row: "red_01h455vb4pex5vsknk084sn02q" },
      { row: "cred_01h455vb4pex5vsknk084sn02qapi", field: "_key" },
      { table: place.row, row: place.table },
    ];
    for (const move of moves) {
      expect(await codeOf(openSecret(key, { ...place, ...move }, sealed)), JSON.stringify(move)).toBe("undecryptable");
    }
    expect((await openSecret(key, place, sealed)).reveal()).toBe("sk-a-secret");
  });

  it("does not open where the same bytes are cut into other parts", async ({ expect }) => {
    const key = await dataKey();
    const gap = "\0\0\0\0";
    const home = { ...place, table: "a", row: `b${gap}c`, field: "d" };
    const sealed = await sealSecret(key, home, new Secret("sk"));
    expect(await codeOf(openSecret(key, { ...home, table: `a${gap}b`, row: "c" }, sealed))).toBe("undecryptable");
    expect(await codeOf(openSecret(key, home, sealed))).toBe("opened");
  });

  it("does not open in any place but its own", async ({ expect }) => {
    const key = await dataKey();
    const word = fc.string({ minLength: 1, maxLength: 3, unit: fc.constantFrom("a", "b", ".", "1") });
    const anyPlace = fc.record({
      workspaceId: fc.constant(workspaceId),
      table: word,
      row: word,
      field: word,
      secretVersion: fc.integer({ min: 1, max: 12 }),
      origin: word,
    });
    const property = fc.asyncProperty(anyPlace, anyPlace, async (home, away) => {
      const sealed = await sealSecret(key, home, new Secret("sk"));
      const isSame = JSON.stringify(home) === JSON.stringify(away);
      expect(await codeOf(openSecret(key, away, sealed))).toBe(isSame ? "opened" : "undecryptable");
    });
    await fc.assert(property, { numRuns: deep(200, 10_000), seed: seed() });
  });

  it("does not open under another data key, even one whose id it is made to name", async ({ expect }) => {
    const [one, two] = await Promise.all([dataKey(), dataKey()]);
    const sealed = await sealSecret(one, place, new Secret("sk-a-secret"));
    expect(await codeOf(openSecret(two, place, sealed))).toBe("undecryptable");
    expect(await codeOf(openSecret(two, place, sealed.replace(one.id, two.id)))).toBe("undecryptable");
    expect(await codeOf(openSecret({ ...two, id: one.id }, place, sealed))).toBe("undecryptable");
  });

  it("does not open for another workspace that names its data key", async ({ expect }) => {
    const key = await dataKey();
    const sealed = await sealSecret(key, place, new Secret("sk-a-secret"));
    const stolen = { ...key, workspaceId: otherWorkspaceId };
    expect(await codeOf(openSecret(stolen, { ...place, workspaceId: otherWorkspaceId }, sealed))).toBe("undecryptable");
  });

  it("is another text each time, and never holds the plaintext", async ({ expect }) => {
    const key = await dataKey();
    const all = await Promise.all(Array.from({ length: 200 }, () => sealSecret(key, place, new Secret("sk-canary"))));
    expect(new Set(all).size).toBe(200);
    expect(new Set(all.map((sealed) => sealed.split(".")[3])).size).toBe(200);
    expect(all.join()).not.toMatch(/sk-canary|c2stY2FuYXJ5/);
  });

  it("names its data key to whoever must load it, and other text names none", async ({ expect }) => {
    const key = await dataKey();
    expect(sealedUnder(await sealSecret(key, place, new Secret("sk")))).toBe(key.id);
    expect([sealedUnder(""), sealedUnder("v2.a256gcm.dk_x.aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaa")]).toEqual([
      null,
      null,
    ]);
  });

  it("is never made for half a place, another workspace or half a character", async ({ expect }) => {
    const key = await dataKey();
    const secret = new Secret("sk");
    for (const wrong of [{ row: "" }, { table: "" }, { field: "" }, { secretVersion: 0 }, { secretVersion: 1.5 }]) {
      await expect(sealSecret(key, { ...place, ...wrong }, secret)).rejects.toThrow(TypeError);
    }
    await expect(sealSecret(key, { ...place, workspaceId: otherWorkspaceId }, secret)).rejects.toThrow(TypeError);
    await expect(sealSecret(key, place, new Secret("a\uD800b"))).rejects.toMatchObject({ code: "validation_failed" });
  });

  it("opens again with the data key unwrapped from its row", async ({ expect }) => {
    const { row, key } = await newDataKey(ring, ring.primary, workspaceId, 0);
    const sealed = await sealSecret(key, place, new Secret("sk-a-secret"));
    expect((await openSecret(await openDataKey(ring, row), place, sealed)).reveal()).toBe("sk-a-secret");
  });

  it("cannot be opened in a wrong place by an error that tells the secret", async ({ expect }) => {
    const key = await dataKey();
    const sealed = await sealSecret(key, place, new Secret("sk-canary-1234"));
    const error = await openSecret(key, { ...place, row: "x" }, sealed).catch((thrown: unknown) => thrown as Error);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("canary");
    expect(error).toMatchObject({ code: "undecryptable" });
    expect(error).not.toHaveProperty("cause");
  });
});

/** Some letters for a position: neighbours that differ in the lowest bits, which a lax decoder would drop, and a foreign one. */
function pickLetters(at: number): string {
  return `${base64url.charAt(at % 64)}${base64url.charAt((at * 7 + 1) % 64)}ABQgw.`;
}

function fromText(text: string): number[] {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Array.from(binary, (char) => char.charCodeAt(0));
}

function toText(bytes: readonly number[]): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
