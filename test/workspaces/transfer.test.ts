import { env } from "cloudflare:workers";
import { and, eq, sql } from "drizzle-orm";
import { describe, it } from "vitest";
import { auditLog } from "../../src/audit/model.js";
import { requireSettings } from "../../src/base/settings.js";
import { deriveCode } from "../../src/identity/code.js";
import { emailCodes } from "../../src/identity/model.js";
import { workspaces } from "../../src/tenancy/model.js";
import { ownershipTransfers } from "../../src/workspaces/model.js";
import { call } from "../support/client.js";
import { deep } from "../support/deep.js";
import { db, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

const offer = (team: SeededWorkspace, memberId: string, token = team.token) =>
  call("POST", `/workspaces/${team.id}/ownership-transfer`, { token, body: { member_id: memberId } });

const confirm = (team: SeededWorkspace, code: string, token = team.token) =>
  call("POST", `/workspaces/${team.id}/ownership-transfer/confirm`, { token, body: { code } });

const cancel = (team: SeededWorkspace, token = team.token) =>
  call("DELETE", `/workspaces/${team.id}/ownership-transfer`, { token });

/** What the letter of an offer says: derived, since nothing stores it. */
async function codeOf(offerId: string): Promise<string> {
  const [row] = await db.select().from(emailCodes).where(eq(emailCodes.subjectId, offerId)).all();
  const code = await deriveCode(requireSettings(env).mailSecret, row?.secretId ?? "", row?.id ?? "");
  return code?.reveal() ?? "";
}

function wrong(code: string): string {
  return String((Number(code) + 1) % 100_000_000).padStart(8, "0");
}

async function ownerIdOf(team: SeededWorkspace): Promise<string | undefined> {
  const rows = await db.select().from(workspaces).where(eq(workspaces.id, team.id)).all();
  return rows[0]?.ownerMemberId;
}

async function roleOf(team: SeededWorkspace, token: string): Promise<string> {
  return (await call("GET", `/workspaces/${team.id}`, { token })).body.role;
}

async function actionsOf(workspaceId: string): Promise<string[]> {
  const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, workspaceId)).orderBy(auditLog.seq);
  return rows.map((row) => row.action).filter((action) => action.startsWith("ownership."));
}

async function letterTo(to: string): Promise<{ kind: string; text: string; subject: string }> {
  for (let round = 0; round < 100; round += 1) {
    const { body } = await call("GET", "/dev/outbox");
    const letter = body.data.find(
      (one: { to: string; kind: string }) => one.to === to && one.kind === "ownership_transfer",
    );
    if (letter !== undefined) {
      return letter;
    }
    await scheduler.wait(100);
  }
  throw new Error("no letter came");
}

describe("an ownership transfer", () => {
  it("is offered, mailed to the owner, confirmed by its code, and moves the one owner's place", async ({ expect }) => {
    const team = await seedWorkspace();
    const heir = await seedMember(team.id, "MEMBER");
    const key = await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: team.token,
      body: { name: "rotating", scopes: ["vault:rotate", "workspace:read"] },
    });
    expect(key.status).toBe(201);
    const offered = await offer(team, heir.memberId);
    expect([offered.status, offered.body.member.account.email]).toEqual([202, heir.email]);
    expect(Date.parse(offered.body.expires_at) - Date.now()).toBeGreaterThan(14 * 60_000);
    expect(await roleOf(team, team.token)).toBe("OWNER");
    const letter = await letterTo(team.owner.email);
    const code = await codeOf(offered.body.id);
    expect(letter.text.replaceAll(" ", "")).toContain(code);
    expect(letter.text).toContain(heir.email);
    expect(letter.subject.replaceAll(" ", "")).not.toContain(code);

    const done = await confirm(team, `${code.slice(0, 4)} ${code.slice(4)}`);
    expect([done.status, done.body.owner.role, done.body.former_owner.role]).toEqual([200, "OWNER", "ADMIN"]);
    expect([await roleOf(team, heir.token), await roleOf(team, team.token)]).toEqual(["OWNER", "ADMIN"]);
    expect(await ownerIdOf(team)).toBe(heir.memberId);
    for (const answer of [await confirm(team, code), await offer(team, heir.memberId), await cancel(team)]) {
      expect(answer.status).toBe(403);
    }
    expect((await confirm(team, code, heir.token)).body.code).toBe("no_transfer_pending");
    expect((await call("DELETE", `/workspaces/${team.id}/members/me`, { token: heir.token })).status).toBe(409);
    expect((await call("DELETE", `/workspaces/${team.id}/members/me`, { token: team.token })).status).toBe(204);
    expect(await actionsOf(team.id)).toEqual(["ownership.offered", "ownership.transferred"]);
  });

  it("skips no phase: no code without an offer, no wrong code, five tries, no old code, no dead offer", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    const heir = await seedMember(team.id, "ADMIN");
    expect((await confirm(team, "12345678")).body).toMatchObject({ status: 409, code: "no_transfer_pending" });
    const first = (await offer(team, heir.memberId)).body.id;
    const code = await codeOf(first);
    const tries = [];
    for (let round = 0; round < 6; round += 1) {
      const { status, body } = await confirm(team, wrong(code));
      tries.push([status, body.code]);
    }
    const refused = [403, "wrong_code"];
    const over = [410, "transfer_over"];
    expect(tries).toEqual([refused, refused, refused, refused, over, over]);
    expect((await confirm(team, code)).status).toBe(410);

    const second = (await offer(team, heir.memberId)).body.id;
    expect((await confirm(team, code)).body.code).toBe("wrong_code");
    await db.update(ownershipTransfers).set({ expiresAt: 1 }).where(eq(ownershipTransfers.id, second)).run();
    expect((await confirm(team, await codeOf(second))).status).toBe(410);

    const third = (await offer(team, heir.memberId)).body.id;
    expect((await offer(team, heir.memberId)).body).toMatchObject({ status: 409, code: "transfer_pending" });
    expect([(await cancel(team)).status, (await cancel(team)).status]).toEqual([204, 204]);
    expect((await confirm(team, await codeOf(third))).status).toBe(409);

    const fourth = (await offer(team, heir.memberId)).body.id;
    await call("DELETE", `/workspaces/${team.id}/members/${heir.memberId}`, { token: team.token });
    expect((await confirm(team, await codeOf(fourth))).status).toBe(409);
    expect(await roleOf(team, team.token)).toBe("OWNER");
    expect(await actionsOf(team.id)).toEqual([
      "ownership.offered",
      "ownership.offered",
      "ownership.offered",
      "ownership.offer_cancelled",
      "ownership.offered",
      "ownership.offer_cancelled",
    ]);
  });

  it("is the owner's own doing, to a living member of the same workspace", async ({ expect }) => {
    const team = await seedWorkspace();
    const other = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const gone = await seedMember(team.id, "MEMBER");
    await call("DELETE", `/workspaces/${team.id}/members/${gone.memberId}`, { token: team.token });
    expect((await offer(team, admin.memberId, admin.token)).status).toBe(403);
    const key = await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: team.token,
      body: { name: "managing", scopes: ["workspace:manage", "members:manage"] },
    });
    expect((await offer(team, admin.memberId, key.body.secret)).status).toBe(403);
    const nobodies = [gone.memberId, (await ownerIdOf(other)) ?? "", (await ownerIdOf(team)) ?? "", "me", ""];
    for (const id of nobodies) {
      const answer = await offer(team, id);
      expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([422, "/member_id"]);
    }
    expect(await db.$count(ownershipTransfers, eq(ownershipTransfers.workspaceId, team.id))).toBe(0);
  });

  it(
    "offered to two at once waits for one; confirmed by many at once happens once",
    { timeout: deep(30_000, 600_000) },
    async ({ expect }) => {
      for (let round = 0; round < deep(3, 100); round += 1) {
        const team = await seedWorkspace();
        const heirs = [await seedMember(team.id, "ADMIN"), await seedMember(team.id, "MEMBER")];
        const offers = await Promise.all(heirs.map((heir) => offer(team, heir.memberId)));
        const won = offers.filter(({ status }) => status === 202);
        expect([won.length, offers.filter(({ status }) => status === 409).length]).toEqual([1, 1]);
        const code = await codeOf(won[0]?.body.id);
        const answers = await Promise.all(Array.from({ length: 5 }, () => confirm(team, code)));
        expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
        expect(await ownerIdOf(team)).toBe(won[0]?.body.member.id);
        const done = and(eq(auditLog.workspaceId, team.id), eq(auditLog.action, "ownership.transferred"));
        expect(await db.$count(auditLog, done)).toBe(1);
      }
    },
  );

  it("confirmed while it is taken back is one or the other", { timeout: deep(30_000, 600_000) }, async ({ expect }) => {
    for (let round = 0; round < deep(5, 100); round += 1) {
      const team = await seedWorkspace();
      const heir = await seedMember(team.id, "ADMIN");
      const code = await codeOf((await offer(team, heir.memberId)).body.id);
      const [confirmed] = await Promise.all([confirm(team, code), cancel(team)]);
      const isDone = confirmed.status === 200;
      expect((await ownerIdOf(team)) === heir.memberId).toBe(isDone);
      const last = isDone ? "ownership.transferred" : "ownership.offer_cancelled";
      expect(await actionsOf(team.id)).toEqual(["ownership.offered", last]);
    }
  });

  it(
    "confirmed while its heir is removed ends in one of the two: an owner who belongs, or the old one",
    { timeout: deep(30_000, 600_000) },
    async ({ expect }) => {
      for (let round = 0; round < deep(3, 100); round += 1) {
        const team = await seedWorkspace();
        const heir = await seedMember(team.id, "ADMIN");
        const admin = await seedMember(team.id, "ADMIN");
        const code = await codeOf((await offer(team, heir.memberId)).body.id);
        const [confirmed, removed] = await Promise.all([
          confirm(team, code),
          call("DELETE", `/workspaces/${team.id}/members/${heir.memberId}`, { token: admin.token }),
        ]);
        expect((confirmed.status === 200) === (removed.status === 204)).toBe(false);
        const living = await db.all(
          sql`SELECT 1 FROM workspaces AS w JOIN members AS m ON m.id = w.owner_member_id WHERE w.id = ${team.id} AND m.removed_at IS NULL`,
        );
        expect(living).toHaveLength(1);
      }
    },
  );
});
