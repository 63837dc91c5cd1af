/** Streams of every wire as vendors send them, by their public references: event by event, with characters of several bytes. */
import type { UpstreamEndpoint } from "../../src/providers/contract.js";
import { recorded as chat } from "./fake-stream.js";

/** A recorded stream and what must be read in it. */
export interface Recording {
  readonly endpoint: UpstreamEndpoint;
  readonly events: readonly string[];
  /** How many of its events come before the one that commits. */
  readonly opening: number;
  readonly usage: object | null;
}

function named(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}

function unnamed(type: string, data: object): string {
  return `data: ${JSON.stringify({ type, ...data })}\n\n`;
}

const response = { id: "resp_1", object: "response", model: "m", error: null };
const message = { id: "msg_1", type: "message", role: "assistant", status: "in_progress", content: [] };

/** `response.created` to `response.completed`; `end` stands in for the last one. */
export function responses(end?: string): string[] {
  const part = { item_id: "msg_1", output_index: 0, content_index: 0 };
  return [
    named("response.created", { response: { ...response, status: "in_progress" }, sequence_number: 0 }),
    named("response.in_progress", { response: { ...response, status: "in_progress" }, sequence_number: 1 }),
    named("response.output_item.added", { output_index: 0, item: message, sequence_number: 2 }),
    named("response.content_part.added", { ...part, part: { type: "output_text", text: "" }, sequence_number: 3 }),
    named("response.output_text.delta", { ...part, delta: "Grüße", sequence_number: 4 }),
    named("response.output_text.delta", { ...part, delta: " 世界", sequence_number: 5 }),
    named("response.output_text.done", { ...part, text: "Grüße 世界", sequence_number: 6 }),
    end ??
      named("response.completed", {
        response: {
          ...response,
          status: "completed",
          usage: {
            input_tokens: 36,
            input_tokens_details: { cached_tokens: 32 },
            output_tokens: 8,
            output_tokens_details: { reasoning_tokens: 2 },
            total_tokens: 44,
          },
        },
        sequence_number: 7,
      }),
  ];
}

/** `message_start` to `message_stop`. */
export function messages(): string[] {
  const usage = { input_tokens: 10, cache_creation_input_tokens: 5, cache_read_input_tokens: 100, output_tokens: 1 };
  const delta = (text: string) => named("content_block_delta", { index: 0, delta: { type: "text_delta", text } });
  return [
    named("message_start", { message: { id: "msg_1", role: "assistant", content: [], model: "m", usage } }),
    named("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
    'event: ping\ndata: {"type": "ping"}\n\n',
    delta("Grüße"),
    delta(" 世界"),
    named("content_block_stop", { index: 0 }),
    named("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 15 } }),
    named("message_stop", {}),
  ];
}

const completion = (text: string, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: "cmpl-1", object: "text_completion", choices: [{ index: 0, text, logprobs: null, finish_reason: finish }] })}\n\n`;

/** One of each wire. */
export const recordings: readonly Recording[] = [
  {
    endpoint: "chat/completions",
    events: chat,
    opening: 1,
    usage: { prompt_tokens: 7, completion_tokens: 3 },
  },
  {
    endpoint: "responses",
    events: responses(),
    opening: 4,
    usage: { prompt_tokens: 36, completion_tokens: 8, cached_tokens: 32 },
  },
  {
    endpoint: "messages",
    events: messages(),
    opening: 3,
    usage: { prompt_tokens: 115, completion_tokens: 15, cached_tokens: 100, cache_write_tokens: 5 },
  },
  {
    endpoint: "completions",
    events: [completion("Grüße"), completion(" 世界"), completion("", "stop"), "data: [DONE]\n\n"],
    opening: 0,
    usage: { prompt_tokens: 11, completion_tokens: 4, estimated: true },
  },
  {
    endpoint: "audio/transcriptions",
    events: [
      unnamed("transcript.text.delta", { delta: "Grüße" }),
      unnamed("transcript.text.delta", { delta: " 世界" }),
      unnamed("transcript.text.done", {
        text: "Grüße 世界",
        usage: { type: "tokens", input_tokens: 14, output_tokens: 4, total_tokens: 18 },
      }),
    ],
    opening: 0,
    usage: { prompt_tokens: 14, completion_tokens: 4 },
  },
  {
    endpoint: "audio/speech",
    events: [
      unnamed("speech.audio.delta", { audio: "UklGRg==" }),
      unnamed("speech.audio.delta", { audio: "AAAA" }),
      unnamed("speech.audio.done", { usage: { input_tokens: 14, output_tokens: 101, total_tokens: 115 } }),
    ],
    opening: 0,
    usage: { prompt_tokens: 14, completion_tokens: 101 },
  },
  {
    endpoint: "images/generations",
    events: [
      named("image_generation.partial_image", { b64_json: "iVBOR", partial_image_index: 0 }),
      named("image_generation.completed", {
        b64_json: "iVBORw0KGgo",
        usage: { total_tokens: 100, input_tokens: 50, output_tokens: 50, input_tokens_details: { text_tokens: 10 } },
      }),
    ],
    opening: 0,
    usage: { prompt_tokens: 50, completion_tokens: 50 },
  },
];
