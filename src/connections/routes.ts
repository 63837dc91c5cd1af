/** The doors to the provider catalogue; those to credentials and pools stand in their own files and are joined here. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { pageOf } from "../http/page.js";
import { reply } from "../http/reply.js";
import { findProvider, listProviders } from "../providers/catalogue.js";
import type { Provider } from "../providers/contract.js";
import { changeEndpointsOf } from "./credential-change-routes.js";
import { modelHouse } from "./credential-house.js";
import { credentialEndpointsOf } from "./credential-routes.js";
import { listConfiguredProviders } from "./credentials.js";
import { ModelProvider, toModelProvider } from "./model.js";
import { poolEndpoints } from "./pool-routes.js";

const readProviders = { kind: "workspace", scope: "providers:read", keys: true } as const;
const ofProviders = "Model providers";

const providersPath = "/workspaces/{ws}/model-providers";
const ProviderParams = z.object({ provider: z.string().describe("The provider's name, such as `openai`.") });

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

/** Every endpoint of this room. */
export const connectionEndpoints: readonly Endpoint[] = [
  listModelProviders,
  readModelProvider,
  ...credentialEndpointsOf(modelHouse),
  ...changeEndpointsOf(modelHouse),
  ...poolEndpoints,
];

function requireProvider(settings: Settings, name: string): Provider {
  const provider = findProvider(name, settings);
  if (provider === null) {
    throw new AppError("not_found");
  }
  return provider;
}
