/** Messages and their counting on Anthropic's wire: what the sandbox reads of a request and the forms of its answer. */
import { z } from "zod";
import { countPrompt, type SandboxAnswer, sandboxChatModel, type SandboxEvents, toEvent } from "./answer.js";
import { parseBody, type Parsed, type SandboxAsk, type SandboxMessage, tokensPerPart, toolsToJson } from "./prompt.js";

const Text = z.looseObject({ type: z.string(), text: z.string().optional() });

const Block = z.looseObject({
  type: z.string(),
  text: z.string().optional(),
  thinking: z.string().optional(),
  name: z.string().optional(),
  input: z.unknown().optional(),
  content: z.union([z.string(), z.array(Text)]).optional(),
});
type Block = z.infer<typeof Block>;

const Message = z
  .looseObject({ role: z.enum(["user", "assistant"]), content: z.union([z.string(), z.array(Block)]) })
  .transform(({ role, content }): SandboxMessage => {
    const blocks: readonly Block[] = typeof content === "string" ? [{ type: "text", text: content }] : content;
    const texts = blocks.flatMap(textsOf);
    const calls = blocks.filter(({ type }) => type === "tool_use");
    const isResult = blocks.some(({ type }) => type === "tool_result");
    return {
      role: isResult ? "tool" : role,
      text: texts.map((text) => text ?? "").join("\n"),
      calls: calls.map((call) => `${call.name ?? ""} ${JSON.stringify(call.input ?? {})}`).join("\n"),
      extraTokens: tokensPerPart * texts.filter((text) => text === undefined).length,
    };
  });

const Tool = z.looseObject({ name: z.string().min(1), input_schema: z.unknown().optional() });

const CountRequest = z.object({
  model: z.string(),
  system: z.union([z.string(), z.array(Text)]).optional(),
  messages: z.array(Message).min(1),
  tools: z.array(Tool).optional(),
  tool_choice: z.looseObject({ type: z.enum(["auto", "any", "tool", "none"]), name: z.string().optional() }).optional(),
});

const MessagesRequest = CountRequest.extend({ max_tokens: z.number().int().min(1), stream: z.boolean().optional() });

/** Reads a messages request's body. */
export function parseMessages(body: string): Parsed<SandboxAsk> {
  const parsed = parseBody(MessagesRequest, body);
  return "mistake" in parsed ? parsed : { value: toAsk(parsed.value, parsed.value.max_tokens, parsed.value.stream) };
}

/** Reads the body of a request to count tokens. */
export function parseCount(body: string): Parsed<SandboxAsk> {
  const parsed = parseBody(CountRequest, body);
  return "mistake" in parsed ? parsed : { value: toAsk(parsed.value, null) };
}

/** How many tokens a prompt has. */
export function toCount({ prompt }: SandboxAsk): object {
  return { input_tokens: countPrompt(prompt) };
}

/** The whole answer. */
export function toMessage(answer: SandboxAnswer): object {
  const text = answer.pieces.join("");
  const block = answer.tool === null ? { type: "text", text } : { ...toolUse(answer.tool), input: readArguments(text) };
  return {
    ...frame(answer),
    content: [block],
    stop_reason: stopOf(answer),
    usage: { input_tokens: answer.promptTokens, output_tokens: answer.completionTokens },
  };
}

/** The answer as server-sent events. */
export function toMessageEvents(answer: SandboxAnswer): SandboxEvents {
  const isText = answer.tool === null;
  const block = answer.tool === null ? { type: "text", text: "" } : { ...toolUse(answer.tool), input: {} };
  const start = event("content_block_start", { index: 0, content_block: block });
  const content = answer.pieces.map((piece) =>
    event("content_block_delta", {
      index: 0,
      delta: isText ? { type: "text_delta", text: piece } : { type: "input_json_delta", partial_json: piece },
    }),
  );
  const message = { ...frame(answer), content: [], stop_reason: null };
  return {
    opening: [
      event("message_start", {
        message: { ...message, usage: { input_tokens: answer.promptTokens, output_tokens: 1 } },
      }),
      ...(isText ? [start] : []),
      event("ping", {}),
    ],
    content: isText ? content : [start, ...content],
    closing: [
      event("content_block_stop", { index: 0 }),
      event("message_delta", {
        delta: { stop_reason: stopOf(answer), stop_sequence: null },
        usage: { output_tokens: answer.completionTokens },
      }),
      event("message_stop", {}),
    ],
  };
}

function event(type: string, data: object): string {
  return toEvent({ type, ...data }, type);
}

function toAsk(request: z.infer<typeof CountRequest>, limit: number | null, stream = false): SandboxAsk {
  const { system } = request;
  const text = typeof system === "string" ? system : (system ?? []).map((block) => block.text ?? "").join("\n");
  const opening: readonly SandboxMessage[] =
    system === undefined ? [] : [{ role: "system", text, calls: "", extraTokens: 0 }];
  return {
    model: request.model,
    stream,
    hasUsage: true,
    prompt: {
      messages: [...opening, ...request.messages],
      tools: (request.tools ?? []).map(({ name, input_schema: parameters }) => ({ name, parameters })),
      toolsJson: toolsToJson(request.tools),
      choice: toChoice(request.tool_choice),
      limit,
    },
  };
}

function toChoice(choice: z.infer<typeof CountRequest>["tool_choice"]): SandboxAsk["prompt"]["choice"] {
  if (choice?.type === "tool") {
    return { name: choice.name ?? "" };
  }
  return choice?.type === "any" ? "required" : (choice?.type ?? "auto");
}

/** The texts of a block; undefined stands for a part that is none. */
function textsOf(block: Block): readonly (string | undefined)[] {
  if (block.type === "tool_use") {
    return [];
  }
  if (block.type === "tool_result") {
    const { content = "" } = block;
    return typeof content === "string" ? [content] : content.map((part) => part.text);
  }
  return [block.text ?? block.thinking];
}

/** Arguments that the token limit cut off are none. */
function readArguments(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function stopOf({ finish }: SandboxAnswer): string {
  return { stop: "end_turn", length: "max_tokens", tool: "tool_use" }[finish];
}

function toolUse(tool: { readonly call: string; readonly name: string }): object {
  return { type: "tool_use", id: `toolu_sandbox_${tool.call}`, name: tool.name };
}

function frame(answer: SandboxAnswer): object {
  return {
    id: `msg_sandbox_${answer.name}`,
    type: "message",
    role: "assistant",
    model: sandboxChatModel,
    stop_sequence: null,
  };
}
