/** Anthropic's messages, answered by a provider of OpenAI's chat. */
import { utf8 } from "../../base/bytes.js";
import type { Translation, TranslationFacts } from "./contract.js";
import { toAnthropicError } from "./errors.js";
import { asRecord, asText, readBody } from "./json.js";
import { toMessagesAnswer } from "./messages-answer.js";
import { toChatRequest } from "./messages-request.js";
import { toMessagesEvents } from "./messages-stream.js";
import { respondWith } from "./respond.js";

/** Begins a messages call. Throws `untranslatable`, `validation_failed`, `malformed_json` or `body_too_large`. */
export function beginFromMessages(body: Uint8Array, facts: TranslationFacts): Translation {
  const asked = readBody(body, "messages");
  const thinking = asText(asRecord(asked["thinking"])?.["type"]);
  // Who did not ask to see thinking would send it back to instances that check its signature.
  const showsThinking = thinking !== null && thinking !== "disabled";
  return {
    kind: "call",
    body: utf8(JSON.stringify(toChatRequest(asked, facts))),
    respond: (hold, response) =>
      respondWith(hold, response, {
        answer: (value) => toMessagesAnswer(value, showsThinking),
        error: toAnthropicError,
        startEvents: () => toMessagesEvents(showsThinking),
      }),
  };
}
