/** OpenAI's chat, answered by a provider of Anthropic's messages. */
import { utf8 } from "../../base/bytes.js";
import { toChatAnswer } from "./chat-answer.js";
import { toMessagesRequest } from "./chat-request.js";
import { toChatEvents } from "./chat-stream.js";
import type { Translation } from "./contract.js";
import { toOpenAiError } from "./errors.js";
import { asRecord, isTrue, readBody } from "./json.js";
import { respondWith } from "./respond.js";

/** Begins a chat call. Throws `untranslatable`, `validation_failed`, `malformed_json` or `body_too_large`. */
export function beginFromChat(body: Uint8Array): Translation {
  const asked = readBody(body, "messages");
  const tellsUsage = isTrue(asRecord(asked["stream_options"])?.["include_usage"]);
  return {
    kind: "call",
    body: utf8(JSON.stringify(toMessagesRequest(asked))),
    respond: (hold, response) =>
      respondWith(hold, response, {
        answer: toChatAnswer,
        error: toOpenAiError,
        startEvents: () => toChatEvents(tellsUsage),
      }),
  };
}
