/** What was stored by an earlier release still opens: the texts below were made once and may never stop opening. */
import { describe, it } from "vitest";
import { Secret } from "../../src/base/secret.js";
import { openAnswer } from "../../src/vault/answers.js";
import { openDataKey } from "../../src/vault/data-keys.js";
import { fingerprintSecret } from "../../src/vault/fingerprint.js";
import { openSecret } from "../../src/vault/seal.js";
import { place, ringOf, workspaceId } from "./ring.js";

const ring = ringOf({ k1: 7 });
const stored = {
  id: "dk_01m823p20jecrtrbdapb4xnsdt",
  workspaceId,
  wrapped: "v1.a256gcm.k1.N837SYXD-_c-9Ixk.DbvI4AvcXX3sFK9ssBxwrvX1bMi_QZATKK9vOAIM0UffhLiuh3J_egoLoko9_l4R",
};

describe("a text stored by an earlier release", () => {
  it("opens as a sealed secret", async ({ expect }) => {
    const sealed = "v1.a256gcm.dk_01m823p20jecrtrbdapb4xnsdt.S_nRxe_2ztd2zx9M.xgIjZ4htXTUFdv_MCSf0kFNX5tlG0SHelH_7";
    expect((await openSecret(await openDataKey(ring, stored), place, sealed)).reveal()).toBe("sk-a-secret");
  });

  it("opens as a stored answer", async ({ expect }) => {
    const sealed = "v1.a256gcm.k1.Mi16ScOPdOImLg0s.8AowF9gTfx7DOubjMwdptjPvpnycTMuCyw";
    expect(await openAnswer(ring, "POST /api-keys a", sealed)).toBe("an answer");
  });

  it("is found again as a fingerprint", async ({ expect }) => {
    const print = await fingerprintSecret(await openDataKey(ring, stored), new Secret("sk-a-secret"));
    expect(print).toBe("f1.dk_01m823p20jecrtrbdapb4xnsdt.D1q9GwaXI_hns1xXlE20Gg");
  });
});
