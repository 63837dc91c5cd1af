/** Anthropic, on its own wire alone: its OpenAI-compatible address leaves out response formats, strict tools and caching without a word, and is "not production-ready" by its own account. */
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField } from "./form.js";
import { anthropicHeaders } from "./wire.js";

const baseUrl = "https://api.anthropic.com/v1";

/** `anthropic`: messages with `x-api-key`; chats are translated to them. */
export const anthropic = defineProvider({
  name: "anthropic",
  title: "Anthropic",
  docs_url: "https://docs.anthropic.com/en/api/messages",
  base_url: baseUrl,
  form: [
    apiKeyField(
      "A key from console.anthropic.com, beginning with sk-ant-. Admin keys (sk-ant-admin) cannot call models.",
    ),
    baseUrlField("Leave it as it is, unless you call Anthropic through a proxy of your own.", { default: baseUrl }),
  ],
  auth: "x-api-key",
  key_prefix: "sk-ant-",
  endpoints: { messages: "/messages", "messages/count_tokens": "/messages/count_tokens" },
  validation: { method: "GET", path: "/models", headers: anthropicHeaders },
});
