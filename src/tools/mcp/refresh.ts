/** Asks MCP servers for their tools again as time goes by: nothing of theirs that says "my tools have changed" reaches us between calls. */
import { and, eq, inArray, isNull, lt, or, sql } from "drizzle-orm";
import type { Actor } from "../../access/principal.js";
import { forEachWithin, unbounded, type Budget } from "../../base/budget.js";
import { commitChange, hideSql, type Database } from "../../base/database.js";
import { AppError } from "../../base/errors.js";
import { newId } from "../../base/ids.js";
import { describeError, log } from "../../base/log.js";
import { requireSettings, type Settings } from "../../base/settings.js";
import { toolProviders, type ToolProviderRow } from "../../toolbox/model.js";
import { draftRefreshed } from "../draft.js";
import { planReplaceProvider } from "../provider-change.js";

const hourMs = 3_600_000;
/** A server whose tools were never read waits for its credential, or for its owner to mend it. */
const newServerMs = 120_000;

/** Asks up to `limit` servers whose list is an hour old, the one asked longest ago first. One that fails, or that the budget leaves out, is asked again in an hour; its tools stay. */
export async function refreshServers(
  env: Env,
  db: Database,
  now: number,
  limit: number,
  budget: Budget = unbounded,
): Promise<void> {
  const settings = requireSettings(env);
  await forEachWithin(budget, await claimStale(db, now, limit), (row) => refreshServer(db, settings, row));
}

/** Marks them as asked at once, so that sweeps that overlap do not ask twice. */
async function claimStale(db: Database, now: number, limit: number): Promise<ToolProviderRow[]> {
  const isDue = or(
    and(lt(toolProviders.refreshedAt, now - hourMs), notTriedSince(now - hourMs)),
    and(isNull(toolProviders.refreshedAt), notTriedSince(now - newServerMs)),
  );
  const due = db
    .select({ id: toolProviders.id })
    .from(toolProviders)
    .where(and(eq(toolProviders.kind, "mcp"), eq(toolProviders.enabled, true), isDue))
    .orderBy(sql`coalesce(${toolProviders.triedAt}, 0)`)
    .limit(limit);
  return await hideSql(
    db.update(toolProviders).set({ triedAt: now }).where(inArray(toolProviders.id, due)).returning().all(),
  );
}

function notTriedSince(at: number) {
  return or(isNull(toolProviders.triedAt), lt(toolProviders.triedAt, at));
}

async function refreshServer(db: Database, settings: Settings, row: ToolProviderRow): Promise<void> {
  try {
    const draft = await draftRefreshed(db, settings, row);
    const isSame = draft.source === null || draft.source.digest === row.digest;
    if (isSame && draft.refreshError === row.refreshError) {
      await noteRead(db, row, draft.source === null ? row.refreshedAt : Date.now());
      return;
    }
    const options = { action: "tool_provider.refreshed", ifMatch: null } as const;
    await commitChange(db, planReplaceProvider(db, clock(), row, draft, options));
  } catch (error) {
    // Changed by a person meanwhile, or trouble of our own: the next hour tries again.
    const cause = error instanceof AppError ? error.code : describeError(error);
    log("warn", "tool_refresh_failed", { workspace_id: row.workspaceId, provider_id: row.id, cause });
  }
}

/** The same tools as before are no change that anybody has to read of. */
async function noteRead(db: Database, row: ToolProviderRow, refreshedAt: number | null): Promise<void> {
  const isThis = and(eq(toolProviders.workspaceId, row.workspaceId), eq(toolProviders.id, row.id));
  await hideSql(db.update(toolProviders).set({ refreshedAt }).where(isThis).run());
}

function clock(): Actor {
  return {
    type: "system",
    id: "tools",
    name: "Tools",
    requestId: newId("request"),
    ip: null,
    opId: newId("operation"),
    at: Date.now(),
  };
}
