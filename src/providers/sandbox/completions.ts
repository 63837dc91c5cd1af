/** Text completions on OpenAI's older wire, answered by the chat model. */
import { z } from "zod";
import { type SandboxAnswer, sandboxChatModel, type SandboxEvents, toEvent } from "./answer.js";
import { usageOf } from "./chat.js";
import { parseBody, type Parsed, type SandboxAsk } from "./prompt.js";

/** What the vendor gives who asks for no length. */
const defaultTokens = 16;

const CompletionRequest = z
  .object({
    model: z.string(),
    prompt: z.union([z.string(), z.array(z.string()).length(1)]),
    stream: z.boolean().nullish(),
    stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
    n: z.literal(1).nullish(),
    max_tokens: z.number().int().min(1).nullish(),
  })
  .transform((request): SandboxAsk => {
    const text = typeof request.prompt === "string" ? request.prompt : request.prompt.join("");
    return {
      model: request.model,
      stream: request.stream === true,
      hasUsage: request.stream_options?.include_usage === true,
      prompt: {
        messages: [{ role: "user", text, calls: "", extraTokens: 0 }],
        tools: [],
        toolsJson: "",
        choice: "none",
        limit: request.max_tokens ?? defaultTokens,
      },
    };
  });

/** Reads a completion request's body: one prompt of text. */
export function parseTextCompletion(body: string): Parsed<SandboxAsk> {
  return parseBody(CompletionRequest, body);
}

/** The whole answer. */
export function toTextCompletion(answer: SandboxAnswer): object {
  return { ...part(answer, answer.pieces.join(""), answer.finish), usage: usageOf(answer) };
}

/** The answer as server-sent events. */
export function toTextChunks(answer: SandboxAnswer, hasUsage: boolean): SandboxEvents {
  const usage = hasUsage ? { usage: null } : {};
  const usageEvent = toEvent({ ...part(answer, "", null), choices: [], usage: usageOf(answer) });
  return {
    opening: [],
    content: answer.pieces.map((piece) => toEvent({ ...part(answer, piece, null), ...usage })),
    closing: [
      toEvent({ ...part(answer, "", answer.finish), ...usage }),
      ...(hasUsage ? [usageEvent] : []),
      "data: [DONE]\n\n",
    ],
  };
}

function part(answer: SandboxAnswer, text: string, finish: string | null): object {
  return {
    id: `cmpl-sandbox-${answer.name}`,
    object: "text_completion",
    created: answer.created,
    model: sandboxChatModel,
    choices: [{ index: 0, text, logprobs: null, finish_reason: finish }],
  };
}
