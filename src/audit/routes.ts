/** The door to the log as a list. */
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { readCursor, toPage } from "../http/page.js";
import { reply } from "../http/reply.js";
import { listNewest } from "./list.js";
import { toAuditEntry } from "./model.js";
import { AuditPage, AuditQuery } from "./query-schema.js";
import { planRead } from "./reads.js";

const list = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/audit-log",
    operation: "listAuditLog",
    summary: "Read the audit log",
    description:
      "Who did what to what, with public fields before and after, newest first; refused attempts too. Reading it is told of in it, once in ten minutes for each reader.",
    tag: "Audit",
    permission: { kind: "workspace", scope: "audit:read", keys: true },
    query: AuditQuery,
    responses: { 200: { description: "A page, newest first.", schema: AuditPage } },
    errors: [],
  },
  async (call) => {
    const { id } = call.access();
    const { limit, cursor, ...filter } = call.query;
    const before = readCursor(cursor)?.time ?? null;
    const rows = await listNewest(call.db, id, filter, before, limit);
    const page = toPage(rows, limit, (row) => ({ time: row.seq, id: row.id }), toAuditEntry);
    return await call.commit(planRead(call.db, id, call.actor, "audit_log.read"), reply(200, page));
  },
);

/** Every endpoint of this file. */
export const auditEndpoints: readonly Endpoint[] = [list];
