/** Google's two doors to Gemini: the API with a key, and Vertex AI with a service account. */
import type { CredentialOptions } from "./contract.js";
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField, optionField } from "./form.js";
import { exchangeServiceAccount, googleTokenUrl, serviceAccountForm } from "./service-account.js";
import { trialModelField } from "./trial.js";

const geminiUrl = "https://generativelanguage.googleapis.com/v1beta";

/** `gemini`: Bearer on its OpenAI-compatible wire, `x-goog-api-key` on its own, where keys are proved. */
export const gemini = defineProvider({
  name: "gemini",
  title: "Google Gemini",
  docs_url: "https://ai.google.dev/gemini-api/docs/openai",
  base_url: geminiUrl,
  form: [
    apiKeyField("A key from aistudio.google.com."),
    baseUrlField("Leave it as it is, unless you call Gemini through a proxy of your own.", { default: geminiUrl }),
  ],
  auth: "bearer",
  key_hint: { pattern: "AIza[\\w-]{35}", text: "they begin with AIza" },
  endpoints: { "chat/completions": "/openai/chat/completions", embeddings: "/openai/embeddings" },
  validation: { method: "GET", path: "/models", auth: "x-goog-api-key" },
});

/** Free of charge, and it takes the permission that calls take. */
const trialModel = "gemini-2.5-flash";

function vertexUrl({ location = "", project = "" }: CredentialOptions): string {
  const host = location === "global" ? "aiplatform.googleapis.com" : `${location}-aiplatform.googleapis.com`;
  return `https://${host}/v1/projects/${project}/locations/${location}`;
}

/** `vertex_ai`: its address is Google's alone, since the token opens more than Vertex AI. */
export const vertexAi = defineProvider({
  name: "vertex_ai",
  title: "Google Vertex AI",
  docs_url: "https://cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview",
  base_url: "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}",
  makeBaseUrl: vertexUrl,
  form: [
    apiKeyField("The JSON file of a service account's key with the role Vertex AI User, as it is or in base64.", {
      label: "Service account key",
      multiline: true,
      placeholder: '{"type": "service_account", …}',
    }),
    optionField("location", "Location", "Where the models are called: a region, or global.", {
      default: "global",
      pattern: "[a-z]+(?:-[a-z]+[0-9]{1,2})?",
      placeholder: "europe-west4",
    }),
    optionField("project", "Project", "Only when it is another one than the service account's own.", {
      pattern: "[a-z][a-z0-9:.-]{2,62}[a-z0-9]",
      placeholder: "my-project-123",
    }),
    trialModelField("Its tokens are counted, which is free and takes the permission that calls take.", {
      default: trialModel,
      pattern: "[A-Za-z0-9][\\w.@-]{0,99}",
    }),
  ],
  auth: "bearer",
  auth_note:
    "The private key is never sent: it signs for an access token of an hour, which is sent as Authorization: Bearer.",
  secret: serviceAccountForm,
  endpoints: { "chat/completions": "/endpoints/openapi/chat/completions" },
  validation: ({ options: { validate_model: model = trialModel } }) => ({
    method: "POST",
    path: `/publishers/google/models/${model}:countTokens`,
    body: { contents: [{ role: "user", parts: [{ text: "Hi" }] }] },
  }),
  verdicts: [
    {
      from: 403,
      to: 403,
      outcome: "unknown",
      reason:
        "The service account is real, but may not use Vertex AI in this project. Check the project, its role (Vertex AI User) and that the Vertex AI API is switched on.",
    },
    {
      from: 404,
      to: 404,
      outcome: "model_missing",
      reason: "The service account is good, but this location does not have the model that it was tried with.",
    },
  ],
  checkTogether: ({ project }) =>
    project === undefined
      ? { field: "project", code: "required", detail: "The service account's file names no project: give one." }
      : null,
  modelName: (model) => (model.includes("/") ? model : `google/${model}`),
  token_origin: new URL(googleTokenUrl).origin,
  exchange: async ({ api_key }) =>
    api_key === null ? null : await exchangeServiceAccount(api_key, "https://www.googleapis.com/auth/cloud-platform"),
});
