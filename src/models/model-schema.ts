/** Models on the wire: what may be said of one, and how it answers. Holds no table; those stand in `model.ts`. */
import { z } from "@hono/zod-openapi";
import type { KnownModel, ModelPrice } from "../providers/known-models.js";
import { modelTypes, type ModelRow } from "./model.js";

const maxTokens = 100_000_000;
const maxCredentials = 20;

/** A provider's name for a model, as a call sends it. Clients may ask for it, so it has their limits; a cursor holds it, so no quote or backslash. */
const ModelName = z
  .string()
  .regex(
    /^[!#-[\]-~]{1,128}$/,
    "Give the provider's model name: 1 to 128 visible ASCII characters, no spaces, no \" and no \\.",
  )
  .refine((name) => name !== "." && name !== "..", "This name cannot stand in a path. Choose another.");

/** USD per million tokens, such as "2.5"; a text, because money has no rounding. */
const UsdPerMtok = z
  .string()
  .regex(
    /^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$/,
    'Give USD per million tokens as a decimal text, such as "2.5": at most 6 digits on either side of the point.',
  );

const Price = z
  .strictObject({
    input_usd_per_mtok: UsdPerMtok.nullable().default(null),
    output_usd_per_mtok: UsdPerMtok.nullable().default(null),
    cached_input_usd_per_mtok: UsdPerMtok.nullable().default(null).describe("For input that the provider had cached."),
  })
  .openapi("ModelPrice", {
    description: "USD per million tokens, as decimal texts; null where it is not known.",
    example: { input_usd_per_mtok: "2.5", output_usd_per_mtok: "10", cached_input_usd_per_mtok: "1.25" },
  });

const Tokens = z.number().int().min(1).max(maxTokens);
const Title = z.string().trim().min(1).max(200);
const CredentialIds = z
  .array(z.string().max(64))
  .min(1, "Give at least one credential, or null for all.")
  .max(maxCredentials)
  .describe("Credentials of the provider that it is called with; null for all of them.");

const details = {
  title: Title.nullable().default(null),
  context_window: Tokens.nullable().default(null).describe("Tokens."),
  max_output: Tokens.nullable().default(null).describe("Most tokens of one answer."),
  price: Price.nullable().default(null),
  enabled: z.boolean().default(true),
  credential_ids: CredentialIds.nullable().default(null),
};

export const CreateModel = z
  .strictObject({ model: ModelName, type: z.enum(modelTypes), ...details })
  .openapi("CreateModel", { example: { model: "ft:gpt-5-mini:acme::7pQx", type: "llm", context_window: 128_000 } });
export type CreateModel = z.infer<typeof CreateModel>;

/** What is left out stays; null takes a predefined model's field back to the catalogue. */
export const UpdateModel = z
  .strictObject({
    type: z.enum(modelTypes).optional().describe("Of custom models only."),
    title: Title.nullable().optional(),
    context_window: Tokens.nullable().optional(),
    max_output: Tokens.nullable().optional(),
    price: Price.nullable().optional(),
    enabled: z.boolean().optional(),
    credential_ids: CredentialIds.nullable().optional(),
  })
  .openapi("UpdateModel", { example: { enabled: false } });
export type UpdateModel = z.infer<typeof UpdateModel>;

export const Model = z
  .object({
    provider_name: z.string(),
    model: z.string(),
    type: z.enum(modelTypes),
    title: z.string().nullable(),
    context_window: z.number().int().nullable(),
    max_output: z.number().int().nullable(),
    price: z.object(Price.shape).nullable(),
    price_source: z.enum(["catalogue", "workspace"]).nullable().describe("Whose price it is; null when there is none."),
    enabled: z.boolean().describe("One that is not is never called, neither by its name nor in a pool."),
    custom: z.boolean().describe("Of the workspace's own; else the catalogue knows it."),
    credential_ids: z.array(z.string()).nullable(),
    updated_at: z.iso.datetime().nullable().describe("Null for a predefined one that nobody changed."),
  })
  .openapi("Model", {
    example: {
      provider_name: "openai",
      model: "gpt-5-mini",
      type: "llm",
      title: "GPT-5 mini",
      context_window: 400_000,
      max_output: null,
      price: { input_usd_per_mtok: "0.25", output_usd_per_mtok: "2", cached_input_usd_per_mtok: "0.025" },
      price_source: "catalogue",
      enabled: true,
      custom: false,
      credential_ids: null,
      updated_at: null,
    },
  });
export type Model = z.infer<typeof Model>;

/** A model as the workspace has it: the catalogue's entry, the workspace's row, or both. */
export interface ModelEntry {
  readonly providerName: string;
  readonly model: string;
  readonly known: KnownModel | null;
  readonly row: ModelRow | null;
}

/** Whether it is the workspace's own; so is one that it changed and that the catalogue has dropped since. */
export function isCustom({ known, row }: ModelEntry): boolean {
  return known === null || row?.isCustom === true;
}

/** What it is for. */
export function typeOf({ known, row }: ModelEntry): ModelRow["type"] {
  return known !== null && row?.isCustom !== true ? known.type : (row?.type ?? "llm");
}

/** Its price, the workspace's own before the catalogue's. */
export function priceOf({ known, row }: ModelEntry): ModelPrice | null {
  return readPrice(row) ?? known?.price ?? null;
}

/** The credentials that it is held to; null for all. Ids of deleted ones may be among them. */
export function readCredentialIds(row: Pick<ModelRow, "credentialIds"> | null): readonly string[] | null {
  const text = row?.credentialIds ?? null;
  return text === null ? null : z.array(z.string()).parse(JSON.parse(text));
}

/** The answer's view of a model. */
export function toModel(entry: ModelEntry): Model {
  const { known, row } = entry;
  const price = priceOf(entry);
  const own = readPrice(row) === null ? "catalogue" : "workspace";
  return {
    provider_name: entry.providerName,
    model: entry.model,
    type: typeOf(entry),
    title: row?.title ?? known?.title ?? null,
    context_window: row?.contextWindow ?? known?.context_window ?? null,
    max_output: row?.maxOutput ?? known?.max_output ?? null,
    price: price === null ? null : { ...price },
    price_source: price === null ? null : own,
    enabled: row?.enabled ?? true,
    custom: isCustom(entry),
    credential_ids: readCredentialIds(row)?.slice() ?? null,
    updated_at: row === null ? null : new Date(row.updatedAt).toISOString(),
  };
}

/** The workspace's own part of a model, for an export: null is the catalogue's word. */
export function toStoredModel(row: ModelRow): Omit<Model, "price_source"> {
  const { providerName, model } = row;
  const { price_source: _, ...own } = toModel({ providerName, model, known: null, row });
  return { ...own, custom: row.isCustom };
}

function readPrice(row: Pick<ModelRow, "price"> | null): ModelPrice | null {
  const text = row?.price ?? null;
  return text === null ? null : Price.parse(JSON.parse(text));
}
