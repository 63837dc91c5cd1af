import { env } from "cloudflare:workers";
import { and, eq, isNull } from "drizzle-orm";
import { describe, it } from "vitest";
import { roleHas, scopes } from "../../src/access/permissions.js";
import { auditLog } from "../../src/audit/model.js";
import { requireSettings } from "../../src/base/settings.js";
import { outbox } from "../../src/mail/model.js";
import { invites, members, workspaces } from "../../src/tenancy/model.js";
import { writeInviteToken } from "../../src/workspaces/invite-token.js";
import { call, type Answer } from "../support/client.js";
import { deep } from "../support/deep.js";
import { db, seedAccount, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

const hourMs = 3_600_000;
let count = 0;

function freshAddress(): string {
  count += 1;
  return `guest-${count}@example.org`;
}

function freshAddresses(length: number): string[] {
  return Array.from({ length }, freshAddress);
}

function invite(
  team: SeededWorkspace,
  emails: readonly string[],
  token = team.token,
  more: object = {},
): Promise<Answer> {
  return call("POST", `/workspaces/${team.id}/members/invite`, { token, body: { emails, ...more } });
}

async function inviteOne(team: SeededWorkspace, email = freshAddress(), token = team.token): Promise<string> {
  const { body, text } = await invite(team, [email], token);
  const id = body.results?.[0]?.invite_id;
  if (id === undefined) {
    throw new Error(`invite answered ${text}`);
  }
  return id;
}

async function tokenOf(inviteId: string, version = 1): Promise<string> {
  return (await writeInviteToken(requireSettings(env).mailSecret, inviteId, version)).reveal();
}

const accept = async (inviteId: string, version = 1, token?: string): Promise<Answer> =>
  call("POST", `/invites/${await tokenOf(inviteId, version)}/accept`, token === undefined ? {} : { token });

const resend = (team: SeededWorkspace, id: string, token = team.token): Promise<Answer> =>
  call("POST", `/workspaces/${team.id}/invites/${id}/resend`, { token });

const revoke = (team: SeededWorkspace, id: string, token = team.token): Promise<Answer> =>
  call("DELETE", `/workspaces/${team.id}/invites/${id}`, { token });

async function setSeats(team: SeededWorkspace, seat_limit: number): Promise<void> {
  const answer = await call("PATCH", `/workspaces/${team.id}`, {
    token: team.token,
    body: { settings: { seat_limit } },
  });
  if (answer.status !== 200) {
    throw new Error(answer.text);
  }
}

async function actionsOf(workspaceId: string): Promise<string[]> {
  const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, workspaceId)).orderBy(auditLog.seq);
  return rows.map((row) => row.action).filter((action) => action.startsWith("invite."));
}

async function livingMembers(team: SeededWorkspace): Promise<number> {
  return await db.$count(members, and(eq(members.workspaceId, team.id), isNull(members.removedAt)));
}

function statuses(answer: Answer): string[] {
  return answer.body.results.map((result: { status: string }) => result.status);
}

describe("an invite sent again", () => {
  it("has a new link, good for the whole time again, and the old link is dead", async ({ expect }) => {
    const team = await seedWorkspace();
    const id = await inviteOne(team);
    await db
      .update(invites)
      .set({ expiresAt: Date.now() + 60_000 })
      .where(eq(invites.id, id))
      .run();
    const again = await resend(team, id);
    expect([again.status, again.body.id, again.body.state]).toEqual([202, id, "pending"]);
    expect(Date.parse(again.body.expires_at) - Date.now()).toBeGreaterThan(6 * 24 * hourMs);
    expect((await call("GET", `/invites/${await tokenOf(id)}`)).status).toBe(404);
    expect((await accept(id)).status).toBe(404);
    expect((await accept(id, 2)).status).toBe(200);
    expect(await actionsOf(team.id)).toEqual(["invite.resent", "invite.accepted"]);
    const letters = await db.select().from(outbox).where(eq(outbox.subjectId, id)).orderBy(outbox.version).all();
    expect(letters.map(({ version }) => version)).toEqual([1, 2]);
  });

  it("goes out three times an hour, by however many at once, and says when the next may", async ({ expect }) => {
    const team = await seedWorkspace();
    const id = await inviteOne(team);
    const answers = await Promise.all(Array.from({ length: 8 }, () => resend(team, id)));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(3);
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(5);
    const wait = Number(refused[0]?.headers.get("retry-after"));
    expect([wait > 3500, wait <= 3600]).toEqual([true, true]);
    expect((await accept(id, 3)).status).toBe(404);
    await db
      .update(outbox)
      .set({ createdAt: Date.now() - hourMs })
      .where(eq(outbox.subjectId, id))
      .run();
    expect((await resend(team, id)).status).toBe(202);
    expect((await accept(id, 5)).status).toBe(200);
  });

  it("is vouched for by whoever sent it last, and an expired one is open again", async ({ expect }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const id = await inviteOne(team, freshAddress(), admin.token);
    await db.update(invites).set({ expiresAt: 1 }).where(eq(invites.id, id)).run();
    await call("DELETE", `/workspaces/${team.id}/members/${admin.memberId}`, { token: team.token });
    expect((await accept(id)).status).toBe(404);
    const again = await resend(team, id);
    expect([again.status, again.body.invited_by.name]).toEqual([202, (await me(team)).name]);
    expect((await accept(id, 2)).status).toBe(200);
  });

  it("is refused once it was answered, revoked or is not needed any more", async ({ expect }) => {
    const team = await seedWorkspace();
    const other = await seedWorkspace();
    const accepted = await inviteOne(team);
    await accept(accepted);
    const declined = await inviteOne(team);
    await call("POST", `/invites/${await tokenOf(declined)}/decline`);
    const revoked = await inviteOne(team);
    expect((await revoke(team, revoked)).status).toBe(204);
    for (const id of [accepted, declined, revoked]) {
      expect((await resend(team, id)).body.code).toBe("invite_closed");
    }
    const guest = await seedAccount();
    const needless = await inviteOne(team, guest.email);
    const row = {
      id: `mem_${guest.id}`,
      workspaceId: team.id,
      userId: guest.id,
      role: "MEMBER",
      createdAt: 1,
    } as const;
    await db.insert(members).values(row).run();
    expect((await resend(team, needless)).body.code).toBe("already_member");
    expect((await resend(other, needless)).status).toBe(404);
    const member = await seedMember(team.id, "MEMBER");
    expect((await resend(team, needless, member.token)).status).toBe(403);
  });
});

describe("a revoked invite", () => {
  it("has a dead link, frees the address, stays revoked, and was not answered before", async ({ expect }) => {
    const team = await seedWorkspace();
    const email = freshAddress();
    const id = await inviteOne(team, email);
    const other = await seedWorkspace();
    expect((await revoke(other, id)).status).toBe(404);
    expect([(await revoke(team, id)).status, (await revoke(team, id)).status]).toEqual([204, 204]);
    expect((await accept(id)).status).toBe(404);
    const second = await inviteOne(team, email);
    expect((await accept(second)).status).toBe(200);
    expect((await revoke(team, second)).body).toMatchObject({ status: 409, code: "invite_closed" });
    expect(await actionsOf(team.id)).toEqual(["invite.revoked", "invite.accepted"]);
    await expect(db.update(invites).set({ state: "pending" }).where(eq(invites.id, id)).run()).rejects.toThrow();
  });

  it("does not get its address more letters: four an hour, and then one more when the first is an hour old", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    const email = freshAddress();
    for (let round = 0; round < 2; round += 1) {
      const id = await inviteOne(team, email);
      expect((await resend(team, id)).status).toBe(202);
      await revoke(team, id);
    }
    const refused = await invite(team, [email]);
    const wait = Number(refused.headers.get("retry-after"));
    expect([refused.status, refused.body.code, wait > 3500 && wait <= 3600]).toEqual([429, "rate_limited", true]);
    const listed = await invite(team, [freshAddress(), email]);
    expect([listed.status, statuses(listed)]).toEqual([200, ["invited", "limit"]]);
    expect(listed.body.results[1].detail).toContain("letters of the hour");
    expect((await invite(await seedWorkspace(), [email])).status).toBe(200);
    const ofAddress = and(eq(outbox.workspaceId, team.id), eq(outbox.recipient, email));
    expect(await db.$count(outbox, ofAddress)).toBe(4);
    const [oldest] = await db.select().from(outbox).where(ofAddress).orderBy(outbox.createdAt).limit(1).all();
    await db
      .update(outbox)
      .set({ createdAt: Date.now() - hourMs })
      .where(eq(outbox.id, oldest?.id ?? ""))
      .run();
    const again = await resend(team, await inviteOne(team, email));
    expect([again.status, Number(again.headers.get("retry-after")) > 3500]).toEqual([429, true]);
  });

  it("and invited anew by many at once still means four letters", async ({ expect }) => {
    const team = await seedWorkspace();
    const email = freshAddress();
    const inviteAndTakeBack = async (): Promise<void> => {
      const { body } = await invite(team, [email]);
      const id = body.results?.[0]?.invite_id ?? body.invite_id ?? "inv_none";
      await Promise.all([resend(team, id), revoke(team, id)]);
    };
    await Promise.all(Array.from({ length: 8 }, inviteAndTakeBack));
    for (let round = 0; round < 4; round += 1) {
      await inviteAndTakeBack();
    }
    expect(await db.$count(outbox, and(eq(outbox.workspaceId, team.id), eq(outbox.recipient, email)))).toBe(4);
  });

  it("while it is accepted is one or the other", { timeout: deep(30_000, 600_000) }, async ({ expect }) => {
    for (let round = 0; round < deep(3, 100); round += 1) {
      const team = await seedWorkspace();
      const id = await inviteOne(team);
      const [accepted, revoked] = await Promise.all([accept(id), revoke(team, id)]);
      expect([accepted.status, revoked.status]).toEqual(accepted.status === 200 ? [200, 409] : [404, 204]);
      expect(await livingMembers(team)).toBe(accepted.status === 200 ? 2 : 1);
    }
  });
});

describe("how many invites there can be", () => {
  it("is a hundred an hour: the rest of a list is told so, and after that it is 429 with the time to wait", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    await invite(team, freshAddresses(70));
    await db.update(invites).set({ state: "revoked" }).where(eq(invites.workspaceId, team.id)).run();
    const second = statuses(await invite(team, freshAddresses(40)));
    expect(second).toEqual([
      ...Array.from({ length: 30 }, () => "invited"),
      ...Array.from({ length: 10 }, () => "limit"),
    ]);
    for (const emails of [freshAddresses(1), freshAddresses(3)]) {
      const late = await invite(team, emails);
      expect([late.status, late.body.code, Number(late.headers.get("retry-after")) > 3000]).toEqual([
        429,
        "rate_limited",
        true,
      ]);
    }
    await db
      .update(invites)
      .set({ createdAt: Date.now() - hourMs })
      .where(and(eq(invites.workspaceId, team.id), eq(invites.state, "revoked")))
      .run();
    expect(statuses(await invite(team, freshAddresses(1)))).toEqual(["invited"]);
  });

  it("is a hundred open at once", async ({ expect }) => {
    const team = await seedWorkspace();
    const { body } = await invite(team, freshAddresses(100));
    await db.update(invites).set({ createdAt: 1 }).where(eq(invites.workspaceId, team.id)).run();
    const one = await invite(team, freshAddresses(1));
    expect([one.status, one.body.code]).toEqual([409, "invite_limit_reached"]);
    const some = await invite(team, freshAddresses(2));
    expect([some.status, statuses(some)]).toEqual([200, ["limit", "limit"]]);
    await revoke(team, body.results[0].invite_id);
    await db.update(invites).set({ expiresAt: 1 }).where(eq(invites.id, body.results[1].invite_id)).run();
    expect(statuses(await invite(team, freshAddresses(3)))).toEqual(["invited", "invited", "limit"]);
    expect((await resend(team, body.results[1].invite_id)).body.code).toBe("invite_limit_reached");
  });

  it("is the seats that are left, open invites counted", async ({ expect }) => {
    const team = await seedWorkspace();
    await setSeats(team, 4);
    const first = await invite(team, freshAddresses(5));
    expect(statuses(first)).toEqual(["invited", "invited", "invited", "limit", "limit"]);
    const single = await invite(team, freshAddresses(1));
    expect([single.status, single.body.code]).toEqual([409, "seat_limit_reached"]);
    const ids: string[] = first.body.results.flatMap((result: { invite_id?: string }) => result.invite_id ?? []);
    expect((await accept(ids[0] ?? "")).status).toBe(200);
    expect((await invite(team, freshAddresses(1))).status).toBe(409);
    await revoke(team, ids[1] ?? "");
    await inviteOne(team);
    await db
      .update(invites)
      .set({ expiresAt: 1 })
      .where(eq(invites.id, ids[2] ?? ""))
      .run();
    await inviteOne(team);
    expect((await resend(team, ids[2] ?? "")).body.code).toBe("seat_limit_reached");
    await setSeats(team, 5);
    expect((await resend(team, ids[2] ?? "")).status).toBe(202);
  });

  it("ADMIN invites come from no key that is less than an admin", async ({ expect }) => {
    const team = await seedWorkspace();
    const { body } = await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: team.token,
      body: { name: "k", scopes: [...scopes.filter((scope) => roleHas("MEMBER", scope)), "members:manage"] },
    });
    expect((await invite(team, freshAddresses(1), body.secret)).status).toBe(200);
    const high = await invite(team, freshAddresses(1), body.secret, { role: "ADMIN" });
    expect([high.status, high.body.code]).toEqual([403, "role_too_high"]);
  });
});

describe("many at once", () => {
  const rounds = deep(1, 100);
  const timeout = deep(60_000, 1_800_000);

  it(
    "joining for 25 seats by 60 open invites fill them exactly; the others' invites stay open",
    { timeout },
    async ({ expect }) => {
      for (let round = 0; round < rounds; round += 1) {
        const team = await seedWorkspace();
        const { body } = await invite(team, freshAddresses(60));
        await setSeats(team, 25);
        const answers = await Promise.all(
          body.results.map((result: { invite_id: string }) => accept(result.invite_id)) as Promise<Answer>[],
        );
        expect(answers.filter(({ status }) => status === 200)).toHaveLength(24);
        expect(answers.filter(({ body: refused }) => refused.code === "seat_limit_reached")).toHaveLength(36);
        expect(await livingMembers(team)).toBe(25);
        expect(await db.$count(invites, and(eq(invites.workspaceId, team.id), eq(invites.state, "pending")))).toBe(36);
      }
    },
  );

  it("inviting for 25 seats by 60 requests fill them exactly", { timeout }, async ({ expect }) => {
    for (let round = 0; round < rounds; round += 1) {
      const team = await seedWorkspace();
      await setSeats(team, 25);
      const answers = await Promise.all(freshAddresses(60).map((email) => invite(team, [email])));
      const invited = answers.filter(({ status }) => status === 200);
      expect(invited).toHaveLength(24);
      expect(answers.filter(({ body }) => body.code === "seat_limit_reached")).toHaveLength(36);
      expect(await db.$count(invites, eq(invites.workspaceId, team.id))).toBe(24);
    }
  });

  it("accepting one invite fifty times makes one member", { timeout }, async ({ expect }) => {
    for (let round = 0; round < Math.max(2, rounds); round += 1) {
      const team = await seedWorkspace();
      const guest = await seedAccount();
      const isNew = round % 2 === 0;
      const id = await inviteOne(team, isNew ? freshAddress() : guest.email);
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => accept(id, 1, isNew ? undefined : guest.token)),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 404]));
      expect(await livingMembers(team)).toBe(2);
      const [row] = await db.select().from(workspaces).where(eq(workspaces.id, team.id)).all();
      expect(row?.livingMembers).toBe(2);
    }
  });

  it(
    "inviting one address by twenty lists invites it once, and all know by which invite",
    { timeout },
    async ({ expect }) => {
      for (let round = 0; round < rounds; round += 1) {
        const team = await seedWorkspace();
        const shared = freshAddress();
        const answers = await Promise.all(Array.from({ length: 20 }, () => invite(team, [freshAddress(), shared])));
        const results = answers.map(({ body }) => body.results[1] as { status: string; invite_id: string });
        expect(results.filter(({ status }) => status === "invited")).toHaveLength(1);
        expect(results.filter(({ status }) => status === "already_invited")).toHaveLength(19);
        expect(new Set(results.map(({ invite_id }) => invite_id)).size).toBe(1);
        const ofAddress = and(eq(outbox.workspaceId, team.id), eq(outbox.recipient, shared));
        expect(await db.$count(outbox, ofAddress)).toBe(1);
      }
    },
  );
});

async function me(team: SeededWorkspace): Promise<{ name: string }> {
  const { body } = await call("GET", `/workspaces/${team.id}/members/me`, { token: team.token });
  return body.account;
}
