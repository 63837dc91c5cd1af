import { describe, it } from "vitest";
import { eq } from "drizzle-orm";
import { sha256Hex } from "../../src/base/bytes.js";
import { idempotency } from "../../src/http/model.js";
import { workspaces } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { db, seedAccount, seedWorkspace } from "../support/seed.js";

function keyed(key: string) {
  return { "idempotency-key": key };
}

describe("Idempotency-Key", () => {
  it("the same key and body give the stored answer and one effect", async ({ expect }) => {
    const { token, id } = await seedAccount();
    const send = () => call("POST", "/workspaces", { token, body: { name: "Once" }, headers: keyed("k1") });
    const first = await send();
    const second = await send();
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.text).toBe(first.text);
    expect(second.headers.get("idempotency-replayed")).toBe("true");
    expect(first.headers.get("idempotency-replayed")).toBeNull();
    expect(second.headers.get("location")).toBe(first.headers.get("location"));
    expect(await db.$count(workspaces, eq(workspaces.createdBy, id))).toBe(1);
  });

  it("twenty at once have one effect; each gets the answer or a 409 that says to retry", async ({ expect }) => {
    const { token, id } = await seedAccount();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        call("POST", "/workspaces", { token, body: { name: "Race" }, headers: keyed("race") }),
      ),
    );
    expect(await db.$count(workspaces, eq(workspaces.createdBy, id))).toBe(1);
    expect(answers.some((answer) => answer.status === 201)).toBe(true);
    for (const answer of answers) {
      expect([201, 409]).toContain(answer.status);
      expect(answer.status === 409 ? answer.body.code : "idempotency_in_progress").toBe("idempotency_in_progress");
    }
  });

  it("the same key with another body is refused; another person's same key is another key", async ({ expect }) => {
    const ada = await seedAccount();
    const eve = await seedAccount();
    await call("POST", "/workspaces", { token: ada.token, body: { name: "A" }, headers: keyed("same") });
    const reused = await call("POST", "/workspaces", { token: ada.token, body: { name: "B" }, headers: keyed("same") });
    expect([reused.status, reused.body.code]).toEqual([422, "idempotency_key_reused"]);
    const other = await call("POST", "/workspaces", { token: eve.token, body: { name: "A" }, headers: keyed("same") });
    expect([other.status, other.headers.get("idempotency-replayed")]).toEqual([201, null]);
  });

  it("keeps nothing by which a dump would let the body be guessed, and knows what the release before kept", async ({
    expect,
  }) => {
    const { token } = await seedAccount();
    const body = { name: "Guessable" };
    const send = () => call("POST", "/workspaces", { token, body, headers: keyed("salted") });
    const first = await send();
    const rows = await db.select().from(idempotency).where(eq(idempotency.workspaceId, first.body.id)).all();
    const bare = await sha256Hex(JSON.stringify(body));
    expect(rows).toHaveLength(1);
    expect(rows[0]?.requestHash).not.toContain(bare);
    await db.update(idempotency).set({ requestHash: bare }).where(eq(idempotency.workspaceId, first.body.id));
    expect((await send()).text).toBe(first.text);
  });

  it("a refusal is kept as well, with its own status and body", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const taken = await seedWorkspace();
    const send = () =>
      call("PATCH", `/workspaces/${id}`, { token, body: { slug: taken.slug }, headers: keyed("kept") });
    const first = await send();
    const second = await send();
    expect([first.status, first.body.code]).toEqual([409, "workspace_exists"]);
    expect([second.status, second.text]).toEqual([409, first.text]);
    expect(second.headers.get("content-type")).toBe("application/problem+json");
  });

  it("a key that cannot be one is refused", async ({ expect }) => {
    const { token } = await seedAccount();
    const refused = await call("POST", "/workspaces", { token, body: { name: "A" }, headers: keyed("x".repeat(256)) });
    expect([refused.status, refused.body.code]).toEqual([400, "invalid_header"]);
  });

  it("is bound to the workspace that `current` names", async ({ expect }) => {
    const first = await seedWorkspace();
    const second = await call("POST", "/workspaces", { token: first.token, body: { name: "Second" } });
    const make = (workspace: string) =>
      call("POST", "/workspaces/current/api-keys", {
        token: first.token,
        body: { name: "k", scopes: ["models:invoke"] },
        headers: { ...keyed("both"), "x-workspace": workspace },
      });
    const [a, b] = [await make(first.id), await make(second.body.id)];
    expect([a.status, b.status, b.headers.get("idempotency-replayed")]).toEqual([201, 201, null]);
    expect(b.body.secret).not.toBe(a.body.secret);
  });

  it("is not spent by a precondition that cannot be read", async ({ expect }) => {
    const { id, token } = await seedWorkspace();
    const rename = (headers: Record<string, string>) =>
      call("PATCH", `/workspaces/${id}`, {
        token,
        body: { name: "Renamed" },
        headers: { ...headers, ...keyed("pre") },
      });
    expect((await rename({ "if-match": '"one"' })).status).toBe(412);
    expect((await rename({ "if-match": '"one"' })).status).toBe(412);
    expect((await rename({})).status).toBe(200);
  });
});
