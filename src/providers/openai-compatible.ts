/** Servers that somebody runs themselves: any that speaks OpenAI's wire (vLLM, LM Studio, LiteLLM), and Ollama. */
import type { VerdictRule } from "./entry.js";
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField, optionField } from "./form.js";
import { trialCall, trialModelField, trialVerdicts } from "./trial.js";

const noKeyNeeded = "Leave it empty for a server that asks for none.";

/** Not every such server lists models, so a missing list leaves the credential unverified and the first routed call decides. */
const noList: VerdictRule = {
  from: 404,
  to: 405,
  outcome: "unknown",
  reason:
    "The server does not list its models below this address, so the API key could not be checked. If the base URL is right, name a model to try the key with, or leave it to the first call.",
};

/** `openai_compatible`: base URL required, Bearer key optional. A server that lists models to anyone counts as valid. */
export const openaiCompatible = defineProvider({
  name: "openai_compatible",
  title: "OpenAI-compatible server",
  docs_url: "https://platform.openai.com/docs/api-reference/chat",
  base_url: null,
  base_path: "/v1",
  form: [
    baseUrlField("The address that /chat/completions is appended to, such as https://llm.example.com/v1.", {
      required: true,
      placeholder: "https://llm.example.com/v1",
    }),
    apiKeyField(noKeyNeeded, { required: false }),
    trialModelField(
      "For a server that lists no models, or lists them to anyone: the key is tried with a chat of one token.",
    ),
    optionField(
      "stream_usage",
      "Streams tell their usage",
      "No for a server that refuses stream_options: its streams are charged by estimate.",
      {
        default: "yes",
        choices: [
          { value: "yes", label: "Yes" },
          { value: "no", label: "No" },
        ],
      },
    ),
  ],
  auth: "bearer",
  endpoints: {
    "chat/completions": "/chat/completions",
    responses: "/responses",
    completions: "/completions",
    embeddings: "/embeddings",
    "images/generations": "/images/generations",
    "audio/speech": "/audio/speech",
    "audio/transcriptions": "/audio/transcriptions",
    moderations: "/moderations",
    rerank: "/rerank",
  },
  validation: ({ options: { validate_model: model } }) =>
    model === undefined ? { method: "GET", path: "/models" } : trialCall(model),
  verdicts: [...trialVerdicts, noList],
});

/** `ollama`: a server of one's own; public and https but for the origins of `OUTBOUND_ALLOW`. */
export const ollama = defineProvider({
  name: "ollama",
  title: "Ollama",
  docs_url: "https://docs.ollama.com/api/openai-compatibility",
  base_url: null,
  base_path: "",
  form: [
    baseUrlField(
      "The server's public https address. This service does not run on your machine: give a server on localhost a tunnel with a name.",
      { required: true, placeholder: "https://ollama.example.com" },
    ),
    apiKeyField("Ollama itself asks for none: this is for a proxy in front of it.", { required: false }),
  ],
  auth: "bearer",
  endpoints: {
    "chat/completions": "/v1/chat/completions",
    completions: "/v1/completions",
    embeddings: "/v1/embeddings",
  },
  validation: { method: "GET", path: "/api/tags" },
});
