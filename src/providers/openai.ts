/** OpenAI itself, or a proxy in front of it. */
import type { Provider } from "./contract.js";
import { apiKeyField, baseUrlField, checkFields, parseFields, type FormRules } from "./form.js";
import { bearer, judgeAnswer, modelListRequest, wireRequest, type VerdictRule } from "./openai-wire.js";

const defaultBaseUrl = "https://api.openai.com/v1";

const rules: FormRules = {
  form: [
    apiKeyField(
      "A project or service-account key from platform.openai.com, beginning with sk-. Admin keys (sk-admin-) cannot call models.",
    ),
    baseUrlField("Leave it as it is, unless you call OpenAI through a proxy of your own.", defaultBaseUrl),
  ],
  defaultBaseUrl,
  keyPrefix: "sk-",
};

/** A restricted project key may call models without being allowed to list them, so 403 never proves a bad key here. */
const verdicts: readonly VerdictRule[] = [
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
];

/** `openai`: Bearer key, proved by the free model list. */
export const openai: Provider = {
  name: "openai",
  title: "OpenAI",
  type: "model",
  docs_url: "https://platform.openai.com/docs/api-reference/chat",
  default_base_url: defaultBaseUrl,
  form: rules.form,
  checkFormat: (credentials) => checkFields(rules, credentials),
  parse: (credentials) => parseFields(rules, credentials),
  validationRequest: (input) => modelListRequest(input.base_url, bearer(input.api_key)),
  judge: (status, body) => judgeAnswer(status, body, verdicts),
  request: wireRequest,
};
