/** What a path names in a pool's place: a pool of the record, or that of a model which is called by its own name, of which only the Router knows. */
import type { Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { findInstance } from "../connections/pool-switch.js";
import type { PoolRows } from "../connections/pool-schema.js";
import { findPool, tryFindPool } from "../connections/pools.js";
import { readImplicitInstance, readImplicitPool } from "../snapshot/implicit.js";
import { askShards } from "./shards.js";

/** A pool as far as its name tells. `rows` is null for a model's; then the Router must say whether there is such a one. */
export interface NamedPool {
  readonly id: string;
  readonly rows: PoolRows | null;
}

/** An instance, as a cool-down by hand needs it. */
export interface NamedInstance {
  readonly id: string;
  readonly alias: string;
  readonly credential_id: string;
  readonly model: string;
}

/** A pool by id or name; one of the record comes first, as it does in calls. Throws `not_found` for what can be neither. */
export async function findNamedPool(db: Database, workspaceId: string, word: string): Promise<NamedPool> {
  const find = readImplicitPool(word) === null ? findPool : tryFindPool;
  const rows = await find(db, workspaceId, word);
  return { id: rows?.pool.id ?? word, rows };
}

/** An instance of a pool, by id or alias. Throws `not_found`, and `router_unavailable` when only the Router can say. */
export async function findNamedInstance(
  env: Env,
  db: Database,
  workspaceId: string,
  { id: poolId, rows }: NamedPool,
  idOrAlias: string,
): Promise<NamedInstance> {
  if (rows !== null) {
    const { alias, credentialId, id, model } = findInstance(rows, idOrAlias);
    return { id, alias, credential_id: credentialId, model };
  }
  const told = (await askShards(env, db, workspaceId, "state", (router) => router.state(poolId))).flat();
  const found = told.find(({ alias, id }) => id === idOrAlias || alias === idOrAlias);
  const place = found === undefined ? null : readImplicitInstance(found.id);
  if (found === undefined || place === null) {
    throw new AppError("not_found");
  }
  return { id: found.id, alias: found.alias, ...place };
}
