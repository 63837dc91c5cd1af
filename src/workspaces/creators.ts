/** Who may create workspaces: by default, who owns one already. Set-up makes the first. */
import { sql, type SQL } from "drizzle-orm";
import { guardThat, hideSql, type Database, type Statement } from "../base/database.js";
import { AppError } from "../base/errors.js";
import type { Settings } from "../base/settings.js";
import { demoAccountId } from "./setup.js";

/**
 * Refuses who may not create a workspace before anything is tried for them (`forbidden`), and gives the guard that holds
 * it in the change's batch. Local runs' demo account is not asked: nobody made it an owner.
 */
export async function guardCreator(db: Database, settings: Settings, accountId: string): Promise<readonly Statement[]> {
  if (settings.signIn.workspaceCreators === "anyone" || accountId === demoAccountId) {
    return [];
  }
  const [row] = await hideSql(db.all<{ owns: number }>(sql`SELECT ${ownsOne(accountId)} AS owns`));
  if (row?.owns !== 1) {
    throw new AppError("forbidden", {
      detail: "Here only who owns a workspace may create another. Ask an owner, or set WORKSPACE_CREATORS=anyone.",
    });
  }
  return [guardThat(db, ownsOne(accountId), "forbidden")];
}

/** A deleted workspace counts: who deletes the only one they own must not be locked out of making another. */
function ownsOne(accountId: string): SQL {
  return sql`EXISTS (SELECT 1 FROM members AS m INNER JOIN workspaces AS w ON w.id = m.workspace_id AND w.owner_member_id = m.id
    WHERE m.user_id = ${accountId})`;
}
