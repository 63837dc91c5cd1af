/** Clouds whose addresses are made of the form's fields: Azure OpenAI, Bedrock and Workers AI. */
import { exchangeClientSecret } from "./client-credentials.js";
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField, optionField } from "./form.js";
import { trialCall, trialModelField, trialVerdicts } from "./trial.js";

const entraOrigin = "https://login.microsoftonline.com";
const uuid = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";

/** `azure_openai`: the v1 address, where a model is a deployment's name. A key, or the client secret of an Entra application. */
export const azureOpenai = defineProvider({
  name: "azure_openai",
  title: "Azure OpenAI",
  docs_url: "https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
  base_url: "https://{resource}.openai.azure.com/openai/v1",
  form: [
    apiKeyField(
      "A key of the resource (Keys and Endpoint in the Azure portal), or the client secret of an Entra application.",
    ),
    optionField("resource", "Resource", "The first label of its endpoint, https://{resource}.openai.azure.com.", {
      required: true,
      required_unless: "base_url",
      pattern: "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
      placeholder: "my-resource",
    }),
    optionField("auth_method", "The secret is", "What was entered as API key.", {
      default: "api_key",
      choices: [
        { value: "api_key", label: "A key of the resource" },
        { value: "entra_id", label: "The client secret of an Entra application" },
      ],
    }),
    optionField("tenant_id", "Tenant id", "Of the Entra application.", {
      pattern: uuid,
      placeholder: "00000000-0000-…",
    }),
    optionField("client_id", "Client id", "Of the Entra application.", {
      pattern: uuid,
      placeholder: "00000000-0000-…",
    }),
    trialModelField("A deployment. Without one the key is proved by the resource's list of models."),
    baseUrlField("Only where the endpoint is another one, such as a private one or Azure Government.", {
      placeholder: "https://my-resource.openai.azure.us/openai/v1",
    }),
  ],
  auth: ({ auth_method }) => (auth_method === "entra_id" ? "bearer" : "api-key"),
  auth_note:
    "A key is sent as api-key. A client secret goes to Microsoft's sign-in alone, and the token it gives is sent as Authorization: Bearer.",
  endpoints: {
    "chat/completions": "/chat/completions",
    responses: "/responses",
    completions: "/completions",
    embeddings: "/embeddings",
    "images/generations": "/images/generations",
    "audio/speech": "/audio/speech",
    "audio/transcriptions": "/audio/transcriptions",
  },
  caps_completion: true,
  validation: ({ options: { validate_model: model } }) =>
    model === undefined ? { method: "GET", path: "/models" } : trialCall(model),
  verdicts: trialVerdicts,
  checkTogether(options, isOwn) {
    if (options["auth_method"] !== "entra_id") {
      return null;
    }
    const missing = ["tenant_id", "client_id"].find((field) => options[field] === undefined);
    if (missing !== undefined) {
      return { field: missing, code: "required", detail: "An Entra application needs its tenant id and client id." };
    }
    const detail = "A client secret is used with the resource's own address only: leave the base URL empty.";
    return isOwn ? null : { field: "base_url", code: "format", detail };
  },
  token_origin: entraOrigin,
  exchange: async ({ api_key, options }) =>
    options["auth_method"] !== "entra_id" || api_key === null
      ? null
      : exchangeClientSecret(
          `${entraOrigin}/${options["tenant_id"] ?? ""}/oauth2/v2.0/token`,
          options["client_id"] ?? "",
          api_key,
          "https://cognitiveservices.azure.com/.default",
        ),
});

/** `bedrock`: a Bedrock API key, proved by the control plane's list as long as the address is Amazon's own. */
export const bedrock = defineProvider({
  name: "bedrock",
  title: "Amazon Bedrock",
  docs_url: "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html",
  base_url: "https://bedrock-runtime.{region}.amazonaws.com/openai/v1",
  form: [
    apiKeyField("A Bedrock API key, long-term or short-term. IAM access keys are not taken."),
    optionField("region", "Region", "Where the models are called.", {
      required: true,
      required_unless: "base_url",
      pattern: "[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}",
      placeholder: "us-east-1",
    }),
    trialModelField(
      "For an address of your own, or a key that may not list models: it is tried with a chat of one token.",
    ),
    baseUrlField("Only for a private endpoint or a proxy.", {
      placeholder: "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1",
    }),
  ],
  auth: "bearer",
  key_hint: { pattern: "ABSK.+|bedrock-api-key-.+", text: "they begin with ABSK or bedrock-api-key-" },
  endpoints: { "chat/completions": "/chat/completions" },
  // Of an address that is not Amazon's own nothing is known but that it takes chats.
  validation: ({ options: { validate_model: model } }, isOwn) =>
    model === undefined && isOwn
      ? { method: "GET", host: "https://bedrock.{region}.amazonaws.com", path: "/foundation-models" }
      : trialCall(model ?? "openai.gpt-oss-20b-1:0"),
  verdicts: [
    ...trialVerdicts,
    {
      from: 403,
      to: 403,
      body: /not authorized to perform/i,
      outcome: "unknown",
      reason:
        "The API key is real, but may not do what it was tried with. Name a model that it may call, to try it with that.",
    },
    {
      from: 403,
      to: 403,
      body: /security token|authentication failed|bearer token/i,
      outcome: "invalid",
      reason: null,
    },
  ],
});

/** `cloudflare_workers_ai`: proved by the account's list of models, which takes the same permission as calls do. */
export const cloudflareWorkersAi = defineProvider({
  name: "cloudflare_workers_ai",
  title: "Cloudflare Workers AI",
  docs_url: "https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility/",
  base_url: "https://api.cloudflare.com/client/v4/accounts/{account_id}/ai",
  base_path: "",
  form: [
    apiKeyField("An API token with the permission Workers AI Read or Write."),
    optionField("account_id", "Account id", "32 hexadecimal digits, from the dashboard.", {
      required: true,
      required_unless: "base_url",
      pattern: "[0-9a-f]{32}",
      placeholder: "0123456789abcdef0123456789abcdef",
    }),
    baseUrlField("Only for a proxy of your own: /v1/chat/completions is appended to it.", {
      placeholder: "https://proxy.example.com/ai",
    }),
  ],
  auth: "bearer",
  key_hint: {
    pattern: "[A-Za-z0-9_-]{40}|cf[ua]t_.+",
    text: "40 letters, digits, - and _, or they begin with cfut_ or cfat_",
  },
  endpoints: {
    "chat/completions": "/v1/chat/completions",
    embeddings: "/v1/embeddings",
    responses: "/v1/responses",
  },
  validation: { method: "GET", path: "/models/search?per_page=1" },
  verdicts: [
    // What cannot be a token at all is not 401 there: "Invalid format for Authorization header".
    { from: 400, to: 400, body: /"code"\s*:\s*6111\b/, outcome: "invalid", reason: null },
    {
      from: 403,
      to: 403,
      outcome: "unknown",
      reason: "The token may not use Workers AI in this account. Check its permissions and the account id.",
    },
  ],
});
