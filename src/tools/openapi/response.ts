/** An upstream's answer becomes a tool's outcome: by its type, within a size, and without the secrets that it may echo. */
import { AppError } from "../../base/errors.js";
import { redactSecrets, type Secret } from "../../base/secret.js";
import type { ToolContent, ToolOutcome } from "../contract.js";

/** What reading an answer must keep to. */
export interface ResponseRules {
  /** Secrets that must not come back, in whatever form `redactSecrets` knows. */
  readonly secrets: readonly Secret[];
  readonly maxBytes: number;
}

/**
 * Reads an answer: JSON, text, or binary as base64 with its type. `is_error` is set for every status but 2xx. Throws
 * `AppError` `upstream_failed` when it is larger than `maxBytes` or breaks off.
 */
export async function readToolResponse(response: Response, rules: ResponseRules): Promise<ToolOutcome> {
  const bytes = await readBytes(response, rules.maxBytes);
  const type = response.headers.get("content-type") ?? "";
  const content = bytes.byteLength === 0 ? [] : [readContent(bytes, type, rules.secrets)];
  return { is_error: !response.ok, status: response.status, content };
}

function readContent(bytes: Uint8Array<ArrayBuffer>, type: string, secrets: readonly Secret[]): ToolContent {
  const mimeType = cleanType(type, secrets);
  const isJson = /^(application|text)\/([a-z0-9.+-]+\+)?json$/.test(mimeType);
  const isText =
    /^text\/|^application\/([a-z0-9.+-]+\+)?(xml|javascript|yaml|x-yaml|x-ndjson|jsonl|x-www-form-urlencoded)$/.test(
      mimeType,
    );
  const isKnown = isJson || isText || mimeType === "";
  const text = isKnown ? decode(bytes, type, isJson || isText) : null;
  if (text === null) {
    return readBinary(bytes, mimeType === "" ? "application/octet-stream" : mimeType, secrets);
  }
  const clean = redactSecrets(text, secrets);
  const value = isText ? undefined : parse(clean);
  return value === undefined
    ? { type: "text", text: clean, mime_type: isText ? mimeType : "text/plain" }
    : { type: "json", value };
}

/** Bytes pass as they are, unless a secret stands in them as text: then nothing of them does. */
function readBinary(bytes: Uint8Array<ArrayBuffer>, mimeType: string, secrets: readonly Secret[]): ToolContent {
  const text = new TextDecoder("latin1").decode(bytes);
  return redactSecrets(text, secrets) === text
    ? { type: "binary", base64: toBase64(bytes), mime_type: mimeType }
    : { type: "text", text: "[redacted]", mime_type: "text/plain" };
}

async function readBytes(response: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (Number(response.headers.get("content-length") ?? "0") > maxBytes) {
    await response.body?.cancel();
    throw tooLarge(maxBytes);
  }
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.byteLength;
      if (size > maxBytes) {
        // Leaving the loop cancels the rest.
        break;
      }
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new AppError("upstream_failed", { detail: "The provider's answer broke off.", cause });
  }
  if (size > maxBytes) {
    throw tooLarge(maxBytes);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

function tooLarge(maxBytes: number): AppError {
  return new AppError("upstream_failed", { detail: `The provider's answer is larger than ${maxBytes} bytes.` });
}

/** The type without its parameters, lower-case; "" for one that is none or holds a secret. */
function cleanType(header: string, secrets: readonly Secret[]): string {
  const type = (header.split(";")[0] ?? "").trim().toLowerCase();
  return /^[\w.+-]+\/[\w.+-]+$/.test(type) && redactSecrets(header, secrets) === header ? type : "";
}

/** Text of the charset that the type names; null for bytes that are no text and whose type does not say that they are. */
function decode(bytes: Uint8Array<ArrayBuffer>, header: string, isSaid: boolean): string | null {
  const charset = /;\s*charset="?([\w.:-]+)/i.exec(header)?.[1] ?? "utf-8";
  try {
    return new TextDecoder(isSaid ? charset : "utf-8", { fatal: !isSaid, ignoreBOM: false }).decode(bytes);
  } catch {
    return isSaid ? new TextDecoder().decode(bytes) : null;
  }
}

function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

/** In pieces: a call takes only so many arguments, and a text of millions of characters is slow to join one by one. */
function toBase64(bytes: Uint8Array<ArrayBuffer>): string {
  const step = 3 * 8192;
  let text = "";
  for (let at = 0; at < bytes.byteLength; at += step) {
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + step)));
  }
  return text;
}
