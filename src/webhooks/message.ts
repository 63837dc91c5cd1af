/** What is sent of an event: the audit row's public fields, without the address that it came from. */
import { toAuditEntry, type auditLog } from "../audit/model.js";

/** The body of a message. The same row gives the same bytes at every attempt. */
export function writeMessage(row: typeof auditLog.$inferSelect): string {
  const { time, action, ip: _ip, ...entry } = toAuditEntry(row);
  return JSON.stringify({ type: action, timestamp: time, data: { workspace_id: row.workspaceId, ...entry } });
}
