/** Brings the news of budgets to the record: what could not be told stays in memory and on disk, and is told again. */
import type { Database } from "../base/database.js";
import { describeError, log } from "../base/log.js";
import { noteBudget } from "../keys/budget-notices.js";
import type { RouterState } from "./state.js";

/** Tells all notices, and forgets what the record has. Answers whether it has all. Never throws. */
export async function tellBudgets(db: Database, state: RouterState, now: number): Promise<boolean> {
  const workspaceId = state.config?.rows.workspace_id;
  const { dirty_notices: dirty, notices } = state.meters;
  if (workspaceId === undefined) {
    return true;
  }
  for (const [name, notice] of notices) {
    try {
      await noteBudget(db, workspaceId, notice, now);
      notices.delete(name);
      dirty.add(name);
    } catch (error) {
      log("warn", "budget_not_told", { workspace_id: workspaceId, error: describeError(error) });
      return false;
    }
  }
  return true;
}
