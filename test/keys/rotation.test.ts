/** A rotation gives a key a new secret and nothing more: no longer life, no second life, no second set of limits. */
import { env } from "cloudflare:workers";
import { evictDurableObject } from "cloudflare:test";
import { eq } from "drizzle-orm";
import { afterEach, describe, it, vi } from "vitest";
import { sha256Hex } from "../../src/base/bytes.js";
import { commit } from "../../src/base/database.js";
import { apiKeys } from "../../src/keys/model.js";
import { routerFor } from "../../src/routing/router-for.js";
import { workspaces } from "../../src/tenancy/model.js";
import { call } from "../support/client.js";
import { deep } from "../support/deep.js";
import { breakRouter } from "../support/router.js";
import { db, seedMember, seedPool, seedWorkspace } from "../support/seed.js";
import { auditOf, callKey, chat, day, living, makeKey, rotate, rowOf, worth } from "./calls.js";

const scopes = ["models:invoke", "workspace:read"];
const over = ["key_expired", 401];

async function versionOf(workspaceId: string): Promise<number> {
  const [row] = await db
    .select({ version: workspaces.configVersion })
    .from(workspaces)
    .where(eq(workspaces.id, workspaceId))
    .all();
  return row?.version ?? 0;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a rotated API key", () => {
  it("has a new secret that works from the answer on, and the old one is refused from then on", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes, limits: { rpm: 50 } });
    expect(await worth(workspace.id, key.secret)).toEqual(living);
    const rotated = await callKey("POST", workspace, key.id, undefined, {}, "/rotate");
    expect(rotated.status).toBe(200);
    const { secret, prefix, last_four: lastFour, rotated_at: at } = rotated.body;
    expect(secret).toMatch(/^ghk_t1_auto_[0-9a-z]{26}_[0-9a-z]{68}$/);
    expect([secret === key.secret, secret.startsWith(prefix), secret.endsWith(lastFour)]).toEqual([false, true, true]);
    expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(60_000);
    const moved = { secret, prefix, last_four: lastFour, rotated_at: at, last_used_at: rotated.body.last_used_at };
    expect(rotated.body).toEqual({ ...key, ...moved });
    expect(await worth(workspace.id, secret)).toEqual(living);
    expect(await worth(workspace.id, key.secret)).toEqual(over);
    const rows = await auditOf(workspace.id, key.id);
    expect(rows.map((row) => row.action)).toEqual(["api_key.created", "api_key.rotated"]);
    expect(JSON.stringify(rows)).not.toContain(await sha256Hex(secret));
  });

  it("keeps the old secret for the overlap, which ends by the clock alone", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes });
    const { body: rotated, headers } = await rotate(workspace, key.id, 2);
    const end = Date.parse(rotated.previous_secret.expires_at);
    expect(end - Date.parse(rotated.rotated_at)).toBe(2000);
    expect(rotated.previous_secret).toMatchObject({ prefix: key.prefix, last_four: key.last_four });
    expect(await worth(workspace.id, key.secret)).toEqual(living);
    expect(await worth(workspace.id, rotated.secret)).toEqual(living);
    const version = await versionOf(workspace.id);
    await scheduler.wait(end - Date.now() + 5);
    expect(await worth(workspace.id, key.secret)).toEqual(over);
    expect(await worth(workspace.id, rotated.secret)).toEqual(living);
    expect(await versionOf(workspace.id)).toBe(version);
    const read = await callKey("GET", workspace, key.id, undefined, { "if-none-match": headers.get("etag") ?? "" });
    expect([read.status, read.body.previous_secret]).toEqual([200, null]);
  });

  it("is known by both secrets to a Router that slept", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes });
    const { body: rotated } = await rotate(workspace, key.id, 3600);
    await evictDurableObject(routerFor(env, workspace.id, "auto"));
    expect([await worth(workspace.id, key.secret), await worth(workspace.id, rotated.secret)]).toEqual([
      living,
      living,
    ]);
  });

  it("counts the calls of both secrets together, and shares the limits that are changed", async ({ expect }) => {
    const workspace = await seedWorkspace();
    await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok-a", weight: 1 }]);
    const { body: key } = await makeKey(workspace, { limits: { rpm: 3 } });
    expect((await chat(key.secret)).status).toBe(200);
    const { body: rotated } = await rotate(workspace, key.id, 3600);
    const answers = [
      await chat(rotated.secret),
      await chat(key.secret),
      await chat(rotated.secret),
      await chat(key.secret),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 429, 429]);
    expect(answers[1]?.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    await callKey("PATCH", workspace, key.id, { limits: { models: ["other"] } });
    const { body: third } = await rotate(workspace, key.id, 3600);
    expect([(await chat(third.secret)).status, (await chat(key.secret)).status]).toEqual([403, 429]);
  });

  it("drops the oldest of three secrets", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: first } = await makeKey(workspace, { scopes });
    const { body: second } = await rotate(workspace, first.id, 3600);
    const { body: third } = await rotate(workspace, first.id, 3600);
    expect(await worth(workspace.id, first.secret)).toEqual(["key_unknown", 401]);
    expect(await worth(workspace.id, second.secret)).toEqual(living);
    expect(await worth(workspace.id, third.secret)).toEqual(living);
    expect(third.previous_secret).toMatchObject({ prefix: second.prefix, last_four: second.last_four });
  });

  it("lives no longer for it, and neither does its old secret", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const expiresAt = new Date(Date.now() + day).toISOString();
    const { body: key } = await makeKey(workspace, { scopes, expires_at: expiresAt });
    const { body: rotated } = await rotate(workspace, key.id, 30 * 24 * 3600);
    expect([rotated.expires_at, rotated.previous_secret.expires_at]).toEqual([expiresAt, expiresAt]);
    const tooLong = await rotate(workspace, key.id, 30 * 24 * 3600 + 1);
    expect([tooLong.status, tooLong.body.errors[0].pointer]).toEqual([422, "/overlap_seconds"]);
    const { body: again } = await rotate(workspace, key.id, 3600);
    await commit(db, [db.update(apiKeys).set({ expiresAt: Date.now() }).where(eq(apiKeys.id, key.id))]);
    for (const secret of [key.secret, rotated.secret, again.secret]) {
      expect((await call("GET", "/workspaces/current", { token: secret })).status).toBe(401);
    }
  });

  it("dies with both secrets when it is revoked", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes });
    const { body: rotated } = await rotate(workspace, key.id, 3600);
    expect((await callKey("DELETE", workspace, key.id)).status).toBe(204);
    for (const secret of [key.secret, rotated.secret]) {
      expect(await worth(workspace.id, secret)).toEqual(["key_revoked", 401]);
    }
    expect((await callKey("GET", workspace, key.id)).body.previous_secret).toBeNull();
  });

  it("was neither revoked nor expired: those are 409 and stay what they are", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const [{ body: revoked }, { body: expired }] = [await makeKey(workspace), await makeKey(workspace)];
    await callKey("DELETE", workspace, revoked.id);
    await commit(db, [db.update(apiKeys).set({ expiresAt: Date.now() }).where(eq(apiKeys.id, expired.id))]);
    for (const { id } of [revoked, expired]) {
      const before = await rowOf(id);
      const refused = await rotate(workspace, id, 60);
      expect([refused.status, refused.body.code]).toEqual([409, "key_not_active"]);
      expect(await rowOf(id)).toEqual(before);
    }
  });

  it("is held by the record itself: no statement revives, lengthens or widens a key", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const [{ body: living_ }, { body: revoked }] = [await makeKey(workspace), await makeKey(workspace)];
    await rotate(workspace, living_.id, 60);
    await callKey("DELETE", workspace, revoked.id);
    const { expiresAt, previousUntil } = await rowOf(living_.id);
    const attempts = [
      [revoked.id, { digest: "d" }, "key_not_active"],
      [revoked.id, { revokedAt: null }, "internal"],
      [living_.id, { expiresAt: null }, "internal"],
      [living_.id, { expiresAt: (expiresAt ?? 0) + 1 }, "internal"],
      [living_.id, { previousUntil: (previousUntil ?? 0) + 1 }, "internal"],
      [living_.id, { previousDigest: "of another" }, "internal"],
      [living_.id, { scopes: '["models:invoke","vault:rotate"]' }, "scope_too_high"],
    ] as const;
    for (const [id, change, code] of attempts) {
      const write = commit(db, [db.update(apiKeys).set(change).where(eq(apiKeys.id, id))]);
      await expect(write, JSON.stringify(change)).rejects.toMatchObject({ code });
    }
  });
});

describe("who rotates a key", () => {
  it("gets no more than they have: a higher key is its maker's alone", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const asAdmin = { id: workspace.id, token: admin.token };
    const { body: high } = await makeKey(workspace, { scopes: ["vault:rotate"] });
    const refused = await rotate(asAdmin, high.id);
    expect([refused.status, refused.body.code]).toEqual([403, "scope_too_high"]);
    expect((await rotate(workspace, high.id)).status).toBe(200);

    const { body: keeper } = await makeKey(workspace, { scopes: ["keys:manage", "models:invoke"] });
    const byKey = { id: workspace.id, token: keeper.secret };
    const { body: low } = await makeKey(asAdmin, { scopes: ["models:invoke"] });
    expect((await rotate(byKey, high.id)).body.code).toBe("scope_too_high");
    expect((await rotate(byKey, low.id)).status).toBe(200);
    const itself = await rotate(byKey, keeper.id);
    expect(itself.status).toBe(200);
    expect((await rotate(byKey, low.id)).status).toBe(401);
    expect((await rotate({ id: workspace.id, token: itself.body.secret }, low.id)).status).toBe(200);
  });

  it("gets the same secret again by the same Idempotency-Key, also when the Router could not be told at first", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { body: key } = await makeKey(workspace, { scopes });
    const headers = { "idempotency-key": "rotation-1" };
    await breakRouter(workspace.id);
    const broken = await rotate(workspace, key.id, 60, headers);
    expect([broken.status, broken.body.code]).toEqual([503, "publish_pending"]);
    vi.restoreAllMocks();
    const [first, second] = [
      await rotate(workspace, key.id, 60, headers),
      await rotate(workspace, key.id, 60, headers),
    ];
    expect([first.status, first.headers.get("idempotency-replayed"), second.text]).toEqual([200, "true", first.text]);
    expect(await worth(workspace.id, first.body.secret)).toEqual(living);
    expect(await worth(workspace.id, key.secret)).toEqual(living);
    expect(await auditOf(workspace.id, key.id)).toHaveLength(2);
    const stored = await env.DB.prepare("SELECT * FROM idempotency").all();
    expect(JSON.stringify(stored.results)).not.toContain(first.body.secret.slice(key.prefix.length));
  });
});

describe("who was shown a key's secret", () => {
  const wide = ["keys:manage", ...scopes];

  it("loses it with their membership, whoever made the key and however they came by it", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const admin = await seedMember(workspace.id, "ADMIN");
    const asAdmin = { id: workspace.id, token: admin.token };
    const makeWide = async () => (await makeKey(workspace, { scopes: wide })).body;
    const [rotated, overlapping, left, untouched] = [
      await makeWide(),
      await makeWide(),
      await makeWide(),
      await makeWide(),
    ];
    const shown = (await rotate(asAdmin, rotated.id)).body.secret;
    const byShown = { id: workspace.id, token: shown };
    const child = (await makeKey(byShown, { scopes })).body;
    const byChild = (await rotate(byShown, child.id)).body.secret;
    const before = (await rotate(asAdmin, overlapping.id)).body.secret;
    await rotate(workspace, overlapping.id, 3600);
    const ended = (await rotate(asAdmin, left.id)).body.secret;
    const present = (await rotate(workspace, left.id)).body.secret;

    const gone = await call("DELETE", `/workspaces/${workspace.id}/members/${admin.memberId}`, {
      token: workspace.token,
    });
    expect(gone.status).toBe(204);
    for (const secret of [shown, byChild, before]) {
      expect(await worth(workspace.id, secret)).toEqual(["key_revoked", 401]);
    }
    expect(await worth(workspace.id, ended)).toEqual(over);
    for (const secret of [present, untouched.secret]) {
      expect(await worth(workspace.id, secret)).toEqual(living);
    }
    for (const { id } of [rotated, child, overlapping]) {
      expect((await auditOf(workspace.id, id)).at(-1)?.action).toBe("api_key.revoked");
    }
  });
});

describe("rotations at the same moment", () => {
  it("come out as one when they name the state they read", async ({ expect }) => {
    for (let round = 0; round < deep(2, 100); round += 1) {
      const workspace = await seedWorkspace();
      const made = await makeKey(workspace, { scopes });
      const headers = { "if-match": made.headers.get("etag") ?? "" };
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => rotate(workspace, made.body.id, 3600, headers)),
      );
      const winners = answers.filter((answer) => answer.status === 200);
      expect(winners).toHaveLength(1);
      for (const { status, body } of answers.filter((answer) => answer.status !== 200)) {
        expect([`409 conflict`, `412 precondition_failed`]).toContain(`${status} ${body.code}`);
      }
      expect(await worth(workspace.id, winners[0]?.body.secret)).toEqual(living);
      expect(await worth(workspace.id, made.body.secret)).toEqual(living);
      expect(await auditOf(workspace.id, made.body.id)).toHaveLength(2);
    }
  });

  it("form one chain when they do not: each 200 is one step, and the last two secrets are the living ones", async ({
    expect,
  }) => {
    for (let round = 0; round < deep(2, 100); round += 1) {
      const workspace = await seedWorkspace();
      const { body: key } = await makeKey(workspace, { scopes });
      const answers = await Promise.all(Array.from({ length: 20 }, () => rotate(workspace, key.id, 3600)));
      const winners = answers.filter((answer) => answer.status === 200);
      for (const { status, body } of answers.filter((answer) => answer.status !== 200)) {
        expect([status, body.code]).toEqual([409, "conflict"]);
      }
      const row = await rowOf(key.id);
      expect([winners.length > 0, row.revision]).toEqual([true, 1 + winners.length]);
      expect(await auditOf(workspace.id, key.id)).toHaveLength(1 + winners.length);
      for (const secret of [key.secret, ...winners.map((winner) => winner.body.secret)]) {
        const isLiving = [row.digest, row.previousDigest].includes(await sha256Hex(secret));
        expect(await worth(workspace.id, secret)).toEqual(isLiving ? living : ["key_unknown", 401]);
      }
    }
  });

  it("never revive a key that is revoked beside them", async ({ expect }) => {
    const outcomes = new Set<number>();
    for (let round = 0; round < deep(6, 100); round += 1) {
      const workspace = await seedWorkspace();
      const { body: key } = await makeKey(workspace, { scopes });
      const rotations = [rotate(workspace, key.id, 3600), rotate(workspace, key.id)];
      const calls =
        round % 2 === 0
          ? [...rotations, callKey("DELETE", workspace, key.id)]
          : [callKey("DELETE", workspace, key.id), ...rotations];
      const answers = await Promise.all(calls);
      const secrets = answers.flatMap((answer) => (answer.status === 200 ? [answer.body.secret] : []));
      for (const { status } of answers) {
        outcomes.add(status);
      }
      expect((await callKey("GET", workspace, key.id)).body.status).toBe("revoked");
      for (const secret of [key.secret, ...secrets]) {
        const [router, control] = await worth(workspace.id, secret);
        expect(["key_revoked", "key_unknown"]).toContain(router);
        expect(control).toBe(401);
      }
      expect((await rotate(workspace, key.id)).body.code).toBe("key_not_active");
    }
    expect([...outcomes].every((status) => [200, 204, 409].includes(status))).toBe(true);
  });
});
