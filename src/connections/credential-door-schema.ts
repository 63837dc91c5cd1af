/** Where a credential is met: below its provider and, for callers that know only its id, right below the workspace. */
import { z } from "@hono/zod-openapi";
import { toEtag } from "../http/etag.js";
import type { Credential } from "./credential-schema.js";

/** A provider's credentials. */
export const credentialsPath = "/workspaces/{ws}/model-providers/{provider}/credentials";

export const ProviderParams = z.object({ provider: z.string().describe("The provider's name, such as `openai`.") });

const CredentialId = z.string().describe("The credential's id.");

interface CredentialPlace {
  readonly provider?: string;
  readonly id: string;
}

/** One of the two places; `suffix` tells their operations apart. */
export interface CredentialDoor {
  readonly path: string;
  readonly suffix: string;
  readonly params: z.ZodType<CredentialPlace>;
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
