/** The sandbox: a provider inside the Worker, for trying routing and fail-over with no account anywhere. Never there in production. */
import type { Provider } from "./contract.js";
import { apiKeyField, checkFields, parseFields, type FormRules } from "./form.js";
import { bearer, judgeAnswer, modelListRequest, wireRequest } from "./openai-wire.js";
import { answerSandbox } from "./sandbox-server.js";

/** Never fetched: `transport` answers. `.internal` cannot be looked up in the public DNS. */
const baseUrl = "https://sandbox.gatehouse.internal/v1";

const rules: FormRules = {
  form: [
    apiKeyField(
      "sk-sandbox-ok answers; -slow, -429, -500, -401, -quota, -cut, -stall and -inband-error fail as they say. A label may follow: sk-sandbox-ok-eu.",
    ),
  ],
  defaultBaseUrl: baseUrl,
  keyPrefix: "sk-sandbox-",
};

/** `sandbox`: model `sandbox-chat`, whose credentials choose how it behaves. */
export const sandbox: Provider = {
  name: "sandbox",
  title: "Sandbox",
  type: "model",
  docs_url: "/docs",
  default_base_url: baseUrl,
  form: rules.form,
  checkFormat: (credentials) => checkFields(rules, credentials),
  parse: (credentials) => parseFields(rules, credentials),
  validationRequest: (input) => modelListRequest(input.base_url, bearer(input.api_key)),
  judge: (status, body) => judgeAnswer(status, body),
  request: wireRequest,
  transport: answerSandbox,
};
