/** The doors to a workspace's life: switching to it, ending it, having it back, taking all of it along. */
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { reply, streamed } from "../http/reply.js";
import { Workspace, WorkspaceDeletion } from "../tenancy/model.js";
import { planExport, streamExport } from "./export.js";
import { DeleteWorkspace } from "./life-schema.js";
import { planDeleteWorkspace, planRestoreWorkspace } from "./life.js";
import { planSwitch } from "./switch.js";
import { findWorkspace } from "./workspaces.js";

const ownerOnly = { kind: "workspace", scope: "workspace:manage", keys: false, least: "OWNER" } as const;

const switchTo = endpoint(
  {
    method: "post",
    path: "/workspaces/{ws}/switch",
    operation: "switchWorkspace",
    summary: "Make a workspace your current one",
    description: "From now on `current` means this one wherever you send no `X-Workspace`.",
    tag: "Workspaces",
    permission: { kind: "workspace", scope: "workspace:read", keys: false },
    etag: "told",
    responses: { 200: { description: "The workspace.", schema: Workspace } },
    errors: [],
  },
  async (call) => {
    const { row, answer } = await findWorkspace(call.db, call.access());
    const change = planSwitch(call.db, row.id, call.actor, call.session().accountId);
    return await call.commit(change, reply(200, answer, { etag: toEtag(row.revision) }));
  },
);

const deleteOne = endpoint(
  {
    method: "delete",
    path: "/workspaces/{ws}",
    operation: "deleteWorkspace",
    summary: "Delete a workspace",
    description:
      "Every key and every use of it stops before the answer. Its owner can restore it for 30 days; then it is purged. Its slug stays taken until that.",
    tag: "Workspaces",
    permission: ownerOnly,
    publishes: true,
    etag: true,
    body: DeleteWorkspace,
    responses: { 202: { description: "Deleted; the purge is what is still to come.", schema: WorkspaceDeletion } },
    errors: ["conflict", "gone"],
  },
  async (call) => {
    const access = call.access();
    const change = await planDeleteWorkspace(call.db, access.id, call.actor, access, call.body.slug, call.ifMatch);
    return await call.commit(change, reply(202, change.value));
  },
);

const restore = endpoint(
  {
    method: "post",
    path: "/workspaces/{ws}/restore",
    operation: "restoreWorkspace",
    summary: "Restore a deleted workspace",
    description: "Within 30 days, by its owner. Its keys work again when the answer is there.",
    tag: "Workspaces",
    permission: ownerOnly,
    publishes: true,
    etag: "told",
    responses: { 200: { description: "It lives.", schema: Workspace } },
    errors: ["workspace_exists", "conflict", "gone"],
  },
  async (call) => {
    const access = call.access();
    const owner = { memberId: access.memberId, accountId: call.person().accountId };
    const change = await planRestoreWorkspace(call.db, access.id, call.actor, owner);
    const { row, answer } = change.value;
    return await call.commit(change, reply(200, answer, { etag: toEtag(row.revision) }));
  },
);

const exportAll = endpoint(
  {
    method: "get",
    path: "/workspaces/{ws}/export",
    operation: "exportWorkspace",
    summary: "Export everything but secrets",
    description:
      "NDJSON: each line is a row of a section, `{section, data}`; the last one is a manifest with count and SHA-256 of every section's lines. Without it the export is not whole.",
    tag: "Workspaces",
    permission: ownerOnly,
    responses: { 200: { description: "The export.", contentType: "application/x-ndjson" } },
    errors: [],
  },
  async (call) => {
    const { id, slug } = call.access();
    const bytes = streamExport(call.db, id, call.now);
    return await call.commit(planExport(call.db, id, call.actor), streamed(bytes, `${slug}.ndjson`));
  },
);

/** Every endpoint of this file. */
export const lifeEndpoints: readonly Endpoint[] = [switchTo, deleteOne, restore, exportAll];
