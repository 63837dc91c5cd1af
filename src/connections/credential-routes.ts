/** The doors at which credentials are added, listed, read, validated and deleted; those that change one stand in `credential-change-routes.ts`. */
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { pageOf, PageQuery, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { loadActiveDataKey } from "../vault/data-keys.js";
import { credentialEtag, type CredentialDoor, type CredentialHouse } from "./credential-door-schema.js";
import { findWarnings, prepareFor } from "./credential-entry.js";
import { findAt, findProviderAt, toHouseCall } from "./credential-house.js";
import { CreateCredential, CreatedCredential, Credential, toCredential } from "./credential-schema.js";
import {
  findDuplicate,
  listCredentials,
  listPoolsUsing,
  planCredential,
  planCredentialDeletion,
} from "./credentials.js";
import { examineCredential, planStanding } from "./examine.js";
import { nextStanding } from "./validation.js";

function createCredential(house: CredentialHouse): Endpoint {
  return endpoint(
    {
      method: "post",
      path: house.path,
      operation: `create${house.noun}`,
      summary: "Add a credential",
      description:
        "Checks the fields, tries the secret with one free call (unless `validate` is false) and stores it encrypted. A secret that the " +
        "provider refuses is not stored; one that could not be checked is stored as `unverified`.",
      tag: house.tag,
      permission: house.manage,
      publishes: true,
      params: house.params,
      body: CreateCredential,
      etag: "told",
      responses: { 201: { description: "The credential, masked.", schema: CreatedCredential } },
      errors: ["name_taken", "limit_reached", "keyring_entry_missing", "undecryptable"],
    },
    async (call) => {
      const settings = requireSettings(call.env);
      const { id: workspaceId } = call.access();
      const provider = await findProviderAt(house, call, call.params.provider);
      const prepared = await prepareFor(settings, provider, call.body, "");
      const dataKey = await loadActiveDataKey(call.db, settings.keyring, workspaceId);
      const plan = await planCredential(call.db, workspaceId, call.actor, dataKey, prepared, call.body.name);
      const twin = await findDuplicate(call.db, workspaceId, plan.value);
      const shown = toCredential(plan.value, call.now);
      const warnings = findWarnings(provider, prepared);
      const body: CreatedCredential = { ...shown, ...(twin === null ? {} : { duplicate_of: twin }), ...warnings };
      const path = house.path.replace("{ws}", workspaceId).replace("{provider}", call.params.provider);
      const location = `${path}/${plan.value.id}`;
      return call.commit(plan, reply(201, body, { location, etag: credentialEtag(plan.value.revision, shown) }));
    },
  );
}

function listProviderCredentials(house: CredentialHouse): Endpoint {
  return endpoint(
    {
      method: "get",
      path: house.path,
      operation: `list${house.noun}s`,
      summary: "List a provider's credentials",
      tag: house.tag,
      permission: house.read,
      params: house.params,
      query: PageQuery,
      responses: { 200: { description: "Credentials, masked, newest first.", schema: pageOf(Credential) } },
      errors: [],
    },
    async (call) => {
      const { limit, cursor } = call.query;
      const owner = await house.ownerOf(toHouseCall(call), call.params.provider);
      const after = readCursor(cursor);
      const rows = await listCredentials(call.db, call.access().id, owner, after, limit + 1, house.type);
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
}

function readCredentialAt(house: CredentialHouse, { path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "get",
      path,
      operation: `read${house.noun}${suffix}`,
      summary: "Read a credential",
      tag: house.tag,
      permission: house.read,
      etag: true,
      params,
      responses: { 200: { description: "The credential, masked.", schema: Credential } },
      errors: [],
    },
    async (call) => {
      const row = await findAt(house, call);
      const shown = toCredential(row, call.now);
      return reply(200, shown, { etag: credentialEtag(row.revision, shown) });
    },
  );
}

function deleteCredentialAt(house: CredentialHouse, { path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "delete",
      path,
      operation: `delete${house.noun}${suffix}`,
      summary: "Delete a credential",
      description: "Refused while a pool uses it; `pools` names them.",
      tag: house.tag,
      permission: house.manage,
      publishes: true,
      etag: true,
      params,
      responses: { 204: { description: "It is gone." } },
      errors: ["in_use"],
    },
    async (call) => {
      const { id: workspaceId } = call.access();
      const row = await findAt(house, call);
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

function validateCredentialAt(house: CredentialHouse, { path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "post",
      path: `${path}/validate`,
      operation: `validate${house.noun}${suffix}`,
      summary: "Validate a credential",
      description:
        "Asks the provider by one free call and records what it says. An answer that proves nothing leaves the status, but for a " +
        "credential that was out: that one is `unverified` and tried by the next calls.",
      tag: house.tag,
      permission: house.manage,
      publishes: true,
      params,
      etag: "told",
      responses: { 200: { description: "The credential as it now stands.", schema: Credential } },
      errors: ["conflict", "keyring_entry_missing"],
    },
    async (call) => {
      const { id: workspaceId } = call.access();
      const row = await findAt(house, call);
      const provider = await house.find(toHouseCall(call), row.providerName);
      const standing = await examineCredential(call.db, requireSettings(call.env), row, nextStanding, provider);
      const plan = planStanding(call.db, workspaceId, call.actor, row, standing);
      const shown = toCredential(plan.value, call.now);
      return call.commit(plan, reply(200, shown, { etag: credentialEtag(plan.value.revision, shown) }));
    },
  );
}

/** Every endpoint of this file, for the credentials of one house. */
export function credentialEndpointsOf(house: CredentialHouse): readonly Endpoint[] {
  return [
    createCredential(house),
    listProviderCredentials(house),
    ...house.doors.flatMap((door) => [
      readCredentialAt(house, door),
      deleteCredentialAt(house, door),
      validateCredentialAt(house, door),
    ]),
  ];
}
