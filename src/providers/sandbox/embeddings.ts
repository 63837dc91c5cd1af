/** Embeddings on OpenAI's wire: unit vectors made of a text's words, so that texts with common words lie near each other. */
import { z } from "zod";
import { parseBody, type Parsed } from "./prompt.js";
import { countTokens, hashText } from "./text.js";

/** The sandbox's embedding model. */
export const sandboxEmbedModel = "sandbox-embed";

const defaultDimensions = 256;
const mostDimensions = 3072;
/** Each word sets this many places of the vector. */
const placesPerWord = 16;
/** Characters of all inputs together. */
const mostText = 1_000_000;

const Numbers = z.array(z.number().int().min(0)).min(1);

const EmbeddingRequest = z.object({
  model: z.string(),
  input: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1).max(2048), Numbers, z.array(Numbers).min(1).max(2048)])
    .transform(toInputs)
    .refine((inputs) => inputs.reduce((sum, { text }) => sum + text.length, 0) <= mostText, {
      message: `all inputs together may have ${mostText} characters`,
    }),
  dimensions: z.number().int().min(1).max(mostDimensions).nullish(),
  encoding_format: z.enum(["float", "base64"]).nullish(),
});
type EmbeddingRequest = z.infer<typeof EmbeddingRequest>;

interface Input {
  readonly text: string;
  readonly tokens: number;
}

/** Reads an embedding request's body. */
export function parseEmbedding(body: string): Parsed<EmbeddingRequest> {
  return parseBody(EmbeddingRequest, body);
}

/** The vectors of all inputs, with their usage. */
export function toEmbeddings(request: EmbeddingRequest): object {
  const data = request.input.map(({ text }, index) => {
    const vector = embed(text, request.dimensions ?? defaultDimensions);
    const embedding = request.encoding_format === "base64" ? toBase64(vector) : [...vector];
    return { object: "embedding", index, embedding };
  });
  const tokens = request.input.reduce((sum, input) => sum + input.tokens, 0);
  return {
    object: "list",
    data,
    model: sandboxEmbedModel,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

/** A text counts by the sandbox's rule, a list of token numbers by its length. */
function toInputs(input: string | readonly string[] | readonly number[] | readonly (readonly number[])[]): Input[] {
  if (typeof input === "string") {
    return [{ text: input, tokens: countTokens(input) }];
  }
  const list: readonly (string | number | readonly number[])[] = input;
  const numbers = list.filter((one) => typeof one === "number");
  if (numbers.length > 0) {
    return [{ text: numbers.join(" "), tokens: numbers.length }];
  }
  return list.flatMap((one) => {
    if (typeof one === "string") {
      return [{ text: one, tokens: countTokens(one) }];
    }
    return typeof one === "number" ? [] : [{ text: one.join(" "), tokens: one.length }];
  });
}

function embed(text: string, dimensions: number): Float32Array {
  const vector = new Float64Array(dimensions);
  const words = text
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== "");
  for (const word of words.length === 0 ? [text] : words) {
    for (let place = 0; place < placesPerWord; place += 1) {
      const hash = hashText(`${place}`, hashText(word));
      // The high half: the low bits of this hash follow those of its text.
      const at = (hash >>> 16) % dimensions;
      vector[at] = (vector[at] ?? 0) + (((hash >>> 15) & 1) === 0 ? 1 : -1);
    }
  }
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  // Words that cancel each other out still point somewhere.
  return length === 0
    ? new Float32Array(dimensions).fill(1 / Math.sqrt(dimensions))
    : Float32Array.from(vector, (value) => value / length);
}

/** Little-endian 32-bit floats, as every machine that runs Workers keeps them. */
function toBase64(vector: Float32Array): string {
  const bytes = new Uint8Array(vector.buffer);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
