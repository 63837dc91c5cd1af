/** The house of model providers' credentials, and how a door finds what it is asked for in any house. */
import type { Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { findProvider } from "../providers/catalogue.js";
import {
  credentialDoors,
  credentialsPath,
  ProviderParams,
  type CredentialHouse,
  type CredentialPlace,
  type HouseCall,
} from "./credential-door-schema.js";
import type { CredentialProvider } from "./credential-form.js";
import { findCredential } from "./credentials.js";
import type { CredentialRow } from "./model.js";

/** The part of a request that look-ups take. */
interface DoorCall {
  readonly env: Env;
  readonly db: Database;
  access(): { readonly id: string };
}

/** Credentials of the providers of models. */
export const modelHouse: CredentialHouse = {
  type: "model",
  noun: "Credential",
  tag: "Model providers",
  read: { kind: "workspace", scope: "providers:read", keys: true },
  manage: { kind: "workspace", scope: "providers:manage", keys: true },
  path: credentialsPath,
  params: ProviderParams,
  doors: credentialDoors,
  ownerOf: async ({ env }, provider) => {
    if (findProvider(provider, requireSettings(env)) === null) {
      throw new AppError("not_found");
    }
    return await Promise.resolve(provider);
  },
  find: async ({ env }, providerName) => await Promise.resolve(findProvider(providerName, requireSettings(env))),
};

/** What a house takes of a request. */
export function toHouseCall(call: DoorCall): HouseCall {
  return { env: call.env, db: call.db, workspaceId: call.access().id };
}

/** The provider that a path names. Throws `not_found`. */
export async function findProviderAt(
  house: CredentialHouse,
  call: DoorCall,
  provider: string,
): Promise<CredentialProvider> {
  const at = toHouseCall(call);
  const found = await house.find(at, await house.ownerOf(at, provider));
  if (found === null) {
    throw new AppError("not_found");
  }
  return found;
}

/** The credential that a path names. Throws `not_found`. */
export async function findAt(
  house: CredentialHouse,
  call: DoorCall & { readonly params: CredentialPlace },
): Promise<CredentialRow> {
  const { provider, id } = call.params;
  const at = toHouseCall(call);
  // A provider that is gone leaves credentials that can still be seen and deleted.
  const owner = provider === undefined ? null : house.type === "model" ? provider : await house.ownerOf(at, provider);
  return await findCredential(call.db, at.workspaceId, owner, id, house.type);
}
