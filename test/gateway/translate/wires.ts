/** Both wires as their vendors publish them, strictly: a request with a field too many, a wrong role order or a result without its call does not pass. */
import { z } from "zod";

const cache = z.strictObject({ type: z.literal("ephemeral"), ttl: z.enum(["5m", "1h"]).optional() }).optional();
const filled = z.string().min(1);
const schema = z.looseObject({ type: z.literal("object") });

const textBlock = z.strictObject({ type: z.literal("text"), text: filled, cache_control: cache });
const imageBlock = z.strictObject({
  type: z.literal("image"),
  source: z.union([
    z.strictObject({
      type: z.literal("base64"),
      media_type: z.enum(["image/jpeg", "image/png", "image/gif", "image/webp"]),
      data: filled,
    }),
    z.strictObject({ type: z.literal("url"), url: z.url() }),
  ]),
  cache_control: cache,
});
const documentBlock = z.strictObject({
  type: z.literal("document"),
  source: z.strictObject({ type: z.literal("base64"), media_type: z.literal("application/pdf"), data: filled }),
  title: z.string().optional(),
  cache_control: cache,
});
const toolResult = z.strictObject({
  type: z.literal("tool_result"),
  tool_use_id: filled,
  content: z.array(z.union([textBlock, imageBlock])),
  cache_control: cache,
});
const userTurn = z.strictObject({
  role: z.literal("user"),
  content: z.array(z.union([textBlock, imageBlock, documentBlock, toolResult])).min(1),
});
const assistantTurn = z.strictObject({
  role: z.literal("assistant"),
  content: z
    .array(
      z.union([
        textBlock,
        z.strictObject({ type: z.literal("thinking"), thinking: z.string(), signature: filled }),
        z.strictObject({ type: z.literal("redacted_thinking"), data: filled }),
        z.strictObject({
          type: z.literal("tool_use"),
          id: filled,
          name: filled,
          // A record would lose the key `__proto__`, which is a key like others in JSON.
          input: z.custom<object>((value) => typeof value === "object" && value !== null && !Array.isArray(value)),
          cache_control: cache,
        }),
      ]),
    )
    .min(1),
});
const parallel = { disable_parallel_tool_use: z.boolean().optional() };

/** A body of Anthropic's `messages`, as Gatehouse writes it. */
export const messagesWire = z
  .strictObject({
    model: filled,
    max_tokens: z.int().min(1),
    system: z.array(textBlock).min(1).optional(),
    messages: z.array(z.union([userTurn, assistantTurn])).min(1),
    stream: z.literal(true).optional(),
    stop_sequences: z.array(filled).min(1).optional(),
    temperature: z.number().min(0).max(1).optional(),
    top_p: z.number().min(0).max(1).optional(),
    top_k: z.int().optional(),
    tools: z
      .array(
        z.strictObject({
          name: filled,
          description: z.string().optional(),
          input_schema: schema,
          strict: z.literal(true).optional(),
          cache_control: cache,
        }),
      )
      .min(1)
      .optional(),
    tool_choice: z
      .union([
        z.strictObject({ type: z.enum(["auto", "any"]), ...parallel }),
        z.strictObject({ type: z.literal("tool"), name: filled, ...parallel }),
        z.strictObject({ type: z.literal("none") }),
      ])
      .optional(),
    thinking: z
      .union([
        z.strictObject({ type: z.literal("enabled"), budget_tokens: z.int().min(1_024) }),
        z.strictObject({ type: z.literal("adaptive") }),
      ])
      .optional(),
    output_config: z
      .strictObject({
        effort: z.enum(["low", "medium", "high", "xhigh", "max"]).optional(),
        format: z.strictObject({ type: z.literal("json_schema"), schema }).optional(),
      })
      .optional(),
    metadata: z.strictObject({ user_id: filled }).optional(),
    cache_control: cache,
  })
  .superRefine(({ messages, thinking, max_tokens, tool_choice }, context) => {
    messages.forEach((turn, index) => {
      const before = messages[index - 1];
      if (before?.role === turn.role) {
        context.addIssue(`turn ${index} has the role of the one before it`);
      }
      const calls = before?.content.flatMap((block) => (block.type === "tool_use" ? [block.id] : [])) ?? [];
      const results = turn.content.flatMap((block) => (block.type === "tool_result" ? [block.tool_use_id] : []));
      if (calls.toSorted().join() !== results.toSorted().join()) {
        context.addIssue(`turn ${index} does not answer the calls before it`);
      }
      if (turn.content.slice(0, results.length).some(({ type }) => type !== "tool_result") && results.length > 0) {
        context.addIssue(`results do not come first in turn ${index}`);
      }
    });
    if (thinking?.type === "enabled" && thinking.budget_tokens >= max_tokens) {
      context.addIssue("thinking leaves no room for an answer");
    }
    if (thinking !== undefined && (tool_choice?.type === "any" || tool_choice?.type === "tool")) {
      context.addIssue("a forced call beside thinking");
    }
  });

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });
const imagePart = z.strictObject({ type: z.literal("image_url"), image_url: z.strictObject({ url: filled }) });
const filePart = z.strictObject({
  type: z.literal("file"),
  file: z.strictObject({ filename: filled, file_data: z.string().startsWith("data:") }),
});
const callPart = z.strictObject({
  id: filled,
  type: z.literal("function"),
  function: z.strictObject({ name: filled, arguments: filled }),
});

/** A body of OpenAI's `chat/completions`, as Gatehouse writes it. */
export const chatWire = z
  .strictObject({
    model: filled,
    messages: z.array(
      z.union([
        z.strictObject({ role: z.literal("system"), content: filled }),
        z.strictObject({
          role: z.literal("user"),
          content: z.union([z.string(), z.array(z.union([textPart, imagePart, filePart])).min(1)]),
        }),
        z.strictObject({
          role: z.literal("assistant"),
          content: z.string().nullable(),
          reasoning_content: filled.optional(),
          tool_calls: z.array(callPart).min(1).optional(),
        }),
        z.strictObject({ role: z.literal("tool"), tool_call_id: filled, content: z.string() }),
      ]),
    ),
    max_tokens: z.int().optional(),
    max_completion_tokens: z.int().optional(),
    stream: z.literal(true).optional(),
    stream_options: z.strictObject({ include_usage: z.literal(true) }).optional(),
    stop: z.array(filled).optional(),
    temperature: z.number().optional(),
    top_p: z.number().optional(),
    tools: z
      .array(
        z.strictObject({
          type: z.literal("function"),
          function: z.strictObject({
            name: filled,
            description: z.string().optional(),
            parameters: schema,
            strict: z.literal(true).optional(),
          }),
        }),
      )
      .optional(),
    tool_choice: z
      .union([
        z.enum(["auto", "required", "none"]),
        z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: filled }) }),
      ])
      .optional(),
    parallel_tool_calls: z.boolean().optional(),
    reasoning_effort: z.enum(["minimal", "low", "medium", "high"]).optional(),
    response_format: z
      .strictObject({
        type: z.literal("json_schema"),
        json_schema: z.strictObject({ name: filled, schema, strict: z.literal(true) }),
      })
      .optional(),
    user: filled.optional(),
  })
  .superRefine(({ messages }, context) => {
    messages.forEach((message, index) => {
      const before = messages[index - 1];
      if (message.role === "tool" && before?.role !== "tool" && before?.role !== "assistant") {
        context.addIssue(`message ${index} is a result that follows no call`);
      }
    });
  });
