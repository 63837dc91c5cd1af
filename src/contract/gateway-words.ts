/** How the gateway's endpoints are described; one that is missing here does not compile. */
import type { UpstreamEndpoint } from "../providers/contract.js";
import type { WireSchema } from "./wire.js";

/** What the table of endpoints does not tell of one. */
export interface CallWords {
  readonly operation: string;
  readonly summary: string;
  readonly request: WireSchema;
  /** Null for bytes. */
  readonly answer: WireSchema | null;
  /** The beginning of a stream. */
  readonly stream?: string;
}

/** By the endpoint's name. */
export const callWords: Readonly<Record<UpstreamEndpoint, CallWords>> = {
  "chat/completions": {
    operation: "createChatCompletion",
    summary: "Chat with a model",
    request: "ChatCompletionRequest",
    answer: "ChatCompletion",
    stream:
      'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\ndata: [DONE]\n\n',
  },
  responses: {
    operation: "createResponse",
    summary: "Have a model respond",
    request: "ResponseRequest",
    answer: "ModelResponse",
    stream: 'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hello"}\n\n',
  },
  completions: {
    operation: "createCompletion",
    summary: "Complete a text",
    request: "CompletionRequest",
    answer: "Completion",
    stream: 'data: {"object":"text_completion","choices":[{"index":0,"text":"Hello"}]}\n\ndata: [DONE]\n\n',
  },
  embeddings: {
    operation: "createEmbedding",
    summary: "Embed texts",
    request: "EmbeddingRequest",
    answer: "EmbeddingList",
  },
  "images/generations": {
    operation: "createImage",
    summary: "Make images",
    request: "ImageRequest",
    answer: "ImageList",
    stream:
      'event: image_generation.completed\ndata: {"type":"image_generation.completed","b64_json":"iVBORw0KGgo="}\n\n',
  },
  "audio/speech": {
    operation: "createSpeech",
    summary: "Speak a text",
    request: "SpeechRequest",
    answer: null,
    stream: 'data: {"type":"speech.audio.delta","audio":"SUQz"}\n\n',
  },
  "audio/transcriptions": {
    operation: "createTranscription",
    summary: "Write down speech",
    request: "TranscriptionRequest",
    answer: "Transcription",
    stream: 'data: {"type":"transcript.text.delta","delta":"Hello"}\n\n',
  },
  moderations: {
    operation: "createModeration",
    summary: "Classify texts",
    request: "ModerationRequest",
    answer: "Moderation",
  },
  rerank: {
    operation: "createRerank",
    summary: "Order documents by relevance",
    request: "RerankRequest",
    answer: "Rerank",
  },
  messages: {
    operation: "createMessage",
    summary: "Chat with a model on Anthropic's wire",
    request: "MessageRequest",
    answer: "Message",
    stream:
      'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}\n\n',
  },
  "messages/count_tokens": {
    operation: "countMessageTokens",
    summary: "Count the tokens of a message",
    request: "CountTokensRequest",
    answer: "TokenCount",
  },
};
