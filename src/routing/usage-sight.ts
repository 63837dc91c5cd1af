/** Whose usage a caller may see: an admin everybody's, a member their own. */
import { and, eq } from "drizzle-orm";
import { isAtLeast } from "../access/permissions.js";
import type { Principal, WorkspaceAccess } from "../access/principal.js";
import { hideSql, type Database } from "../base/database.js";
import { members } from "../tenancy/model.js";

/** Null for everybody's, else the member whose it must be. A key sees what its maker's present role does; that is a query. */
export async function readSight(call: {
  readonly db: Database;
  readonly principal: Principal | null;
  access(): WorkspaceAccess;
}): Promise<string | null> {
  const { id, memberId, ownerMemberId, role } = call.access();
  if (call.principal?.kind !== "key") {
    return role !== null && isAtLeast(role, "ADMIN") ? null : memberId;
  }
  if (memberId === ownerMemberId) {
    return null;
  }
  const isMaker = and(eq(members.workspaceId, id), eq(members.id, memberId));
  const [maker] = await hideSql(call.db.select({ role: members.role }).from(members).where(isMaker).all());
  return maker !== undefined && isAtLeast(maker.role, "ADMIN") ? null : memberId;
}
