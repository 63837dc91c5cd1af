/** The doors to what proves the log: export, signed tree head, proofs, and the key that signs. */
import { z } from "@hono/zod-openapi";
import { AuditFilter } from "../audit/query-schema.js";
import { planExported, planRead } from "../audit/reads.js";
import { utf8 } from "../base/bytes.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { reply, type Reply } from "../http/reply.js";
import { exportFormats, streamAuditLog, type ExportFormat } from "./export.js";
import { AuditCheckpoint, AuditProof, CheckpointKey, ProofQuery } from "./model.js";
import { publicKey, toBase64 } from "./note.js";
import { describeCheckpoint, readProof, readSignedTree } from "./proofs.js";

const readers = { kind: "workspace", scope: "audit:read", keys: true } as const;

const contentTypes: Readonly<Record<ExportFormat, readonly [type: string, ending: string]>> = {
  ndjson: ["application/x-ndjson; charset=utf-8", "ndjson"],
  csv: ["text/csv; charset=utf-8; header=present", "csv"],
  ocsf: ["application/x-ndjson; charset=utf-8", "ocsf.ndjson"],
};

const exportLog = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/audit-log/export",
    operation: "exportAuditLog",
    summary: "Export the audit log",
    description:
      "Oldest first. NDJSON: a header, a row a line with its place in the tree and its leaf hash, a manifest with the checkpoint, and a signature over all lines; `verify-audit` checks it offline. Without its last line it is not whole. CSV and OCSF 1.3.0 (API Activity) carry the rows alone.",
    tag: "Audit",
    permission: readers,
    query: AuditFilter.extend({
      format: z.enum(exportFormats).default("ndjson").describe("Only `ndjson` can be verified."),
    }),
    responses: { 200: { description: "The export.", contentType: ["application/x-ndjson", "text/csv"] } },
    errors: [],
  },
  async (call) => {
    const { id: workspaceId, slug } = call.access();
    const { format, ...filter } = call.query;
    const stream = streamAuditLog(call.env, call.db, { workspaceId, format, filter, now: call.now });
    const [type, ending] = contentTypes[format];
    const disposition = `attachment; filename="${slug}-audit-log.${ending}"`;
    const headers = { "content-type": type, "content-disposition": disposition };
    const answer: Reply = { status: 200, body: null, headers, stream };
    return await call.commit(planExported(call.db, workspaceId, call.actor, { format, ...filter }), answer);
  },
);

const checkpoint = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/audit-log/checkpoint",
    operation: "getAuditCheckpoint",
    summary: "Read the signed tree head",
    description:
      "The newest C2SP checkpoint of the log. Keep it where the service can't reach: with it, no row before it can be changed without being seen. `Accept: text/plain` answers the signed note alone.",
    tag: "Audit",
    permission: readers,
    responses: {
      200: { description: "The checkpoint.", schema: AuditCheckpoint, contentType: "text/plain" },
    },
    errors: [],
  },
  async (call) => {
    const { id } = call.access();
    const signed = await readSignedTree(call.env, call.db, id);
    const change = planRead(call.db, id, call.actor, "audit_log.proof_read");
    if (/^\s*text\/plain\b/i.test(call.request.headers.get("accept") ?? "")) {
      const headers = { "content-type": "text/plain; charset=utf-8" };
      const stream = new Response(utf8(signed.latest.note)).body;
      return await call.commit(change, { status: 200, body: null, headers, ...(stream === null ? {} : { stream }) });
    }
    return await call.commit(change, reply(200, await describeCheckpoint(call.env, call.db, signed)));
  },
);

const proof = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/audit-log/proof",
    operation: "getAuditProof",
    summary: "Prove a row, or that the log only grew",
    description:
      "With `seq` or `index`: the hashes that lead from that row to the root of the tree of `size` rows. With `from`: the hashes that show the tree of `from` rows to be the beginning of the tree of `to` rows. RFC 9162, sections 2.1.3 and 2.1.4.",
    tag: "Audit",
    permission: readers,
    query: ProofQuery,
    responses: { 200: { description: "The proof.", schema: AuditProof } },
    errors: [],
  },
  async (call) => {
    const { id } = call.access();
    const answer = await readProof(call.env, call.db, id, call.query);
    return await call.commit(planRead(call.db, id, call.actor, "audit_log.proof_read"), reply(200, answer));
  },
);

const key = endpoint(
  {
    method: "get",
    path: "/.well-known/audit-log-key",
    operation: "getAuditLogKey",
    summary: "Read the key that signs audit logs",
    description: "Ed25519. Note it down once: a verifier that has it needs to ask nobody.",
    tag: "Audit",
    permission: { kind: "public" },
    responses: { 200: { description: "The public key.", schema: CheckpointKey } },
    errors: [],
  },
  async (call) => {
    const bytes = await publicKey(requireSettings(call.env));
    return reply(200, { algorithm: "Ed25519", public_key: toBase64(bytes) });
  },
);

/** Every endpoint of this file. */
export const ledgerEndpoints: readonly Endpoint[] = [exportLog, checkpoint, proof, key];
