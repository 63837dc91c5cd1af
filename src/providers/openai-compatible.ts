/** Any server that speaks OpenAI's wire: vLLM, LM Studio, LiteLLM, or a vendor without an entry of its own. */
import type { Provider } from "./contract.js";
import { apiKeyField, baseUrlField, checkFields, parseFields, type FormRules } from "./form.js";
import { bearer, judgeAnswer, modelListRequest, wireRequest, type VerdictRule } from "./openai-wire.js";

const rules: FormRules = {
  form: [
    baseUrlField("The address that /chat/completions is appended to, such as https://llm.example.com/v1.", null),
    apiKeyField("Leave it empty for a server that asks for none.", false),
  ],
  defaultBaseUrl: null,
  keyPrefix: null,
};

/**
 * Not every such server lists models. A one-token chat would prove more, but it needs a model's name and may cost money,
 * so a missing list leaves the credential unverified and the first routed call decides.
 */
const verdicts: readonly VerdictRule[] = [
  {
    from: 404,
    to: 405,
    outcome: "unknown",
    reason: "The server does not list its models, so the API key could not be checked.",
  },
];

/** `openai_compatible`: base URL required, Bearer key optional. A server that lists models to anyone counts as valid. */
export const openaiCompatible: Provider = {
  name: "openai_compatible",
  title: "OpenAI-compatible server",
  type: "model",
  docs_url: "https://platform.openai.com/docs/api-reference/chat",
  default_base_url: null,
  form: rules.form,
  checkFormat: (credentials) => checkFields(rules, credentials),
  parse: (credentials) => parseFields(rules, credentials),
  validationRequest: (input) => modelListRequest(input.base_url, bearer(input.api_key)),
  judge: (status, body) => judgeAnswer(status, body, verdicts),
  request: wireRequest,
};
