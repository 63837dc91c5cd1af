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

/** A model as the generated tables hold it: name, type, title, context window, and USD per million tokens of input, output and cached input. */
export type ModelRow = readonly [
  model: string,
  type: ModelType,
  title: string,
  context: number | null,
  input: string | null,
  output: string | null,
  cached: string | null,
];

interface ModelTable {
  readonly rows: readonly ModelRow[];
}

/** Each table is a module of its own, made when it is first asked for. Providers without one serve whatever their owner installed. */
const tables: Readonly<Record<string, () => Promise<ModelTable>>> = {
  openai: () => import("./models/openai.js"),
  anthropic: () => import("./models/anthropic.js"),
  azure_openai: () => import("./models/azure-openai.js"),
  gemini: () => import("./models/gemini.js"),
  vertex_ai: () => import("./models/vertex-ai.js"),
  bedrock: () => import("./models/bedrock.js"),
  mistral: () => import("./models/mistral.js"),
  deepseek: () => import("./models/deepseek.js"),
  groq: () => import("./models/groq.js"),
  xai: () => import("./models/xai.js"),
  cohere: () => import("./models/cohere.js"),
  together: () => import("./models/together.js"),
  fireworks: () => import("./models/fireworks.js"),
  openrouter: () => import("./models/openrouter.js"),
  moonshot: () => import("./models/moonshot.js"),
  zhipu: () => import("./models/zhipu.js"),
  dashscope: () => import("./models/dashscope.js"),
  siliconflow: () => import("./models/siliconflow.js"),
  minimax: () => import("./models/minimax.js"),
  cloudflare_workers_ai: () => import("./models/cloudflare-workers-ai.js"),
  // Made-up prices, so that budgets can be tried: a chat of 20 tokens in and 40 out costs 180 micro-dollars.
  sandbox: () =>
    Promise.resolve({
      rows: [
        ["sandbox-chat", "llm", "Sandbox chat", 128_000, "1", "4", "0.1"],
        ["sandbox-embed", "embedding", "Sandbox embeddings", 8_192, "0.1", null, null],
      ],
    }),
};

/** The known models of a provider, in the catalogue's order; empty for a provider without a list. Loaded when first asked for, off the hot path. */
export async function knownModels(providerName: string): Promise<readonly KnownModel[]> {
  const load = Object.hasOwn(tables, providerName) ? tables[providerName] : undefined;
  return load === undefined ? [] : (await load()).rows.map(toKnownModel);
}

function toKnownModel([model, type, title, context, input, output, cached]: ModelRow): KnownModel {
  const isPriced = input !== null || output !== null;
  return {
    model,
    type,
    title,
    context_window: context,
    // The package that the tables come from does not tell it.
    max_output: null,
    price: isPriced
      ? { input_usd_per_mtok: input, output_usd_per_mtok: output, cached_input_usd_per_mtok: cached }
      : null,
  };
}
