/** Makes a recorded change true: files the newest snapshot, tells every Router of the workspace, and only then says that it is in force. */
import { and, eq, isNull, lt, sql } from "drizzle-orm";
import { unbounded, type Budget } from "../base/budget.js";
import { hideSql, openDatabase, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import { newFlights, within } from "../base/flight.js";
import { workspaces, type Region } from "../tenancy/model.js";
import { readConfig, type Config } from "./build.js";
import type { ConfigAddress, RouterRows } from "./model.js";
import { fileSnapshot } from "./store.js";

/** The part of a Router that publishing needs. It answers the version in force after the call. */
export interface ConfigTaker {
  apply(config: ConfigAddress, rows: RouterRows): Promise<{ readonly epoch: number; readonly version: number }>;
}

/** Finds the Router of a workspace and region; made anew for every attempt, since a stub that failed stays broken. */
export type RouterFor = (env: Env, workspaceId: string, region: Region) => ConfigTaker;

const applyPatienceMs = 10_000;
const retryAfterMs = 1000;

/**
 * Brings the workspace's newest version into force everywhere; when it returns, every change recorded before the call is.
 * Nothing to do costs one query. Throws `publish_pending` (the change stands recorded; `sweepUnapplied` repeats this) or
 * `not_found`.
 */
export async function publish(env: Env, workspaceId: string, routerFor: RouterFor): Promise<void> {
  const db = openDatabase(env.DB);
  await orPending(async () => {
    if (!(await isApplied(db, workspaceId))) {
      await bringIntoForce(env, db, workspaceId, routerFor);
    }
  });
}

/**
 * Tells every Router again, whatever the record says they know: for a Router that answers `not_configured`. Callers that
 * come meanwhile share one run. Throws as `publish`.
 */
export async function republish(env: Env, workspaceId: string, routerFor: RouterFor): Promise<void> {
  const again = () => bringIntoForce(env, openDatabase(env.DB), workspaceId, routerFor);
  await orPending(() => shareRepublish(workspaceId, again));
}

/** Repeats `publish` for up to `limit` workspaces whose newest version is not in force yet. Run by cron; failures are logged. */
export async function sweepUnapplied(
  env: Env,
  routerFor: RouterFor,
  limit: number,
  budget: Budget = unbounded,
): Promise<{ readonly published: number; readonly pending: number }> {
  const db = openDatabase(env.DB);
  // In no order: one workspace that keeps failing must not stand before the others every time.
  const waiting = await hideSql(
    db
      .select({ id: workspaces.id })
      .from(workspaces)
      .where(and(isBehind, isNull(workspaces.purgeState)))
      .orderBy(sql`random()`)
      .limit(limit)
      .all(),
  );
  let published = 0;
  for (const { id } of waiting) {
    if (!budget.mayGoOn()) {
      break;
    }
    try {
      await publish(env, id, routerFor);
      published += 1;
    } catch (error) {
      log("error", "publish_still_pending", { workspace_id: id, cause: describeError(error) });
    }
  }
  return { published, pending: waiting.length - published };
}

const shareRepublish = newFlights<void>();

async function orPending(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof AppError && (error.code === "not_found" || error.code === "publish_pending")) {
      throw error;
    }
    throw new AppError("publish_pending", { retryAfterMs, cause: error });
  }
}

/**
 * What is read now holds all that was recorded before, so one pass is enough: a change that comes in meanwhile moves the
 * version on and is published by its own caller.
 */
async function bringIntoForce(env: Env, db: Database, workspaceId: string, routerFor: RouterFor): Promise<void> {
  const config = await readConfig(db, workspaceId);
  // Filed before any ticket can name it: a place on the edge remembers a miss for a while.
  await fileSnapshot(env.CONFIG, workspaceId, config.address, config.text);
  await applyEverywhere(env, config, routerFor);
  await markApplied(db, workspaceId, config.address);
}

const isBehind = lt(workspaces.appliedVersion, workspaces.configVersion);

async function isApplied(db: Database, workspaceId: string): Promise<boolean> {
  const [row] = await hideSql(
    db
      .select({ applied: workspaces.appliedVersion, version: workspaces.configVersion })
      .from(workspaces)
      .where(and(eq(workspaces.id, workspaceId), isNull(workspaces.purgeState)))
      .all(),
  );
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return row.applied >= row.version;
}

async function applyEverywhere(env: Env, config: Config, routerFor: RouterFor): Promise<void> {
  const outcomes = await Promise.allSettled(config.regions.map((region) => applyIn(env, region, config, routerFor)));
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) {
    throw new AppError("publish_pending", { retryAfterMs, cause: failed.reason });
  }
}

async function applyIn(env: Env, region: Region, config: Config, routerFor: RouterFor): Promise<void> {
  const { address, rows } = config;
  const apply = () => within(applyPatienceMs, routerFor(env, rows.workspace_id, region).apply(address, rows));
  const told = { workspace_id: rows.workspace_id, region, version: address.version };
  let inForce;
  try {
    inForce = await apply();
  } catch (error) {
    log("warn", "router_not_reached", { ...told, cause: describeError(error) });
    if (isFinal(error)) {
      throw error;
    }
    // A deploy or a move resets the object once; applying twice is applying once.
    inForce = await apply();
  }
  if (inForce.epoch !== address.epoch || inForce.version < address.version) {
    log("error", "router_ahead_of_record", { ...told, router_epoch: inForce.epoch, router_version: inForce.version });
    throw new AppError("publish_pending", { retryAfterMs });
  }
}

/** An overloaded object gets no second call, and what took all the time there is has none left. */
function isFinal(error: unknown): boolean {
  const isOverloaded = error instanceof Error && "overloaded" in error && error.overloaded === true;
  return isOverloaded || (error instanceof DOMException && error.name === "TimeoutError");
}

/** Upwards only: a slower publisher of an older version changes nothing. The Routers have it, so failing here is no reason to say they don't. */
async function markApplied(db: Database, workspaceId: string, address: ConfigAddress): Promise<void> {
  const isOlder = and(
    eq(workspaces.id, workspaceId),
    eq(workspaces.configEpoch, address.epoch),
    lt(workspaces.appliedVersion, address.version),
  );
  try {
    await hideSql(db.update(workspaces).set({ appliedVersion: address.version }).where(isOlder).run());
  } catch (error) {
    log("warn", "applied_not_marked", {
      workspace_id: workspaceId,
      version: address.version,
      cause: describeError(error),
    });
  }
}
