/** Sealed answers and fingerprints: what is kept of a secret tells it to nobody. */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { Secret } from "../../src/base/secret.js";
import { openAnswer, sealAnswer } from "../../src/vault/answers.js";
import { newDataKey, openDataKey } from "../../src/vault/data-keys.js";
import { fingerprintSecret } from "../../src/vault/fingerprint.js";
import { wrapDataKey } from "../../src/vault/keyring.js";
import { deep, seed } from "../support/deep.js";
import { anyText, otherWorkspaceId, ringOf, workspaceId } from "./ring.js";

describe("a stored answer that holds a secret", () => {
  const ring = ringOf({ k1: 5 });

  it("opens to the same text for its own claim, also after the primary changed", async ({ expect }) => {
    const newer = ringOf({ k2: 6, k1: 5 });
    const property = fc.asyncProperty(anyText(), anyText(), async (context, text) => {
      const sealed = await sealAnswer(ring, ring.primary, context, text);
      expect(await openAnswer(newer, context, sealed)).toBe(text);
    });
    await fc.assert(property, { numRuns: deep(100, 5_000), seed: seed() });
  });

  it("does not open for another claim, changed, under another key, or as plain text", async ({ expect }) => {
    const sealed = await sealAnswer(ring, ring.primary, "POST /api-keys a", '{"secret":"ghk_canary"}');
    expect(sealed).not.toContain("canary");
    const attempts = [
      openAnswer(ring, "POST /api-keys b", sealed),
      openAnswer(ring, "POST /api-keys a", sealed.slice(0, -2)),
      openAnswer(ringOf({ k1: 6 }), "POST /api-keys a", sealed),
      openAnswer(ring, "POST /api-keys a", '{"secret":"ghk_canary"}'),
    ];
    for (const outcome of await Promise.allSettled(attempts)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "undecryptable" } });
    }
  });

  it("is a 503, not undecryptable, where its keyring entry is not known", async ({ expect }) => {
    const sealed = await sealAnswer(ringOf({ k2: 6 }), "k2", "c", "text");
    await expect(openAnswer(ring, "c", sealed)).rejects.toMatchObject({ code: "keyring_entry_missing", status: 503 });
  });

  it("is sealed under another subkey than data keys, so neither passes for the other", async ({ expect }) => {
    const name = { workspaceId, dataKeyId: "dk_01h455vb4pex5vsknk084sn02q" };
    const wrapped = await wrapDataKey(ring, "k1", name, new Uint8Array(32).fill(1));
    await expect(openAnswer(ring, "c", wrapped)).rejects.toMatchObject({ code: "undecryptable" });
  });
});

describe("a fingerprint", () => {
  const ring = ringOf({ k1: 5 });

  it("is the same for the same secret of a workspace, and for no other", async ({ expect }) => {
    const { row, key } = await newDataKey(ring, ring.primary, workspaceId, 0);
    const again = await openDataKey(ring, row);
    const property = fc.asyncProperty(anyText(), anyText(), async (one, two) => {
      const first = await fingerprintSecret(key, new Secret(one));
      expect(await fingerprintSecret(again, new Secret(one))).toBe(first);
      expect((await fingerprintSecret(key, new Secret(two))) === first).toBe(one === two);
    });
    await fc.assert(property, { numRuns: deep(100, 5_000), seed: seed() });
  });

  it("cannot be compared between workspaces or data keys", async ({ expect }) => {
    const keys = await Promise.all(
      [workspaceId, workspaceId, otherWorkspaceId].map((ws) => newDataKey(ring, ring.primary, ws, 0)),
    );
    const prints = await Promise.all(keys.map(({ key }) => fingerprintSecret(key, new Secret("sk-same-secret"))));
    expect(new Set(prints.map((print) => print.split(".")[2])).size).toBe(3);
    expect(prints.join()).not.toContain("sk-same");
  });

  it("stays true when the keyring changes its primary", async ({ expect }) => {
    const { row, key } = await newDataKey(ring, ring.primary, workspaceId, 0);
    const later = await openDataKey(ringOf({ k2: 6, k1: 5 }), row);
    const secret = new Secret("sk-same-secret");
    expect(await fingerprintSecret(later, secret)).toBe(await fingerprintSecret(key, secret));
  });
});
