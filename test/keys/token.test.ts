/** API keys are told from everything else without I/O. */
import * as fc from "fast-check";
import { describe, it, vi } from "vitest";
import { sha256Hex, toBase64Url } from "../../src/base/bytes.js";
import { newId } from "../../src/base/ids.js";
import { parseKeyring, type Keyring } from "../../src/base/keyring.js";
import { mintKey, parseKey } from "../../src/keys/token.js";
import { regions } from "../../src/tenancy/model.js";
import { deep, seed } from "../support/deep.js";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

function ringOf(entries: Readonly<Record<string, number>>): Keyring {
  const keys = Object.fromEntries(
    Object.entries(entries).map(([id, byte]) => [id, toBase64Url(new Uint8Array(32).fill(byte))]),
  );
  const ring = parseKeyring(JSON.stringify({ primary: Object.keys(entries)[0], keys }));
  if (typeof ring === "string") {
    throw new TypeError(ring);
  }
  return ring;
}

const ring = ringOf({ t1: 1 });

describe("an API key", () => {
  it("parses to the workspace and region it was made for, and to its own digest", async ({ expect }) => {
    for (const region of regions) {
      const workspaceId = newId("workspace");
      const { secret, digest } = await mintKey(ring, workspaceId, region);
      expect(await parseKey(secret.reveal(), ring)).toEqual({ workspaceId, region, digest });
      expect(digest).toBe(await sha256Hex(secret.reveal()));
    }
  });

  it("has the published form, of one word on double click", async ({ expect }) => {
    const { secret, prefix, lastFour } = await mintKey(ring, "ws_01h455vb4pex5vsknk084sn02q", "weur");
    expect(secret.reveal()).toMatch(/^ghk_t1_weur_01h455vb4pex5vsknk084sn02q_[0-9a-hjkmnp-tv-z]{68}$/);
    expect(prefix).toBe(secret.reveal().slice(0, 43));
    expect(lastFour).toBe(secret.reveal().slice(-4));
  });

  it("prints as [redacted]", async ({ expect }) => {
    const minted = await mintKey(ring, newId("workspace"), "auto");
    expect(JSON.stringify(minted.secret) + String(minted.secret)).toBe('"[redacted]"[redacted]');
  });

  it("is never made twice", async ({ expect }) => {
    const workspaceId = newId("workspace");
    const minted = await Promise.all(Array.from({ length: 500 }, () => mintKey(ring, workspaceId, "auto")));
    expect(new Set(minted.map((key) => key.digest)).size).toBe(500);
  });

  it("is refused with any one character changed, dropped, doubled or swapped with the next", async ({ expect }) => {
    const text = (await mintKey(ring, newId("workspace"), "auto")).secret.reveal();
    const wrong = new Set<string>();
    for (let at = 0; at < text.length; at += 1) {
      const letters =
        deep(0, 1) === 1
          ? `${alphabet}ilouAZ_-. `
          : `${alphabet.charAt((at * 11) % 32)}${alphabet.charAt((at * 5 + 3) % 32)}Z_`;
      for (const letter of letters + text.charAt(at).toUpperCase()) {
        wrong.add(text.slice(0, at) + letter + text.slice(at + 1));
      }
      wrong.add(text.slice(0, at) + text.slice(at + 1));
      wrong.add(text.slice(0, at) + text.charAt(at) + text.slice(at));
      wrong.add(text.slice(0, at) + text.charAt(at + 1) + text.charAt(at) + text.slice(at + 2));
    }
    wrong.delete(text);
    expect(wrong.size).toBeGreaterThan(500);
    for (const candidate of wrong) {
      expect(await parseKey(candidate, ring), candidate).toBeNull();
    }
    expect(await parseKey(text, ring)).not.toBeNull();
  });

  it("is refused with another workspace, region or kid written into it", async ({ expect }) => {
    const both = ringOf({ t1: 1, t2: 2 });
    const text = (await mintKey(both, "ws_01h455vb4pex5vsknk084sn02q", "auto")).secret.reveal();
    expect(
      await parseKey(text.replace("_01h455vb4pex5vsknk084sn02q_", "_01h455vb4pex5vsknk084sn02r_"), both),
    ).toBeNull();
    expect(await parseKey(text.replace("_auto_", "_weur_"), both)).toBeNull();
    expect(await parseKey(text.replace("_t1_", "_t2_"), both)).toBeNull();
  });

  it("made under an old kid still parses when the ring has a new primary, and not once it is gone", async ({
    expect,
  }) => {
    const text = (await mintKey(ring, newId("workspace"), "auto")).secret.reveal();
    expect(await parseKey(text, ringOf({ t2: 2, t1: 1 }))).not.toBeNull();
    expect(await parseKey(text, ringOf({ t2: 2 }))).toBeNull();
    expect(await parseKey(text, ringOf({ t1: 2 }))).toBeNull();
    const newer = (await mintKey(ringOf({ t2: 2, t1: 1 }), newId("workspace"), "auto")).secret.reveal();
    expect(newer).toMatch(/^ghk_t2_/);
  });

  it("made by an earlier release still parses", async ({ expect }) => {
    const text =
      "ghk_t1_weur_01h455vb4pex5vsknk084sn02q_43g0ng9wc9jmne8t2p6mahnx8n3vd4nben24xa774shs5b872exgqcshsav93321drkx";
    expect(await parseKey(text, ring)).toMatchObject({ workspaceId: "ws_01h455vb4pex5vsknk084sn02q", region: "weur" });
  });

  it("of random text of its shape is refused", async ({ expect }) => {
    const shaped = fc
      .tuple(fc.constantFrom("t1", "t9"), fc.constantFrom(...regions), lettersOf(25), lettersOf(68))
      .map(([kid, region, workspace, rest]) => `ghk_${kid}_${region}_0${workspace}_${rest}`);
    const property = fc.asyncProperty(fc.oneof(shaped, fc.string()), async (text) => {
      expect(await parseKey(text, ring)).toBeNull();
    });
    await fc.assert(property, { numRuns: deep(300, 20_000), seed: seed() });
  });

  it("costs no hash to refuse by its shape, however long it is", async ({ expect }) => {
    const text = (await mintKey(ring, newId("workspace"), "auto")).secret.reveal();
    const [sign, digest] = [vi.spyOn(crypto.subtle, "sign"), vi.spyOn(crypto.subtle, "digest")];
    for (const wrong of [
      "",
      "sk-1234",
      text.slice(1),
      `${text}0`,
      text + "0".repeat(20_000_000),
      "ghk_".repeat(5_000_000),
    ]) {
      expect(await parseKey(wrong, ring)).toBeNull();
    }
    expect([sign.mock.calls.length, digest.mock.calls.length]).toEqual([0, 0]);
    expect(await parseKey(`${text.slice(0, -1)}${text.endsWith("0") ? "1" : "0"}`, ring)).toBeNull();
    expect([sign.mock.calls.length, digest.mock.calls.length]).toEqual([1, 0]);
    vi.restoreAllMocks();
  });

  it("is not made for what is no workspace", async ({ expect }) => {
    await expect(mintKey(ring, "01h455vb4pex5vsknk084sn02q", "auto")).rejects.toThrow(TypeError);
    await expect(mintKey(ring, "usr_01h455vb4pex5vsknk084sn02q", "auto")).rejects.toThrow(TypeError);
  });
});

function lettersOf(length: number): fc.Arbitrary<string> {
  return fc.string({ minLength: length, maxLength: length, unit: fc.constantFrom(...Array.from(alphabet)) });
}
