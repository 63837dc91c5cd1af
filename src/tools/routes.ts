/** The doors to tool providers; those to their tools and credentials stand in `tool-routes.ts` and `credential-routes.ts`. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { pageOf } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { ToolProvider } from "../toolbox/model.js";
import { CreateToolProvider, ReplaceToolProvider, UpdateToolProvider } from "../toolbox/provider-schema.js";
import { draftNew, draftRefreshed, draftReplaced } from "./draft.js";
import { planCreateProvider, planReplaceProvider } from "./provider-change.js";
import {
  checkDefaultCredential,
  credentialHomes,
  countTools,
  findProvider,
  listProviders,
  planDeleteProvider,
  planUpdateProvider,
  readProvider,
  toToolProvider,
} from "./providers.js";
import { toolCredentialEndpoints } from "./credential-routes.js";
import { toolEndpoints } from "./tool-routes.js";

const readTools = { kind: "workspace", scope: "tools:read", keys: true } as const;
const manageTools = { kind: "workspace", scope: "tools:manage", keys: true } as const;
const ofProviders = "Tool providers";

const providersPath = "/workspaces/{ws}/tool-providers";
const providerPath = `${providersPath}/{provider}`;
const ProviderParams = z.object({ provider: z.string().max(200).describe("The provider's id or name.") });

/** A document of 5 MB as a JSON text may take twice its size. */
const maxBodyBytes = 11 * 1024 * 1024;

const sourceErrors = ["body_too_large", "credential_missing", "undecryptable", "keyring_entry_missing"] as const;

const listToolProviders = endpoint(
  {
    method: "get",
    path: providersPath,
    operation: "listToolProviders",
    summary: "List tool providers",
    description: "The workspace's own, by name, then the built-in ones that it can add.",
    tag: ofProviders,
    permission: readTools,
    responses: { 200: { description: "Every provider.", schema: pageOf(ToolProvider) } },
    errors: [],
  },
  async (call) => reply(200, { data: await listProviders(call.db, call.access().id), next_cursor: null }),
);

const createToolProvider = endpoint(
  {
    method: "post",
    path: providersPath,
    operation: "createToolProvider",
    summary: "Add a tool provider",
    description:
      "`builtin`: one of the catalogue, by its name. `openapi`: a document, given or fetched, whose operations become tools. `mcp`: a server by " +
      "its streamable HTTP endpoint; one that needs a credential is asked for its tools by a refresh, once it has one.",
    tag: ofProviders,
    permission: manageTools,
    maxBodyBytes,
    body: CreateToolProvider,
    etag: "told",
    responses: { 201: { description: "The provider.", schema: ToolProvider } },
    errors: ["name_taken", "limit_reached", ...sourceErrors],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const { kind, name } = call.body;
    const draft = await draftNew(call.db, requireSettings(call.env), call.body);
    const plan = planCreateProvider(call.db, workspaceId, call.actor, { kind, name }, draft);
    const row = plan.value;
    const homes = await credentialHomes(call.db, workspaceId);
    const body = toToolProvider(row, draft.source?.tools.length ?? 0, homes);
    const location = `/workspaces/${workspaceId}/tool-providers/${row.id}`;
    return call.commit(plan, reply(201, body, { location, etag: toEtag(row.revision) }));
  },
);

const readToolProvider = endpoint(
  {
    method: "get",
    path: providerPath,
    operation: "readToolProvider",
    summary: "Read a tool provider",
    tag: ofProviders,
    permission: readTools,
    params: ProviderParams,
    etag: true,
    responses: { 200: { description: "The provider.", schema: ToolProvider } },
    errors: [],
  },
  async (call) => {
    const { shown, row } = await readProvider(call.db, call.access().id, call.params.provider);
    return row === null ? reply(200, shown) : reply(200, shown, { etag: etagOf(row.revision, shown) });
  },
);

const replaceToolProvider = endpoint(
  {
    method: "put",
    path: providerPath,
    operation: "replaceToolProvider",
    summary: "Give a tool provider another source",
    description:
      "Another document, address or way of authentication; title, description and time-out stay where they are left out. Tools come and go " +
      "by name, and those that stay keep their switch. Where the address changes to another origin, the credentials cannot be used until " +
      "their secrets are entered again.",
    tag: ofProviders,
    permission: manageTools,
    maxBodyBytes,
    etag: true,
    publishes: true,
    params: ProviderParams,
    body: ReplaceToolProvider,
    responses: { 200: { description: "The provider as it now stands.", schema: ToolProvider } },
    errors: ["conflict", ...sourceErrors],
  },
  async (call) => {
    const row = await findProvider(call.db, call.access().id, call.params.provider);
    const draft = await draftReplaced(call.db, requireSettings(call.env), row, call.body);
    const options = { action: "tool_provider.updated", ifMatch: call.ifMatch } as const;
    const plan = planReplaceProvider(call.db, call.actor, row, draft, options);
    const body = await show(call.db, plan.value, draft.source?.tools.length);
    return call.commit(plan, reply(200, body, { etag: etagOf(plan.value.revision, body) }));
  },
);

const updateToolProvider = endpoint(
  {
    method: "patch",
    path: providerPath,
    operation: "updateToolProvider",
    summary: "Change a tool provider",
    description: "Its words, its time-out, its default credential, and whether it is on. What is left out stays.",
    tag: ofProviders,
    permission: manageTools,
    etag: true,
    params: ProviderParams,
    body: UpdateToolProvider,
    responses: { 200: { description: "The provider as it now stands.", schema: ToolProvider } },
    errors: ["conflict"],
  },
  async (call) => {
    const row = await findProvider(call.db, call.access().id, call.params.provider);
    await checkDefaultCredential(call.db, row, call.body.credential_id);
    const plan = planUpdateProvider(call.db, call.actor, row, call.body, call.ifMatch);
    const body = await show(call.db, plan.value);
    return call.commit(plan, reply(200, body, { etag: etagOf(plan.value.revision, body) }));
  },
);

const deleteToolProvider = endpoint(
  {
    method: "delete",
    path: providerPath,
    operation: "deleteToolProvider",
    summary: "Delete a tool provider",
    description: "Its tools and its credentials go with it.",
    tag: ofProviders,
    permission: manageTools,
    etag: true,
    publishes: true,
    params: ProviderParams,
    responses: { 204: { description: "It is gone." } },
    errors: [],
  },
  async (call) => {
    const row = await findProvider(call.db, call.access().id, call.params.provider);
    return call.commit(planDeleteProvider(call.db, call.actor, row, call.ifMatch), noContent());
  },
);

const refreshToolProvider = endpoint(
  {
    method: "post",
    path: `${providerPath}/refresh`,
    operation: "refreshToolProvider",
    summary: "Read a tool provider's source again",
    description:
      "Fetches the document, or asks the MCP server for its tools. What keeps it from being read stands in `refresh_error`, and the tools " +
      "stay as they are.",
    tag: ofProviders,
    permission: manageTools,
    etag: true,
    publishes: true,
    params: ProviderParams,
    responses: { 200: { description: "The provider as it now stands.", schema: ToolProvider } },
    errors: ["conflict", "keyring_entry_missing"],
  },
  async (call) => {
    const row = await findProvider(call.db, call.access().id, call.params.provider);
    if (call.ifMatch !== null && call.ifMatch !== row.revision) {
      throw new AppError("precondition_failed");
    }
    const draft = await draftRefreshed(call.db, requireSettings(call.env), row);
    const options = { action: "tool_provider.refreshed", ifMatch: call.ifMatch } as const;
    const plan = planReplaceProvider(call.db, call.actor, row, draft, options);
    const body = await show(call.db, plan.value, draft.source?.tools.length);
    return call.commit(plan, reply(200, body, { etag: etagOf(plan.value.revision, body) }));
  },
);

/** Every endpoint of this room. */
export const toolRoomEndpoints: readonly Endpoint[] = [
  listToolProviders,
  createToolProvider,
  readToolProvider,
  replaceToolProvider,
  updateToolProvider,
  deleteToolProvider,
  refreshToolProvider,
  ...toolCredentialEndpoints,
  ...toolEndpoints,
];

async function show(
  db: Parameters<typeof countTools>[0],
  row: Parameters<typeof toToolProvider>[0],
  count?: number,
): Promise<ToolProvider> {
  const homes = await credentialHomes(db, row.workspaceId);
  return toToolProvider(row, count ?? (await countTools(db, row)), homes);
}

/** Whether it is configured moves with its credentials, not with its row. */
function etagOf(revision: number, shown: ToolProvider): string {
  return toEtag(revision, shown.configured ? "1" : "0");
}
