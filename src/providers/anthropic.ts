/** Anthropic, called through its OpenAI-compatible address; keys are proved on the native one. */
import type { Provider } from "./contract.js";
import { apiKeyField, baseUrlField, checkFields, parseFields, type FormRules } from "./form.js";
import { judgeAnswer, modelListRequest, wireRequest } from "./openai-wire.js";

const defaultBaseUrl = "https://api.anthropic.com/v1";
const apiVersion = "2023-06-01";

const rules: FormRules = {
  form: [
    apiKeyField(
      "A key from console.anthropic.com, beginning with sk-ant-. Admin keys (sk-ant-admin) cannot call models.",
    ),
    baseUrlField("Leave it as it is, unless you call Anthropic through a proxy of your own.", defaultBaseUrl),
  ],
  defaultBaseUrl,
  keyPrefix: "sk-ant-",
};

/** `anthropic`: chat with a Bearer key on OpenAI's wire, validation with `x-api-key` on Anthropic's own. */
export const anthropic: Provider = {
  name: "anthropic",
  title: "Anthropic",
  type: "model",
  docs_url: "https://docs.anthropic.com/en/api/openai-sdk",
  default_base_url: defaultBaseUrl,
  form: rules.form,
  checkFormat: (credentials) => checkFields(rules, credentials),
  parse: (credentials) => parseFields(rules, credentials),
  validationRequest: (input) =>
    modelListRequest(input.base_url, {
      ...(input.api_key === null ? {} : { "x-api-key": input.api_key.reveal() }),
      "anthropic-version": apiVersion,
    }),
  judge: (status, body) => judgeAnswer(status, body),
  request: wireRequest,
};
