/** What a workspace may call without a pool, out of the catalogue, its credentials and what it says of models. Run when a configuration is read, never on a call's path. */
import { describeError, log } from "../base/log.js";
import type { CredentialRow } from "../connections/model.js";
import type { DefaultModelRow, ModelRow } from "../models/model.js";
import { readCredentialIds, type ModelEntry } from "../models/model-schema.js";
import { mergeModels } from "../models/models.js";
import { maxOutputOf, routerPriceOf } from "./model-facts.js";
import { catalogueEdition, type RouterCatalogue, type RouterDefault, type RouterProvider } from "./model.js";

/** The Router's view. A provider is in it with its first credential that is not disabled. */
export async function toRouterCatalogue(
  credentials: readonly CredentialRow[],
  models: readonly ModelRow[],
  defaults: readonly DefaultModelRow[],
): Promise<RouterCatalogue> {
  const enabled = credentials.filter((row) => row.providerType === "model" && row.status !== "disabled");
  const ofProvider = Map.groupBy(models, (row) => row.providerName);
  const own = [...Map.groupBy(enabled, (row) => row.providerName)].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const providers = await Promise.all(
    own.map(async ([name, rows]) => {
      const entries = await mergeModels(name, ofProvider.get(name) ?? []);
      const ids = rows.map((row) => row.id);
      return toRouterProvider(name, ids, entries);
    }),
  );
  return { edition: catalogueEdition, providers, defaults: defaults.flatMap(toRouterDefault) };
}

function toRouterProvider(id: string, credentials: readonly string[], entries: readonly ModelEntry[]): RouterProvider {
  const prices: NonNullable<RouterProvider["prices"]> = [];
  const maxOutputs: NonNullable<RouterProvider["max_outputs"]> = [];
  const provider: RouterProvider = { id, models: [], credentials: [...credentials], held: [] };
  for (const entry of entries) {
    const { model, row } = entry;
    const places = row === null ? null : placesOf(row, credentials);
    if (row?.enabled !== false && places?.length !== 0) {
      provider.models.push(model);
      prices.push(packPrice(entry));
      const tokens = maxOutputOf(entry);
      maxOutputs.push(...(tokens === null ? [] : [{ model, tokens }]));
      provider.held.push(...(places === null ? [] : [{ model, places }]));
    }
  }
  return {
    ...provider,
    ...(prices.some((price) => price !== null) ? { prices } : {}),
    ...(maxOutputs.length > 0 ? { max_outputs: maxOutputs } : {}),
  };
}

/** A price as the compact list has it. */
function packPrice(entry: ModelEntry): number[] | null {
  const price = routerPriceOf(entry);
  return price === null ? null : [price.input, price.output, ...(price.cached === undefined ? [] : [price.cached])];
}

/** Where the credentials that a model is held to stand, as far as they do; null for all. One whose list cannot be read is held to none. */
function placesOf(row: ModelRow, credentials: readonly string[]): number[] | null {
  try {
    const only = readCredentialIds(row);
    return only === null ? null : credentials.flatMap((id, place) => (only.includes(id) ? [place] : []));
  } catch (error) {
    log("error", "model_unreadable", { provider: row.providerName, cause: describeError(error) });
    return [];
  }
}

function toRouterDefault({ type, providerName, model, poolId }: DefaultModelRow): RouterDefault[] {
  if (poolId !== null) {
    return [{ type, pool_id: poolId }];
  }
  return providerName === null || model === null ? [] : [{ type, provider_name: providerName, model }];
}
