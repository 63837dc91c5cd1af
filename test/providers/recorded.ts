/**
 * What each provider's requests must look like, written by hand from the vendors' documentation and never from the code.
 * `key` stands for the secret of the entry (for Vertex AI and Entra: for its access token).
 */

/** One way to fill in a form, and the requests that must come of it. */
export interface Recording {
  readonly provider: string;
  /** When a provider is recorded more than once. */
  readonly variant?: string;
  readonly entered: Readonly<Record<string, string>>;
  readonly base_url: string;
  readonly options?: Readonly<Record<string, string>>;
  /** Headers of every model call, beside accept and content-type. */
  readonly headers: Readonly<Record<string, string>>;
  /** Null: chats are translated to its messages. */
  readonly chat: string | null;
  /** Null where the vendor has none on OpenAI's wire. */
  readonly embeddings: string | null;
  readonly messages?: string;
  /** How the key travels there; `x-api-key` where it is not said. */
  readonly messages_auth?: "bearer";
  readonly validation: {
    readonly method: "GET" | "POST";
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: object;
  };
  /** An instance's model, and the name under which it is sent. */
  readonly model: readonly [string, string];
  readonly streamOptions: boolean;
}

const bearer = { authorization: "Bearer key" };

function get(url: string, headers: Readonly<Record<string, string>> = bearer): Recording["validation"] {
  return { method: "GET", url, headers };
}

/** A chat of one token. */
function trial(
  url: string,
  model: string,
  headers: Readonly<Record<string, string>> = bearer,
): Recording["validation"] {
  const body = { model, messages: [{ role: "user", content: "Hi" }], max_tokens: 1 };
  return { method: "POST", url, headers: { ...headers, "content-type": "application/json" }, body };
}

/** The secret of Vertex AI's recording is made by the test: a key that signs. */
export const recordings: readonly Recording[] = [
  {
    provider: "openai",
    entered: { api_key: "sk-key" },
    base_url: "https://api.openai.com/v1",
    headers: bearer,
    chat: "https://api.openai.com/v1/chat/completions",
    embeddings: "https://api.openai.com/v1/embeddings",
    validation: get("https://api.openai.com/v1/models"),
    model: ["gpt-5-mini", "gpt-5-mini"],
    streamOptions: true,
  },
  {
    provider: "openai",
    variant: "of an organization and a project",
    entered: { api_key: "sk-key", organization: "org-abc", project: "proj_xyz" },
    base_url: "https://api.openai.com/v1",
    options: { organization: "org-abc", project: "proj_xyz" },
    headers: { ...bearer, "openai-organization": "org-abc", "openai-project": "proj_xyz" },
    chat: "https://api.openai.com/v1/chat/completions",
    embeddings: "https://api.openai.com/v1/embeddings",
    validation: get("https://api.openai.com/v1/models", {
      ...bearer,
      "openai-organization": "org-abc",
      "openai-project": "proj_xyz",
    }),
    model: ["gpt-5-mini", "gpt-5-mini"],
    streamOptions: true,
  },
  {
    provider: "anthropic",
    entered: { api_key: "sk-ant-key" },
    base_url: "https://api.anthropic.com/v1",
    headers: { "x-api-key": "key" },
    chat: null,
    embeddings: null,
    messages: "https://api.anthropic.com/v1/messages",
    validation: get("https://api.anthropic.com/v1/models", { "x-api-key": "key", "anthropic-version": "2023-06-01" }),
    model: ["claude-sonnet-4-6", "claude-sonnet-4-6"],
    streamOptions: true,
  },
  {
    provider: "azure_openai",
    entered: { api_key: "key", resource: "acme-east" },
    base_url: "https://acme-east.openai.azure.com/openai/v1",
    options: { resource: "acme-east", auth_method: "api_key" },
    headers: { "api-key": "key" },
    chat: "https://acme-east.openai.azure.com/openai/v1/chat/completions",
    embeddings: "https://acme-east.openai.azure.com/openai/v1/embeddings",
    validation: get("https://acme-east.openai.azure.com/openai/v1/models", { "api-key": "key" }),
    model: ["my-deployment", "my-deployment"],
    streamOptions: true,
  },
  {
    provider: "azure_openai",
    variant: "at another endpoint, tried with a deployment",
    entered: { api_key: "key", base_url: "https://acme.openai.azure.us", validate_model: "my-deployment" },
    base_url: "https://acme.openai.azure.us/openai/v1",
    options: { auth_method: "api_key", validate_model: "my-deployment" },
    headers: { "api-key": "key" },
    chat: "https://acme.openai.azure.us/openai/v1/chat/completions",
    embeddings: "https://acme.openai.azure.us/openai/v1/embeddings",
    validation: trial("https://acme.openai.azure.us/openai/v1/chat/completions", "my-deployment", { "api-key": "key" }),
    model: ["my-deployment", "my-deployment"],
    streamOptions: true,
  },
  {
    provider: "azure_openai",
    variant: "with the token that an Entra application got",
    entered: {
      api_key: "key",
      resource: "acme-east",
      auth_method: "entra_id",
      tenant_id: "11111111-2222-3333-4444-555555555555",
      client_id: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    },
    base_url: "https://acme-east.openai.azure.com/openai/v1",
    options: {
      resource: "acme-east",
      auth_method: "entra_id",
      tenant_id: "11111111-2222-3333-4444-555555555555",
      client_id: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    },
    headers: bearer,
    chat: "https://acme-east.openai.azure.com/openai/v1/chat/completions",
    embeddings: "https://acme-east.openai.azure.com/openai/v1/embeddings",
    validation: get("https://acme-east.openai.azure.com/openai/v1/models"),
    model: ["my-deployment", "my-deployment"],
    streamOptions: true,
  },
  {
    provider: "gemini",
    entered: { api_key: "key" },
    base_url: "https://generativelanguage.googleapis.com/v1beta",
    headers: bearer,
    chat: "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
    embeddings: "https://generativelanguage.googleapis.com/v1beta/openai/embeddings",
    validation: get("https://generativelanguage.googleapis.com/v1beta/models", { "x-goog-api-key": "key" }),
    model: ["gemini-3.5-flash", "gemini-3.5-flash"],
    streamOptions: true,
  },
  {
    provider: "vertex_ai",
    entered: { location: "europe-west4" },
    base_url: "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme-prod/locations/europe-west4",
    options: { location: "europe-west4", project: "acme-prod", validate_model: "gemini-2.5-flash" },
    headers: bearer,
    chat: "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme-prod/locations/europe-west4/endpoints/openapi/chat/completions",
    embeddings: null,
    validation: {
      method: "POST",
      url: "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme-prod/locations/europe-west4/publishers/google/models/gemini-2.5-flash:countTokens",
      headers: { ...bearer, "content-type": "application/json" },
      body: { contents: [{ role: "user", parts: [{ text: "Hi" }] }] },
    },
    model: ["gemini-2.5-pro", "google/gemini-2.5-pro"],
    streamOptions: true,
  },
  {
    provider: "vertex_ai",
    variant: "everywhere, in another project",
    entered: { project: "acme-other" },
    base_url: "https://aiplatform.googleapis.com/v1/projects/acme-other/locations/global",
    options: { location: "global", project: "acme-other", validate_model: "gemini-2.5-flash" },
    headers: bearer,
    chat: "https://aiplatform.googleapis.com/v1/projects/acme-other/locations/global/endpoints/openapi/chat/completions",
    embeddings: null,
    validation: {
      method: "POST",
      url: "https://aiplatform.googleapis.com/v1/projects/acme-other/locations/global/publishers/google/models/gemini-2.5-flash:countTokens",
      headers: { ...bearer, "content-type": "application/json" },
      body: { contents: [{ role: "user", parts: [{ text: "Hi" }] }] },
    },
    model: ["meta/llama-4-maverick-17b-128e-instruct-maas", "meta/llama-4-maverick-17b-128e-instruct-maas"],
    streamOptions: true,
  },
  {
    provider: "bedrock",
    entered: { api_key: "key", region: "eu-central-1" },
    base_url: "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1",
    options: { region: "eu-central-1" },
    headers: bearer,
    chat: "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1/chat/completions",
    embeddings: null,
    validation: get("https://bedrock.eu-central-1.amazonaws.com/foundation-models"),
    model: ["openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b-1:0"],
    streamOptions: true,
  },
  {
    provider: "bedrock",
    variant: "at a private endpoint",
    entered: { api_key: "key", region: "eu-central-1", base_url: "https://vpce-1.example.com/openai/v1" },
    base_url: "https://vpce-1.example.com/openai/v1",
    options: { region: "eu-central-1" },
    headers: bearer,
    chat: "https://vpce-1.example.com/openai/v1/chat/completions",
    embeddings: null,
    validation: trial("https://vpce-1.example.com/openai/v1/chat/completions", "openai.gpt-oss-20b-1:0"),
    model: ["openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b-1:0"],
    streamOptions: true,
  },
  {
    provider: "mistral",
    entered: { api_key: "key" },
    base_url: "https://api.mistral.ai/v1",
    headers: bearer,
    chat: "https://api.mistral.ai/v1/chat/completions",
    embeddings: "https://api.mistral.ai/v1/embeddings",
    validation: get("https://api.mistral.ai/v1/models"),
    model: ["mistral-small-latest", "mistral-small-latest"],
    streamOptions: false,
  },
  {
    provider: "deepseek",
    entered: { api_key: "key" },
    base_url: "https://api.deepseek.com",
    headers: bearer,
    chat: "https://api.deepseek.com/v1/chat/completions",
    embeddings: null,
    messages: "https://api.deepseek.com/anthropic/v1/messages",
    validation: get("https://api.deepseek.com/user/balance"),
    model: ["deepseek-v4-flash", "deepseek-v4-flash"],
    streamOptions: true,
  },
  {
    provider: "groq",
    entered: { api_key: "key" },
    base_url: "https://api.groq.com/openai/v1",
    headers: bearer,
    chat: "https://api.groq.com/openai/v1/chat/completions",
    embeddings: null,
    validation: get("https://api.groq.com/openai/v1/models"),
    model: ["openai/gpt-oss-20b", "openai/gpt-oss-20b"],
    streamOptions: true,
  },
  {
    provider: "xai",
    entered: { api_key: "key" },
    base_url: "https://api.x.ai/v1",
    headers: bearer,
    chat: "https://api.x.ai/v1/chat/completions",
    embeddings: null,
    validation: get("https://api.x.ai/v1/api-key"),
    model: ["grok-4.6", "grok-4.6"],
    streamOptions: true,
  },
  {
    provider: "cohere",
    entered: { api_key: "key" },
    base_url: "https://api.cohere.ai",
    headers: bearer,
    chat: "https://api.cohere.ai/compatibility/v1/chat/completions",
    embeddings: "https://api.cohere.ai/compatibility/v1/embeddings",
    validation: { method: "POST", url: "https://api.cohere.ai/v1/check-api-key", headers: bearer },
    model: ["command-a-03-2025", "command-a-03-2025"],
    streamOptions: false,
  },
  {
    provider: "together",
    entered: { api_key: "key" },
    base_url: "https://api.together.xyz/v1",
    headers: bearer,
    chat: "https://api.together.xyz/v1/chat/completions",
    embeddings: "https://api.together.xyz/v1/embeddings",
    validation: get("https://api.together.xyz/v1/models"),
    model: ["meta-llama/Llama-3.3-70B-Instruct-Turbo", "meta-llama/Llama-3.3-70B-Instruct-Turbo"],
    streamOptions: true,
  },
  {
    provider: "fireworks",
    entered: { api_key: "key" },
    base_url: "https://api.fireworks.ai/inference/v1",
    headers: bearer,
    chat: "https://api.fireworks.ai/inference/v1/chat/completions",
    embeddings: "https://api.fireworks.ai/inference/v1/embeddings",
    validation: get("https://api.fireworks.ai/inference/v1/models"),
    model: ["kimi-k3", "accounts/fireworks/models/kimi-k3"],
    streamOptions: true,
  },
  {
    provider: "openrouter",
    entered: { api_key: "key", site_url: "https://acme.example", app_title: "Acme Desk" },
    base_url: "https://openrouter.ai/api/v1",
    options: { site_url: "https://acme.example", app_title: "Acme Desk" },
    headers: { ...bearer, "http-referer": "https://acme.example", "x-title": "Acme Desk" },
    chat: "https://openrouter.ai/api/v1/chat/completions",
    embeddings: "https://openrouter.ai/api/v1/embeddings",
    messages: "https://openrouter.ai/api/v1/messages",
    messages_auth: "bearer",
    validation: get("https://openrouter.ai/api/v1/key", {
      ...bearer,
      "http-referer": "https://acme.example",
      "x-title": "Acme Desk",
    }),
    model: ["openrouter/auto", "openrouter/auto"],
    streamOptions: true,
  },
  ...regional("moonshot", "https://api.moonshot.ai", "https://api.moonshot.cn", {
    chat: "/v1/chat/completions",
    embeddings: null,
    messages: "/anthropic/v1/messages",
    messages_auth: "bearer",
    validation: "/v1/users/me/balance",
    model: "kimi-k3",
  }),
  ...regional("zhipu", "https://api.z.ai/api", "https://open.bigmodel.cn/api", {
    chat: "/paas/v4/chat/completions",
    embeddings: "/paas/v4/embeddings",
    messages: "/anthropic/v1/messages",
    validation: "/paas/v4/models",
    model: "glm-5-turbo",
  }),
  ...regional("dashscope", "https://dashscope-intl.aliyuncs.com", "https://dashscope.aliyuncs.com", {
    chat: "/compatible-mode/v1/chat/completions",
    embeddings: "/compatible-mode/v1/embeddings",
    validation: "/compatible-mode/v1/models",
    model: "qwen-turbo",
  }),
  ...regional("siliconflow", "https://api.siliconflow.com/v1", "https://api.siliconflow.cn/v1", {
    chat: "/chat/completions",
    embeddings: "/embeddings",
    validation: "/user/info",
    model: "deepseek-ai/DeepSeek-V3",
  }),
  ...regional("minimax", "https://api.minimax.io", "https://api.minimaxi.com", {
    chat: "/v1/chat/completions",
    embeddings: null,
    messages: "/anthropic/v1/messages",
    validation: "/v1/models",
    model: "MiniMax-M2.5",
  }),
  {
    provider: "ollama",
    entered: { base_url: "https://ollama.example.com" },
    base_url: "https://ollama.example.com",
    headers: {},
    chat: "https://ollama.example.com/v1/chat/completions",
    embeddings: "https://ollama.example.com/v1/embeddings",
    validation: get("https://ollama.example.com/api/tags", {}),
    model: ["llama3.3:70b", "llama3.3:70b"],
    streamOptions: true,
  },
  {
    provider: "openai_compatible",
    entered: { base_url: "https://llm.example.com", api_key: "key" },
    base_url: "https://llm.example.com/v1",
    options: { stream_usage: "yes" },
    headers: bearer,
    chat: "https://llm.example.com/v1/chat/completions",
    embeddings: "https://llm.example.com/v1/embeddings",
    validation: get("https://llm.example.com/v1/models"),
    model: ["qwen3-32b", "qwen3-32b"],
    streamOptions: true,
  },
  {
    provider: "openai_compatible",
    variant: "without a model list, without a key, without stream_options",
    entered: { base_url: "https://llm.example.com/api/v3/", validate_model: "m-1", stream_usage: "no" },
    base_url: "https://llm.example.com/api/v3",
    options: { validate_model: "m-1", stream_usage: "no" },
    headers: {},
    chat: "https://llm.example.com/api/v3/chat/completions",
    embeddings: "https://llm.example.com/api/v3/embeddings",
    validation: trial("https://llm.example.com/api/v3/chat/completions", "m-1", {}),
    model: ["m-1", "m-1"],
    streamOptions: false,
  },
  {
    provider: "cloudflare_workers_ai",
    entered: { api_key: "key", account_id: "0123456789abcdef0123456789abcdef" },
    base_url: "https://api.cloudflare.com/client/v4/accounts/0123456789abcdef0123456789abcdef/ai",
    options: { account_id: "0123456789abcdef0123456789abcdef" },
    headers: bearer,
    chat: "https://api.cloudflare.com/client/v4/accounts/0123456789abcdef0123456789abcdef/ai/v1/chat/completions",
    embeddings: "https://api.cloudflare.com/client/v4/accounts/0123456789abcdef0123456789abcdef/ai/v1/embeddings",
    validation: get(
      "https://api.cloudflare.com/client/v4/accounts/0123456789abcdef0123456789abcdef/ai/models/search?per_page=1",
    ),
    model: ["@cf/meta/llama-3.3-70b-instruct-fp8-fast", "@cf/meta/llama-3.3-70b-instruct-fp8-fast"],
    streamOptions: true,
  },
];

interface Paths {
  /** Null: chats are translated to its messages. */
  readonly chat: string | null;
  readonly embeddings: string | null;
  readonly messages?: string;
  /** How the key travels there; `x-api-key` where it is not said. */
  readonly messages_auth?: "bearer";
  readonly validation: string;
  readonly model: string;
}

/** A vendor with two regions: the international one unasked, Mainland China by choice. */
function regional(provider: string, intl: string, cn: string, paths: Paths): readonly Recording[] {
  const at = (base_url: string, region: string, entered: Readonly<Record<string, string>>): Recording => ({
    provider,
    variant: region,
    entered: { api_key: "key", ...entered },
    base_url,
    options: { region },
    headers: bearer,
    chat: `${base_url}${paths.chat}`,
    embeddings: paths.embeddings === null ? null : `${base_url}${paths.embeddings}`,
    ...(paths.messages === undefined ? {} : { messages: `${base_url}${paths.messages}` }),
    ...(paths.messages_auth === undefined ? {} : { messages_auth: paths.messages_auth }),
    validation: get(`${base_url}${paths.validation}`),
    model: [paths.model, paths.model],
    streamOptions: true,
  });
  return [at(intl, "intl", {}), at(cn, "cn", { region: "cn" })];
}
