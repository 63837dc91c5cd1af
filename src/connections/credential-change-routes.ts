/** The doors at which a credential changes: its name, use, date and address, and its secret by rotation and rollback. */
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { reply } from "../http/reply.js";
import { planUpdateCredential } from "./credential-change.js";
import { credentialEtag, type CredentialDoor, type CredentialHouse } from "./credential-door-schema.js";
import { findAt, toHouseCall } from "./credential-house.js";
import { planRollbackCredential, planRotateCredential } from "./credential-rotation.js";
import {
  CreatedCredential,
  Credential,
  RollbackCredential,
  RotateCredential,
  toCredential,
  UpdateCredential,
  UpdatedCredential,
} from "./credential-schema.js";
import { findDuplicate, listPoolsUsing } from "./credentials.js";

function updateCredentialAt(house: CredentialHouse, { path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "patch",
      path,
      operation: `update${house.noun}${suffix}`,
      summary: "Change a credential",
      description:
        "What is left out stays. Fields of the form are tried with one free call before they are stored (unless `validate` is false); a change " +
        "of the address needs the secret in the same call, and ends the way back to an earlier one. A disabled credential is out of use until it " +
        "is enabled: then it stands as it was last proved, or `unverified`. `pools` names the pools that use it.",
      tag: house.tag,
      permission: house.manage,
      publishes: true,
      etag: true,
      params,
      body: UpdateCredential,
      responses: { 200: { description: "The credential as it now stands.", schema: UpdatedCredential } },
      errors: ["name_taken", "conflict", "keyring_entry_missing", "undecryptable"],
    },
    async (call) => {
      const { id: workspaceId } = call.access();
      const row = await findAt(house, call);
      const held = { row, provider: await house.find(toHouseCall(call), row.providerName) };
      const settings = requireSettings(call.env);
      const plan = await planUpdateCredential(call.db, settings, call.actor, held, call.body, call.ifMatch);
      const pools = await listPoolsUsing(call.db, workspaceId, row.id);
      const twin =
        plan.value.fingerprint === row.fingerprint ? null : await findDuplicate(call.db, workspaceId, plan.value);
      const shown = toCredential(plan.value, call.now);
      const body: UpdatedCredential = { ...shown, pools, ...(twin === null ? {} : { duplicate_of: twin }) };
      return call.commit(plan, reply(200, body, { etag: credentialEtag(plan.value.revision, shown) }));
    },
  );
}

function rotateCredentialAt(house: CredentialHouse, { path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "post",
      path: `${path}/rotate`,
      operation: `rotate${house.noun}${suffix}`,
      summary: "Give a credential a new secret",
      description:
        "The new secret is tried first (unless `validate` is false): one that the provider refuses is a 422, and the present one stays in use. Calls " +
        "that start after the answer use the new one; those that run go on with the old one, so revoke it at the provider when they have ended. The " +
        "old one is kept, sealed, for `grace_seconds`, for a rollback alone. An `expires_at` that is left out is taken away: it was said of the old one.",
      tag: house.tag,
      permission: house.manage,
      publishes: true,
      etag: true,
      params,
      body: RotateCredential,
      responses: { 200: { description: "The credential with its new secret, masked.", schema: CreatedCredential } },
      errors: ["conflict", "keyring_entry_missing", "undecryptable"],
    },
    async (call) => {
      const { id: workspaceId } = call.access();
      const row = await findAt(house, call);
      const held = { row, provider: await house.find(toHouseCall(call), row.providerName) };
      const settings = requireSettings(call.env);
      const plan = await planRotateCredential(call.db, settings, call.actor, held, call.body, call.ifMatch);
      const twin = await findDuplicate(call.db, workspaceId, plan.value);
      const shown = toCredential(plan.value, call.now);
      const body: CreatedCredential = twin === null ? shown : { ...shown, duplicate_of: twin };
      return call.commit(plan, reply(200, body, { etag: credentialEtag(plan.value.revision, shown) }));
    },
  );
}

function rollbackCredentialAt(house: CredentialHouse, { path, suffix, params }: CredentialDoor): Endpoint {
  return endpoint(
    {
      method: "post",
      path: `${path}/rollback`,
      operation: `rollback${house.noun}${suffix}`,
      summary: "Take back a credential's rotation",
      description:
        "Brings the secret before back into use, within its grace, with the date that was said of it. It is tried first, as in a rotation. The one " +
        "that it replaces takes its place until the same time, so a second rollback undoes the first.",
      tag: house.tag,
      permission: house.manage,
      publishes: true,
      etag: true,
      params,
      body: RollbackCredential,
      optionalBody: true,
      responses: { 200: { description: "The credential with the secret before, masked.", schema: Credential } },
      errors: ["no_previous_secret", "conflict", "keyring_entry_missing", "undecryptable"],
    },
    async (call) => {
      const row = await findAt(house, call);
      const held = { row, provider: await house.find(toHouseCall(call), row.providerName) };
      const settings = requireSettings(call.env);
      const plan = await planRollbackCredential(call.db, settings, call.actor, held, call.body, call.ifMatch);
      const shown = toCredential(plan.value, call.now);
      return call.commit(plan, reply(200, shown, { etag: credentialEtag(plan.value.revision, shown) }));
    },
  );
}

/** Every endpoint of this file, for the credentials of one house. */
export function changeEndpointsOf(house: CredentialHouse): readonly Endpoint[] {
  return house.doors.flatMap((door) => [
    updateCredentialAt(house, door),
    rotateCredentialAt(house, door),
    rollbackCredentialAt(house, door),
  ]);
}
