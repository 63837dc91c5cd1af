import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { describe, it } from "vitest";
import { CreatePool, PoolPolicyInput } from "../../src/connections/pool-schema.js";
import { ConfigSnapshot, PoolPolicy, RouterPool } from "../../src/snapshot/model.js";
import { readConfig } from "../../src/snapshot/build.js";
import { call, type Answer } from "../support/client.js";
import { deep, seed } from "../support/deep.js";
import { db, seedMember, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { addCredential, auditOf, sandboxCredential, sandboxInstance } from "./seed.js";

interface Instance {
  readonly id: string;
  readonly alias: string;
}

async function seedPools(): Promise<{ workspace: SeededWorkspace; path: string; credential: string; token: string }> {
  const workspace = await seedWorkspace();
  const credential = await sandboxCredential(workspace);
  return { workspace, credential, token: workspace.token, path: `/workspaces/${workspace.id}/pools` };
}

function byAlias(answer: Answer): Record<string, string> {
  return Object.fromEntries(answer.body.instances.map((instance: Instance) => [instance.alias, instance.id]));
}

describe("a pool", () => {
  it("is made with every default filled in, and read by id and by name", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const instances = [sandboxInstance(credential), sandboxInstance(credential, { weight: 3, alias: "big" })];
    const made = await call("POST", path, { token, body: { name: "team/chat:1", instances } });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      name: "team/chat:1",
      strategy: "weighted",
      policy: {
        max_attempts: 3,
        total_timeout_ms: 600_000,
        first_byte_timeout_ms: 120_000,
        idle_timeout_ms: 60_000,
        default_max_tokens: 4_096,
      },
      fallbacks: [],
      instances: [
        { alias: "sandbox-sandbox-chat-1", weight: 1, priority: 0, enabled: true, credential_id: credential },
        { alias: "big", weight: 3, provider_name: "sandbox", model: "sandbox-chat" },
      ],
    });
    for (const place of [made.headers.get("location") ?? "", `${path}/${encodeURIComponent("team/chat:1")}`]) {
      const read = await call("GET", place, { token });
      expect([place, read.status, read.body]).toEqual([place, 200, made.body]);
      expect(read.headers.get("etag")).toBe(made.headers.get("etag"));
      const again = await call("GET", place, { token, headers: { "if-none-match": read.headers.get("etag") ?? "" } });
      expect(again.status).toBe(304);
    }
    expect((await auditOf(made.body.id))[0]).toMatchObject({ action: "pool.created", after: { name: "team/chat:1" } });
  });

  it("is refused field by field when it cannot be one", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const one = sandboxInstance(credential);
    const cases: [Record<string, unknown>, string][] = [
      [{ name: "" }, "/name"],
      [{ name: "a b" }, "/name"],
      [{ name: "x".repeat(129) }, "/name"],
      [{ name: "pool_01h455vb4pex5vsknk084sn02q" }, "/name"],
      [{ name: ".." }, "/name"],
      [{ strategy: "dice" }, "/strategy"],
      [{ fallbacks: ["other"] }, "/fallbacks/0"],
      [{ policy: { sticky: "cookie" } }, "/policy/sticky"],
      [{ policy: { max_attempts: 0 } }, "/policy/max_attempts"],
      [{ policy: { idle_timeout_ms: 99 } }, "/policy/idle_timeout_ms"],
      [{ policy: { surprise: 1 } }, "/policy/surprise"],
      [{ instances: [] }, "/instances"],
      [{ instances: Array.from({ length: 101 }, () => one) }, "/instances"],
      [{ instances: [{ ...one, weight: -1 }] }, "/instances/0/weight"],
      [{ instances: [{ ...one, weight: 1.5 }] }, "/instances/0/weight"],
      [{ instances: [{ ...one, weight: null }] }, "/instances/0/weight"],
      [{ instances: [{ ...one, weight: 10_001 }] }, "/instances/0/weight"],
      [{ instances: [one, { ...one, weight: "3" }] }, "/instances/1/weight"],
      [
        {
          instances: [
            { ...one, weight: 0 },
            { ...one, weight: 0 },
          ],
        },
        "/instances",
      ],
      [
        {
          instances: [
            { ...one, alias: "a" },
            { ...one, alias: "a" },
          ],
        },
        "/instances/1/alias",
      ],
      [{ instances: [{ ...one, alias: "a\r\nb" }] }, "/instances/0/alias"],
      [{ instances: [{ ...one, model: "" }] }, "/instances/0/model"],
      [{ instances: [{ ...one, id: "inst_x" }] }, "/instances/0/id"],
      [{ instances: [one, sandboxInstance("cred_01h455vb4pex5vsknk084sn02q")] }, "/instances/1/credential_id"],
      [{ instances: [{ ...one, provider_name: "openai" }] }, "/instances/0/credential_id"],
    ];
    for (const [wrong, pointer] of cases) {
      const answer = await call("POST", path, { token, body: { name: "chat", instances: [one], ...wrong } });
      expect([JSON.stringify(wrong).slice(0, 80), answer.status]).toEqual([JSON.stringify(wrong).slice(0, 80), 422]);
      expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer);
    }
    const nan = `{"name":"chat","instances":[{"provider_name":"sandbox","model":"m","credential_id":"c","weight":NaN}]}`;
    expect((await call("POST", path, { token, body: nan })).status).toBe(400);
    expect((await call("GET", path, { token })).body).toEqual({ data: [], next_cursor: null });
  });

  it("takes no credential of another workspace", async ({ expect }) => {
    const [mine, other] = [await seedPools(), await seedPools()];
    const body = { name: "chat", instances: [sandboxInstance(other.credential)] };
    const answer = await call("POST", mine.path, { token: mine.token, body });
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toMatchObject([{ pointer: "/instances/0/credential_id", code: "unknown_credential" }]);
  });

  it("takes no credential of a tool provider, though it has the name of a model provider", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const credential = await sandboxCredential(workspace);
    await env.DB.prepare("UPDATE credentials SET provider_type = 'tool' WHERE id = ?").bind(credential).run();
    const body = { name: "chat", instances: [sandboxInstance(credential)] };
    const answer = await call("POST", `/workspaces/${workspace.id}/pools`, { token: workspace.token, body });
    expect([answer.status, answer.body.errors?.[0].pointer]).toEqual([422, "/instances/0/credential_id"]);
  });

  it("never falls back on one that goes, or changes its name, at the same moment", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { token } = workspace;
    const instances = [sandboxInstance(await sandboxCredential(workspace))];
    const path = `/workspaces/${workspace.id}/pools`;
    for (let turn = 0; turn < 6; turn += 1) {
      const backup = { name: `backup-${turn}`, instances };
      await call("POST", path, { token, body: backup });
      const taking = { name: `chat-${turn}`, instances, fallbacks: [backup.name] };
      const isRenamed = turn % 2 === 0;
      const [taken, gone] = await Promise.all([
        call("POST", path, { token, body: taking }),
        isRenamed
          ? call("PUT", `${path}/${backup.name}`, { token, body: { name: `other-${turn}`, instances } })
          : call("DELETE", `${path}/${backup.name}`, { token }),
      ]);
      const isTaken = taken.status === 201;
      expect(isTaken ? gone.status : taken.status).toBeOneOf(isTaken ? [409] : [409, 422]);
      expect(isTaken || gone.status < 300).toBe(true);
    }
  });

  it("is another workspace's 404 to read, replace, delete and look into", async ({ expect }) => {
    const [mine, other] = [await seedPools(), await seedPools()];
    const body = { name: "chat", instances: [sandboxInstance(other.credential)] };
    const made = await call("POST", other.path, { token: other.token, body });
    const own = { name: "chat", instances: [sandboxInstance(mine.credential)] };
    for (const name of ["chat", made.body.id]) {
      for (const [method, suffix] of [
        ["GET", ""],
        ["PUT", ""],
        ["DELETE", ""],
        ["GET", "/state"],
      ] as const) {
        const options = { token: mine.token, ...(method === "PUT" ? { body: own } : {}) };
        const answer = await call(method, `${mine.path}/${name}${suffix}`, options);
        expect([method, name, answer.status]).toEqual([method, name, 404]);
      }
    }
    expect((await call("GET", `${other.path}/chat`, { token: other.token })).body).toEqual(made.body);
    const free = await call("POST", mine.path, { token: mine.token, body: own });
    expect(free.status).toBe(201);
  });

  it("is read by members and changed by admins only", async ({ expect }) => {
    const { workspace, path, token, credential } = await seedPools();
    const body = { name: "chat", instances: [sandboxInstance(credential)] };
    await call("POST", path, { token, body });
    const member = await seedMember(workspace.id, "MEMBER");
    const admin = await seedMember(workspace.id, "ADMIN");
    expect((await call("GET", `${path}/chat`, { token: member.token })).status).toBe(200);
    expect((await call("POST", path, { token: member.token, body })).status).toBe(403);
    expect((await call("PUT", `${path}/chat`, { token: member.token, body })).status).toBe(403);
    expect((await call("DELETE", `${path}/chat`, { token: member.token })).status).toBe(403);
    expect((await call("DELETE", `${path}/chat`, { token: admin.token })).status).toBe(204);
  });

  it("has its name alone, even when eight ask for it at once", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const body = { name: "chat", instances: [sandboxInstance(credential)] };
    const answers = await Promise.all(Array.from({ length: 8 }, () => call("POST", path, { token, body })));
    const statuses = answers.map((answer) => answer.status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([201, ...Array.from({ length: 7 }, () => 409)]);
    expect(answers.find((answer) => answer.status === 409)?.body.code).toBe("name_taken");
    const second = await call("POST", path, { token, body: { ...body, name: "other" } });
    const renamed = await call("PUT", `${path}/other`, { token, body });
    expect([second.status, renamed.status, renamed.body.code]).toEqual([201, 409, "name_taken"]);
  });

  it("holds a hundred instances, and lists come page by page with theirs", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const instances = Array.from({ length: 100 }, (_, index) => sandboxInstance(credential, { weight: index }));
    const big = await call("POST", path, { token, body: { name: "big", instances } });
    expect(big.status).toBe(201);
    expect(big.body.instances.map((one: { weight: number }) => one.weight)).toEqual(instances.map((_, index) => index));
    expect(new Set(Object.keys(byAlias(big))).size).toBe(100);
    const small = { name: "small", instances: [sandboxInstance(credential)] };
    await call("POST", path, { token, body: small });
    const first = await call("GET", `${path}?limit=1`, { token });
    expect(first.body.data.map((pool: { name: string }) => pool.name)).toEqual(["small"]);
    const second = await call("GET", `${path}?limit=1&cursor=${first.body.next_cursor}`, { token });
    expect(second.body).toEqual({ data: [big.body], next_cursor: null });
    expect((await call("GET", `${path}?cursor=nonsense`, { token })).status).toBe(422);
  });
});

describe("replacing a pool", () => {
  it.for([
    [5_000, 1],
    [1_000, 1_000],
  ] as const)(
    "is one of a thousand at most, with five thousand instances together: %i in %i",
    async ([all, owned], { expect }) => {
      const { credential, path, token, workspace } = await seedPools();
      const body = (name: string) => ({ name, instances: [sandboxInstance(credential)] });
      const kept = await call("POST", path, { token, body: body("kept") });
      const numbers = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)";
      await env.DB.batch([
        env.DB.prepare(
          `${numbers} INSERT INTO pools (id, workspace_id, name, strategy, policy, fallbacks, created_at, updated_at, revision)
         SELECT 'pool_' || ?2 || i, workspace_id, 'p' || i, strategy, policy, fallbacks, 1, 1, 1 FROM n, pools WHERE id = ?3`,
        ).bind(Math.max(owned, 2), workspace.id, kept.body.id),
        env.DB.prepare(
          `${numbers} INSERT INTO pool_instances (id, workspace_id, pool_id, position, alias, provider_name, model, credential_id, weight, priority, enabled)
         SELECT 'inst_' || ?2 || i, workspace_id, pool_id, i, 'a' || i, provider_name, model, credential_id, 1, 0, 1 FROM n, pool_instances WHERE pool_id = ?3`,
        ).bind(all, workspace.id, kept.body.id),
      ]);
      const more = await call("POST", path, { token, body: body("more") });
      expect([more.status, more.body.code]).toEqual([409, "limit_reached"]);
      const smaller = await call("PUT", `${path}/kept`, { token, body: body("kept") });
      expect(smaller.status).toBe(200);
      const made = await call("POST", path, { token, body: body("more") });
      expect(made.status).toBe(owned === 1 ? 201 : 409);
    },
  );

  it("keeps instances by id and by alias, renames and swaps them, and drops the others", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const named = (alias: string, more = {}) => sandboxInstance(credential, { alias, ...more });
    const made = await call("POST", path, {
      token,
      body: { name: "chat", instances: ["a", "b", "c"].map((alias) => named(alias)) },
    });
    const before = byAlias(made);
    const instances = [
      named("b", { id: before["a"] }),
      named("a", { id: before["b"], weight: 5 }),
      sandboxInstance(credential, { id: before["c"] }),
      named("d"),
    ];
    const put = await call("PUT", `${path}/chat`, { token, body: { name: "talk", instances } });
    expect(put.status).toBe(200);
    const after = byAlias(put);
    expect(after).toMatchObject({ a: before["b"], b: before["a"], c: before["c"] });
    expect(Object.keys(after).toSorted()).toEqual(["a", "b", "c", "d"]);
    expect(put.headers.get("etag")).toBe('"2"');
    expect((await call("GET", `${path}/chat`, { token })).status).toBe(404);
    const fewer = await call("PUT", `${path}/talk`, {
      token,
      body: { name: "talk", instances: [named("d"), named("b")] },
    });
    expect(byAlias(fewer)).toEqual({ d: after["d"], b: before["a"] });
    expect((await call("GET", `${path}/talk`, { token })).body).toEqual(fewer.body);
    const rows = await auditOf(made.body.id);
    expect(rows.map((row) => row.action)).toEqual(["pool.created", "pool.updated", "pool.updated"]);
    expect(rows[1]).toMatchObject({ before: { name: "chat" }, after: { name: "talk" } });
  });

  it("refuses ids that are not the pool's, or that stand twice", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const one = sandboxInstance(credential);
    const made = await call("POST", path, { token, body: { name: "one", instances: [one] } });
    const other = await call("POST", path, { token, body: { name: "two", instances: [one] } });
    const foreign = { name: "one", instances: [{ ...one, id: other.body.instances[0].id }] };
    const twice = { name: "one", instances: [one, one].map((entry) => ({ ...entry, id: made.body.instances[0].id })) };
    const answers = [
      await call("PUT", `${path}/one`, { token, body: foreign }),
      await call("PUT", `${path}/one`, { token, body: twice }),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([422, 422]);
    expect(answers.map((answer) => answer.body.errors[0].pointer)).toEqual(["/instances/0/id", "/instances/1/id"]);
    expect((await call("GET", `${path}/one`, { token })).body).toEqual(made.body);
    expect((await call("GET", `${path}/two`, { token })).body).toEqual(other.body);
  });

  it("writes nothing when nothing changes", async ({ expect }) => {
    const { workspace, path, token, credential } = await seedPools();
    const body = { name: "chat", instances: [sandboxInstance(credential)] };
    const made = await call("POST", path, { token, body });
    const { address } = await readConfig(db, workspace.id);
    const put = await call("PUT", `${path}/chat`, { token, body });
    expect([put.status, put.body, put.headers.get("etag")]).toEqual([200, made.body, '"1"']);
    expect((await readConfig(db, workspace.id)).address).toEqual(address);
    expect(await auditOf(made.body.id)).toHaveLength(1);
  });

  it("lets exactly one of many writers through who read the same state", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const body = (weight: number) => ({ name: "chat", instances: [sandboxInstance(credential, { weight })] });
    const made = await call("POST", path, { token, body: body(1) });
    for (const revision of [1, 2]) {
      const headers = { "if-match": `"${revision}"` };
      const puts = Array.from({ length: 6 }, (_, index) =>
        call("PUT", `${path}/chat`, { token, headers, body: body(10 * revision + index) }),
      );
      const answers = await Promise.all(puts);
      const won = answers.filter((answer) => answer.status === 200);
      expect(won).toHaveLength(1);
      expect(answers.filter((answer) => answer.status === 412)).toHaveLength(5);
      expect((await call("GET", `${path}/chat`, { token })).body).toEqual(won[0]?.body);
    }
    expect(await auditOf(made.body.id)).toHaveLength(3);
    const stale = await call("DELETE", `${path}/chat`, { token, headers: { "if-match": '"1"' } });
    expect(stale.status).toBe(412);
  });

  it("without If-Match never mixes two writers: each gets its own state or 409", async ({ expect }) => {
    const { path, token, credential } = await seedPools();
    const body = (index: number) => ({
      name: "chat",
      instances: Array.from({ length: 3 }, (_, at) =>
        sandboxInstance(credential, { alias: `w${index}-${at}`, weight: index + 1 }),
      ),
    });
    await call("POST", path, { token, body: body(0) });
    for (let round = 1; round <= deep(5, 50); round += 1) {
      const answers = await Promise.all(
        [1, 2, 3, 4].map((writer) => call("PUT", `${path}/chat`, { token, body: body(round * 4 + writer) })),
      );
      expect(answers.every((answer) => answer.status === 200 || answer.body.code === "conflict")).toBe(true);
      const read = await call("GET", `${path}/chat`, { token });
      expect(answers.map((answer) => answer.text)).toContain(read.text);
    }
  });
});

describe("deleting a pool", () => {
  it("takes its instances along, once, with an audit row", async ({ expect }) => {
    const { workspace, path, token, credential } = await seedPools();
    const made = await call("POST", path, { token, body: { name: "chat", instances: [sandboxInstance(credential)] } });
    const gone = await call("DELETE", `${path}/${made.body.id}`, { token, headers: { "if-match": '"1"' } });
    expect([gone.status, gone.text]).toEqual([204, ""]);
    expect((await call("DELETE", `${path}/${made.body.id}`, { token })).status).toBe(404);
    const { rows, snapshot } = await readConfig(db, workspace.id);
    expect([rows.pools, snapshot.instances]).toEqual([[], []]);
    expect((await auditOf(made.body.id)).map((row) => row.action)).toEqual(["pool.created", "pool.deleted"]);
  });
});

describe("what the door accepts", () => {
  it("is what the Router and the snapshot take, defaults included", async ({ expect }) => {
    const { workspace, path, token } = await seedPools();
    const made = await addCredential(workspace, "openai", { api_key: "sk-x" }, { validate: false });
    const instance = {
      provider_name: "openai",
      model: "gpt",
      credential_id: made.body.id,
      weight: 10_000,
      priority: 1000,
    };
    const policy = {
      max_attempts: 10,
      total_timeout_ms: 3_600_000,
      first_byte_timeout_ms: 600_000,
      idle_timeout_ms: 100,
    };
    expect((await call("POST", path, { token, body: { name: "chat", instances: [instance], policy } })).status).toBe(
      201,
    );
    const { rows, snapshot } = await readConfig(db, workspace.id);
    expect(RouterPool.parse(rows.pools[0])).toMatchObject({ name: "chat", policy });
    expect(ConfigSnapshot.parse(snapshot).instances).toHaveLength(1);
  });

  it("has the Router's own bounds for time and attempts", ({ expect }) => {
    const figure = fc.oneof(
      fc.integer({ min: -2, max: 12 }),
      fc.integer({ min: 90, max: 1010 }),
      fc.integer({ min: 599_990, max: 600_010 }),
      fc.integer({ min: 3_599_990, max: 3_600_010 }),
      fc.double(),
    );
    const policy = fc.record({
      max_attempts: figure,
      total_timeout_ms: figure,
      first_byte_timeout_ms: figure,
      idle_timeout_ms: figure,
    });
    const agree = fc.property(policy, (value) => {
      expect(PoolPolicyInput.safeParse(value).success).toBe(PoolPolicy.safeParse(value).success);
    });
    fc.assert(agree, { numRuns: deep(300, 20_000), seed: seed() });
    expect(PoolPolicy.safeParse(PoolPolicyInput.parse({})).success).toBe(true);
  });

  it("always has a weight above zero and different aliases", ({ expect }) => {
    const instance = fc.record(
      { alias: fc.constantFrom("a", "b", "c"), weight: fc.integer({ min: 0, max: 2 }) },
      { requiredKeys: [] },
    );
    const property = fc.property(fc.array(instance, { maxLength: 5 }), (given) => {
      const instances = given.map((one) => sandboxInstance("cred_x", one));
      const aliases = given.flatMap((one) => one.alias ?? []);
      const isGood = given.some((one) => (one.weight ?? 1) > 0) && new Set(aliases).size === aliases.length;
      expect(CreatePool.safeParse({ name: "chat", instances }).success).toBe(isGood);
    });
    fc.assert(property, { numRuns: deep(300, 20_000), seed: seed() });
  });
});
