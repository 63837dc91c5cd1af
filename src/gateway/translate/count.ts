/** Answers count_tokens where no upstream counts: an estimate, marked as one. */
import { utf8 } from "../../base/bytes.js";
import type { Translation } from "./contract.js";
import { asList, asRecord, asText, readBody, type Json } from "./json.js";

/** Bytes of UTF-8 that make a token of ordinary English text or code. */
const bytesPerToken = 3.5;
/** What each message and each tool costs beside its words. */
const tokensPerItem = 4;
/** A picture of the largest size that is not scaled down. */
const tokensPerImage = 1_600;
/** Base64 of a document, against the tokens of its pages. */
const documentBytesPerToken = 30;

/** Counts a `count_tokens` body of Anthropic's wire. Throws `validation_failed` without messages. */
export function beginCount(body: Uint8Array): Translation {
  const request = readBody(body, "messages");
  const items = [...asList(request["messages"]), ...asList(request["tools"])];
  const fields = [request["system"], request["output_config"], ...items];
  const tokens = Math.ceil(
    fields.reduce<number>((sum, field) => sum + countValue(field), items.length * tokensPerItem),
  );
  return {
    kind: "answer",
    response: Response.json({ input_tokens: tokens }, { headers: { "x-gatehouse-estimate": "true" } }),
  };
}

function countValue(value: Json | undefined): number {
  if (typeof value === "string") {
    return utf8(value).length / bytesPerToken;
  }
  if (Array.isArray(value)) {
    return value.reduce<number>((sum, item) => sum + countValue(item), 0);
  }
  const record = asRecord(value);
  if (record === null) {
    return value === undefined ? 0 : 1;
  }
  if (record["type"] === "image") {
    return tokensPerImage;
  }
  const data = record["type"] === "base64" ? asText(record["data"]) : null;
  return data === null
    ? Object.entries(record).reduce((sum, [name, item]) => sum + name.length / bytesPerToken + countValue(item), 0)
    : data.length / documentBytesPerToken;
}
