/** Streams of both vendors as they come over the wire: thinking, text, two calls at once, cached counts. */

function named(events: readonly object[]): readonly string[] {
  return events.map(
    (event) => `event: ${"type" in event ? String(event.type) : ""}\ndata: ${JSON.stringify(event)}\n\n`,
  );
}

/** Anthropic: signed thinking, text with runes of several bytes, a call in pieces and one without arguments. */
export const anthropicStream: readonly string[] = named([
  {
    type: "message_start",
    message: {
      id: "msg_01",
      type: "message",
      role: "assistant",
      model: "claude-sonnet-4-5",
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 12, cache_creation_input_tokens: 3, cache_read_input_tokens: 20, output_tokens: 1 },
    },
  },
  { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "", signature: "" } },
  { type: "ping" },
  { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "Paris " } },
  { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "first." } },
  { type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: "c2ln" } },
  { type: "content_block_stop", index: 0 },
  { type: "content_block_start", index: 1, content_block: { type: "text", text: "" } },
  { type: "content_block_delta", index: 1, delta: { type: "text_delta", text: "Grüße " } },
  { type: "content_block_delta", index: 1, delta: { type: "text_delta", text: "世界" } },
  { type: "content_block_stop", index: 1 },
  {
    type: "content_block_start",
    index: 2,
    content_block: { type: "tool_use", id: "toolu_1", name: "weather", input: {} },
  },
  { type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: "" } },
  { type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: '{"city":' } },
  { type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: '"Paris"}' } },
  { type: "content_block_stop", index: 2 },
  {
    type: "content_block_start",
    index: 3,
    content_block: { type: "tool_use", id: "toolu_2", name: "clock", input: {} },
  },
  { type: "content_block_stop", index: 3 },
  {
    type: "message_delta",
    delta: { stop_reason: "tool_use", stop_sequence: null },
    usage: { output_tokens: 31, output_tokens_details: { thinking_tokens: 6 } },
  },
  { type: "message_stop" },
]);

function chunk(delta: object, more: object = {}): object {
  return { index: 0, delta, logprobs: null, finish_reason: null, ...more };
}

/** OpenAI, as servers with reasoning send it: the role, reasoning, text, two calls one after the other, the finish, the counts. */
export const openAiStream: readonly string[] = [
  ...[
    { choices: [chunk({ role: "assistant", content: "" })] },
    { choices: [chunk({ reasoning_content: "Paris " })] },
    { choices: [chunk({ reasoning_content: "first." })] },
    { choices: [chunk({ content: "Grüße " })] },
    { choices: [chunk({ content: "世界" })] },
    {
      choices: [
        chunk({
          tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: "" } }],
        }),
      ],
    },
    { choices: [chunk({ tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] })] },
    { choices: [chunk({ tool_calls: [{ index: 0, function: { arguments: '"Paris"}' } }] })] },
    {
      choices: [
        chunk({
          tool_calls: [{ index: 1, id: "call_2", type: "function", function: { name: "clock", arguments: "{}" } }],
        }),
      ],
    },
    { choices: [chunk({}, { finish_reason: "tool_calls" })] },
    {
      choices: [],
      usage: {
        prompt_tokens: 35,
        completion_tokens: 31,
        total_tokens: 66,
        prompt_tokens_details: { cached_tokens: 20 },
        completion_tokens_details: { reasoning_tokens: 6 },
      },
    },
  ].map(
    (event) =>
      `data: ${JSON.stringify({ id: "chatcmpl-9", object: "chat.completion.chunk", created: 1, model: "gpt-5", ...event })}\n\n`,
  ),
  "data: [DONE]\n\n",
];

/** A body of chunks of the given size, by whose end the upstream has closed, or broken off. */
export function upstreamOf(bytes: Uint8Array, size: number, end: "close" | "error" = "close"): Response {
  let at = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (at < bytes.length) {
          controller.enqueue(bytes.slice(at, at + size));
          at += size;
        } else if (end === "close") {
          controller.close();
        } else {
          controller.error(new Error("connection lost"));
        }
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** The data of a stream's events, parsed where they are JSON. */
export function eventsOf(text: string): readonly unknown[] {
  return text
    .split("\n\n")
    .flatMap((event) => event.split("\n").filter((line) => line.startsWith("data: ")))
    .map((line) => {
      const data = line.slice("data: ".length);
      return data === "[DONE]" ? data : JSON.parse(data);
    });
}
