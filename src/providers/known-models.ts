/** The models that the catalogue knows of each provider, with prices. A workspace may call others too: this is what forms and estimates begin with. */

/** What a model is for. */
export type ModelType = "llm" | "embedding" | "rerank" | "speech" | "image" | "moderation";

/** USD per million tokens, as decimal texts; null where the source knows none. */
export interface ModelPrice {
  readonly input_usd_per_mtok: string | null;
  readonly output_usd_per_mtok: string | null;
  readonly cached_input_usd_per_mtok: string | null;
}

/** A model that the catalogue knows. */
export interface KnownModel {
  /** The provider's own name for it, as a call sends it. */
  readonly model: string;
  readonly type: ModelType;
  readonly title?: string;
  /** Tokens; null where the source knows none. */
  readonly context_window: number | null;
  /** Most tokens that one answer may have; null where the source knows none. */
  readonly max_output?: number | null;
  readonly price: ModelPrice | null;
}

const none: readonly KnownModel[] = [];
const free = { input_usd_per_mtok: "0", output_usd_per_mtok: "0", cached_input_usd_per_mtok: "0" };
const sandboxModels: readonly KnownModel[] = [
  { model: "sandbox-chat", type: "llm", title: "Sandbox chat", context_window: 128_000, max_output: null, price: free },
];

/** The known models of a provider, in the catalogue's order; empty for a provider without a list. Loaded when first asked for, off the hot path. */
export async function knownModels(providerName: string): Promise<readonly KnownModel[]> {
  return await Promise.resolve(providerName === "sandbox" ? sandboxModels : none);
}
