/** What the sandbox reads of a chat request on OpenAI's wire; other fields are ignored. */
import { z } from "zod";
import type { SandboxError } from "./sandbox-credentials.js";

/** What an image, a sound or a file costs in the sandbox's tokens, whatever its size. */
const tokensPerPart = 85;

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
      role: message.role,
      text: parts.map((part) => part.text ?? "").join("\n"),
      /** Names and arguments of the calls that an earlier answer made. */
      calls: calls.map((call) => `${call.name} ${call.arguments}`).join("\n"),
      extraTokens: tokensPerPart * parts.filter((part) => part.text === undefined).length,
    };
  });

const Tool = z.looseObject({ name: z.string().min(1), parameters: z.unknown().optional() });
export type SandboxTool = z.infer<typeof Tool>;

const TokenLimit = z.number().int().min(1).nullish();

const ChatRequest = z.object({
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
});
export type SandboxChatRequest = z.infer<typeof ChatRequest>;

/** The request, or the error that a client gets with 400. */
export type ParsedChat = { readonly request: SandboxChatRequest } | { readonly error: SandboxError };

/** Reads a chat request's body. */
export function parseChat(body: string): ParsedChat {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return refuse("The body is not valid JSON.", null);
  }
  const parsed = ChatRequest.safeParse(value);
  if (parsed.success) {
    return { request: parsed.data };
  }
  const issue = parsed.error.issues[0];
  const param = issue?.path.join(".") ?? "";
  return refuse(`Invalid value for '${param}': ${issue?.message ?? "not understood"}.`, param === "" ? null : param);
}

function refuse(message: string, param: string | null): ParsedChat {
  return { error: { message, type: "invalid_request_error", param, code: null } };
}
