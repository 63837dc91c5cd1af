import { env } from "cloudflare:workers";
import { and, eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { roleHas, scopes } from "../../src/access/permissions.js";
import { auditLog } from "../../src/audit/model.js";
import { requireSettings } from "../../src/base/settings.js";
import { users } from "../../src/identity/model.js";
import { outbox } from "../../src/mail/model.js";
import { sweepOutbox } from "../../src/mail/outbox.js";
import { invites, members, workspaces } from "../../src/tenancy/model.js";
import { findInviteByToken } from "../../src/workspaces/invite-acceptance.js";
import { writeInviteToken } from "../../src/workspaces/invite-token.js";
import { letterWriters } from "../../src/workspaces/letters.js";
import { call, type Answer } from "../support/client.js";
import { deep } from "../support/deep.js";
import { db, seedAccount, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

let count = 0;

/** An address that nobody has yet. */
function freshAddress(): string {
  count += 1;
  return `guest-${count}@example.com`;
}

async function inviteTo(team: SeededWorkspace, email: string, more: object = {}): Promise<string> {
  const answer = await call("POST", `/workspaces/${team.id}/members/invite`, {
    token: team.token,
    body: { emails: [email], ...more },
  });
  if (answer.status !== 200) {
    throw new Error(`invite answered ${answer.status} ${answer.text}`);
  }
  return answer.body.results[0].invite_id;
}

async function tokenOf(inviteId: string, version = 1): Promise<string> {
  return (await writeInviteToken(requireSettings(env).mailSecret, inviteId, version)).reveal();
}

/** A fresh invite's address and link token, and the workspace it is for. */
async function seedInvite(more: object = {}) {
  const team = await seedWorkspace();
  const email = freshAddress();
  const id = await inviteTo(team, email, more);
  return { team, email, id, token: await tokenOf(id) };
}

/** The 32 bytes of a keyring entry as vitest.config.ts makes them. */
function keyOf(letter: string): string {
  return btoa(letter.repeat(32)).replaceAll("=", "");
}

function accept(token: string, options: { token?: string; body?: unknown } = {}): Promise<Answer> {
  return call("POST", `/invites/${token}/accept`, options);
}

async function waitForLetter(to: string): Promise<{ subject: string; text: string; html: string; kind: string }> {
  for (let round = 0; round < 100; round += 1) {
    const { body } = await call("GET", "/dev/outbox");
    const letter = (body.data as { to: string; subject: string; text: string; html: string; kind: string }[]).find(
      (one) => one.to === to,
    );
    if (letter !== undefined) {
      return letter;
    }
    await scheduler.wait(100);
  }
  throw new Error("no letter came");
}

async function actionsOf(workspaceId: string): Promise<string[]> {
  const rows = await db
    .select()
    .from(auditLog)
    .where(eq(auditLog.workspaceId, workspaceId))
    .orderBy(auditLog.seq)
    .all();
  return rows.map((row) => `${row.action} by ${row.actorType}`);
}

function without(text: string): string {
  return text.replaceAll(/req_[0-9a-z]{26}/g, "req");
}

describe("an invite, end to end", () => {
  it("goes through queue and outbox to a link that makes an account and a session, once", async ({ expect }) => {
    const team = await seedWorkspace();
    const email = freshAddress();
    const invited = await call("POST", `/workspaces/${team.id}/members/invite`, {
      token: team.token,
      body: { emails: [email.toUpperCase()], role: "ADMIN" },
    });
    expect(invited.status).toBe(200);
    expect(invited.body.results).toEqual([{ email, status: "invited", invite_id: expect.stringMatching(/^inv_/) }]);
    const letter = await waitForLetter(email);
    expect(letter.kind).toBe("invite");
    const path = /^http:\/\/127\.0\.0\.1:8787(\/invites\/\S+)$/m.exec(letter.text)?.[1] ?? "";
    const list = await call("GET", `/workspaces/${team.id}/invites`, { token: team.token });
    expect(list.body.data).toMatchObject([
      { id: invited.body.results[0].invite_id, email, role: "ADMIN", state: "sent", reason: null },
    ]);

    const offer = await call("GET", path);
    expect([offer.status, offer.headers.get("referrer-policy")]).toEqual([200, "no-referrer"]);
    expect(offer.body).toMatchObject({ email, role: "ADMIN", has_account: false });
    const joined = await call("POST", `${path}/accept`, { body: { name: "Grace" } });
    expect([joined.status, joined.headers.get("cache-control")]).toEqual([200, "no-store, no-transform"]);
    expect(joined.body).toMatchObject({
      workspace: { id: team.id, role: "ADMIN", members: 2 },
      member: { role: "ADMIN", account: { id: joined.body.account.id, name: "Grace", email } },
      account: { email, name: "Grace" },
    });
    const token = joined.body.session_token;
    expect((await call("GET", `/workspaces/${team.id}`, { token })).body).toEqual(joined.body.workspace);
    expect((await call("GET", "/workspaces", { token })).body.data).toHaveLength(1);

    for (const again of [
      await call("POST", `${path}/accept`),
      await call("GET", path),
      await call("POST", `${path}/decline`),
    ]) {
      expect([again.status, again.body.code]).toEqual([404, "not_found"]);
    }
    expect((await actionsOf(team.id)).slice(1)).toEqual([
      "member.invited by account",
      "account.created by account",
      "invite.accepted by account",
      "member.joined by account",
    ]);
  });

  it("leaves neither the link nor its mac in anything that is stored", async ({ expect }) => {
    const { email, token } = await seedInvite();
    await waitForLetter(email);
    await accept(token);
    const mac = token.split(".")[2] ?? "";
    const tables = await env.DB.prepare(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
    ).all();
    for (const { name } of tables.results as { name: string }[]) {
      const rows = await env.DB.prepare(`SELECT * FROM "${name}"`).all();
      expect([name, JSON.stringify(rows.results).includes(mac)]).toEqual([name, false]);
    }
  });

  it("reaches the queue by the sweep when the request could not", async ({ expect }) => {
    const { email, id } = await seedInvite();
    await waitForLetter(email);
    const later = Date.now() + 60_000;
    await db
      .update(outbox)
      .set({ state: "queued", enqueuedAt: null, sentAt: null })
      .where(eq(outbox.subjectId, id))
      .run();
    expect(await sweepOutbox(env, db, later)).toBe(1);
    await waitForLetter(email);
    expect(await db.$count(outbox, and(eq(outbox.subjectId, id), eq(outbox.state, "sent")))).toBe(1);
  });
});

describe("inviting", () => {
  it("gives each address its own result, in the order given, and letters only to the invited", async ({ expect }) => {
    const team = await seedWorkspace();
    const [pending, one, two] = [freshAddress(), freshAddress(), freshAddress()];
    const pendingId = await inviteTo(team, pending);
    const emails = [one, "no address", pending, ` ${team.owner.email.toUpperCase()} `, two, one];
    const { status, body } = await call("POST", `/workspaces/${team.id}/members/invite`, {
      token: team.token,
      body: { emails },
    });
    expect(status).toBe(200);
    const statuses = body.results.map((result: { email: string; status: string }) => [result.email, result.status]);
    expect(statuses).toEqual([
      [one, "invited"],
      ["no address", "invalid"],
      [pending, "already_invited"],
      [team.owner.email, "already_member"],
      [two, "invited"],
      [one, "already_invited"],
    ]);
    expect(body.results[2].invite_id).toBe(pendingId);
    expect(body.results[5].invite_id).toBe(body.results[0].invite_id);
    expect(await db.$count(outbox, eq(outbox.workspaceId, team.id))).toBe(3);
  });

  it("takes a hundred addresses in one batch, each with its invite, letter and audit row; 101 are too many", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    const emails = Array.from({ length: 100 }, freshAddress);
    const path = `/workspaces/${team.id}/members/invite`;
    const { body } = await call("POST", path, { token: team.token, body: { emails } });
    expect(new Set(body.results.map((result: { status: string }) => result.status))).toEqual(new Set(["invited"]));
    expect(await db.$count(invites, eq(invites.workspaceId, team.id))).toBe(100);
    expect(await db.$count(outbox, eq(outbox.workspaceId, team.id))).toBe(100);
    expect(
      await db.$count(auditLog, and(eq(auditLog.workspaceId, team.id), eq(auditLog.action, "member.invited"))),
    ).toBe(100);
    const tooMany = await call("POST", path, { token: team.token, body: { emails: [...emails, freshAddress()] } });
    expect([tooMany.status, tooMany.body.errors[0].pointer]).toEqual([422, "/emails"]);
  });

  it("answers for a single address by status: 409 for a member or a pending invite, 422 for no address", async ({
    expect,
  }) => {
    const { team, email, id } = await seedInvite();
    const one = (address: string) =>
      call("POST", `/workspaces/${team.id}/members/invite`, { token: team.token, body: { emails: [address] } });
    expect((await one(email)).body).toMatchObject({ status: 409, code: "already_invited", invite_id: id });
    expect((await one(team.owner.email)).body).toMatchObject({ status: 409, code: "already_member" });
    expect((await one("nobody")).body).toMatchObject({ status: 422, errors: [{ pointer: "/emails/0" }] });
  });

  it("is for admins, by session or by a key with members:manage, and gives no role above ADMIN", async ({ expect }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const member = await seedMember(team.id, "MEMBER");
    const ask = (token: string, role: string, path = `/workspaces/${team.id}/members/invite`) =>
      call("POST", path, { token, body: { emails: [freshAddress()], role } });
    expect((await ask(admin.token, "ADMIN")).status).toBe(200);
    expect((await ask(member.token, "MEMBER")).status).toBe(403);
    expect((await ask(team.token, "OWNER")).status).toBe(422);
    const inviting = ["members:manage", ...scopes.filter((scope) => roleHas("MEMBER", scope))];
    const makeKey = async (held: string[]) =>
      (
        await call("POST", `/workspaces/${team.id}/api-keys`, {
          token: team.token,
          body: { name: `k${count}${held[0]}`, scopes: held },
        })
      ).body.secret;
    expect((await ask(await makeKey(inviting), "MEMBER", "/workspaces/current/members/invite")).status).toBe(200);
    expect((await ask(await makeKey(["members:read"]), "MEMBER")).status).toBe(403);
    expect((await call("GET", `/workspaces/${team.id}/invites`, { token: member.token })).status).toBe(403);
  });

  it("by the short path invites to the caller's current workspace", async ({ expect }) => {
    const team = await seedWorkspace();
    const answer = await call("POST", "/workspaces/members/invite", {
      token: team.token,
      body: { emails: [freshAddress()] },
    });
    expect(answer.status).toBe(200);
    expect(
      await db.$count(invites, and(eq(invites.workspaceId, team.id), eq(invites.id, answer.body.results[0].invite_id))),
    ).toBe(1);
  });

  it("repeated with its Idempotency-Key answers the same and writes no second letter", async ({ expect }) => {
    const team = await seedWorkspace();
    const body = { emails: [freshAddress()] };
    const headers = { "idempotency-key": "once" };
    const send = () => call("POST", `/workspaces/${team.id}/members/invite`, { token: team.token, body, headers });
    const [first, second] = [await send(), await send()];
    expect([second.status, second.headers.get("idempotency-replayed")]).toEqual([200, "true"]);
    expect(second.body).toEqual(first.body);
    expect(await db.$count(outbox, eq(outbox.workspaceId, team.id))).toBe(1);
  });

  it("by many at once makes one invite for each address, and every answer tells the truth", async ({ expect }) => {
    for (let round = 0; round < deep(2, 20); round += 1) {
      const team = await seedWorkspace();
      const shared = [freshAddress(), freshAddress(), freshAddress()];
      const callers = Array.from({ length: 8 }, (_, index) => [
        ...shared.slice(index % 3),
        freshAddress(),
        ...shared.slice(0, index % 3),
      ]);
      const answers = await Promise.all(
        callers.map((emails) =>
          call("POST", `/workspaces/${team.id}/members/invite`, { token: team.token, body: { emails } }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual(callers.map(() => 200));
      const results = answers.flatMap(
        ({ body }) => body.results as { email: string; status: string; invite_id: string }[],
      );
      const rows = await db.select().from(invites).where(eq(invites.workspaceId, team.id)).all();
      expect(rows).toHaveLength(shared.length + callers.length);
      expect(
        results
          .filter(({ status }) => status === "invited")
          .map((result) => result.invite_id)
          .toSorted(),
      ).toEqual(rows.map(({ id }) => id).toSorted());
      for (const { email, invite_id } of results) {
        expect(rows.find((row) => row.email === email)?.id).toBe(invite_id);
      }
    }
  });

  it("an address anew is possible once its invite expired, and the old link stays dead", async ({ expect }) => {
    const { team, email, id, token } = await seedInvite();
    await db
      .update(invites)
      .set({ expiresAt: Date.now() - 1 })
      .where(eq(invites.id, id))
      .run();
    const states = async () => {
      const { body } = await call("GET", `/workspaces/${team.id}/invites`, { token: team.token });
      return Object.fromEntries(body.data.map((invite: { id: string; state: string }) => [invite.id, invite.state]));
    };
    expect(await states()).toEqual({ [id]: "expired" });
    const second = await inviteTo(team, email);
    expect(await states()).toEqual({ [id]: "expired", [second]: expect.stringMatching(/pending|sent/) });
    expect((await accept(token)).status).toBe(404);
    expect((await accept(await tokenOf(second))).status).toBe(200);
  });
});

describe("the list of invites", () => {
  it("shows what became of each: delivery_failed with its reason, accepted, declined", async ({ expect }) => {
    const { team, id } = await seedInvite();
    await db.update(outbox).set({ state: "failed", reason: "No such mailbox." }).where(eq(outbox.subjectId, id)).run();
    const accepted = await inviteTo(team, freshAddress());
    await accept(await tokenOf(accepted));
    const declined = await inviteTo(team, freshAddress());
    await call("POST", `/invites/${await tokenOf(declined)}/decline`);
    const { body } = await call("GET", `/workspaces/${team.id}/invites`, { token: team.token });
    const shown = body.data.map((invite: { id: string; state: string; reason: string | null }) => [
      invite.id,
      invite.state,
      invite.reason,
    ]);
    expect(shown).toEqual([
      [declined, "declined", null],
      [accepted, "accepted", null],
      [id, "delivery_failed", "No such mailbox."],
    ]);
  });

  it("comes in pages that miss and repeat nothing", async ({ expect }) => {
    const team = await seedWorkspace();
    const emails = Array.from({ length: 5 }, freshAddress);
    await call("POST", `/workspaces/${team.id}/members/invite`, { token: team.token, body: { emails } });
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const query: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const { body }: Answer = await call("GET", `/workspaces/${team.id}/invites?limit=2${query}`, {
        token: team.token,
      });
      seen.push(...body.data.map((invite: { email: string }) => invite.email));
      cursor = body.next_cursor;
    }
    expect(seen.toSorted()).toEqual(emails.toSorted());
  });
});

describe("an invite's link", () => {
  it("lets the signed-in account of its address join without a new session, and no other account", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    const guest = await seedAccount();
    const other = await seedAccount();
    const token = await tokenOf(await inviteTo(team, guest.email));
    expect((await call("GET", `/invites/${token}`)).body).toMatchObject({
      has_account: true,
      workspace: {},
      role: "MEMBER",
    });
    const nobody = await accept(token);
    expect([nobody.status, nobody.body.code]).toEqual([401, "unauthenticated"]);
    for (const path of ["accept", "decline"]) {
      const wrong = await call("POST", `/invites/${token}/${path}`, {
        token: other.token,
        ...(path === "accept" ? { body: {} } : {}),
      });
      expect([wrong.status, wrong.body.code]).toEqual([403, "wrong_account"]);
    }
    const key = await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: team.token,
      body: { name: "k", scopes: ["members:manage"] },
    });
    expect((await accept(token, { token: key.body.secret })).status).toBe(403);
    const joined = await accept(token, { token: guest.token });
    expect(joined.body).toMatchObject({
      session_token: null,
      account: { id: guest.id },
      workspace: { id: team.id, role: "MEMBER", members: 2 },
    });
    expect((await call("GET", `/workspaces/${team.id}`, { token: guest.token })).status).toBe(200);
    expect(await db.$count(users, eq(users.email, guest.email))).toBe(1);
  });

  it("does not let someone in twice who joined another way: 409, and the invite stays open", async ({ expect }) => {
    const team = await seedWorkspace();
    const guest = await seedAccount();
    const id = await inviteTo(team, guest.email);
    const joinedAt = Date.now();
    await db
      .insert(members)
      .values({ id: "mem_other_way", workspaceId: team.id, userId: guest.id, role: "MEMBER", createdAt: joinedAt });
    const answer = await accept(await tokenOf(id), { token: guest.token });
    expect([answer.status, answer.body.code]).toEqual([409, "already_member"]);
    expect(await db.$count(invites, and(eq(invites.id, id), eq(invites.state, "pending")))).toBe(1);
  });

  it("is one and the same 404 when unknown, forged, outdated, used, revoked, expired, or without inviter or workspace", async ({
    expect,
  }) => {
    const cases: Record<string, string> = {
      "no token": "hello",
      "no row": await tokenOf("inv_01h455vb4pex5vsknk084sn02q"),
      forged: (await seedInvite()).token.replace(/.$/, (last) => (last === "0" ? "1" : "0")),
      "unknown key": (await seedInvite()).token.replace(".t1.", ".t9."),
      long: "x".repeat(5000),
    };
    const change = async (name: string, how: (invite: Awaited<ReturnType<typeof seedInvite>>) => Promise<unknown>) => {
      const invite = await seedInvite();
      expect((await call("GET", `/invites/${invite.token}`)).status).toBe(200);
      await how(invite);
      cases[name] = invite.token;
    };
    await change("resent", ({ id }) => db.update(invites).set({ version: 2 }).where(eq(invites.id, id)).run());
    await change("revoked", ({ id }) => db.update(invites).set({ state: "revoked" }).where(eq(invites.id, id)).run());
    await change("expired", ({ id }) =>
      db.update(invites).set({ expiresAt: Date.now() }).where(eq(invites.id, id)).run(),
    );
    await change("used", ({ token }) => accept(token));
    await change("declined", ({ token }) => call("POST", `/invites/${token}/decline`));
    await change("deleted workspace", ({ team }) =>
      db.update(workspaces).set({ deletedAt: 1 }).where(eq(workspaces.id, team.id)).run(),
    );
    const byAdmin = async (after: Partial<typeof members.$inferInsert>) => {
      const team = await seedWorkspace();
      const admin = await seedMember(team.id, "ADMIN");
      const token = await tokenOf(await inviteTo({ ...team, token: admin.token }, freshAddress()));
      await db.update(members).set(after).where(eq(members.id, admin.memberId)).run();
      return token;
    };
    cases["removed inviter"] = await byAdmin({ removedAt: 1 });
    cases["demoted inviter"] = await byAdmin({ role: "MEMBER" });
    const texts = new Set<string>();
    for (const [name, token] of Object.entries(cases)) {
      const answers = [
        await call("GET", `/invites/${token}`),
        await accept(token),
        await call("POST", `/invites/${token}/decline`),
      ];
      expect([name, ...answers.map(({ status }) => status)]).toEqual([name, 404, 404, 404]);
      for (const answer of answers) {
        texts.add(without(answer.text));
      }
    }
    expect([...texts]).toHaveLength(1);
  });

  it("opened by many at once lets one in: one account, one member, one session", async ({ expect }) => {
    for (let round = 0; round < deep(2, 30); round += 1) {
      const { team, email, token } = await seedInvite();
      const answers = await Promise.all(Array.from({ length: 12 }, () => accept(token)));
      // Whoever came after the first finds it used, or finds that its address has an account now.
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(answers.filter(({ status }) => status === 404)).toHaveLength(11);
      expect(await db.$count(users, eq(users.email, email))).toBe(1);
      expect(await db.$count(members, eq(members.workspaceId, team.id))).toBe(2);
    }
  });

  it("declined tells the workspace's log, and nobody joins", async ({ expect }) => {
    const { team, token } = await seedInvite();
    const answer = await call("POST", `/invites/${token}/decline`);
    expect([answer.status, answer.body]).toEqual([200, { state: "declined" }]);
    expect((await actionsOf(team.id)).slice(1)).toEqual(["member.invited by account", "invite.declined by system"]);
    expect(await db.$count(members, eq(members.workspaceId, team.id))).toBe(1);
  });

  it("refuses a name that people cannot read", async ({ expect }) => {
    const { token } = await seedInvite();
    for (const name of [
      "",
      " ",
      "\u200b\u200d",
      "\u3164",
      "\u2800",
      "\u00ad\ufeff",
      "Eve\u202e",
      "a\u061cb",
      "\u2066x\u2069",
    ]) {
      const answer = await accept(token, { body: { name } });
      const pointers = answer.body.errors?.map((error: { pointer: string }) => error.pointer);
      expect([name, answer.status, new Set(pointers)]).toEqual([name, 422, new Set(["/name"])]);
    }
    const joined = await accept(token, { body: { name: "زهرا م‌ی 👩‍💻" } });
    expect([joined.status, joined.body.account?.name]).toEqual([200, "زهرا م‌ی 👩‍💻"]);
  });
});

describe("the invite's letter", () => {
  it("is the same at every writing, escapes what people typed, and is out of date once a new one was asked for", async ({
    expect,
  }) => {
    const { team, email, id } = await seedInvite();
    await db.update(workspaces).set({ name: `<b>"R&D"</b>` }).where(eq(workspaces.id, team.id)).run();
    const subject = { workspaceId: team.id, subjectId: id, version: 1, recipient: email };
    const first = await letterWriters.invite(env, db, subject);
    const second = await letterWriters.invite(env, db, subject);
    expect(second).toEqual(first);
    expect(first).toMatchObject({ isCurrent: true, letter: { to: email } });
    expect(first?.letter.html).toContain("&lt;b&gt;&quot;R&amp;D&quot;&lt;/b&gt;");
    expect(first?.letter.html).not.toContain("<b>");
    expect(first?.letter.text.split("\n")).toContain(`http://127.0.0.1:8787/invites/${await tokenOf(id)}`);
    await db
      .update(invites)
      .set({ version: sql`version + 1` })
      .where(eq(invites.id, id))
      .run();
    expect(await letterWriters.invite(env, db, subject)).toMatchObject({ isCurrent: false });
    expect(await letterWriters.invite(env, db, { ...subject, workspaceId: "ws_other" })).toBeNull();
  });

  it("has a link that outlives a change of MAIL_SECRET's primary", async ({ expect }) => {
    const { id, token } = await seedInvite();
    const rotated = {
      ...env,
      MAIL_SECRET: JSON.stringify({ primary: "t2", keys: { t1: keyOf("m"), t2: keyOf("n") } }),
    };
    const ring = requireSettings(rotated).mailSecret;
    const fresh = (await writeInviteToken(ring, id, 1)).reveal();
    expect(fresh).not.toBe(token);
    for (const text of [token, fresh]) {
      expect((await findInviteByToken(db, ring, text, Date.now())).invite.id).toBe(id);
    }
  });
});
