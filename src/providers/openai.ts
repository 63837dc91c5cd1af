/** OpenAI itself, or a proxy in front of it. */
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField, optionField } from "./form.js";

const baseUrl = "https://api.openai.com/v1";

/** `openai`: Bearer key, proved by the free model list. */
export const openai = defineProvider({
  name: "openai",
  title: "OpenAI",
  docs_url: "https://platform.openai.com/docs/api-reference/chat",
  base_url: baseUrl,
  form: [
    apiKeyField(
      "A project or service-account key from platform.openai.com, beginning with sk-. Admin keys (sk-admin-) cannot call models.",
    ),
    optionField("organization", "Organization", "Only for keys that belong to several organizations.", {
      pattern: "org-[A-Za-z0-9]+",
      placeholder: "org-abc123",
    }),
    optionField("project", "Project", "Only for keys that may use several projects.", {
      pattern: "proj_[A-Za-z0-9]+",
      placeholder: "proj_abc123",
    }),
    baseUrlField("Leave it as it is, unless you call OpenAI through a proxy of your own.", { default: baseUrl }),
  ],
  auth: "bearer",
  key_prefix: "sk-",
  option_headers: { organization: "openai-organization", project: "openai-project" },
  endpoints: {
    "chat/completions": "/chat/completions",
    responses: "/responses",
    completions: "/completions",
    embeddings: "/embeddings",
    "images/generations": "/images/generations",
    "audio/speech": "/audio/speech",
    "audio/transcriptions": "/audio/transcriptions",
    moderations: "/moderations",
  },
  caps_completion: true,
  validation: { method: "GET", path: "/models" },
  // A restricted project key may call models without being allowed to list them, so 403 never proves a bad key here.
  verdicts: [
    {
      from: 403,
      to: 403,
      body: /missing scopes|insufficient permissions/i,
      outcome: "valid",
      reason: "The API key is good, but may not list models. Calls work if it is allowed to call them.",
    },
    {
      from: 403,
      to: 403,
      outcome: "unknown",
      reason: "OpenAI refused to list models, which does not prove that the API key is bad.",
    },
  ],
});
