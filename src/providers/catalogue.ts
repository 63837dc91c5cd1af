/** Every provider there is, by name. The sandbox is listed and found only where the settings allow it. */
import { anthropic } from "./anthropic.js";
import { azureOpenai, bedrock, cloudflareWorkersAi } from "./clouds.js";
import type { Provider } from "./contract.js";
import { gemini, vertexAi } from "./google.js";
import { ollama, openaiCompatible } from "./openai-compatible.js";
import { openai } from "./openai.js";
import { dashscope, minimax, moonshot, siliconflow, zhipu } from "./regional-vendors.js";
import { sandbox } from "./sandbox.js";
import { cohere, deepseek, fireworks, groq, mistral, openrouter, together, xai } from "./vendors.js";

interface CatalogueOptions {
  /** Whether this installation has the sandbox: `env.SANDBOX` is "1". */
  readonly sandbox: boolean;
}

/** In the order in which the catalogue shows them. */
export const providers: readonly Provider[] = [
  openai,
  anthropic,
  azureOpenai,
  gemini,
  vertexAi,
  bedrock,
  mistral,
  deepseek,
  groq,
  xai,
  cohere,
  together,
  fireworks,
  openrouter,
  moonshot,
  zhipu,
  dashscope,
  siliconflow,
  minimax,
  ollama,
  openaiCompatible,
  cloudflareWorkersAi,
  sandbox,
];

const byName: ReadonlyMap<string, Provider> = new Map(providers.map((provider) => [provider.name, provider]));

/** The providers that a workspace may configure. */
export function listProviders(options: CatalogueOptions): readonly Provider[] {
  return options.sandbox ? providers : providers.filter((provider) => provider !== sandbox);
}

/** The provider of a name, or null. Where the sandbox is not offered, a credential for it that is still stored finds none either. */
export function findProvider(name: string, options: CatalogueOptions): Provider | null {
  const provider = byName.get(name) ?? null;
  return provider === sandbox && !options.sandbox ? null : provider;
}
