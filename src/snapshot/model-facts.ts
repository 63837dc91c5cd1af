/** What a configuration says of the models that pool instances call: whether each is enabled and, where the pool goes by cost, its price. */
import { describeError, log } from "../base/log.js";
import { priceOf } from "../models/model-schema.js";
import type { ModelRow } from "../models/model.js";
import { mergeModels } from "../models/models.js";
import type { ModelPrice } from "../providers/known-models.js";

/** A provider's model, as an instance names it. */
export interface CalledModel {
  readonly providerName: string;
  readonly model: string;
}

/** What is known of called models. */
export interface ModelFacts {
  isDisabled(called: CalledModel): boolean;
  /** Micro-dollars for a mixed million tokens; undefined for a model that was not asked about, or without a price. */
  price(called: CalledModel): number | undefined;
}

/** Chats send about three tokens for each that they get: the mix by which prices compare. */
const inputPart = 0.75;

/** Reads the facts out of the workspace's rows; `priced` are the models whose price matters. */
export async function readModelFacts(rows: readonly ModelRow[], priced: readonly CalledModel[]): Promise<ModelFacts> {
  const disabled = new Set(rows.filter((row) => !row.enabled).map(nameOf));
  const prices = new Map<string, number>();
  for (const [providerName, called] of Map.groupBy(priced, (one) => one.providerName)) {
    const wanted = new Set(called.map((one) => one.model));
    const own = rows.filter((row) => row.providerName === providerName && wanted.has(row.model));
    for (const entry of await mergeModels(providerName, own)) {
      const price = wanted.has(entry.model) ? mixedPrice(readPrice(entry)) : null;
      if (price !== null) {
        prices.set(nameOf(entry), price);
      }
    }
  }
  return { isDisabled: (called) => disabled.has(nameOf(called)), price: (called) => prices.get(nameOf(called)) };
}

/** A price that cannot be read is none: one row must not hold up everybody's changes. */
function readPrice(entry: Parameters<typeof priceOf>[0]): ModelPrice | null {
  try {
    return priceOf(entry);
  } catch (error) {
    log("error", "model_unreadable", { provider: entry.providerName, cause: describeError(error) });
    return null;
  }
}

function mixedPrice(price: ModelPrice | null): number | null {
  const [input, output] = [toNumber(price?.input_usd_per_mtok), toNumber(price?.output_usd_per_mtok)];
  if (input === null && output === null) {
    return null;
  }
  // Embeddings have no output to pay for.
  return 1e6 * (output === null ? (input ?? 0) : inputPart * (input ?? 0) + (1 - inputPart) * output);
}

function toNumber(text: string | null | undefined): number | null {
  return text === null || text === undefined ? null : Number(text);
}

/** Provider names hold no space. */
function nameOf({ providerName, model }: CalledModel): string {
  return `${providerName} ${model}`;
}
