/** Whatever column the configuration is built from moves its version, so no statement can forget to. */
import { env } from "cloudflare:workers";
import { eq, getTableColumns } from "drizzle-orm";
import { getTableConfig, type SQLiteTable } from "drizzle-orm/sqlite-core";
import { describe, it } from "vitest";
import { commit, commitChange, type Database } from "../../src/base/database.js";
import { credentials, poolInstances, pools } from "../../src/connections/model.js";
import { planCreateKey, planRevokeKey } from "../../src/keys/keys.js";
import { apiKeys } from "../../src/keys/model.js";
import { defaultModels, models } from "../../src/models/model.js";
import { readConfig } from "../../src/snapshot/build.js";
import { members, workspaces } from "../../src/tenancy/model.js";
import { dataKeys } from "../../src/vault/model.js";
import { actor, addCredential, addMember, addPool, db, makeWorld, tokenSecret, type World } from "./world.js";

/** Columns that never change while the row lives (an insert or delete moves the version), or that count the versions themselves. */
const fixed: Readonly<Record<string, readonly string[]>> = {
  workspaces: ["id", "region", "first_region", "config_epoch", "config_version"],
  api_keys: ["id", "region"],
  credentials: ["id"],
  pools: ["id"],
  pool_instances: ["id", "pool_id"],
  data_keys: ["id"],
  members: [],
  models: [],
  default_models: [],
};

/** The tables behind a row that is made of two. */
const tables: Readonly<Record<string, SQLiteTable>> = {
  key: apiKeys,
  maker: members,
};
const wholeRows: readonly SQLiteTable[] = [
  workspaces,
  credentials,
  pools,
  poolInstances,
  dataKeys,
  models,
  defaultModels,
];

/** A world in which every column that can matter is filled. */
async function makeFullWorld(): Promise<World> {
  const world = await makeWorld();
  const good = await addCredential(world, "sk", { isValid: true, validatedAt: 5 });
  await addPool(world, "gpt", [good, await addCredential(world, "sk", { status: "invalid" })]);
  // The instances of `addPool` call this model, and by cost its price counts.
  const place = { workspaceId: world.id, providerName: "openai_compatible", model: "m-1", type: "llm" } as const;
  const price = JSON.stringify({ input_usd_per_mtok: "1", output_usd_per_mtok: "5", cached_input_usd_per_mtok: null });
  const times = { revision: 1, createdAt: 1, updatedAt: 1 };
  await commit(db, [
    db
      .insert(models)
      .values({ ...place, ...times, isCustom: true, enabled: true, credentialIds: JSON.stringify([good]), price }),
    db.update(pools).set({ strategy: "cost" }).where(eq(pools.workspaceId, world.id)),
    db.insert(defaultModels).values({ ...place, revision: 1 }),
  ]);
  const admin = await addMember(world, "ADMIN");
  for (const [memberId, name] of [
    [world.memberId, "mine"],
    [admin, "theirs"],
    [world.memberId, "revoked"],
  ] as const) {
    const input = { name, scopes: ["models:invoke" as const] };
    const maker = { memberId, grants: ["models:invoke"] as const };
    const { row } = await commitChange(db, await planCreateKey(db, world.id, actor, tokenSecret, maker, input));
    if (name === "revoked") {
      await commitChange(db, await planRevokeKey(db, world.id, actor, row.id, null, null));
    } else {
      const rotated = { digest: `${row.id} rotated`, previousDigest: row.digest, previousUntil: 9 };
      await commit(db, [db.update(apiKeys).set(rotated).where(eq(apiKeys.id, row.id))]);
    }
  }
  return world;
}

/** A row that notes which of its columns are read. */
function watch(row: object, table: SQLiteTable, read: Map<string, Set<string>>): object {
  const columns = getTableColumns(table);
  const { name } = getTableConfig(table);
  return new Proxy(row, {
    get(target, property) {
      const column = columns[String(property)];
      if (column !== undefined) {
        read.set(name, (read.get(name) ?? new Set()).add(column.name));
      }
      return Reflect.get(target, property);
    },
  });
}

/** A row is of the table whose columns it has, all of them. */
function watchRow(row: object, read: Map<string, Set<string>>): object {
  if ("key" in row && "maker" in row) {
    const parts = Object.entries(row).map(([name, part]) => {
      const table = tables[name];
      return [name, table === undefined ? part : watch(part as object, table, read)];
    });
    return Object.fromEntries(parts);
  }
  const whole = wholeRows.find((table) => Object.keys(getTableColumns(table)).every((column) => column in row));
  return whole === undefined ? row : watch(row, whole, read);
}

/** The record, noting which columns are read of the rows that a batch gives. */
function watchedRecord(read: Map<string, Set<string>>): Database {
  return new Proxy(db, {
    get(target, property) {
      if (property !== "batch") {
        return Reflect.get(target, property);
      }
      return async (statements: Parameters<Database["batch"]>[0]) => {
        const results = (await target.batch(statements)) as readonly (readonly object[])[];
        return results.map((rows) => rows.map((row) => watchRow(row, read)));
      };
    },
  });
}

/** The columns whose update moves the version, by the trigger's own words. */
async function watchedColumns(table: string): Promise<string[]> {
  const query = env.DB.prepare("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?");
  const found = await query.bind(`${table}_publish_update`).first<string>("sql");
  const list = /AFTER UPDATE OF ([^;]*?) ON /.exec(found ?? "")?.[1] ?? "";
  return list.split(",").map((name) => name.trim().replaceAll("`", ""));
}

describe("every column that the configuration is built from", () => {
  it("is named by the trigger that moves the version, or never changes", async ({ expect }) => {
    const world = await makeFullWorld();
    const read = new Map<string, Set<string>>();
    const config = await readConfig(watchedRecord(read), world.id);
    expect(config.rows.keys).toHaveLength(3);
    expect([...read.keys()].toSorted()).toEqual(Object.keys(fixed).toSorted());
    for (const [table, columns] of read) {
      const named = new Set([...(await watchedColumns(table)), ...(fixed[table] ?? [])]);
      const forgotten = [...columns].filter((column) => !named.has(column));
      expect({ table, forgotten }).toEqual({ table, forgotten: [] });
    }
    // Were nothing noted, nothing would be forgotten.
    expect(read.get("credentials")?.has("is_valid")).toBe(true);
    expect(read.get("api_keys")?.has("previous_until")).toBe(true);
    expect(read.get("models")?.has("credential_ids")).toBe(true);
    expect(read.get("models")?.has("price")).toBe(true);
  });
});
