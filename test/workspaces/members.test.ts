import { env } from "cloudflare:workers";
import { and, eq, isNull, sql } from "drizzle-orm";
import { describe, it, vi } from "vitest";
import { roleHas, scopes } from "../../src/access/permissions.js";
import { auditLog } from "../../src/audit/model.js";
import { users } from "../../src/identity/model.js";
import { apiKeys } from "../../src/keys/model.js";
import { invites, members, workspaces } from "../../src/tenancy/model.js";
import { listMembers } from "../../src/workspaces/members.js";
import { findAccess } from "../../src/tenancy/tenancy.js";
import { call, type Answer } from "../support/client.js";
import { deep } from "../support/deep.js";
import { breakRouter } from "../support/router.js";
import { db, seedAccount, seedKey, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";

interface Shown {
  readonly id: string;
  readonly account: { readonly id: string; readonly name: string; readonly email: string };
  readonly role: string;
}

function at(team: SeededWorkspace, path = ""): string {
  return `/workspaces/${team.id}/members${path}`;
}

async function listed(team: SeededWorkspace, query: string, token = team.token): Promise<Shown[]> {
  const rows: Shown[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const more: string = cursor === "" ? "" : `&cursor=${cursor}`;
    const { body, status, text }: Answer = await call("GET", at(team, `?${query}${more}`), { token });
    if (status !== 200) {
      throw new Error(`list answered ${status} ${text}`);
    }
    rows.push(...body.data);
    cursor = body.next_cursor;
  }
  return rows;
}

/** Another member with this name and address. */
async function seedNamed(team: SeededWorkspace, name: string, email: string, role: "ADMIN" | "MEMBER" = "MEMBER") {
  const member = await seedMember(team.id, role);
  await db.update(users).set({ name, email }).where(eq(users.id, member.id)).run();
  return { ...member, email };
}

async function ownerIdOf(team: SeededWorkspace): Promise<string> {
  const [row] = await db
    .select({ id: workspaces.ownerMemberId })
    .from(workspaces)
    .where(eq(workspaces.id, team.id))
    .all();
  return row?.id ?? "";
}

async function actionsOf(workspaceId: string): Promise<string[]> {
  const rows = await db
    .select()
    .from(auditLog)
    .where(eq(auditLog.workspaceId, workspaceId))
    .orderBy(auditLog.seq)
    .all();
  return rows.map((row) => row.action);
}

async function inviteBy(team: SeededWorkspace, token: string, email: string): Promise<string> {
  const { body } = await call("POST", at(team, "/invite"), { token, body: { emails: [email] } });
  return body.results?.[0]?.invite_id ?? body.code;
}

/** A workspace with this many members beside its owner, written as joining writes them. */
async function seedTeam(size: number): Promise<SeededWorkspace> {
  const team = await seedWorkspace();
  const tag = team.id.slice(-10);
  const now = new Date().toISOString();
  const numbers = sql`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${size})`;
  await db.run(
    sql`INSERT INTO user (id, name, email, emailVerified, createdAt, updatedAt) ${numbers}
      SELECT 'usr_' || ${tag} || i, char(97 + i % 26) || ' person ' || i, char(97 + i * 7 % 26) || i || '-' || ${tag} || '@example.com', 1, ${now}, ${now} FROM n`,
  );
  await db.run(
    sql`INSERT INTO members (id, workspace_id, user_id, role, created_at) ${numbers}
      SELECT 'mem_' || ${tag} || i, ${team.id}, 'usr_' || ${tag} || i, CASE i % 50 WHEN 0 THEN 'ADMIN' ELSE 'MEMBER' END, i FROM n`,
  );
  return team;
}

/** The owner as they come in. */
function personOf({ owner }: SeededWorkspace) {
  return { kind: "session", accountId: owner.id, name: "", email: "", sessionId: null, via: "token" } as const;
}

async function planOf({ query, params }: SentQuery): Promise<string> {
  const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${query}`)
    .bind(...params)
    .all<{ detail: string }>();
  return results.map(({ detail }) => detail).join("\n");
}

interface SentQuery {
  readonly query: string;
  params: readonly unknown[];
}

/** Every query that `work` sends. */
async function queriesOf(work: () => Promise<unknown>): Promise<SentQuery[]> {
  const sent: SentQuery[] = [];
  const prepare = env.DB.prepare.bind(env.DB);
  env.DB.prepare = (query: string) => {
    const statement = prepare(query);
    const bind = statement.bind.bind(statement);
    statement.bind = (...params: unknown[]) => {
      sent.push({ query, params });
      return bind(...params);
    };
    return statement;
  };
  try {
    await work();
  } finally {
    env.DB.prepare = prepare;
  }
  return sent;
}

/** How many rows the record looks at for it. */
async function rowsRead(work: () => Promise<unknown>): Promise<number> {
  let rows = 0;
  for (const { query, params } of await queriesOf(work)) {
    const { meta } = await env.DB.prepare(query)
      .bind(...params)
      .all();
    rows += meta.rows_read;
  }
  return rows;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

function median(list: readonly number[]): number {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;
}

function ofRole(role: "ADMIN" | "MEMBER") {
  return scopes.filter((scope) => roleHas(role, scope));
}

describe("the list of members", () => {
  it("shows who belongs, in the order they joined, to every member, and no one who has gone", async ({ expect }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const member = await seedMember(team.id, "MEMBER");
    const gone = await seedMember(team.id, "MEMBER");
    await call("DELETE", at(team, `/${gone.memberId}`), { token: team.token });
    const seen = await listed(team, "limit=2", member.token);
    expect(seen.map(({ account, role }) => [account.email, role])).toEqual([
      [team.owner.email, "OWNER"],
      [admin.email, "ADMIN"],
      [member.email, "MEMBER"],
    ]);
    const { body } = await call("GET", `/workspaces/${team.id}`, { token: team.token });
    expect(body.members).toBe(3);
    const byRole = async (role: string) => (await listed(team, `role=${role}`)).map(({ account }) => account.email);
    expect([await byRole("OWNER"), await byRole("ADMIN"), await byRole("MEMBER")]).toEqual([
      [team.owner.email],
      [admin.email],
      [member.email],
    ]);
  });

  it("finds the beginning of a name or address, each member once, over pages, and follows a change of name", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    const tag = team.id.slice(-8);
    const grace = await seedNamed(team, "Grace Hopper", `zz-${tag}@example.com`);
    const both = await seedNamed(team, "GRAham", `gra-${tag}@example.com`, "ADMIN");
    const byAddress = await seedNamed(team, "Someone", `grain-${tag}@example.com`);
    const other = await seedNamed(team, "Ingrid", `in-${tag}@example.com`);
    const found = async (query: string) => (await listed(team, query)).map(({ id }) => id);
    for (const limit of [1, 2, 50]) {
      expect(await found(`search=gRA&limit=${limit}`)).toEqual(
        [grace.memberId, both.memberId, byAddress.memberId].toSorted(byNameThenAddress),
      );
    }
    expect(await found("search=gra&role=ADMIN")).toEqual([both.memberId]);
    expect(await found(`search=IN-${tag}@`)).toEqual([other.memberId]);
    expect(await found("search=%25")).toEqual([]);
    await db.update(users).set({ name: "Grandma" }).where(eq(users.id, other.id)).run();
    expect(await found("search=grandma")).toEqual([other.memberId]);
    const neighbour = await seedWorkspace();
    expect(await listed(neighbour, "search=gra")).toEqual([]);

    function byNameThenAddress(one: string, two: string): number {
      const order = [grace.memberId, both.memberId, byAddress.memberId];
      return order.indexOf(one) - order.indexOf(two);
    }
  });

  it("tells when somebody was last active, and a refused request does not count", async ({ expect }) => {
    const team = await seedWorkspace();
    const member = await seedMember(team.id, "MEMBER");
    const seen = async () => (await call("GET", at(team, `/${member.memberId}`), { token: team.token })).body;
    await call("DELETE", at(team, `/${await ownerIdOf(team)}`), { token: member.token });
    expect((await seen()).last_active_at).toBeNull();
    const before = Date.now();
    expect((await call("GET", at(team, "/me"), { token: member.token })).body.id).toBe(member.memberId);
    let shown = null;
    for (let round = 0; round < 50 && shown === null; round += 1) {
      shown = (await seen()).last_active_at;
      await scheduler.wait(20);
    }
    expect(Date.parse(shown ?? "")).toBeGreaterThanOrEqual(before);
    await call("GET", at(team, "/me"), { token: member.token });
    expect((await seen()).last_active_at).toBe(shown);
  });

  it("is nobody's workspace: `members` names none, but for inviting to the current one", async ({ expect }) => {
    const team = await seedWorkspace();
    for (const method of ["GET", "PATCH", "DELETE"]) {
      const body = method === "GET" ? {} : { body: { name: "Renamed", slug: team.slug } };
      expect((await call(method, "/workspaces/members", { token: team.token, ...body })).status).toBe(404);
    }
    expect((await call("GET", "/workspaces/members/members", { token: team.token })).status).toBe(404);
  });
});

describe("a member's role", () => {
  it("is changed by an admin, within their keys too, and never the owner's", async ({ expect }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const member = await seedMember(team.id, "MEMBER");
    const set = (id: string, role: string, token: string, headers = {}) =>
      call("PATCH", at(team, `/${id}`), { token, body: { role }, headers });
    const raised = await set(member.memberId, "ADMIN", admin.token);
    expect([raised.status, raised.body.role]).toEqual([200, "ADMIN"]);
    const key = await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: member.token,
      body: { name: "managing", scopes: [...ofRole("MEMBER"), "members:manage"] },
    });
    expect(key.status).toBe(201);
    const invited = await inviteBy(team, member.token, `guest-${member.id}@example.com`);
    expect((await call("GET", at(team), { token: key.body.secret })).status).toBe(200);
    const lowered = await set(member.memberId, "MEMBER", key.body.secret);
    expect([lowered.status, lowered.body.role]).toEqual([200, "MEMBER"]);
    expect((await call("DELETE", at(team, `/${admin.memberId}`), { token: key.body.secret })).status).toBe(403);
    expect(await db.$count(invites, and(eq(invites.id, invited), eq(invites.state, "revoked")))).toBe(1);
    const ownerId = await ownerIdOf(team);
    const cases = [
      [ownerId, "MEMBER", admin.token, 409, "owner_role"],
      [ownerId, "ADMIN", team.token, 409, "owner_role"],
      [member.memberId, "OWNER", admin.token, 403, "role_too_high"],
      [member.memberId, "OWNER", team.token, 409, "owner_role"],
      [admin.memberId, "MEMBER", member.token, 403, "forbidden"],
      ["mem_01h455vb4pex5vsknk084sn02q", "MEMBER", team.token, 404, "not_found"],
      [member.memberId, "KING", team.token, 422, "validation_failed"],
    ] as const;
    for (const [id, role, token, status, code] of cases) {
      const answer = await set(id, role, token);
      expect([role, answer.status, answer.body.code]).toEqual([role, status, code]);
    }
    expect((await actionsOf(team.id)).filter((action) => action === "member.role_changed")).toHaveLength(2);
  });

  it("set to what it is writes nothing; with a stale ETag it is 412", async ({ expect }) => {
    const team = await seedWorkspace();
    const member = await seedMember(team.id, "MEMBER");
    const path = at(team, `/${member.memberId}`);
    const read = await call("GET", path, { token: team.token });
    const etag = read.headers.get("etag") ?? "";
    const same = await call("PATCH", path, { token: team.token, body: { role: "MEMBER" } });
    expect([same.status, same.headers.get("etag")]).toEqual([200, etag]);
    expect(await actionsOf(team.id)).toEqual(["workspace.created"]);
    const send = (role: string) =>
      call("PATCH", path, { token: team.token, body: { role }, headers: { "if-match": etag } });
    expect((await send("ADMIN")).status).toBe(200);
    const stale = await send("MEMBER");
    expect([stale.status, stale.body.code]).toEqual([412, "precondition_failed"]);
    const remove = () => call("DELETE", path, { token: team.token, headers: { "if-match": etag } });
    expect((await remove()).status).toBe(412);
    expect((await call("DELETE", path, { token: team.token })).status).toBe(204);
    expect((await remove()).status).toBe(204);
  });

  it("ADMIN is given by a key or token, in place or by invite, only when it has every scope of an admin", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    const member = await seedMember(team.id, "MEMBER");
    const cases = [
      [["members:manage"], 403, 200],
      [[...ofRole("MEMBER"), "members:manage"], 403, 200],
      [ofRole("ADMIN").filter((scope) => scope !== "usage:read"), 403, 200],
      [ofRole("ADMIN"), 200, 200],
    ] as const;
    for (const [index, [held, asAdmin, asMember]] of cases.entries()) {
      const body = { name: `managing ${index}`, scopes: held };
      const made = [
        await call("POST", `/workspaces/${team.id}/api-keys`, { token: team.token, body }),
        await call("POST", "/me/tokens", { token: team.token, body }),
      ];
      for (const [turn, { body: credential }] of made.entries()) {
        const token = credential.secret;
        for (const [role, status] of [
          ["ADMIN", asAdmin],
          ["MEMBER", asMember],
        ] as const) {
          const emails = [`guest-${role}-${index}-${turn}-${member.id}@example.com`];
          const answers = [
            await call("PATCH", at(team, `/${member.memberId}`), { token, body: { role } }),
            await call("POST", at(team, "/invite"), { token, body: { emails, role } }),
          ];
          const code = status === 403 ? "role_too_high" : undefined;
          expect([held.length, role, answers.map((answer) => [answer.status, answer.body.code])]).toEqual([
            held.length,
            role,
            [
              [status, code],
              [status, code],
            ],
          ]);
        }
      }
    }
  });
});

describe("a membership's end", () => {
  it("takes session, keys and sent invites along in the same moment, each told in the log by one deed", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const keys = await Promise.all(
      ["one", "two"].map((name) =>
        call("POST", `/workspaces/${team.id}/api-keys`, {
          token: admin.token,
          body: { name, scopes: ["models:invoke", "workspace:read"] },
        }),
      ),
    );
    const kept = await seedKey(team, "kept");
    const sent = await inviteBy(team, admin.token, `guest-${admin.id}@example.com`);
    const others = await inviteBy(team, team.token, `other-${admin.id}@example.com`);
    const secrets = keys.map(({ body }) => body.secret as string);
    expect((await call("GET", `/workspaces/${team.id}`, { token: secrets[0] ?? "" })).status).toBe(200);
    const logged = (await actionsOf(team.id)).length;

    const removed = await call("DELETE", at(team, `/${admin.memberId}`), { token: team.token });
    expect(removed.status).toBe(204);
    expect((await call("GET", `/workspaces/${team.id}`, { token: admin.token })).status).toBe(404);
    for (const token of secrets) {
      expect((await call("GET", `/workspaces/${team.id}`, { token })).status).toBe(401);
      expect((await call("GET", "/v1/models", { token })).status).toBe(401);
    }
    expect((await call("GET", "/v1/models", { token: kept.secret })).status).toBe(200);
    const states = await db.select().from(invites).where(eq(invites.workspaceId, team.id)).all();
    expect(Object.fromEntries(states.map(({ id, state }) => [id, state]))).toEqual({
      [sent]: "revoked",
      [others]: "pending",
    });
    const { body } = await call("GET", `/workspaces/${team.id}/api-keys`, { token: team.token });
    expect(body.data.map((key: { name: string; status: string }) => [key.name, key.status]).toSorted()).toEqual([
      ["kept", "active"],
      ["one", "revoked"],
      ["two", "revoked"],
    ]);
    const rows = await db.select().from(auditLog).where(eq(auditLog.workspaceId, team.id)).orderBy(auditLog.seq).all();
    const told = rows.slice(logged);
    expect(told.map(({ action }) => action)).toEqual([
      "member.removed",
      "api_key.revoked",
      "api_key.revoked",
      "invite.revoked",
    ]);
    expect(new Set(told.map(({ opId }) => opId)).size).toBe(1);
    expect(JSON.parse(told[1]?.before ?? "{}")).toMatchObject({ made_by: admin.memberId, name: "one" });

    const again = await call("DELETE", at(team, `/${admin.memberId}`), { token: team.token });
    expect([again.status, (await actionsOf(team.id)).length]).toEqual([204, rows.length]);
  });

  it("by leaving is open to every member by `me` or their own id, and to the owner by neither", async ({ expect }) => {
    const team = await seedWorkspace();
    const one = await seedMember(team.id, "MEMBER");
    const two = await seedMember(team.id, "MEMBER");
    expect((await call("DELETE", at(team, `/${two.memberId}`), { token: one.token })).status).toBe(403);
    expect((await call("DELETE", at(team, "/me"), { token: one.token })).status).toBe(204);
    expect((await call("DELETE", at(team, `/${two.memberId}`), { token: two.token })).status).toBe(204);
    const key = await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: team.token,
      body: { name: "managing", scopes: ["members:manage"] },
    });
    expect((await call("DELETE", at(team, "/me"), { token: key.body.secret })).status).toBe(404);
    const admin = await seedMember(team.id, "ADMIN");
    for (const [path, token] of [
      ["/me", team.token],
      [`/${await ownerIdOf(team)}`, admin.token],
    ] as const) {
      const answer = await call("DELETE", at(team, path), { token });
      expect([answer.status, answer.body.code]).toEqual([409, "last_owner"]);
    }
    expect((await actionsOf(team.id)).filter((action) => action.startsWith("member."))).toEqual([
      "member.left",
      "member.left",
    ]);
  });

  it("by leaving can be asked again, with its Idempotency-Key or without, and says 503 until it is in force", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    await seedKey(team);
    const member = await seedMember(team.id, "MEMBER");
    const { token } = member;
    const leave = (id: string, headers: Record<string, string> = {}) =>
      call("DELETE", at(team, `/${id}`), { token, headers });
    const withKey = { "idempotency-key": "leave-1" };
    await breakRouter(team.id);
    for (const answer of [await leave("me", withKey), await leave("me", withKey), await leave(member.memberId)]) {
      expect([answer.status, answer.body.code]).toEqual([503, "publish_pending"]);
    }
    vi.restoreAllMocks();
    const kept = await leave("me", withKey);
    expect([kept.status, kept.headers.get("idempotency-replayed")]).toEqual([204, "true"]);
    expect([(await leave("me")).status, (await leave(member.memberId)).status]).toEqual([204, 204]);
    const actions = await actionsOf(team.id);
    expect(actions.filter((action) => action === "member.left")).toHaveLength(1);
  });

  it("opens nothing else to who has left, and that not to who never was there", async ({ expect }) => {
    const team = await seedWorkspace();
    const one = await seedMember(team.id, "ADMIN");
    const two = await seedMember(team.id, "MEMBER");
    await call("DELETE", at(team, "/me"), { token: one.token });
    const stranger = await seedAccount();
    const asked = [
      ["DELETE", at(team, `/${two.memberId}`), one.token],
      ["DELETE", at(team, "/me/"), one.token],
      ["GET", at(team, "/me"), one.token],
      ["PATCH", at(team, "/me"), one.token],
      ["GET", at(team), one.token],
      ["GET", `/workspaces/${team.id}`, one.token],
      ["DELETE", at(team, "/me"), stranger.token],
      ["DELETE", at(team, `/${one.memberId}`), stranger.token],
    ] as const;
    for (const [method, path, token] of asked) {
      const answer = await call(method, path, { token });
      expect([method, path, answer.status]).toEqual([method, path, 404]);
    }
    await db.update(workspaces).set({ deletedAt: Date.now() }).where(eq(workspaces.id, team.id)).run();
    expect((await call("DELETE", at(team, "/me"), { token: one.token })).status).toBe(404);
  });

  it("is for good: who joins again is a new member, and the old keys stay dead", async ({ expect }) => {
    const team = await seedWorkspace();
    const admin = await seedMember(team.id, "ADMIN");
    const key = await call("POST", `/workspaces/${team.id}/api-keys`, {
      token: admin.token,
      body: { name: "old", scopes: ["workspace:read"] },
    });
    await call("DELETE", at(team, "/me"), { token: admin.token });
    await expect(
      db.update(members).set({ removedAt: null }).where(eq(members.id, admin.memberId)).run(),
    ).rejects.toThrow();
    await db
      .insert(members)
      .values({ id: `${admin.memberId}2`, workspaceId: team.id, userId: admin.id, role: "ADMIN", createdAt: 1 });
    expect((await call("GET", `/workspaces/${team.id}`, { token: admin.token })).status).toBe(200);
    expect((await call("GET", `/workspaces/${team.id}`, { token: key.body.secret })).status).toBe(401);
  });

  it(
    "of two admins who remove each other at once comes to one of them",
    { timeout: deep(30_000, 600_000) },
    async ({ expect }) => {
      for (let round = 0; round < deep(3, 100); round += 1) {
        const team = await seedWorkspace();
        const [one, two] = [await seedMember(team.id, "ADMIN"), await seedMember(team.id, "ADMIN")];
        const answers = await Promise.all([
          call("DELETE", at(team, `/${two.memberId}`), { token: one.token }),
          call("DELETE", at(team, `/${one.memberId}`), { token: two.token }),
        ]);
        expect(answers.filter(({ status }) => status === 204)).toHaveLength(1);
        expect(await db.$count(members, and(eq(members.workspaceId, team.id), isNull(members.removedAt)))).toBe(2);
      }
    },
  );
});

describe("the owner", () => {
  it("cannot be removed, unseated or be somebody who has gone, whatever the statement", async ({ expect }) => {
    const team = await seedWorkspace();
    const gone = await seedMember(team.id, "ADMIN");
    const ownerId = await ownerIdOf(team);
    await db.update(members).set({ removedAt: 1 }).where(eq(members.id, gone.memberId)).run();
    const statements = [
      sql`UPDATE members SET removed_at = 1 WHERE id = ${ownerId}`,
      sql`UPDATE workspaces SET owner_member_id = ${gone.memberId} WHERE id = ${team.id}`,
      sql`UPDATE workspaces SET owner_member_id = NULL WHERE id = ${team.id}`,
      sql`UPDATE workspaces SET owner_member_id = 'mem_x' WHERE id = ${team.id}`,
    ];
    for (const statement of statements) {
      await expect(db.run(statement)).rejects.toThrow();
    }
    expect(await ownerIdOf(team)).toBe(ownerId);
  });
});

describe("a team of ten thousand", () => {
  it("is listed, searched and checked by indexes alone, without sorting", async ({ expect }) => {
    const team = await seedWorkspace();
    const after = { time: 1, id: "mem_x" };
    const works: (() => Promise<unknown>)[] = [
      () => listMembers(db, team.id, { role: undefined, search: undefined }, { limit: 50, after: null }),
      () => listMembers(db, team.id, { role: undefined, search: undefined }, { limit: 50, after }),
      () => listMembers(db, team.id, { role: "ADMIN", search: undefined }, { limit: 50, after }),
      () => listMembers(db, team.id, { role: undefined, search: "ad" }, { limit: 50, after: null }),
      () => listMembers(db, team.id, { role: undefined, search: "ad" }, { limit: 50, after }),
      () => findAccess(db, personOf(team), team.id, null),
    ];
    for (const work of works) {
      const queries = await queriesOf(work);
      expect(queries.length).toBeGreaterThan(0);
      for (const sent of queries) {
        const { query } = sent;
        const plan = await planOf(sent);
        expect([query, plan, /SCAN (?!CONSTANT)/.test(plan)]).toEqual([query, plan, false]);
        if (query.includes("search_name") || query.includes('"created_at" asc')) {
          expect([query, plan, plan.includes("USE TEMP B-TREE")]).toEqual([query, plan, false]);
          expect(plan).toMatch(
            /SEARCH members USING INDEX members_(listed|by_role|by_name|by_email) \(workspace_id=\?/,
          );
        }
      }
    }
  });

  it("costs no more than twice what a team of ten costs", { timeout: deep(30_000, 600_000) }, async ({ expect }) => {
    const size = deep(2000, 10_000);
    const [small, large] = [await seedTeam(10), await seedTeam(size)];
    const all = { role: undefined, search: undefined };
    const page = { limit: 10, after: null };
    const jobs: Record<string, (team: SeededWorkspace) => Promise<unknown>> = {
      "first page": (team) => listMembers(db, team.id, all, page),
      "prefix search": (team) => listMembers(db, team.id, { ...all, search: "a" }, page),
      "permission check": (team) => findAccess(db, personOf(team), team.id, null),
      "first page by HTTP": (team) => call("GET", at(team, "?limit=10"), { token: team.token }),
      "prefix search by HTTP": (team) => call("GET", at(team, "?limit=10&search=a"), { token: team.token }),
      "workspace by HTTP": (team) => call("GET", `/workspaces/${team.id}`, { token: team.token }),
    };
    for (const [name, job] of Object.entries(jobs)) {
      if (!name.endsWith("HTTP")) {
        const rows = [await rowsRead(() => job(small)), await rowsRead(() => job(large))] as const;
        // A page of ten, and the eleventh that tells of more, with the person and workspace of each.
        expect([name, ...rows, rows[1] <= 80]).toEqual([name, ...rows, true]);
      }
      const times = { small: [] as number[], large: [] as number[] };
      for (let round = 0; round < deep(15, 100); round += 1) {
        times.small.push(await timed(() => job(small)));
        times.large.push(await timed(() => job(large)));
      }
      const [few, many] = [median(times.small), median(times.large)];
      console.log(`${name}: ${few.toFixed(1)} ms with 10 members, ${many.toFixed(1)} ms with ${size}`);
      // The clock moves in whole milliseconds: below one or two, a ratio says nothing.
      expect([name, many <= 2 * few + 1]).toEqual([name, true]);
    }
  });
});

describe("seats", () => {
  it("are counted by the record itself: nobody joins a full team, and no limit is set below who is there", async ({
    expect,
  }) => {
    const team = await seedWorkspace();
    await seedMember(team.id, "MEMBER");
    const set = (seat_limit: number) =>
      call("PATCH", `/workspaces/${team.id}`, { token: team.token, body: { settings: { seat_limit } } });
    const low = await set(1);
    expect([low.status, low.body.code]).toEqual([409, "seats_taken"]);
    const set2 = await set(2);
    expect([set2.status, set2.body.settings.seat_limit]).toEqual([200, 2]);
    const extra = await seedAccount();
    const join = { id: "mem_extra", workspaceId: team.id, userId: extra.id, role: "MEMBER", createdAt: 1 } as const;
    await expect(db.insert(members).values(join).run()).rejects.toThrow();
    expect((await set(0)).body.settings.seat_limit).toBe(0);
    await db.insert(members).values(join).run();
    const audited = await db
      .select({ before: auditLog.before, after: auditLog.after })
      .from(auditLog)
      .where(and(eq(auditLog.workspaceId, team.id), eq(auditLog.action, "workspace.updated")))
      .all();
    expect(audited.map(({ after }) => JSON.parse(after ?? "{}").settings.seat_limit)).toEqual([2, 0]);
    expect(await db.$count(apiKeys, eq(apiKeys.workspaceId, team.id))).toBe(0);
  });
});
