import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { requireSettings } from "../../src/base/settings.js";
import { deriveCode, digestHandle } from "../../src/identity/code.js";
import { emailCodes } from "../../src/identity/model.js";
import { call } from "../support/client.js";
import { db, seedWorkspace } from "../support/seed.js";

/** Every text in every table, whole and in its parts where it is JSON. */
async function everyText(): Promise<string[]> {
  const { results } = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
  ).all<{ name: string }>();
  const found = new Set<string>();
  const collect = (value: unknown): void => {
    if (typeof value === "string" && value !== "") {
      found.add(value);
      try {
        collect(JSON.parse(value));
      } catch {
        // No JSON: the text itself is all there is.
      }
    } else if (typeof value === "number") {
      found.add(String(value));
    } else if (typeof value === "object" && value !== null) {
      Object.values(value).forEach(collect);
    }
  };
  for (const { name } of results) {
    collect((await env.DB.prepare(`SELECT * FROM "${name}"`).all()).results);
  }
  return [...found].filter((text) => /^[\x21-\x7e]{1,2048}$/.test(text));
}

describe("a dump of D1", () => {
  it("opens no session, account, code, invite, token or key: no value in it is one", async ({ expect }) => {
    const team = await seedWorkspace();
    await call("POST", "/me/tokens", { token: team.token, body: { name: "T", scopes: ["workspace:read"] } });
    const keyBody = { name: "K", scopes: ["workspace:read"] };
    await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: team.token,
      body: keyBody,
      headers: { "idempotency-key": "k1" },
    });
    const inviteBody = { emails: ["invitee@example.net"], role: "MEMBER" };
    expect(
      (await call("POST", `/workspaces/${team.id}/members/invite`, { token: team.token, body: inviteBody })).status,
    ).toBe(200);
    const { handle } = (await call("POST", "/auth/email-code", { body: { email: team.owner.email } })).body;
    const [row] = await db
      .select()
      .from(emailCodes)
      .where(eq(emailCodes.handleDigest, await digestHandle(handle)));
    const code =
      (await deriveCode(requireSettings(env).mailSecret, row?.secretId ?? "", row?.id ?? ""))?.reveal() ?? "";
    const texts = await everyText();
    expect(texts.length).toBeGreaterThan(100);
    expect(texts).toContain(row?.handleDigest);
    for (const text of [handle, code, team.token]) {
      expect(texts).not.toContain(text);
    }
    for (const text of texts) {
      const bearer = await call("GET", "/workspaces", { token: text });
      const cookie = await call("GET", "/me", {
        headers: { cookie: `gatehouse.session_token=${encodeURIComponent(text)}` },
      });
      const invite = await call("GET", `/invites/${encodeURIComponent(text)}`);
      const asHandle = await call("POST", "/auth/email-code/verify", { body: { handle: text.slice(0, 200), code } });
      expect([text, bearer.status, cookie.status, invite.status, asHandle.status]).toEqual([text, 401, 401, 404, 401]);
      await env.DB.prepare("UPDATE email_codes SET tries = 0").run();
      const asCode = await call("POST", "/auth/email-code/verify", { body: { handle, code: text.slice(0, 40) } });
      expect([text, asCode.status]).toEqual([text, 401]);
    }
    await env.DB.prepare("UPDATE email_codes SET tries = 0").run();
    expect((await call("POST", "/auth/email-code/verify", { body: { handle, code } })).status).toBe(200);
  });
});
