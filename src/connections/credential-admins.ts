/** Who of a workspace is written to about its credentials: the owner and the admins. */
import { and, eq, isNull, or, sql, type SQL } from "drizzle-orm";
import { members, workspaces } from "../tenancy/model.js";

/** Whether a member, joined to their workspace, is one of them. */
export const isAdmin: SQL | undefined = and(
  isNull(members.removedAt),
  isNull(workspaces.deletedAt),
  or(eq(members.role, "ADMIN"), eq(members.id, workspaces.ownerMemberId)),
);

/** A fresh letter id, made where the rows are: TypeID's alphabet holds all of hexadecimal. */
export const newLetterId: SQL = sql`'mail_0' || substr(lower(hex(randomblob(13))), 2)`;
