/** The doors to the provider catalogue and credentials; those to pools stand in `pool-routes.ts`. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { pageOf, PageQuery, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { findProvider, listProviders } from "../providers/catalogue.js";
import type { Provider } from "../providers/contract.js";
import { loadActiveDataKey } from "../vault/data-keys.js";
import {
  findCredential,
  findDuplicate,
  listConfiguredProviders,
  listCredentials,
  listPoolsUsing,
  planCredential,
  planCredentialDeletion,
  prepareCredential,
} from "./credentials.js";
import { examineCredential, planStanding } from "./examine.js";
import {
  CreateCredential,
  CreatedCredential,
  Credential,
  ModelProvider,
  toCredential,
  toModelProvider,
} from "./model.js";
import { poolEndpoints } from "./pool-routes.js";

const readProviders = { kind: "workspace", scope: "providers:read", keys: true } as const;
const manageProviders = { kind: "workspace", scope: "providers:manage", keys: true } as const;
const ofProviders = "Model providers";

const providersPath = "/workspaces/{ws}/model-providers";
const ProviderParams = z.object({ provider: z.string().describe("The provider's name, such as `openai`.") });
const CredentialId = z.string().describe("The credential's id.");

/** A credential answers below its provider and, for callers that know only its id, right below the workspace. */
const credentialDoors: readonly { path: string; suffix: string; params: z.ZodType<CredentialPlace> }[] = [
  {
    path: `${providersPath}/{provider}/credentials/{id}`,
    suffix: "OfProvider",
    params: ProviderParams.extend({ id: CredentialId }),
  },
  { path: "/workspaces/{ws}/credentials/{id}", suffix: "", params: z.object({ id: CredentialId }) },
];

interface CredentialPlace {
  readonly provider?: string;
  readonly id: string;
}

type CredentialDoor = (typeof credentialDoors)[number];

const listModelProviders = endpoint(
  {
    method: "get",
    path: providersPath,
    operation: "listModelProviders",
    summary: "List model providers",
    description:
      "The catalogue: what each provider's form asks for, and whether this workspace has a credential for it.",
    tag: ofProviders,
    permission: readProviders,
    responses: { 200: { description: "Every provider.", schema: pageOf(ModelProvider) } },
    errors: [],
  },
  async (call) => {
    const configured = await listConfiguredProviders(call.db, call.access().id);
    const known = listProviders(requireSettings(call.env));
    const data = known.map((provider) => toModelProvider(provider, configured.has(provider.name)));
    return reply(200, { data, next_cursor: null });
  },
);

const readModelProvider = endpoint(
  {
    method: "get",
    path: `${providersPath}/{provider}`,
    operation: "readModelProvider",
    summary: "Read a model provider",
    tag: ofProviders,
    permission: readProviders,
    params: ProviderParams,
    responses: { 200: { description: "The provider.", schema: ModelProvider } },
    errors: [],
  },
  async (call) => {
    const provider = requireProvider(requireSettings(call.env), call.params.provider);
    const configured = await listConfiguredProviders(call.db, call.access().id);
    return reply(200, toModelProvider(provider, configured.has(provider.name)));
  },
);

const createCredential = endpoint(
  {
    method: "post",
    path: `${providersPath}/{provider}/credentials`,
    operation: "createCredential",
    summary: "Add a credential",
    description:
      "Checks the fields, tries the secret with one free call (unless `validate` is false) and stores it encrypted. A secret that the " +
      "provider refuses is not stored; one that could not be checked is stored as `unverified`.",
    tag: ofProviders,
    permission: manageProviders,
    publishes: true,
    params: ProviderParams,
    body: CreateCredential,
    responses: { 201: { description: "The credential, masked.", schema: CreatedCredential } },
    errors: ["name_taken", "keyring_entry_missing", "undecryptable"],
  },
  async (call) => {
    const settings = requireSettings(call.env);
    const { id: workspaceId } = call.access();
    const provider = requireProvider(settings, call.params.provider);
    const prepared = await prepareCredential(settings, provider.name, call.body, "");
    const dataKey = await loadActiveDataKey(call.db, settings.keyring, workspaceId);
    const plan = await planCredential(call.db, workspaceId, call.actor, dataKey, prepared, call.body.name);
    const twin = await findDuplicate(call.db, workspaceId, plan.value);
    const body = { ...toCredential(plan.value), ...(twin === null ? {} : { duplicate_of: twin }) };
    const location = `/workspaces/${workspaceId}/model-providers/${provider.name}/credentials/${plan.value.id}`;
    return call.commit(plan, reply(201, body, { location, etag: toEtag(plan.value.revision) }));
  },
);

const listProviderCredentials = endpoint(
  {
    method: "get",
    path: `${providersPath}/{provider}/credentials`,
    operation: "listCredentials",
    summary: "List a provider's credentials",
    tag: ofProviders,
    permission: readProviders,
    params: ProviderParams,
    query: PageQuery,
    responses: { 200: { description: "Credentials, masked, newest first.", schema: pageOf(Credential) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor } = call.query;
    const provider = requireProvider(requireSettings(call.env), call.params.provider);
    const after = readCursor(cursor);
    const rows = await listCredentials(call.db, call.access().id, provider.name, after, limit + 1);
    return reply(
      200,
      toPage(rows, limit, (row) => ({ time: row.createdAt, id: row.id }), toCredential),
    );
  },
);

function readCredentialAt({ path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "get",
      path,
      operation: `readCredential${suffix}`,
      summary: "Read a credential",
      tag: ofProviders,
      permission: readProviders,
      etag: true,
      params,
      responses: { 200: { description: "The credential, masked.", schema: Credential } },
      errors: [],
    },
    async (call) => {
      const row = await findCredential(call.db, call.access().id, call.params.provider ?? null, call.params.id);
      return reply(200, toCredential(row), { etag: toEtag(row.revision) });
    },
  );
}

function deleteCredentialAt({ path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "delete",
      path,
      operation: `deleteCredential${suffix}`,
      summary: "Delete a credential",
      description: "Refused while a pool uses it; `pools` names them.",
      tag: ofProviders,
      permission: manageProviders,
      publishes: true,
      etag: true,
      params,
      responses: { 204: { description: "It is gone." } },
      errors: ["in_use"],
    },
    async (call) => {
      const { id: workspaceId } = call.access();
      const row = await findCredential(call.db, workspaceId, call.params.provider ?? null, call.params.id);
      try {
        return await call.commit(
          planCredentialDeletion(call.db, workspaceId, call.actor, row, call.ifMatch),
          noContent(),
        );
      } catch (error) {
        if (error instanceof AppError && error.code === "in_use") {
          throw new AppError("in_use", { extra: { pools: await listPoolsUsing(call.db, workspaceId, row.id) } });
        }
        throw error;
      }
    },
  );
}

function validateCredentialAt({ path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "post",
      path: `${path}/validate`,
      operation: `validateCredential${suffix}`,
      summary: "Validate a credential",
      description:
        "Asks the provider by one free call and records what it says. An answer that proves nothing leaves the status, but for a " +
        "credential that was out: that one is `unverified` and tried by the next calls.",
      tag: ofProviders,
      permission: manageProviders,
      publishes: true,
      params,
      responses: { 200: { description: "The credential as it now stands.", schema: Credential } },
      errors: ["conflict", "keyring_entry_missing"],
    },
    async (call) => {
      const { id: workspaceId } = call.access();
      const row = await findCredential(call.db, workspaceId, call.params.provider ?? null, call.params.id);
      const standing = await examineCredential(call.db, requireSettings(call.env), row);
      const plan = planStanding(call.db, workspaceId, call.actor, row, standing);
      const etag = toEtag(plan.value.revision);
      return call.commit(plan, reply(200, toCredential(plan.value), { etag }));
    },
  );
}

/** Every endpoint of this room. */
export const connectionEndpoints: readonly Endpoint[] = [
  listModelProviders,
  readModelProvider,
  createCredential,
  listProviderCredentials,
  ...credentialDoors.flatMap((door) => [readCredentialAt(door), deleteCredentialAt(door), validateCredentialAt(door)]),
  ...poolEndpoints,
];

function requireProvider(settings: Settings, name: string): Provider {
  const provider = findProvider(name, settings);
  if (provider === null) {
    throw new AppError("not_found");
  }
  return provider;
}
