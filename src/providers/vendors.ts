/** Vendors with one address, a Bearer key and OpenAI's wire. */
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField, optionField } from "./form.js";

/** The usual form: a key, and another address for who calls through a proxy. */
function usualForm(keyHelp: string, baseUrl: string) {
  const proxy = "Leave it as it is, unless you call the provider through a proxy of your own.";
  return [apiKeyField(keyHelp), baseUrlField(proxy, { default: baseUrl })];
}

/** `mistral`: refuses `stream_options` with 422, and tells a stream's usage unasked. */
export const mistral = defineProvider({
  name: "mistral",
  title: "Mistral AI",
  docs_url: "https://docs.mistral.ai/api",
  base_url: "https://api.mistral.ai/v1",
  form: usualForm("A key from console.mistral.ai.", "https://api.mistral.ai/v1"),
  auth: "bearer",
  key_hint: { pattern: "[A-Za-z0-9]{32}", text: "32 letters and digits" },
  endpoints: {
    "chat/completions": "/chat/completions",
    embeddings: "/embeddings",
    moderations: "/moderations",
    "audio/transcriptions": "/audio/transcriptions",
  },
  stream_options: false,
  validation: { method: "GET", path: "/models" },
});

/** `deepseek`: proved by the balance, which says whether there is credit too. */
export const deepseek = defineProvider({
  name: "deepseek",
  title: "DeepSeek",
  docs_url: "https://api-docs.deepseek.com",
  base_url: "https://api.deepseek.com",
  form: usualForm("A key from platform.deepseek.com.", "https://api.deepseek.com"),
  auth: "bearer",
  key_hint: { pattern: "sk-[a-z0-9]{32}", text: "they begin with sk-, and 32 small letters and digits follow" },
  endpoints: { "chat/completions": "/v1/chat/completions", messages: "/anthropic/v1/messages" },
  validation: { method: "GET", path: "/user/balance" },
  verdicts: [
    {
      from: 200,
      to: 200,
      body: /"is_available"\s*:\s*false/,
      outcome: "no_quota",
      reason: "The API key is good, but its account has no credit left.",
    },
  ],
});

/** `groq` */
export const groq = defineProvider({
  name: "groq",
  title: "Groq",
  docs_url: "https://console.groq.com/docs/openai",
  base_url: "https://api.groq.com/openai/v1",
  form: usualForm("A key from console.groq.com.", "https://api.groq.com/openai/v1"),
  auth: "bearer",
  key_hint: { pattern: "gsk_[A-Za-z0-9]{52}", text: "they begin with gsk_" },
  endpoints: {
    "chat/completions": "/chat/completions",
    responses: "/responses",
    "audio/speech": "/audio/speech",
    "audio/transcriptions": "/audio/transcriptions",
  },
  validation: { method: "GET", path: "/models" },
});

const blockedKey = "The API key is real, but it, or its team, is blocked or switched off at xAI.";

/** `xai`: proved by what it says of the key itself; a bad one may be 400. */
export const xai = defineProvider({
  name: "xai",
  title: "xAI",
  docs_url: "https://docs.x.ai/docs/api-reference",
  base_url: "https://api.x.ai/v1",
  form: usualForm("A key from console.x.ai.", "https://api.x.ai/v1"),
  auth: "bearer",
  key_hint: { pattern: "xai-[0-9A-Za-z_]{80}", text: "they begin with xai-" },
  endpoints: {
    "chat/completions": "/chat/completions",
    responses: "/responses",
    "images/generations": "/images/generations",
  },
  validation: { method: "GET", path: "/api-key" },
  verdicts: [
    { from: 400, to: 400, outcome: "invalid", reason: null },
    {
      from: 200,
      to: 200,
      body: /"(?:api_key_blocked|api_key_disabled|team_blocked)"\s*:\s*true/,
      outcome: "invalid",
      reason: blockedKey,
    },
  ],
});

/** `cohere`: all on the one host that its OpenAI-compatible wire is documented for. Refuses `stream_options`. */
export const cohere = defineProvider({
  name: "cohere",
  title: "Cohere",
  docs_url: "https://docs.cohere.com/docs/compatibility-api",
  base_url: "https://api.cohere.ai",
  form: usualForm("A key from dashboard.cohere.com.", "https://api.cohere.ai"),
  auth: "bearer",
  key_hint: { pattern: "[A-Za-z0-9]{40}", text: "40 letters and digits" },
  endpoints: {
    "chat/completions": "/compatibility/v1/chat/completions",
    embeddings: "/compatibility/v1/embeddings",
    rerank: "/v2/rerank",
  },
  stream_options: false,
  validation: { method: "POST", path: "/v1/check-api-key" },
  verdicts: [{ from: 200, to: 200, body: /"valid"\s*:\s*false/, outcome: "invalid", reason: null }],
});

/** `together` */
export const together = defineProvider({
  name: "together",
  title: "Together AI",
  docs_url: "https://docs.together.ai/docs/openai-api-compatibility",
  base_url: "https://api.together.xyz/v1",
  form: usualForm("A key from api.together.ai.", "https://api.together.xyz/v1"),
  auth: "bearer",
  key_hint: {
    pattern: "[0-9a-f]{64}|tgp_v1_.+",
    text: "they begin with tgp_v1_, older ones are 64 hexadecimal digits",
  },
  endpoints: {
    "chat/completions": "/chat/completions",
    completions: "/completions",
    embeddings: "/embeddings",
    "images/generations": "/images/generations",
    "audio/speech": "/audio/speech",
    rerank: "/rerank",
  },
  validation: { method: "GET", path: "/models" },
});

/** `fireworks`: its own models may be called by their short names. */
export const fireworks = defineProvider({
  name: "fireworks",
  title: "Fireworks AI",
  docs_url: "https://docs.fireworks.ai/tools-sdks/openai-compatibility",
  base_url: "https://api.fireworks.ai/inference/v1",
  form: usualForm("A key from app.fireworks.ai.", "https://api.fireworks.ai/inference/v1"),
  auth: "bearer",
  key_hint: { pattern: "fw_.+", text: "they begin with fw_" },
  endpoints: {
    "chat/completions": "/chat/completions",
    completions: "/completions",
    embeddings: "/embeddings",
  },
  validation: { method: "GET", path: "/models" },
  modelName: (model) => (model.includes("/") ? model : `accounts/fireworks/models/${model}`),
});

/** `openrouter`: its model list is public, so the key is asked about itself. */
export const openrouter = defineProvider({
  name: "openrouter",
  title: "OpenRouter",
  docs_url: "https://openrouter.ai/docs/api-reference/overview",
  base_url: "https://openrouter.ai/api/v1",
  form: [
    ...usualForm("A key from openrouter.ai/settings/keys.", "https://openrouter.ai/api/v1"),
    optionField("site_url", "Site", "Shown in OpenRouter's rankings, if you like.", {
      pattern: "https?://.+",
      placeholder: "https://example.com",
    }),
    optionField("app_title", "Application", "The name shown beside it."),
  ],
  auth: "bearer",
  key_hint: { pattern: "sk-or-v1-[0-9a-f]{64}", text: "they begin with sk-or-v1-" },
  option_headers: { site_url: "http-referer", app_title: "x-title" },
  endpoints: {
    "chat/completions": "/chat/completions",
    completions: "/completions",
    responses: "/responses",
    embeddings: "/embeddings",
    messages: "/messages",
  },
  messages_auth: "bearer",
  validation: { method: "GET", path: "/key" },
});
