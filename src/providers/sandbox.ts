/** The sandbox: a provider inside the Worker, for trying routing and fail-over with no account anywhere. Never there in production. */
import { defineProvider } from "./define.js";
import { apiKeyField } from "./form.js";
import { answerSandbox } from "./sandbox/server.js";

/** Never fetched: `transport` answers. `.internal` cannot be looked up in the public DNS. */
const baseUrl = "https://sandbox.gatehouse.internal/v1";

/** `sandbox`: models `sandbox-chat` and `sandbox-embed` on each of its wires; its credentials choose how it behaves. */
export const sandbox = defineProvider({
  name: "sandbox",
  title: "Sandbox",
  docs_url: "/docs",
  base_url: baseUrl,
  form: [
    apiKeyField(
      "sk-sandbox-ok answers; -slow, -429, -500, -401, -quota, -cut, -stall and -inband-error fail as they say. A label may follow: sk-sandbox-ok-eu.",
    ),
  ],
  auth: "bearer",
  key_prefix: "sk-sandbox-",
  endpoints: {
    "chat/completions": "/chat/completions",
    responses: "/responses",
    completions: "/completions",
    embeddings: "/embeddings",
    messages: "/messages",
    "messages/count_tokens": "/messages/count_tokens",
  },
  validation: { method: "GET", path: "/models" },
  transport: answerSandbox,
});
