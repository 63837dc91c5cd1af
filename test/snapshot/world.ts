/** A small workspace of real rows, and stand-ins for the platform's parts that count, fail or lie. */
import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import type { Actor } from "../../src/access/principal.js";
import { commit, openDatabase } from "../../src/base/database.js";
import { newId } from "../../src/base/ids.js";
import { Secret } from "../../src/base/secret.js";
import { requireSettings } from "../../src/base/settings.js";
import { credentialBinding } from "../../src/connections/credentials.js";
import { credentials, poolInstances, pools } from "../../src/connections/model.js";
import { users } from "../../src/identity/model.js";
import type { ConfigAddress, RouterRows } from "../../src/snapshot/model.js";
import type { RouterFor } from "../../src/snapshot/publish.js";
import { members, workspaces, type Region } from "../../src/tenancy/model.js";
import { insertDataKey, newDataKey, type DataKey } from "../../src/vault/data-keys.js";
import { sealSecret } from "../../src/vault/seal.js";

export const db = openDatabase(env.DB);
const { keyring, tokenSecret } = requireSettings(env);
export { tokenSecret };

export const actor: Actor = {
  type: "system",
  id: "test",
  name: "Test",
  requestId: "req_test",
  ip: null,
  opId: "op_test",
  at: Date.now(),
};

export interface World {
  readonly id: string;
  readonly memberId: string;
  readonly dataKey: DataKey;
}

/** A workspace with its owner and data key. */
export async function makeWorld(region: Region = "auto"): Promise<World> {
  const [user, id, memberId] = [newId("account"), newId("workspace"), newId("member")];
  const date = new Date().toISOString();
  const times = { createdAt: 1, updatedAt: 1 };
  const { row, key } = await newDataKey(keyring, keyring.primary, id, 1);
  const place = { id, slug: id, name: id, nameKey: id, createdBy: user, ownerMemberId: memberId, region };
  await commit(db, [
    db.insert(users).values({ id: user, name: "a", email: user, createdAt: date, updatedAt: date }),
    db.insert(workspaces).values({ ...place, settings: "{}", ...times }),
    db.insert(members).values({ id: memberId, workspaceId: id, userId: user, role: "ADMIN", createdAt: 1 }),
    insertDataKey(db, row),
  ]);
  return { id, memberId, dataKey: key };
}

/** Another member of a workspace. */
export async function addMember(world: World, role: "ADMIN" | "MEMBER"): Promise<string> {
  const [user, memberId] = [newId("account"), newId("member")];
  const date = new Date().toISOString();
  await commit(db, [
    db.insert(users).values({ id: user, name: "b", email: user, createdAt: date, updatedAt: date }),
    db.insert(members).values({ id: memberId, workspaceId: world.id, userId: user, role, createdAt: 1 }),
  ]);
  return memberId;
}

type Status = (typeof credentials.$inferInsert)["status"];

/** A sealed credential. */
export async function addCredential(
  world: World,
  secret: string,
  more: {
    readonly status?: Status;
    readonly baseUrl?: string;
    readonly isValid?: boolean;
    readonly validatedAt?: number;
  } = {},
): Promise<string> {
  const id = newId("credential");
  const baseUrl = more.baseUrl ?? "https://ok.upstream.test/v1";
  const place = { workspaceId: world.id, id, secretVersion: 1, origin: new URL(baseUrl).origin };
  const row = {
    ...place,
    providerName: "openai_compatible",
    name: id,
    baseUrl,
    sealed: await sealSecret(world.dataKey, credentialBinding(place), new Secret(secret)),
    dataKeyId: world.dataKey.id,
    masked: "",
    fingerprint: id,
    status: more.status ?? "active",
    isValid: more.isValid ?? null,
    validatedAt: more.validatedAt ?? null,
    createdAt: 1,
    updatedAt: 1,
  };
  await commit(db, [db.insert(credentials).values(row)]);
  return id;
}

export const policy = { max_attempts: 3, total_timeout_ms: 60_000, first_byte_timeout_ms: 5000, idle_timeout_ms: 5000 };

/** A pool with one instance per credential. Gives the pool's id and its instances'. */
export async function addPool(
  world: World,
  name: string,
  credentialIds: readonly string[],
): Promise<{ readonly id: string; readonly instances: readonly string[] }> {
  const id = newId("pool");
  const place = { workspaceId: world.id, poolId: id, providerName: "openai_compatible", model: "m-1", weight: 1 };
  const rows = credentialIds.map((credentialId, position) => {
    return { ...place, id: newId("instance"), position, alias: `i-${position}`, credentialId };
  });
  const pool = { id, workspaceId: world.id, name, strategy: "weighted", fallbacks: "[]" } as const;
  await commit(db, [
    db.insert(pools).values({ ...pool, policy: JSON.stringify(policy), createdAt: 1, updatedAt: 1 }),
    ...(rows.length === 0 ? [] : [db.insert(poolInstances).values(rows)]),
  ]);
  return { id, instances: rows.map((row) => row.id) };
}

/** A workspace with one credential in one pool of one instance. */
export async function makeSmallWorld(
  secret = "sk-of-the-small-world",
): Promise<World & { credentialId: string; instanceId: string }> {
  const world = await makeWorld();
  const credentialId = await addCredential(world, secret);
  const { instances } = await addPool(world, "gpt", [credentialId]);
  return { ...world, credentialId, instanceId: instances[0] ?? "" };
}

/** The workspace's version and what is in force of it, as the record has them. */
export async function versions(workspaceId: string): Promise<{ version: number; applied: number }> {
  const columns = { version: workspaces.configVersion, applied: workspaces.appliedVersion };
  const [row] = await db.select(columns).from(workspaces).where(eq(workspaces.id, workspaceId)).all();
  return row ?? { version: -1, applied: -1 };
}

/** Any change that the hot path must hear of. */
export async function bump(workspaceId: string): Promise<void> {
  await commit(db, [
    db
      .update(credentials)
      .set({ validatedAt: sql`coalesce(validated_at, 0) + 1` })
      .where(eq(credentials.workspaceId, workspaceId)),
  ]);
}

/** A Router as far as publishing knows it: accepts only what is newer, and remembers. */
export interface FakeRouter {
  readonly region: string;
  address: ConfigAddress | null;
  rows: RouterRows | null;
  calls: number;
}

/** Routers by region. `fail` may throw, or answer something else, before one takes a call. */
export function fakeRouters(fail?: (region: string, call: number) => unknown): {
  readonly routerFor: RouterFor;
  readonly at: (region: string) => FakeRouter;
} {
  const routers = new Map<string, FakeRouter>();
  const at = (region: string): FakeRouter => {
    const router = routers.get(region) ?? { region, address: null, rows: null, calls: 0 };
    routers.set(region, router);
    return router;
  };
  const routerFor: RouterFor = (_env, _workspaceId, region) => ({
    async apply(address, rows) {
      const router = at(region);
      router.calls += 1;
      const answer = await fail?.(region, router.calls);
      if (answer !== undefined) {
        return answer as { epoch: number; version: number };
      }
      if (router.address === null || address.version > router.address.version) {
        router.address = address;
        router.rows = rows;
      }
      return { epoch: router.address.epoch, version: router.address.version };
    },
  });
  return { routerFor, at };
}

/** The platform with some of its parts replaced. */
export function envWith(parts: { readonly kv?: KVNamespace; readonly d1?: D1Database }): Env {
  return { ...env, CONFIG: parts.kv ?? env.CONFIG, DB: parts.d1 ?? env.DB };
}

/** The real D1, counting batches and single queries; `before` may throw or wait before a batch runs, `after` before it answers. */
export function countedD1(
  before?: () => unknown,
  after?: () => unknown,
): {
  readonly d1: D1Database;
  readonly count: { batches: number; queries: number };
} {
  const count = { batches: 0, queries: 0 };
  const d1 = {
    prepare(query: string) {
      count.queries += 1;
      return env.DB.prepare(query);
    },
    async batch(statements: D1PreparedStatement[]) {
      count.batches += 1;
      await before?.();
      const results = await env.DB.batch(statements);
      await after?.();
      return results;
    },
  };
  return { d1: d1 as unknown as D1Database, count };
}

/** A KV in memory that counts, and does what `before` says first (throw, wait). */
export function fakeKv(before?: (deed: "get" | "put", key: string) => unknown): {
  readonly kv: KVNamespace;
  readonly texts: Map<string, string>;
  readonly ttls: Map<string, number | undefined>;
  readonly count: { get: number; put: number };
} {
  const [texts, ttls] = [new Map<string, string>(), new Map<string, number | undefined>()];
  const count = { get: 0, put: 0 };
  const kv = {
    async get(key: string) {
      count.get += 1;
      await before?.("get", key);
      return texts.get(key) ?? null;
    },
    async put(key: string, text: string, options?: KVNamespacePutOptions) {
      count.put += 1;
      await before?.("put", key);
      texts.set(key, text);
      ttls.set(key, options?.expirationTtl);
    },
  };
  return { kv: kv as unknown as KVNamespace, texts, ttls, count };
}
