/** Tells the record when keys and credentials were used: once a minute each, and no caller waits for it. */
import { openDatabase } from "../base/database.js";
import { noteCredentialUses } from "../connections/last-use.js";
import { noteUses } from "../keys/last-use.js";
import type { RouterState } from "./state.js";
import { hasUses, takeUses } from "./uses.js";

/** Whether the record is to be told of any use. */
export function hasUntoldUses(state: RouterState): boolean {
  return hasUses(state.uses) || hasUses(state.credential_uses);
}

/** Tells the record of every use that it was not told; what fails is made good by the next use. */
export async function tellUses(binding: D1Database, state: RouterState): Promise<void> {
  const workspaceId = state.config?.rows.workspace_id;
  const [ofKeys, ofCredentials] = [takeUses(state.uses), takeUses(state.credential_uses)];
  if (workspaceId === undefined) {
    return;
  }
  const db = openDatabase(binding);
  if (ofKeys.size > 0) {
    await noteUses(db, workspaceId, ofKeys);
  }
  if (ofCredentials.size > 0) {
    await noteCredentialUses(db, workspaceId, ofCredentials);
  }
}
