import { env } from "cloudflare:workers";
import { eq, ne } from "drizzle-orm";
import { describe, it } from "vitest";
import { call } from "../support/client.js";
import { db } from "../support/seed.js";
import { auditLog } from "../../src/audit/model.js";
import { users } from "../../src/identity/model.js";
import { workspaces } from "../../src/tenancy/model.js";
import { demoAccountId } from "../../src/workspaces/setup.js";

const body = { email: " Ada@Example.com ", name: "Ada", workspace: { name: "Émile & co" } };

describe("the first run", () => {
  it("needs the set-up token", async ({ expect }) => {
    for (const token of [undefined, "wrong", `${env.SETUP_TOKEN}x`]) {
      const refused = await call("POST", "/setup", token === undefined ? { body } : { token, body });
      expect([refused.status, refused.body.code]).toEqual([403, "invalid_setup_token"]);
    }
    expect(await db.$count(users)).toBe(0);
  });

  it("names the field at fault and loses nothing", async ({ expect }) => {
    const refused = await call("POST", "/setup", {
      token: env.SETUP_TOKEN,
      body: { ...body, email: "no", workspace: { name: "" } },
    });
    expect(refused.status).toBe(422);
    expect(refused.headers.get("content-type")).toBe("application/problem+json");
    expect(refused.body.errors.map((error: { pointer: string }) => error.pointer)).toEqual([
      "/email",
      "/workspace/name",
    ]);
    expect(await db.$count(users)).toBe(0);
  });

  it("is not held up by the demo account of a local run, whose session opens its own workspaces alone", async ({
    expect,
  }) => {
    expect((await call("POST", "/dev/demo-session", { token: "wrong" })).status).toBe(403);
    const first = await call("POST", "/dev/demo-session", { token: env.SETUP_TOKEN });
    const second = await call("POST", "/dev/demo-session", { token: env.SETUP_TOKEN });
    expect([first.status, second.status]).toEqual([201, 201]);
    expect((await call("GET", "/workspaces", { token: first.body.session_token })).status).toBe(401);
    expect((await call("GET", "/workspaces", { token: second.body.session_token })).body.data).toEqual([]);
  });

  it("of ten at once exactly one wins; the token is dead afterwards", async ({ expect }) => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        call("POST", "/setup", { token: env.SETUP_TOKEN, body: { ...body, email: `ada${index}@example.com` } }),
      ),
    );
    const won = answers.filter((answer) => answer.status === 201);
    expect(won.length).toBe(1);
    expect(answers.filter((answer) => answer.body.code === "already_set_up").length).toBe(9);
    expect([await db.$count(users, ne(users.id, demoAccountId)), await db.$count(workspaces)]).toEqual([1, 1]);
    const { account, workspace, session_token } = won[0]?.body ?? {};
    const told = await db
      .select()
      .from(auditLog)
      .where(eq(auditLog.requestId, won[0]?.headers.get("x-request-id") ?? ""));
    expect(told.map(({ action }) => action).toSorted()).toEqual([
      "account.created",
      "session.created",
      "workspace.created",
    ]);
    expect(workspace).toMatchObject({ name: "Émile & co", slug: "emile-co", role: "OWNER", members: 1 });
    expect(workspace.settings).toMatchObject({ locale: "en-US", timezone: "UTC", region: "auto", seat_limit: 0 });
    expect(account.email).toMatch(/^ada\d@example\.com$/);
    const mine = await call("GET", "/workspaces", { token: session_token });
    expect(mine.body.data.map((row: { id: string }) => row.id)).toEqual([workspace.id]);
    const again = await call("POST", "/setup", { token: env.SETUP_TOKEN, body });
    expect([again.status, again.body.code]).toEqual([409, "already_set_up"]);
  });
});
