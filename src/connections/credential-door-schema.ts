/** Where a credential is met: below its provider and, for callers that know only its id, right below the workspace. */
import { z } from "@hono/zod-openapi";
import type { Permission } from "../access/principal.js";
import type { Database } from "../base/database.js";
import { toEtag } from "../http/etag.js";
import type { CredentialProvider } from "./credential-form.js";
import type { Credential } from "./credential-schema.js";
import type { CredentialRow } from "./model.js";

/** A provider's credentials. */
export const credentialsPath = "/workspaces/{ws}/model-providers/{provider}/credentials";

export const ProviderParams = z.object({ provider: z.string().describe("The provider's name, such as `openai`.") });

const CredentialId = z.string().describe("The credential's id.");

/** What a door's path names. */
export interface CredentialPlace {
  readonly provider?: string;
  readonly id: string;
}

/** One of the two places; `suffix` tells their operations apart. */
export interface CredentialDoor {
  readonly path: string;
  readonly suffix: string;
  readonly params: z.ZodType<CredentialPlace>;
}

/** Where a house looks its providers up. */
export interface HouseCall {
  readonly env: Env;
  readonly db: Database;
  readonly workspaceId: string;
}

/** Whose credentials they are: those of model providers or those of tool providers. The doors are the same. */
export interface CredentialHouse {
  readonly type: CredentialRow["providerType"];
  /** What operations are named after. */
  readonly noun: string;
  readonly tag: string;
  readonly read: Permission;
  readonly manage: Permission;
  /** Where credentials are listed and added. */
  readonly path: string;
  readonly params: z.ZodType<{ readonly provider: string }>;
  readonly doors: readonly CredentialDoor[];
  /** The `provider_name` of the credentials of the provider that a path names. Throws `not_found`. */
  ownerOf(call: HouseCall, provider: string): Promise<string>;
  /** A provider by the `provider_name` of its credentials; null for one that is not available here. */
  find(call: HouseCall, providerName: string): Promise<CredentialProvider | null>;
}

export const credentialDoors: readonly CredentialDoor[] = [
  {
    path: `${credentialsPath}/{id}`,
    suffix: "OfProvider",
    params: ProviderParams.extend({ id: CredentialId }),
  },
  { path: "/workspaces/{ws}/credentials/{id}", suffix: "", params: z.object({ id: CredentialId }) },
];

/** The ETag of a credential's answer. The secret before and the last use move without a change, so they stand in it. */
export function credentialEtag(revision: number, shown: Credential): string {
  const { last_used_at: usedAt, previous } = shown;
  if (usedAt === null && previous === null) {
    return toEtag(revision);
  }
  return toEtag(revision, `${previous === null ? 1 : 2}.${usedAt === null ? "never" : Date.parse(usedAt)}`);
}
