/** Asks every shard of a workspace, one Router for each region that has keys. */
import { eq } from "drizzle-orm";
import { hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { apiKeys } from "../keys/model.js";
import { workspaces, type Region } from "../tenancy/model.js";
import { callRouter } from "./call.js";
import type { RouterApi } from "./model.js";
import { routerFor } from "./router-for.js";
import type { BooksApi } from "./usage-books.js";

/** What every shard answers. Each is asked twice at most, so `ask` must be safe to repeat; `name` is for the log. Throws `router_unavailable`. */
export async function askShards<T>(
  env: Env,
  db: Database,
  workspaceId: string,
  name: string,
  ask: (router: RouterApi & BooksApi) => Promise<T>,
): Promise<readonly T[]> {
  const regions = await listRegions(db, workspaceId);
  return await Promise.all(regions.map((region) => callRouter(name, () => routerFor(env, workspaceId, region), ask)));
}

/** The workspace's own region. Throws `not_found`. */
export async function readHomeRegion(db: Database, workspaceId: string): Promise<Region> {
  const query = db.select({ region: workspaces.region }).from(workspaces).where(eq(workspaces.id, workspaceId));
  const [row] = await hideSql(query.limit(1).all());
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return row.region;
}

/** The regions that have a shard: the workspace's own and those of its keys. */
export async function listRegions(db: Database, workspaceId: string): Promise<readonly string[]> {
  const own = db.select({ region: workspaces.region }).from(workspaces).where(eq(workspaces.id, workspaceId));
  const ofKeys = db.select({ region: apiKeys.region }).from(apiKeys).where(eq(apiKeys.workspaceId, workspaceId));
  const rows = await hideSql(own.union(ofKeys).all());
  return rows.map((row) => row.region);
}
