/** OpenAI's Responses: what the sandbox reads of a request and the forms of its answer. It stores nothing. */
import { z } from "zod";
import { type SandboxAnswer, sandboxChatModel, type SandboxEvents, toEvent } from "./answer.js";
import { parseBody, type Parsed, type SandboxAsk, type SandboxMessage, tokensPerPart, toolsToJson } from "./prompt.js";

const Part = z.looseObject({ type: z.string(), text: z.string().optional() });

const Item = z
  .looseObject({
    type: z.string().optional(),
    role: z.string().optional(),
    content: z.union([z.string(), z.array(Part)]).nullish(),
    name: z.string().optional(),
    arguments: z.string().optional(),
    output: z.union([z.string(), z.array(Part)]).optional(),
  })
  .transform((item): SandboxMessage => {
    const isCall = item.type === "function_call";
    const content = (item.type === "function_call_output" ? item.output : item.content) ?? "";
    const parts = typeof content === "string" ? [{ type: "text", text: content }] : content;
    return {
      role: isCall ? "assistant" : roleOf(item.type, item.role),
      text: parts.map((part) => part.text ?? "").join("\n"),
      calls: isCall ? `${item.name ?? ""} ${item.arguments ?? ""}` : "",
      extraTokens: tokensPerPart * parts.filter((part) => part.text === undefined).length,
    };
  });

const Tool = z.looseObject({
  type: z.string(),
  name: z.string().min(1).optional(),
  parameters: z.unknown().optional(),
});

const ResponsesRequest = z
  .object({
    model: z.string(),
    input: z.union([z.string(), z.array(Item).min(1)]),
    instructions: z.string().nullish(),
    stream: z.boolean().nullish(),
    max_output_tokens: z.number().int().min(1).nullish(),
    tools: z.array(Tool).nullish(),
    tool_choice: z
      .union([z.enum(["none", "auto", "required"]), z.looseObject({ name: z.string().optional() })])
      .nullish(),
  })
  .transform(({ tool_choice: choice, input, ...request }): SandboxAsk => ({
    model: request.model,
    stream: request.stream === true,
    hasUsage: true,
    prompt: {
      messages: [
        ...(typeof request.instructions === "string" ? [plain("system", request.instructions)] : []),
        ...(typeof input === "string" ? [plain("user", input)] : input),
      ],
      tools: (request.tools ?? []).flatMap(({ name, parameters }) =>
        name === undefined ? [] : [{ name, parameters }],
      ),
      toolsJson: toolsToJson(request.tools),
      choice: typeof choice === "object" && choice !== null ? { name: choice.name ?? "" } : (choice ?? "auto"),
      limit: request.max_output_tokens ?? null,
    },
  }));

/** Reads a Responses request's body. */
export function parseResponses(body: string): Parsed<SandboxAsk> {
  return parseBody(ResponsesRequest, body);
}

/** The whole answer. */
export function toResponse(answer: SandboxAnswer): object {
  return response(answer, answer.finish === "length" ? "incomplete" : "completed", [itemOf(answer)], answer);
}

/** The answer as server-sent events, numbered. */
export function toResponseEvents(answer: SandboxAnswer): SandboxEvents {
  const event = numbered();
  const item = itemOf(answer);
  const begun = itemOf(answer, "in_progress");
  const place = { item_id: idOf(answer), output_index: 0, ...(answer.tool === null ? { content_index: 0 } : {}) };
  const kind = answer.tool === null ? "response.output_text" : "response.function_call_arguments";
  const text = answer.pieces.join("");
  const isWhole = answer.finish !== "length";
  const opening = [
    event("response.created", { response: response(answer, "in_progress", []) }),
    event("response.in_progress", { response: response(answer, "in_progress", []) }),
    event("response.output_item.added", { output_index: 0, item: begun }),
    ...(answer.tool === null ? [event("response.content_part.added", { ...place, part: textPart("") })] : []),
  ];
  const content = answer.pieces.map((delta) => event(`${kind}.delta`, { ...place, delta }));
  const closing = [
    event(`${kind}.done`, { ...place, ...(answer.tool === null ? { text } : { arguments: text }) }),
    ...(answer.tool === null ? [event("response.content_part.done", { ...place, part: textPart(text) })] : []),
    event("response.output_item.done", { output_index: 0, item }),
    event(isWhole ? "response.completed" : "response.incomplete", { response: toResponse(answer) }),
  ];
  return { opening, content, closing };
}

/** An error in a stream, as the response that failed. */
export function toFailedEvent(answer: SandboxAnswer): string {
  return toEvent(
    { type: "response.failed", sequence_number: 4, response: toFailedResponse(answer) },
    "response.failed",
  );
}

/** An error on a 200, as the response that failed. */
export function toFailedResponse(answer: SandboxAnswer): object {
  const error = { code: "server_error", message: "The server had an error while answering." };
  return { ...response(answer, "failed", []), error };
}

function plain(role: string, text: string): SandboxMessage {
  return { role, text, calls: "", extraTokens: 0 };
}

function roleOf(type: string | undefined, role: string | undefined): string {
  if (type === "function_call_output") {
    return "tool";
  }
  return role === "developer" ? "system" : (role ?? "user");
}

function numbered(): (type: string, data: object) => string {
  let next = 0;
  return (type, data) => {
    const event = toEvent({ type, sequence_number: next, ...data }, type);
    next += 1;
    return event;
  };
}

function response(
  answer: SandboxAnswer,
  status: "in_progress" | "completed" | "incomplete" | "failed",
  output: readonly object[],
  used: SandboxAnswer | null = null,
): object {
  return {
    id: `resp_sandbox_${answer.name}`,
    object: "response",
    created_at: answer.created,
    status,
    error: null,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    instructions: null,
    metadata: {},
    model: sandboxChatModel,
    output,
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: "auto",
    tools: [],
    top_p: 1,
    usage: used === null ? null : usageOf(used),
  };
}

function usageOf({ promptTokens, completionTokens }: SandboxAnswer): object {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  };
}

function idOf(answer: SandboxAnswer): string {
  return answer.tool === null ? `msg_sandbox_${answer.name}` : `fc_sandbox_${answer.tool.call}`;
}

/** The answer's one item; in progress it is still empty. */
function itemOf(answer: SandboxAnswer, status?: "in_progress"): object {
  const text = status === undefined ? answer.pieces.join("") : "";
  const own = { id: idOf(answer), status: status ?? (answer.finish === "length" ? "incomplete" : "completed") };
  if (answer.tool !== null) {
    const { call, name } = answer.tool;
    return { ...own, type: "function_call", call_id: `call_sandbox_${call}`, name, arguments: text };
  }
  return { ...own, type: "message", role: "assistant", content: status === undefined ? [textPart(text)] : [] };
}

function textPart(text: string): object {
  return { type: "output_text", text, annotations: [] };
}
