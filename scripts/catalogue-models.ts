/**
 * `npm run catalogue:models`: writes src/providers/models/*.ts, the models that the catalogue knows, from `@pydantic/genai-prices`
 * and the short lists below. The package is too large for the Worker (0.8 MB of JavaScript), so its data is boiled down here.
 * With `--out <folder>` it writes there instead, for the check that nothing is missing.
 */
import {
  findProvider,
  type TieredPrices,
  type MatchLogic,
  type ModelInfo,
  type ModelPrice,
} from "@pydantic/genai-prices";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Prices with a later beginning are left out until this day is moved on together with the package's version. */
const asOf = "2026-11-22";
const source = "@pydantic/genai-prices 0.1.8";

type ModelType = "llm" | "embedding" | "rerank" | "speech" | "image" | "moderation";
/** As `ModelRow` of src/providers/known-models.ts. */
type Row = readonly [
  model: string,
  type: ModelType,
  title: string,
  context: number | null,
  input: string | null,
  output: string | null,
  cached: string | null,
];

/** What a model is for. The package does not say, so its name decides; the first row that fits. */
const types: readonly (readonly [RegExp, ModelType])[] = [
  [/rerank/i, "rerank"],
  [/embed|(?:^|[/-])(?:bge|gte|e5)-/i, "embedding"],
  [/moderation|guard/i, "moderation"],
  [/whisper|transcribe|(?:^|-)tts(?:-|$)|voxtral-mini/i, "speech"],
  [/image|dall-e|flux/i, "image"],
];

/** Not callable through an endpoint of the catalogue: sockets, pages, classifiers, old completions, OpenRouter's suffixes. */
const never =
  /realtime|-live|-sonic|-ocr|voice|^(?:ada|babbage|curie|davinci|moderation|command|computer-use)$|^text-davinci|^ft:|\.ft-|omni-flash|:extended|:free|distilbert|m2m100|indictrans/;

interface Recipe {
  /** The package's names of the provider; of a model in several the first counts. */
  readonly from: readonly string[];
  readonly only?: RegExp;
  readonly not?: RegExp;
  readonly rename?: (id: string) => string;
  /** Known without the package, and priced by nobody. */
  readonly more?: readonly (readonly [string, ModelType, string, number | null])[];
}

const recipes: Readonly<Record<string, Recipe>> = {
  openai: {
    from: ["openai"],
    more: [["omni-moderation-latest", "moderation", "Omni moderation", null]],
  },
  anthropic: { from: ["anthropic"], not: /^claude-(?:v1|2|3-)/ },
  azure_openai: {
    from: ["azure", "openai"],
    only: /^(?:gpt-|o\d|text-embedding-|phi-)/,
    not: /-search-|^gpt-3\.5-0301/,
  },
  gemini: { from: ["google"], only: /^(?:gemini-\d|gemini-embedding|gemma-[34])/, not: /-maas$|^gemini-1\./ },
  vertex_ai: { from: ["google"], only: /^gemini-[2-9]/, not: /-tts$|-preview-tts/ },
  bedrock: { from: ["aws"], not: /^regional\.|titan-embed|anthropic\.claude-3-/ },
  mistral: { from: ["mistral"] },
  deepseek: { from: ["deepseek"] },
  groq: {
    from: ["groq"],
    not: /^llama[23]|^gemma|^llama-3\.[12]-(?:405|70|[139]|11|90)b-(?:reasoning|versatile|(?:text|vision)-preview|preview)|mixtral|specdec/,
  },
  xai: { from: ["x-ai"] },
  cohere: {
    from: ["cohere"],
    not: /^c4ai/,
    rename: (id) => id.replace(/^command-a$/, "command-a-03-2025").replace(/^command-r7b$/, "command-r7b-12-2024"),
    more: [["rerank-v3.5", "rerank", "Rerank 3.5", null]],
  },
  together: { from: ["together"], only: /Turbo|Llama-4|deepseek|Mistral-7B-Instruct-v0\.2/ },
  fireworks: { from: ["fireworks"] },
  openrouter: { from: ["openrouter"], only: /^[^~]+\//, more: [["openrouter/auto", "llm", "Auto router", null]] },
  moonshot: { from: ["moonshotai"] },
  zhipu: { from: ["zhipuai", "zai"], rename: (id) => id.toLowerCase() },
  dashscope: {
    from: [],
    more: [
      ["qwen-turbo", "llm", "Qwen Turbo", null],
      ["qwen-plus", "llm", "Qwen Plus", null],
      ["qwen-max", "llm", "Qwen Max", null],
      ["text-embedding-v4", "embedding", "Text embedding 4", null],
    ],
  },
  siliconflow: {
    from: [],
    more: [
      ["deepseek-ai/DeepSeek-V3", "llm", "DeepSeek V3", null],
      ["Qwen/Qwen3-32B", "llm", "Qwen3 32B", null],
      ["BAAI/bge-m3", "embedding", "BGE M3", null],
      ["BAAI/bge-reranker-v2-m3", "rerank", "BGE reranker 2 M3", null],
    ],
  },
  minimax: {
    from: ["minimax"],
    only: /^(?:MiniMax-|M2-|minimax-m3)/,
    rename: (id) => id.replace("minimax-m", "MiniMax-M"),
  },
  cloudflare_workers_ai: { from: ["cloudflare"] },
};

function matches(logic: MatchLogic, text: string): boolean {
  if ("or" in logic) {
    return logic.or.some((inner) => matches(inner, text));
  }
  if ("and" in logic) {
    return logic.and.every((inner) => matches(inner, text));
  }
  if ("equals" in logic) {
    return text === logic.equals;
  }
  if ("starts_with" in logic) {
    return text.startsWith(logic.starts_with);
  }
  if ("ends_with" in logic) {
    return text.endsWith(logic.ends_with);
  }
  return "contains" in logic ? text.includes(logic.contains) : new RegExp(logic.regex).test(text);
}

/** A name that the provider takes: the entry's id where its own rule knows it, else the first name that the rule spells out. */
function nameOf(provider: string, model: ModelInfo): string | null {
  if (provider === "fireworks" || matches(model.match, model.id)) {
    return model.id;
  }
  const { match } = model;
  const spelled = ("or" in match ? match.or : [match]).find((logic) => "equals" in logic);
  return spelled !== undefined && "equals" in spelled ? spelled.equals : null;
}

/** The prices in force: of those by the hour the dearest, so that no budget is undercounted; of those by length the usual one. */
function pricesOf({ prices }: ModelInfo): ModelPrice {
  if (!Array.isArray(prices)) {
    return prices;
  }
  const dated = prices.filter(
    ({ constraint }) => constraint === undefined || (constraint.type === "start_date" && constraint.start_date <= asOf),
  );
  const hourly = prices.filter(({ constraint }) => constraint?.type === "time_of_date");
  const candidates = [...dated.slice(-1), ...hourly].map((price) => price.prices);
  return candidates.toSorted((a, b) => base(b["input_mtok"]) - base(a["input_mtok"]))[0] ?? {};
}

function base(price: number | TieredPrices | undefined): number {
  return typeof price === "number" ? price : (price?.base ?? 0);
}

/** US dollars as a decimal text, never with an exponent; null where there is no price. */
function decimal(price: number | TieredPrices | undefined): string | null {
  return price === undefined
    ? null
    : base(price)
        .toFixed(9)
        .replace(/\.?0+$/, "");
}

function rowOf(name: string, model: ModelInfo): Row {
  const prices = pricesOf(model);
  const type = types.find(([pattern]) => pattern.test(name))?.[1] ?? "llm";
  const [input, output, cached] = ["input_mtok", "output_mtok", "cache_read_mtok"].map((unit) => decimal(prices[unit]));
  return [name, type, model.name ?? name, model.context_window ?? null, input ?? null, output ?? null, cached ?? null];
}

function rowsOf(provider: string, recipe: Recipe): readonly Row[] {
  const rows = new Map<string, Row>();
  for (const id of recipe.from) {
    const found = findProvider({ providerId: id });
    if (found === undefined) {
      throw new Error(`${source} has no provider ${id}`);
    }
    for (const model of found.models.filter(({ deprecated }) => deprecated !== true)) {
      const name = nameOf(provider, model);
      if (name !== null && isWanted(name, recipe)) {
        const renamed = recipe.rename?.(name) ?? name;
        rows.set(renamed, rows.get(renamed) ?? rowOf(renamed, model));
      }
    }
  }
  for (const [model, type, title, context] of recipe.more ?? []) {
    rows.set(model, rows.get(model) ?? [model, type, title, context, null, null, null]);
  }
  return [...rows.values()].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function isWanted(name: string, { only, not }: Recipe): boolean {
  return !never.test(name) && (only?.test(name) ?? true) && !(not?.test(name) ?? false);
}

function write(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [provider, recipe] of Object.entries(recipes)) {
    const rows = rowsOf(provider, recipe);
    const from = recipe.from.length === 0 ? "the lists in scripts/catalogue-models.ts" : `${source}, prices of ${asOf}`;
    const lines = [
      `/** Written by \`npm run catalogue:models\` from ${from}; change the script instead. */`,
      "export const rows = [",
      ...rows.map(
        (row) =>
          `  [${row.map((cell) => (typeof cell === "number" ? String(cell) : JSON.stringify(cell))).join(", ")}],`,
      ),
      "] as const;",
      "",
    ];
    writeFileSync(path.join(folder, `${provider.replaceAll("_", "-")}.ts`), lines.join("\n"));
  }
}

const at = process.argv.indexOf("--out");
write(at > 0 ? (process.argv[at + 1] ?? "") : path.join(import.meta.dirname, "../src/providers/models"));
