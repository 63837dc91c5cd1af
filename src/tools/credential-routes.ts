/** The doors to tool providers' credentials: those of model providers' credentials, in another house. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { changeEndpointsOf } from "../connections/credential-change-routes.js";
import type { CredentialHouse, HouseCall } from "../connections/credential-door-schema.js";
import { credentialEndpointsOf } from "../connections/credential-routes.js";
import type { Endpoint } from "../http/endpoint.js";
import { isId } from "../base/ids.js";
import { ownerOf } from "./auth.js";
import { findBuiltin } from "./builtin/builtin.js";
import { builtinCredentialProvider, credentialProvider } from "./credential-provider.js";
import { findProvider } from "./providers.js";

const path = "/workspaces/{ws}/tool-providers/{provider}/credentials";
const params = z.object({ provider: z.string().max(200).describe("The provider's id or name.") });

/** Credentials of tool providers; those of a built-in one may be entered before it is added. */
const toolHouse: CredentialHouse = {
  type: "tool",
  noun: "ToolCredential",
  tag: "Tool providers",
  read: { kind: "workspace", scope: "tools:read", keys: true },
  manage: { kind: "workspace", scope: "tools:manage", keys: true },
  path,
  params,
  doors: [
    {
      path: `${path}/{id}`,
      suffix: "",
      params: params.extend({ id: z.string().describe("The credential's id.") }),
    },
  ],
  ownerOf: findOwner,
  async find(call, providerName) {
    const builtin = isId("toolProvider", providerName) ? null : findBuiltin(providerName);
    if (builtin !== null) {
      return builtinCredentialProvider(builtin);
    }
    try {
      return credentialProvider(await findProvider(call.db, call.workspaceId, providerName));
    } catch (error) {
      if (error instanceof AppError && error.code === "not_found") {
        return null;
      }
      throw error;
    }
  },
};

async function findOwner({ db, workspaceId }: HouseCall, provider: string): Promise<string> {
  return findBuiltin(provider) === null ? ownerOf(await findProvider(db, workspaceId, provider)) : provider;
}

/** Every endpoint of this file. */
export const toolCredentialEndpoints: readonly Endpoint[] = [
  ...credentialEndpointsOf(toolHouse),
  ...changeEndpointsOf(toolHouse),
];
