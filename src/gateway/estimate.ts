/** What a call may use, told from its body before it is sent: what limits and budgets hold until it settles. Estimates, by the figures that stand here. */
import type { UpstreamEndpoint } from "../providers/contract.js";
import type { Estimate } from "../routing/model.js";
import { countItems, skipSpace } from "./json.js";
import type { ReadField, Scan } from "./scan.js";

/** Bytes of a JSON body for each token of text in it. */
const textBytesPerToken = 3.5;
/** A string without a space, quote or other sign of text for so long is data in base64. */
const dataRun = 256;
/** One image, of the largest size that providers do not scale down. */
const imageTokens = 1_600;
/** Any other data in base64, such as a document or sound. */
const dataBytesPerToken = 30;
/** One generated image of 1,024 × 1,024 in the highest quality. */
const generatedImageTokens = 4_160;
/** Speech that is made for each character: about 15 of them and 20 tokens to a second. */
const speechTokensPerCharacter = 1.5;
/** Uploaded sound of 4 KB a second, 10 tokens to hear it and 4 to write it down. */
const soundBytesPerInput = 400;
const soundBytesPerOutput = 1_000;
/** Beyond any model, so that no sum leaves the whole numbers. */
const mostTokens = 100_000_000;
/** Beyond any provider's `n` and number of prompts. */
const mostChoices = 100_000;
/** So far before data it is said what it is. */
const dataHead = 96;
const quote = 0x22;
const openBracket = 0x5b;

type Reader = (body: Uint8Array, scan: Scan) => Partial<Estimate>;

/** What differs from text in, text out, one answer. */
const readers: Readonly<Partial<Record<UpstreamEndpoint, Reader>>> = {
  "chat/completions": (_, scan) => ({
    output_tokens: readCap(scan),
    choices: readCount(scan, "n") ?? 1,
  }),
  responses: (_, scan) => ({ output_tokens: readCount(scan, "max_output_tokens") }),
  completions: (body, scan) => ({
    output_tokens: readCount(scan, "max_tokens"),
    choices: Math.max(readCount(scan, "n") ?? 1, readCount(scan, "best_of") ?? 1) * countPrompts(body, scan),
  }),
  messages: (_, scan) => ({ output_tokens: readCount(scan, "max_tokens") }),
  "messages/count_tokens": () => ({ input_tokens: 0, output_tokens: 0 }),
  embeddings: () => ({ output_tokens: 0 }),
  moderations: () => ({ output_tokens: 0 }),
  rerank: () => ({ output_tokens: 0 }),
  "images/generations": (_, scan) => ({ output_tokens: generatedImageTokens, choices: readCount(scan, "n") ?? 1 }),
  "audio/speech": (_, { fields: { input } }) => ({
    output_tokens: Math.ceil((typeof input?.value === "string" ? input.value.length : 0) * speechTokensPerCharacter),
  }),
  "audio/transcriptions": (body, { fileBytes }) => ({
    input_tokens: Math.ceil(fileBytes / soundBytesPerInput + (body.length - fileBytes) / textBytesPerToken),
    output_tokens: Math.ceil(fileBytes / soundBytesPerOutput),
  }),
};

/** What a call may use. A cap that is no count is none: whoever serves the call will refuse it. */
export function estimateCall(endpoint: UpstreamEndpoint, body: Uint8Array, scan: Scan): Estimate {
  const { choices = 1, input_tokens: input, output_tokens: output = null } = readers[endpoint]?.(body, scan) ?? {};
  return {
    input_tokens: input ?? countInput(body),
    output_tokens: output,
    choices: Math.max(1, Math.min(choices, mostChoices)),
  };
}

/** The tokens of a JSON body: text by its bytes, data in base64 by what it is. Text is looked at every 256 bytes or so, data not at all. */
function countInput(body: Uint8Array): number {
  let tokens = 0;
  let dataBytes = 0;
  let at = 0;
  while (at + dataRun <= body.length) {
    const other = lastOther(body, at, at + dataRun);
    if (other >= 0) {
      at = other + 1;
      continue;
    }
    const closing = body.indexOf(quote, at + dataRun);
    const end = closing < 0 ? body.length : closing;
    tokens += countData(body, at, end);
    dataBytes += end - at;
    at = end + 1;
  }
  return Math.ceil(tokens + (body.length - dataBytes) / textBytesPerToken);
}

function countData(body: Uint8Array, start: number, end: number): number {
  const head = String.fromCharCode(...body.subarray(Math.max(0, start - dataHead), start));
  return head.includes("image/") ? imageTokens : Math.max(imageTokens, (end - start) / dataBytesPerToken);
}

/** The last byte of a range that base64 does not have; -1 for none. */
function lastOther(body: Uint8Array, start: number, end: number): number {
  for (let index = end - 1; index >= start; index -= 1) {
    if (base64[body[index] ?? 0] !== 1) {
      return index;
    }
  }
  return -1;
}

/** 1 at each byte of base64, in either alphabet; a backslash may stand before its slashes. */
const base64 = new Uint8Array(256);
for (const letter of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_\\") {
  base64[letter.charCodeAt(0)] = 1;
}

/** The larger one where both names are used: providers differ in which they know. */
function readCap(scan: Scan): number | null {
  const caps = [readCount(scan, "max_completion_tokens"), readCount(scan, "max_tokens")].filter((cap) => cap !== null);
  return caps.length === 0 ? null : Math.max(...caps);
}

/** Each prompt of a list is answered by itself. A list of numbers is one prompt, given as tokens. */
function countPrompts(body: Uint8Array, { fields: { prompt } }: Scan): number {
  if (prompt === undefined || body[prompt.start] !== openBracket) {
    return 1;
  }
  const first = body[skipSpace(body, prompt.start + 1)];
  return first === quote || first === openBracket ? countItems(body, prompt.start) : 1;
}

function readCount({ fields }: Scan, name: ReadField): number | null {
  const value = fields[name]?.value;
  return typeof value === "number" && value >= 0 ? Math.min(Math.ceil(value), mostTokens) : null;
}
