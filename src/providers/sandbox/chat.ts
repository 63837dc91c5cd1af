/** Chat on OpenAI's wire: what the sandbox reads of a request (other fields are ignored) and the forms of its answer. */
import { z } from "zod";
import { type SandboxAnswer, sandboxChatModel, type SandboxEvents, toEvent } from "./answer.js";
import { parseBody, type Parsed, type SandboxAsk, tokensPerPart, toolsToJson } from "./prompt.js";

const FunctionCall = z.looseObject({ name: z.string(), arguments: z.string() });

const Part = z.looseObject({ type: z.string(), text: z.string().optional() });

const Message = z
  .looseObject({
    role: z.string(),
    content: z.union([z.string(), z.array(Part)]).nullish(),
    tool_calls: z.array(z.looseObject({ function: FunctionCall.optional() })).nullish(),
  })
  .transform((message) => {
    const content = message.content ?? "";
    const parts = typeof content === "string" ? [{ type: "text", text: content }] : content;
    const calls = (message.tool_calls ?? []).flatMap((call) => call.function ?? []);
    return {
      // A newer name for the same thing.
      role: message.role === "developer" ? "system" : message.role,
      text: parts.map((part) => part.text ?? "").join("\n"),
      calls: calls.map((call) => `${call.name} ${call.arguments}`).join("\n"),
      extraTokens: tokensPerPart * parts.filter((part) => part.text === undefined).length,
    };
  });

const Tool = z.looseObject({ name: z.string().min(1), parameters: z.unknown().optional() });

const TokenLimit = z.number().int().min(1).nullish();

const ChatRequest = z
  .object({
    model: z.string(),
    messages: z.array(Message).min(1),
    stream: z.boolean().nullish(),
    stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
    n: z.literal(1).nullish(),
    max_tokens: TokenLimit,
    max_completion_tokens: TokenLimit,
    tools: z.array(z.looseObject({ function: Tool.optional() })).nullish(),
    tool_choice: z
      .union([z.enum(["none", "auto", "required"]), z.looseObject({ function: z.looseObject({ name: z.string() }) })])
      .nullish(),
  })
  .transform(({ tool_choice: choice, ...request }): SandboxAsk => ({
    model: request.model,
    stream: request.stream === true,
    hasUsage: request.stream_options?.include_usage === true,
    prompt: {
      messages: request.messages,
      tools: (request.tools ?? []).flatMap(({ function: tool }) =>
        tool === undefined ? [] : [{ name: tool.name, parameters: tool.parameters }],
      ),
      toolsJson: toolsToJson(request.tools),
      choice: typeof choice === "object" && choice !== null ? choice.function : (choice ?? "auto"),
      limit: request.max_completion_tokens ?? request.max_tokens ?? null,
    },
  }));

/** Reads a chat request's body. */
export function parseChat(body: string): Parsed<SandboxAsk> {
  return parseBody(ChatRequest, body);
}

/** The whole answer. */
export function toCompletion(answer: SandboxAnswer): object {
  const text = answer.pieces.join("");
  const message =
    answer.tool === null
      ? { role: "assistant", content: text, refusal: null }
      : { role: "assistant", content: null, refusal: null, tool_calls: [toToolCall(answer.tool, text)] };
  return {
    ...frame(answer, "chat.completion"),
    choices: [{ index: 0, message, logprobs: null, finish_reason: finishOf(answer) }],
    usage: usageOf(answer),
  };
}

/** The answer as server-sent events. */
export function toChunks(answer: SandboxAnswer, hasUsage: boolean): SandboxEvents {
  const usage = hasUsage ? { usage: null } : {};
  const chunk = (delta: object, finish: string | null = null): string =>
    toEvent({
      ...frame(answer, "chat.completion.chunk"),
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...usage,
    });
  const isText = answer.tool === null;
  const content = answer.pieces.map((piece) =>
    chunk(isText ? { content: piece } : { tool_calls: [{ index: 0, function: { arguments: piece } }] }),
  );
  const call = answer.tool === null ? [] : [chunk({ tool_calls: [{ index: 0, ...toToolCall(answer.tool, "") }] })];
  const usageEvent = toEvent({ ...frame(answer, "chat.completion.chunk"), choices: [], usage: usageOf(answer) });
  return {
    opening: [chunk({ role: "assistant", content: isText ? "" : null })],
    content: [...call, ...content],
    closing: [chunk({}, finishOf(answer)), ...(hasUsage ? [usageEvent] : []), "data: [DONE]\n\n"],
  };
}

/** Token counts in the names of OpenAI's chat and completions. */
export function usageOf({ promptTokens, completionTokens }: SandboxAnswer): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

function finishOf({ finish }: SandboxAnswer): string {
  return finish === "tool" ? "tool_calls" : finish;
}

function frame(answer: SandboxAnswer, object: string): object {
  return {
    id: `chatcmpl-sandbox-${answer.name}`,
    object,
    created: answer.created,
    model: sandboxChatModel,
    system_fingerprint: "fp_sandbox",
  };
}

function toToolCall(tool: { readonly call: string; readonly name: string }, text: string): object {
  return { id: `call_sandbox_${tool.call}`, type: "function", function: { name: tool.name, arguments: text } };
}
