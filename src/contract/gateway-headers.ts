/** The headers of the gateway's answers. */
import { exampleRequestId, type JsonObject } from "../http/openapi-parts.js";

/** What a key has left of its limits. */
export const rateHeaders = ["requests", "tokens"].flatMap((of) =>
  ["limit", "remaining", "reset"].map((what) => `x-ratelimit-${what}-${of}`),
);

const words = (description: string, example: string): JsonObject => ({
  description,
  schema: { type: "string", maxLength: 2_000, pattern: "^[\\x20-\\x7e]*$" },
  example,
});

/** Headers of the gateway's answers. */
export const gatewayHeaders: JsonObject = {
  "x-gatehouse-instance": words("The alias of the instance that answered.", "openai-eu"),
  "x-gatehouse-attempts": {
    description: "How many instances were tried.",
    schema: { type: "integer", format: "int32", minimum: 0, maximum: 1000 },
    example: 1,
  },
  "x-gatehouse-estimate": words("Stands where the tokens were counted here, not by the provider.", "true"),
  "server-timing": words(
    "Milliseconds until the provider was asked, and until it began to answer.",
    "route;dur=2.1, upstream;dur=412.7",
  ),
  "x-should-retry": words(
    "`false` where a retry before long is in vain; OpenAI's and Anthropic's clients heed it.",
    "false",
  ),
  "request-id": words("The request's id, where Anthropic's clients look for it.", exampleRequestId),
  "content-language": words("The provider's.", "en"),
  "openai-processing-ms": words("The provider's.", "398"),
  "openai-version": words("The provider's.", "2020-10-01"),
  ...Object.fromEntries(
    ["requests", "tokens"].flatMap((of) => [
      [
        `x-ratelimit-limit-${of}`,
        words(`How many ${of} this key may have in 60 s; absent without such a limit.`, "600"),
      ],
      [`x-ratelimit-remaining-${of}`, words(`How many ${of} are left of them.`, "599")],
      [`x-ratelimit-reset-${of}`, words("Until all of them are there again.", "1.5s")],
    ]),
  ),
};
