import { env } from "cloudflare:workers";
import { and, eq } from "drizzle-orm";
import { describe, it } from "vitest";
import { requireSettings } from "../../src/base/settings.js";
import { deriveCode, digestHandle } from "../../src/identity/code.js";
import { emailCodes, users } from "../../src/identity/model.js";
import { invites, members, workspaces } from "../../src/tenancy/model.js";
import { writeInviteToken } from "../../src/workspaces/invite-token.js";
import { call, origin, send } from "../support/client.js";
import { db, seedAccount, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

interface Page {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

const browser = { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };
/** What a browser adds to a form on a page without a referrer. */
const fromOurPage = { origin: "null", "sec-fetch-site": "same-origin" };

async function open(path: string, headers: Record<string, string> = {}): Promise<Page> {
  return await read(new Request(`${origin}${path}`, { headers: { ...browser, ...headers } }));
}

async function submit(
  path: string,
  fields: Record<string, string>,
  headers: Record<string, string> = fromOurPage,
): Promise<Page> {
  const body = new URLSearchParams(fields);
  return await read(new Request(`${origin}${path}`, { method: "POST", body, headers: { ...browser, ...headers } }));
}

async function read(request: Request): Promise<Page> {
  const response = await send(request);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

function cookieOf(page: Page): string {
  return page.headers.get("set-cookie")?.split(";")[0] ?? "";
}

function cookieOfToken(token: string): string {
  return `gatehouse.session_token=${encodeURIComponent(token)}`;
}

async function seedLink(team: SeededWorkspace, email: string, more: object = {}): Promise<string> {
  const { body } = await call("POST", `/workspaces/${team.id}/members/invite`, {
    token: team.token,
    body: { emails: [email], ...more },
  });
  const token = await writeInviteToken(requireSettings(env).mailSecret, body.results[0].invite_id, 1);
  return `/invites/${token.reveal()}`;
}

async function codeOf(page: Page): Promise<{ handle: string; code: string }> {
  const handle = /name="handle" value="([^"]+)"/.exec(page.text)?.[1] ?? "";
  const [row] = await db
    .select()
    .from(emailCodes)
    .where(eq(emailCodes.handleDigest, await digestHandle(handle)));
  const code = await deriveCode(requireSettings(env).mailSecret, row?.secretId ?? "", row?.id ?? "");
  return { handle, code: code?.reveal() ?? "" };
}

let count = 0;

function freshAddress(): string {
  count += 1;
  return `visitor-${count}@example.net`;
}

describe("the page of an invite", () => {
  it("tells who invites to what, alone by what it brings along, and speaks JSON to everybody else", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    await db.update(workspaces).set({ name: `<i>R&D` }).where(eq(workspaces.id, team.id)).run();
    const email = freshAddress();
    const link = await seedLink(team, email, { role: "ADMIN" });
    const page = await open(link);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    expect(page.text).toContain("invites you to join the workspace &lt;i&gt;R&amp;D as an admin.");
    expect(page.text).toContain(email);
    expect(page.text).toContain(`<form method="post" action="${link}/accept">`);
    expect(page.text).toContain(`<form method="post" action="${link}/decline">`);
    expect(page.headers.get("referrer-policy")).toBe("no-referrer");
    expect(page.headers.get("cache-control")).toBe("no-store");
    expect(page.headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; style-src 'nonce-\w+'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$/,
    );
    expect(page.text).not.toMatch(/<script|<img|<link|@import|url\(|https?:/);
    expect((await open(link, { accept: "*/*" })).headers.get("content-type")).toBe("application/json");
    expect(await db.$count(users, eq(users.email, email))).toBe(0);
  });

  it("shows no name that rearranges its sentences", async ({ expect }) => {
    const team = await seedWorkspace();
    await db.update(workspaces).set({ name: "Evil\u202e\u2066\u061c gro.elpmaxe" }).where(eq(workspaces.id, team.id));
    await db.update(users).set({ name: "Eve\u202e" }).where(eq(users.id, team.owner.id));
    const page = await open(await seedLink(team, freshAddress()));
    expect(page.text).toContain("Eve invites you to join the workspace Evil gro.elpmaxe as a member.");
    expect(page.text).not.toMatch(/\p{Bidi_Control}/u);
  });

  it("is in Chinese for an invite in Chinese", async ({ expect }) => {
    const team = await seedWorkspace();
    const page = await open(await seedLink(team, freshAddress(), { locale: "zh-CN" }));
    expect(page.text).toContain('<html lang="zh-CN">');
    expect(page.text).toContain("邀请您以成员身份加入工作区");
    const gone = await open("/invites/nothing", { "accept-language": "zh-CN,zh;q=0.9" });
    expect([gone.status, gone.text.includes("此邀请已关闭")]).toEqual([404, true]);
  });

  it("makes an account, signs the browser in, and is gone afterwards", async ({ expect }) => {
    const team = await seedWorkspace();
    const email = freshAddress();
    const link = await seedLink(team, email);
    const joined = await submit(`${link}/accept`, { name: "Grace <Hopper>" });
    expect([joined.status, joined.text.includes("You have joined")]).toEqual([200, true]);
    expect(joined.headers.get("set-cookie")).toMatch(
      /^gatehouse\.session_token=\S+; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Lax$/,
    );
    const mine = await call("GET", "/workspaces", { headers: { cookie: cookieOf(joined) } });
    expect(mine.body.data.map((row: { id: string }) => row.id)).toEqual([team.id]);
    const [user] = await db.select().from(users).where(eq(users.email, email)).all();
    expect([user?.name, user?.emailVerified]).toEqual(["Grace <Hopper>", true]);
    const texts = new Set<string>();
    for (const page of [
      await open(link),
      await submit(`${link}/accept`, {}),
      await submit(`${link}/decline`, {}),
      await open("/invites/inv_01h455vb4pex5vsknk084sn02q.t1.x"),
    ]) {
      expect(page.status).toBe(404);
      texts.add(page.text.replaceAll(/nonce="\w+"/g, ""));
    }
    expect(texts.size).toBe(1);
  });

  it("asks an address with an account for a code before it joins, in the same browser", async ({ expect }) => {
    const team = await seedWorkspace();
    const guest = await seedAccount();
    const link = await seedLink(team, guest.email);
    const offer = await open(link);
    expect([offer.text.includes("has an account here"), offer.text.includes('name="name"')]).toEqual([true, false]);
    const asked = await submit(`${link}/accept`, {});
    expect(asked.status).toBe(200);
    const { handle, code } = await codeOf(asked);
    expect(code).toMatch(/^\d{8}$/);
    const wrong = await submit(`${link}/accept`, { handle, code: code === "00000000" ? "1" : "00000000" });
    expect([wrong.status, wrong.text.includes('role="alert"'), wrong.text.includes(handle)]).toEqual([403, true, true]);
    const isMember = and(eq(members.workspaceId, team.id), eq(members.userId, guest.id));
    expect(await db.$count(members, isMember)).toBe(0);
    const joined = await submit(`${link}/accept`, { handle, code });
    expect([joined.status, await db.$count(members, isMember)]).toEqual([200, 1]);
    const me = await call("GET", "/workspaces", { headers: { cookie: cookieOf(joined) } });
    expect(me.body.data.map((row: { id: string }) => row.id)).toEqual([team.id]);
    expect(await db.$count(users, eq(users.email, guest.email))).toBe(1);
  });

  it("takes no code of another address, and does not use it up", async ({ expect }) => {
    const team = await seedWorkspace();
    const [guest, stranger] = [await seedAccount(), await seedAccount()];
    const link = await seedLink(team, guest.email);
    const asked = await call("POST", "/auth/email-code", { body: { email: stranger.email } });
    const { handle } = asked.body;
    const { code } = await codeOf({ ...(await open(link)), text: `name="handle" value="${handle}"` });
    expect((await submit(`${link}/accept`, { handle, code })).status).toBe(403);
    expect(await db.$count(members, eq(members.workspaceId, team.id))).toBe(1);
    expect((await call("POST", "/auth/email-code/verify", { body: { handle, code } })).status).toBe(200);
  });

  it("lets the signed-in account of its address accept at once, and tells another one so", async ({ expect }) => {
    const team = await seedWorkspace();
    const [guest, other] = [await seedAccount(), await seedAccount()];
    const link = await seedLink(team, guest.email);
    const asOther = await open(link, { cookie: cookieOfToken(other.token) });
    expect(asOther.text).toContain(`You are signed in as ${other.email}`);
    const asGuest = await open(link, { cookie: cookieOfToken(guest.token) });
    expect([asGuest.text.includes("Mail me a code"), asGuest.text.includes(">Accept</button>")]).toEqual([false, true]);
    const joined = await submit(`${link}/accept`, {}, { ...fromOurPage, cookie: cookieOfToken(guest.token) });
    expect([joined.status, joined.headers.get("set-cookie")]).toEqual([200, null]);
    expect(await db.$count(members, and(eq(members.workspaceId, team.id), eq(members.userId, guest.id)))).toBe(1);
  });

  it("declines, and nobody joins", async ({ expect }) => {
    const team = await seedWorkspace();
    const link = await seedLink(team, freshAddress());
    const page = await submit(`${link}/decline`, {});
    expect([page.status, page.text.includes("You have declined")]).toEqual([200, true]);
    expect(await db.$count(invites, and(eq(invites.workspaceId, team.id), eq(invites.state, "declined")))).toBe(1);
  });

  it("takes no form from another site's page, with or without a cookie", async ({ expect }) => {
    const team = await seedWorkspace();
    const guest = await seedAccount();
    const link = await seedLink(team, guest.email);
    const cookie = { cookie: cookieOfToken(guest.token) };
    const foreign = [
      { origin: "https://evil.example", "sec-fetch-site": "cross-site" },
      { origin: "null", "sec-fetch-site": "cross-site" },
      { origin: "null" },
      {},
    ];
    for (const headers of foreign) {
      for (const deed of ["accept", "decline"]) {
        expect((await submit(`${link}/${deed}`, {}, headers)).status).toBe(403);
        expect((await submit(`${link}/${deed}`, {}, { ...headers, ...cookie })).status).toBe(403);
      }
    }
    expect(await db.$count(members, eq(members.workspaceId, team.id))).toBe(1);
    expect((await submit(`${link}/accept`, {}, { origin, ...cookie })).status).toBe(200);
  });

  it("says so when the workspace is full, and the invite stays open", async ({ expect }) => {
    const team = await seedWorkspace();
    const link = await seedLink(team, freshAddress());
    await db.update(workspaces).set({ seatLimit: 1 }).where(eq(workspaces.id, team.id)).run();
    const page = await submit(`${link}/accept`, { name: "Late" });
    expect([page.status, page.text.includes("no seat free")]).toEqual([409, true]);
    const long = await submit(`${link}/accept`, { name: "x".repeat(101) });
    expect([long.status, long.text.includes("at most 100 characters")]).toEqual([422, true]);
    await db.update(workspaces).set({ seatLimit: 2 }).where(eq(workspaces.id, team.id)).run();
    expect((await submit(`${link}/accept`, { name: "In time" })).status).toBe(200);
  });
});
