/** What a configuration says of the models that it calls: whether each is enabled, what its tokens cost, and how many an answer may have. */
import { describeError, log } from "../base/log.js";
import { priceOf, typeOf, type ModelEntry } from "../models/model-schema.js";
import type { ModelRow } from "../models/model.js";
import { mergeModels } from "../models/models.js";
import type { ModelPrice } from "../providers/known-models.js";
import type { RouterPrice } from "./model.js";

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
  /** What its tokens cost; undefined as above. */
  prices(called: CalledModel): RouterPrice | undefined;
  /** Most tokens of one answer; undefined where nobody knows. */
  maxOutput(called: CalledModel): number | undefined;
}

/** What is known of one model. */
interface Fact {
  readonly price: number | null;
  readonly prices: RouterPrice | null;
  readonly maxOutput: number | null;
}

/** Chats send about three tokens for each that they get: the mix by which prices compare. */
const inputPart = 0.75;

/** Reads the facts out of the workspace's rows; `called` are the models whose price and length matter. */
export async function readModelFacts(rows: readonly ModelRow[], called: readonly CalledModel[]): Promise<ModelFacts> {
  const disabled = new Set(rows.filter((row) => !row.enabled).map(nameOf));
  const facts = new Map<string, Fact>();
  for (const [providerName, ofProvider] of Map.groupBy(called, (one) => one.providerName)) {
    const wanted = new Set(ofProvider.map((one) => one.model));
    const own = rows.filter((row) => row.providerName === providerName && wanted.has(row.model));
    for (const entry of await mergeModels(providerName, own)) {
      if (wanted.has(entry.model)) {
        const prices = routerPriceOf(entry);
        facts.set(nameOf(entry), { price: mixedPrice(readPrice(entry)), prices, maxOutput: maxOutputOf(entry) });
      }
    }
  }
  return {
    isDisabled: (one) => disabled.has(nameOf(one)),
    price: (one) => facts.get(nameOf(one))?.price ?? undefined,
    prices: (one) => facts.get(nameOf(one))?.prices ?? undefined,
    maxOutput: (one) => facts.get(nameOf(one))?.maxOutput ?? undefined,
  };
}

/** What a model's tokens cost; null where its price is not known as a whole. Only what answers in no tokens needs no price for them. */
export function routerPriceOf(entry: ModelEntry): RouterPrice | null {
  const price = readPrice(entry);
  const [input, output] = [toMicros(price?.input_usd_per_mtok), toMicros(price?.output_usd_per_mtok)];
  if (input === null || (output === null && !silentTypes.has(typeOf(entry)))) {
    return null;
  }
  const cached = toMicros(price?.cached_input_usd_per_mtok);
  return { input, output: output ?? 0, ...(cached === null ? {} : { cached }) };
}

/** Most tokens of one answer; null where nobody knows. */
export function maxOutputOf({ known, row }: ModelEntry): number | null {
  return row?.maxOutput ?? known?.max_output ?? null;
}

const silentTypes: ReadonlySet<ModelRow["type"]> = new Set(["embedding", "rerank", "moderation"]);

/** Whole, since a price has at most six decimals. */
function toMicros(text: string | null | undefined): number | null {
  const number = toNumber(text);
  return number === null ? null : Math.round(number * 1e6);
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
