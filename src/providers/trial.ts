/** A chat of one token: the proof of a key where no free call gives one. It needs a model that the key may call. */
import type { FormField } from "./contract.js";
import type { ValidationCall, VerdictRule } from "./entry.js";
import { optionField } from "./form.js";

/** The form's question for the model of the trial. */
export function trialModelField(help: string, more: Partial<FormField> = {}): FormField {
  return optionField("validate_model", "Model to try the key with", help, more);
}

/** The call, below an address of OpenAI's wire. `path` is that of chat completions. */
export function trialCall(model: string, path = "/chat/completions"): ValidationCall {
  return {
    method: "POST",
    path,
    body: { model, messages: [{ role: "user", content: "Hi" }], max_tokens: 1 },
  };
}

/** Ways in which vendors say that the model of a call is not there. */
const modelWording =
  /model_not_found|model[^"]{0,80}(?:not (?:found|exist|supported)|does not exist)|DeploymentNotFound/i;

/** What answers to the trial alone say. */
export const trialVerdicts: readonly VerdictRule[] = [
  // Newer models want `max_completion_tokens`: who says so has taken the key, and asking again would cost reasoning tokens.
  { from: 400, to: 400, body: /max_(?:completion_|output_)?tokens/, outcome: "valid", reason: null },
  {
    from: 400,
    to: 404,
    body: modelWording,
    outcome: "model_missing",
    reason: "The API key is good, but the model that it was tried with is not there, or not for this key.",
  },
];
