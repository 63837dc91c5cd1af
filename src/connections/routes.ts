/** The doors to the provider catalogue; those to credentials and pools stand in their own files and are joined here. */
import { z } from "@hono/zod-openapi";
import { AppError } from "../base/errors.js";
import { requireSettings, type Settings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { contentEtag } from "../http/etag.js";
import { pageOf } from "../http/page.js";
import { reply, type Reply } from "../http/reply.js";
import { findProvider, listProviders } from "../providers/catalogue.js";
import type { Provider } from "../providers/contract.js";
import { knownModels } from "../providers/known-models.js";
import { changeEndpointsOf } from "./credential-change-routes.js";
import { modelHouse } from "./credential-house.js";
import { credentialEndpointsOf } from "./credential-routes.js";
import { listConfiguredProviders } from "./credentials.js";
import { poolEndpoints } from "./pool-routes.js";
import { ModelProvider, ModelProviderDetail, toModelProvider, toModelProviderDetail } from "./provider-schema.js";

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
    etag: true,
    responses: { 200: { description: "Every provider.", schema: pageOf(ModelProvider) } },
    errors: [],
  },
  async (call) => {
    const configured = await listConfiguredProviders(call.db, call.access().id);
    const entries = listProviders(requireSettings(call.env)).map(async (provider) =>
      toModelProvider(provider, await knownModels(provider.name), configured.has(provider.name)),
    );
    return await revalidated({ data: await Promise.all(entries), next_cursor: null });
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
    etag: true,
    params: ProviderParams,
    responses: {
      200: { description: "The provider, and the models that the catalogue knows of it.", schema: ModelProviderDetail },
    },
    errors: [],
  },
  async (call) => {
    const provider = requireProvider(requireSettings(call.env), call.params.provider);
    const configured = await listConfiguredProviders(call.db, call.access().id);
    const models = await knownModels(provider.name);
    return await revalidated(toModelProviderDetail(provider, models, configured.has(provider.name)));
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

/** The catalogue changes with a release and with the workspace's credentials: its readers may keep it as long as they ask. */
async function revalidated(body: unknown): Promise<Reply> {
  return reply(200, body, { etag: await contentEtag(body), revalidate: true });
}

function requireProvider(settings: Settings, name: string): Provider {
  const provider = findProvider(name, settings);
  if (provider === null) {
    throw new AppError("not_found");
  }
  return provider;
}
