/** The doors at which credentials are added, listed, read, validated and deleted; those that change one stand in `credential-change-routes.ts`. */
import { AppError } from "../base/errors.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { pageOf, PageQuery, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { findProvider } from "../providers/catalogue.js";
import type { Provider } from "../providers/contract.js";
import { loadActiveDataKey } from "../vault/data-keys.js";
import {
  credentialDoors,
  credentialEtag,
  credentialsPath,
  ProviderParams,
  type CredentialDoor,
} from "./credential-door-schema.js";
import { prepareCredential } from "./credential-entry.js";
import { CreateCredential, CreatedCredential, Credential, toCredential } from "./credential-schema.js";
import {
  findCredential,
  findDuplicate,
  listCredentials,
  listPoolsUsing,
  planCredential,
  planCredentialDeletion,
} from "./credentials.js";
import { examineCredential, planStanding } from "./examine.js";

const readProviders = { kind: "workspace", scope: "providers:read", keys: true } as const;
const manageProviders = { kind: "workspace", scope: "providers:manage", keys: true } as const;
const ofProviders = "Model providers";

const createCredential = endpoint(
  {
    method: "post",
    path: credentialsPath,
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
    const shown = toCredential(plan.value, call.now);
    const body: CreatedCredential = twin === null ? shown : { ...shown, duplicate_of: twin };
    const location = `/workspaces/${workspaceId}/model-providers/${provider.name}/credentials/${plan.value.id}`;
    return call.commit(plan, reply(201, body, { location, etag: credentialEtag(plan.value.revision, shown) }));
  },
);

const listProviderCredentials = endpoint(
  {
    method: "get",
    path: credentialsPath,
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
      toPage(
        rows,
        limit,
        (row) => ({ time: row.createdAt, id: row.id }),
        (row) => toCredential(row, call.now),
      ),
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
      const shown = toCredential(row, call.now);
      return reply(200, shown, { etag: credentialEtag(row.revision, shown) });
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
      const shown = toCredential(plan.value, call.now);
      return call.commit(plan, reply(200, shown, { etag: credentialEtag(plan.value.revision, shown) }));
    },
  );
}

/** Every endpoint of this file. */
export const credentialEndpoints: readonly Endpoint[] = [
  createCredential,
  listProviderCredentials,
  ...credentialDoors.flatMap((door) => [readCredentialAt(door), deleteCredentialAt(door), validateCredentialAt(door)]),
];

function requireProvider(settings: Settings, name: string): Provider {
  const provider = findProvider(name, settings);
  if (provider === null) {
    throw new AppError("not_found");
  }
  return provider;
}
