/** What a leaf of the tree stands for: one audit row as everybody who may read it sees it, in canonical JSON. */
import { toAuditEntry, type AuditEntry, type auditLog } from "../audit/model.js";
import { utf8 } from "../base/bytes.js";
import { hashLeaf, type Hash } from "./tree.js";

/**
 * JSON with its keys sorted by UTF-16 units and no spaces, as RFC 8785 has it, which is written down in terms of what
 * `JSON.stringify` does with texts and numbers. A lone surrogate, which that refuses, stays its escape: a name must not be able to stop
 * the sealing.
 */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(canonicalJson).join(",")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** The leaf hash of an entry of a workspace. */
async function hashEntry(workspaceId: string, entry: AuditEntry): Promise<Hash> {
  return await hashLeaf(utf8(canonicalJson({ ...entry, workspace_id: workspaceId })));
}

/** The leaf hash of a row. */
export async function hashRow(workspaceId: string, row: typeof auditLog.$inferSelect): Promise<Hash> {
  return await hashEntry(workspaceId, toAuditEntry(row));
}
