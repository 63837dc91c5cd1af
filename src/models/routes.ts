/** The doors to models and to the defaults of a workspace. */
import { z } from "@hono/zod-openapi";
import { sha256Hex } from "../base/bytes.js";
import { AppError } from "../base/errors.js";
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { toEtag } from "../http/etag.js";
import { pageOf, PageQuery, readCursor, toPage } from "../http/page.js";
import { noContent, reply } from "../http/reply.js";
import { findProvider } from "../providers/catalogue.js";
import { DefaultModels, PutDefaultModels } from "./default-schema.js";
import { planDefaults, readDefaults, toDefaultModels, type Defaults } from "./defaults.js";
import { modelTypes } from "./model.js";
import { CreateModel, Model, toModel, UpdateModel, type ModelEntry } from "./model-schema.js";
import { findModel, listModels, planModel, planModelDeletion, planModelUpdate, revisionOf } from "./models.js";

const readProviders = { kind: "workspace", scope: "providers:read", keys: true } as const;
const manageProviders = { kind: "workspace", scope: "providers:manage", keys: true } as const;
const ofModels = "Models";

const modelsPath = "/workspaces/{ws}/model-providers/{provider}/models";
const defaultsPath = "/workspaces/{ws}/default-models";
const ProviderParams = z.object({ provider: z.string().describe("The provider's name, such as `openai`.") });
const ModelParams = ProviderParams.extend({
  model: z.string().describe("The provider's name for the model; a / in it is written %2F."),
});
const Flag = z.enum(["true", "false"]).transform((word) => word === "true");
const ListQuery = PageQuery.extend({
  type: z.enum(modelTypes).optional().describe("Only models of this type."),
  enabled: Flag.optional().describe("Only enabled ones, or only disabled ones."),
  custom: Flag.optional().describe("`true`: the workspace's own; `false`: those that the catalogue knows."),
});

const listProviderModels = endpoint(
  {
    method: "get",
    path: modelsPath,
    operation: "listModels",
    summary: "List a provider's models",
    description:
      "What the catalogue knows, as this workspace changed it, and the workspace's own, by name. An enabled one can be called by its " +
      "name without a pool, if no other provider with a credential has that name too.",
    tag: ofModels,
    permission: readProviders,
    params: ProviderParams,
    query: ListQuery,
    responses: { 200: { description: "Models by name.", schema: pageOf(Model) } },
    errors: [],
  },
  async (call) => {
    const { limit, cursor, type = null, enabled = null, custom = null } = call.query;
    const provider = requireProvider(call.env, call.params.provider);
    const after = readCursor(cursor)?.id ?? null;
    const filter = { type, enabled, custom };
    const entries = await listModels(call.db, call.access().id, provider, filter, after, limit + 1);
    return reply(
      200,
      toPage(entries, limit, ({ model }) => ({ time: 0, id: model }), toModel),
    );
  },
);

const createModel = endpoint(
  {
    method: "post",
    path: modelsPath,
    operation: "createModel",
    summary: "Add a model",
    description:
      "A model that the catalogue does not know: a fine-tuned one, a deployment, one of your own server's. `credential_ids` holds it to " +
      "some of the provider's credentials, where not all of them have it.",
    tag: ofModels,
    permission: manageProviders,
    publishes: true,
    params: ProviderParams,
    body: CreateModel,
    etag: "told",
    responses: { 201: { description: "The model.", schema: Model } },
    errors: ["name_taken", "limit_reached"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const provider = requireProvider(call.env, call.params.provider);
    const plan = await planModel(call.db, workspaceId, call.actor, provider, call.body);
    const name = encodeURIComponent(plan.value.model);
    const location = `/workspaces/${workspaceId}/model-providers/${provider}/models/${name}`;
    return call.commit(plan, reply(201, toModel(plan.value), { location, etag: await etagOf(plan.value) }));
  },
);

const readModel = endpoint(
  {
    method: "get",
    path: `${modelsPath}/{model}`,
    operation: "readModel",
    summary: "Read a model",
    tag: ofModels,
    permission: readProviders,
    etag: true,
    params: ModelParams,
    responses: { 200: { description: "The model.", schema: Model } },
    errors: [],
  },
  async (call) => {
    const provider = requireProvider(call.env, call.params.provider);
    const entry = await findModel(call.db, call.access().id, provider, call.params.model);
    return reply(200, toModel(entry), { etag: await etagOf(entry) });
  },
);

const updateModel = endpoint(
  {
    method: "patch",
    path: `${modelsPath}/{model}`,
    operation: "updateModel",
    summary: "Change a model",
    description:
      "What is left out stays; null takes a predefined model's field back to the catalogue. A disabled model is called no more: not by " +
      "its name, and not in a pool either, whose other instances take its share.",
    tag: ofModels,
    permission: manageProviders,
    publishes: true,
    etag: true,
    params: ModelParams,
    body: UpdateModel,
    responses: { 200: { description: "The model as it now is.", schema: Model } },
    errors: ["conflict"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const provider = requireProvider(call.env, call.params.provider);
    const before = await findModel(call.db, workspaceId, provider, call.params.model);
    const plan = await planModelUpdate(call.db, call.actor, workspaceId, before, call.body, call.ifMatch);
    return call.commit(plan, reply(200, toModel(plan.value), { etag: await etagOf(plan.value) }));
  },
);

const deleteModel = endpoint(
  {
    method: "delete",
    path: `${modelsPath}/{model}`,
    operation: "deleteModel",
    summary: "Delete a custom model",
    description: "One that the catalogue knows stays: disable it, or take its fields back by null.",
    tag: ofModels,
    permission: manageProviders,
    publishes: true,
    etag: true,
    params: ModelParams,
    responses: { 204: { description: "It is gone." } },
    errors: ["model_predefined", "conflict"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const provider = requireProvider(call.env, call.params.provider);
    const before = await findModel(call.db, workspaceId, provider, call.params.model);
    return call.commit(planModelDeletion(call.db, call.actor, workspaceId, before, call.ifMatch), noContent());
  },
);

const readDefaultModels = endpoint(
  {
    method: "get",
    path: defaultsPath,
    operation: "readDefaultModels",
    summary: "Read the default models",
    tag: ofModels,
    permission: readProviders,
    etag: true,
    responses: { 200: { description: "One for each type, or null.", schema: DefaultModels } },
    errors: [],
  },
  async (call) => {
    const defaults = await readDefaults(call.db, call.access().id);
    return reply(200, toDefaultModels(defaults), { etag: await etagOfDefaults(defaults) });
  },
);

const replaceDefaultModels = endpoint(
  {
    method: "put",
    path: defaultsPath,
    operation: "replaceDefaultModels",
    summary: "Replace the default models",
    description:
      "For each type a model, a pool or nothing; a type that is left out has none. A call for the model `default` goes to the one for " +
      "`llm`, unless a pool has that name.",
    tag: ofModels,
    permission: manageProviders,
    publishes: true,
    etag: true,
    body: PutDefaultModels,
    responses: { 200: { description: "The defaults as they now are.", schema: DefaultModels } },
    errors: ["conflict"],
  },
  async (call) => {
    const { id: workspaceId } = call.access();
    const before = await readDefaults(call.db, workspaceId);
    const plan = await planDefaults(call.db, workspaceId, call.actor, before, call.body, call.ifMatch);
    return call.commit(plan, reply(200, toDefaultModels(plan.value), { etag: await etagOfDefaults(plan.value) }));
  },
);

/** Every endpoint of this room. */
export const modelEndpoints: readonly Endpoint[] = [
  listProviderModels,
  createModel,
  readModel,
  updateModel,
  deleteModel,
  readDefaultModels,
  replaceDefaultModels,
];

function requireProvider(env: Env, name: string): string {
  const provider = findProvider(name, requireSettings(env));
  if (provider === null) {
    throw new AppError("not_found");
  }
  return provider.name;
}

/** The catalogue's part moves with the release, not with the row's revision. */
async function etagOf(entry: ModelEntry): Promise<string> {
  const known = entry.known === null ? "own" : (await sha256Hex(JSON.stringify(entry.known))).slice(0, 16);
  return toEtag(revisionOf(entry), known);
}

/** Whether each is available moves with credentials and models, a pool's name with the pool. */
async function etagOfDefaults(defaults: Defaults): Promise<string> {
  const shown = await sha256Hex(JSON.stringify(toDefaultModels(defaults)));
  return toEtag(defaults.revision, shown.slice(0, 16));
}
