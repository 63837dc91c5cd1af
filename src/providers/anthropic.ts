/** Anthropic: chat through its OpenAI-compatible address, messages and the proof of keys on its own wire. */
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField } from "./form.js";
import { anthropicHeaders } from "./wire.js";

const baseUrl = "https://api.anthropic.com/v1";

/** `anthropic`: chat with a Bearer key on OpenAI's wire, messages and validation with `x-api-key` on Anthropic's own. */
export const anthropic = defineProvider({
  name: "anthropic",
  title: "Anthropic",
  docs_url: "https://docs.anthropic.com/en/api/openai-sdk",
  base_url: baseUrl,
  form: [
    apiKeyField(
      "A key from console.anthropic.com, beginning with sk-ant-. Admin keys (sk-ant-admin) cannot call models.",
    ),
    baseUrlField("Leave it as it is, unless you call Anthropic through a proxy of your own.", { default: baseUrl }),
  ],
  auth: "bearer",
  key_prefix: "sk-ant-",
  endpoints: {
    "chat/completions": "/chat/completions",
    messages: "/messages",
    "messages/count_tokens": "/messages/count_tokens",
  },
  validation: { method: "GET", path: "/models", auth: "x-api-key", headers: anthropicHeaders },
});
