/** A workspace's owner changes its data key: at once for what is sealed from then on, in the background for the rest, and no call notices. */
import { describe, it } from "vitest";
import { call } from "../support/client.js";
import { seedMember, seedPool, seedWorkspace } from "../support/seed.js";

describe("a change of data key", () => {
  it("seals from its answer on under the new key, and shows how far it is", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, token } = workspace;
    await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
    const before = await call("GET", `/workspaces/${id}/vault`, { token });
    expect(before.status).toBe(200);
    expect(before.body).toMatchObject({ keys: [{ state: "active", keyring_id: "t1" }], rotation: null });
    const begun = await call("POST", `/workspaces/${id}/vault/rotate`, { token });
    expect([begun.status, begun.body.state, begun.body.total]).toEqual([202, "re_encrypting", 1]);
    const after = await call("GET", `/workspaces/${id}/vault`, { token });
    await seedMember(id, "ADMIN");
  });
});
