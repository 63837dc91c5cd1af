import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { betterAuth } from "better-auth";
import { eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { endpoints } from "../../src/app.js";
import { auditLog } from "../../src/audit/model.js";
import { DisplayName, accounts, sessions, users, verifications } from "../../src/identity/model.js";
import { call, origin, send } from "../support/client.js";
import { db, seedAccount } from "../support/seed.js";

const issuer = "https://issuer.upstream.test";
const configured = {
  ...env,
  OIDC_ISSUER: issuer,
  OIDC_CLIENT_ID: "gatehouse-tests",
  OIDC_CLIENT_SECRET: "client-secret-of-the-tests",
  OIDC_NAME: "Acme",
  GITHUB_CLIENT_ID: "gh",
  GITHUB_CLIENT_SECRET: "gh-secret",
  SIGN_UP_DOMAINS: "acme.example",
};

type Settings = Partial<Record<string, string>>;

async function visit(path: string, init: RequestInit = {}, more: Settings = {}): Promise<Response> {
  const context = createExecutionContext();
  const response = await send(new Request(`${origin}${path}`, { redirect: "manual", ...init }), {
    env: { ...configured, ...more },
    context,
  });
  await waitOnExecutionContext(context);
  return response;
}

async function start(provider: string, redirectTo?: string, more: Settings = {}): Promise<Response> {
  const body = JSON.stringify({ provider, ...(redirectTo === undefined ? {} : { redirect_to: redirectTo }) });
  return await visit(
    "/auth/sign-in/social",
    { method: "POST", body, headers: { "content-type": "application/json" } },
    more,
  );
}

function cookieOf(response: Response, name: string): string {
  const pairs = response.headers.getSetCookie().map((cookie) => cookie.split(";")[0] ?? "");
  return pairs.find((pair) => pair.startsWith(`${name}=`)) ?? "";
}

/** Goes the browser's whole way: start, the provider's page, back. */
async function signIn(
  provider: string,
  as: string,
  more: Settings & { verified?: string; called?: string } = {},
): Promise<Response> {
  const { verified = "true", called = "Person of the issuer", ...settings } = more;
  const started = await start(provider, "/workspaces?x=1", settings);
  const { url } = await started.json<{ url: string }>();
  const page = await fetch(
    `${url}&as=${encodeURIComponent(as)}&verified=${verified}&called=${encodeURIComponent(called)}`,
    { redirect: "manual" },
  );
  const back = new URL(page.headers.get("location") ?? "");
  const headers = {
    cookie: cookieOf(started, "gatehouse.oauth_state"),
    "cf-connecting-ip": "192.0.2.44",
    "user-agent": "browser",
  };
  return await visit(`${back.pathname}${back.search}`, { headers }, settings);
}

function whereTo(response: Response): string {
  return `${response.status} ${response.headers.get("location") ?? ""}`;
}

/** An account whose address was proven, as a code or an invite does it. */
async function seedVerified() {
  const account = await seedAccount();
  await db.update(users).set({ emailVerified: true }).where(eq(users.id, account.id));
  return account;
}

describe("signing in by a provider", () => {
  it("opens the account that has the verified address, by a cookie, and writes it down without the provider's tokens", async ({
    expect,
  }) => {
    const me = await seedVerified();
    for (const provider of ["oidc", "github"]) {
      const done = await signIn(provider, me.email);
      expect(whereTo(done)).toBe(`302 ${origin}/workspaces?x=1`);
      const cookie = cookieOf(done, "gatehouse.session_token");
      const mine = await visit("/me", { headers: { cookie } });
      expect((await mine.json<{ id: string }>()).id).toBe(me.id);
    }
    const linked = await db.select().from(accounts).where(eq(accounts.userId, me.id));
    expect(linked.map(({ providerId }) => providerId).toSorted()).toEqual(["github", "oidc"]);
    for (const row of linked) {
      expect([row.accessToken, row.refreshToken, row.idToken, row.password]).toEqual([null, null, null, null]);
    }
    const rows = await db.select().from(sessions).where(eq(sessions.userId, me.id));
    expect(rows.every(({ id }) => id.startsWith("ses_"))).toBe(true);
    expect(rows.filter(({ ipAddress }) => ipAddress === "192.0.2.44").length).toBe(2);
    const told = await db.select().from(auditLog).where(eq(auditLog.actorId, me.id));
    expect(told.map(({ action }) => action).filter((action) => action !== "session.created")).toEqual([
      "identity.linked",
      "identity.linked",
    ]);
    expect(told.filter(({ requestId }) => requestId.startsWith("req_")).length).toBe(2);
    const again = await signIn("oidc", me.email);
    expect(whereTo(again)).toBe(`302 ${origin}/workspaces?x=1`);
    expect(await db.$count(accounts, eq(accounts.userId, me.id))).toBe(2);
    expect(await db.$count(verifications)).toBe(0);
  });

  it("makes an account only where sign-up is open to the address, and says so in the audit log", async ({ expect }) => {
    const refused = await signIn("oidc", "stranger@elsewhere.example");
    expect(whereTo(refused)).toContain(`302 ${origin}/workspaces?x=1&error=sign_up_closed`);
    expect(await db.$count(users, eq(users.email, "stranger@elsewhere.example"))).toBe(0);
    const allowed = [
      await signIn("oidc", "new@acme.example"),
      await signIn("oidc", "stranger@elsewhere.example", { SIGN_UP: "open" }),
    ];
    for (const done of allowed) {
      expect(whereTo(done)).toBe(`302 ${origin}/workspaces?x=1`);
    }
    const [made] = await db.select().from(users).where(eq(users.email, "new@acme.example"));
    expect(made).toMatchObject({ emailVerified: true, signedUpBy: "oidc", name: "Person of the issuer" });
    expect(made?.id).toMatch(/^usr_/);
    const told = await db
      .select()
      .from(auditLog)
      .where(eq(auditLog.actorId, made?.id ?? ""));
    expect(told.map(({ action }) => action)).toEqual(["account.created", "identity.linked", "session.created"]);
  });

  it("gives a new account a name as our own form takes it, whatever the provider calls the person", async ({
    expect,
  }) => {
    const cases = {
      " Ada\u0007\nLovelace ": "AdaLovelace",
      "\u0000\u0001": "called-1",
      ["😀".repeat(60)]: "😀".repeat(50),
      ["x".repeat(99) + "😀"]: "x".repeat(99),
    };
    for (const [index, [called, name]] of Object.entries(cases).entries()) {
      const email = `called-${index}@acme.example`;
      expect(whereTo(await signIn("oidc", email, { called }))).toBe(`302 ${origin}/workspaces?x=1`);
      const [made] = await db.select().from(users).where(eq(users.email, email));
      expect(made?.name).toBe(name);
      expect(DisplayName.safeParse(made?.name).success).toBe(true);
    }
  });

  it("takes no address that the provider has not verified, neither for an account there is nor for a new one", async ({
    expect,
  }) => {
    const me = await seedVerified();
    for (const email of [me.email, "unverified@acme.example"]) {
      const refused = await signIn("oidc", email, { verified: "false" });
      expect(refused.headers.get("location")).toContain("error=");
      expect(cookieOf(refused, "gatehouse.session_token")).toBe("");
    }
    expect(await db.$count(accounts, eq(accounts.userId, me.id))).toBe(0);
    expect(await db.$count(users, eq(users.email, "unverified@acme.example"))).toBe(0);
  });

  it("leaves an account alone whose own address was never proven: who made it need not be who reads the mailbox", async ({
    expect,
  }) => {
    const me = await seedAccount();
    const refused = await signIn("oidc", me.email);
    expect(refused.headers.get("location")).toContain("error=");
    expect(await db.$count(sessions, eq(sessions.userId, me.id))).toBe(1);
  });

  it("ends nowhere without the cookie of its start, with another's state, or by a code used before", async ({
    expect,
  }) => {
    const me = await seedVerified();
    const started = await start("oidc");
    const other = await start("oidc");
    const { url } = await started.json<{ url: string }>();
    const page = await fetch(`${url}&as=${me.email}`, { redirect: "manual" });
    const back = new URL(page.headers.get("location") ?? "");
    const way = (cookie: string) => visit(`${back.pathname}${back.search}`, { headers: { cookie } });
    for (const cookie of ["", cookieOf(other, "gatehouse.oauth_state"), "gatehouse.oauth_state=forged"]) {
      const refused = await way(cookie);
      expect(refused.headers.get("location")).toContain("error=");
      expect(cookieOf(refused, "gatehouse.session_token")).toBe("");
    }
    const cookie = cookieOf(started, "gatehouse.oauth_state");
    expect(cookieOf(await way(cookie), "gatehouse.session_token")).not.toBe("");
    expect(cookieOf(await way(cookie), "gatehouse.session_token")).toBe("");
  });

  it("goes back to paths of this service alone, and starts only with providers that are configured", async ({
    expect,
  }) => {
    for (const elsewhere of ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\nb", ""]) {
      expect([elsewhere, (await start("oidc", elsewhere)).status]).toEqual([elsewhere, 422]);
    }
    const refused = await start("google");
    expect([refused.status, refused.headers.get("content-type")]).toEqual([404, "application/problem+json"]);
    expect((await visit("/auth/callback/google?code=x&state=y")).status).toBe(404);
    expect((await visit("/auth/callback/evil?code=x&state=y")).status).toBe(404);
    const methods = await (await visit("/auth/methods")).json();
    expect(methods).toEqual({
      email_code: true,
      sign_up: "invite",
      providers: [
        { id: "github", name: "GitHub" },
        { id: "oidc", name: "Acme" },
      ],
    });
    const down = await start("oidc", "/", { OIDC_ISSUER: "https://status-500.upstream.test" });
    expect([down.status, down.headers.get("content-type")]).toEqual([502, "application/problem+json"]);
    const inside = await start("oidc", "/", { OIDC_ISSUER: "https://10.0.0.1" });
    expect(inside.status).toBe(503);
  });
});

describe("what is open below /auth", () => {
  it("is this list and nothing else: of better-auth's own routes two are mounted, all others are not there", async ({
    expect,
  }) => {
    const open = endpoints.map(({ spec }) => `${spec.method} ${spec.path}`).filter((name) => name.includes(" /auth"));
    expect(open.toSorted()).toEqual([
      "delete /auth/sessions",
      "delete /auth/sessions/{id}",
      "get /auth/callback/{provider}",
      "get /auth/jwks",
      "get /auth/methods",
      "get /auth/sessions",
      "get /auth/token",
      "post /auth/email-code",
      "post /auth/email-code/verify",
      "post /auth/passkey/options",
      "post /auth/passkey/verify",
      "post /auth/sign-in/social",
      "post /auth/sign-out",
    ]);
    const { api } = betterAuth({ baseURL: origin, secret: "x".repeat(32), database: env.DB });
    const me = await seedAccount();
    const answered: string[] = [];
    let count = 0;
    for (const route of Object.values(api) as { path?: string; options?: { method?: string | string[] } }[]) {
      for (const method of [route.options?.method ?? []].flat()) {
        count += 1;
        const path = `/auth${(route.path ?? "").replaceAll(/:\w+/g, "x")}`;
        const body = method === "GET" ? {} : { body: {} };
        for (const token of [{}, { token: me.token }]) {
          const answer = await call(method, path, { ...body, ...token });
          if (answer.status !== 404) {
            answered.push(`${method} ${path} ${answer.status}`);
          }
        }
      }
    }
    expect(count).toBeGreaterThan(25);
    // Two are ours under the same name; POST to the callback is another method of a path that is mounted.
    expect([...new Set(answered)].toSorted()).toEqual([
      "POST /auth/callback/x 405",
      "POST /auth/sign-in/social 422",
      "POST /auth/sign-out 204",
      "POST /auth/sign-out 401",
    ]);
  });
});
