/** Outcomes of ours, and refusals, as agents hear them over MCP. */
import type { CallToolResult, ContentBlock } from "@modelcontextprotocol/server";
import type { AppError } from "../../base/errors.js";
import type { ToolContent, ToolOutcome } from "../contract.js";

/**
 * The result of a call. JSON goes out as text, and once more as structured content when it is the one piece of JSON and an
 * object; binary content as image, audio or an embedded resource.
 */
export function toResult(outcome: ToolOutcome): CallToolResult {
  const jsons = outcome.content.filter((piece) => piece.type === "json");
  const [only] = jsons;
  const structured = jsons.length === 1 && isObject(only?.value) ? { structuredContent: only.value } : {};
  return { content: outcome.content.map(toBlock), isError: outcome.is_error, ...structured };
}

/** A refusal or failure of a call as a result that the model reads, with what it says to do. */
export function toErrorResult(error: AppError): CallToolResult {
  const lines = [error.detail, ...error.errors.map(({ pointer, detail }) => `${pointer}: ${detail}`)];
  const { reason, upstream_status: status } = error.extra;
  if (typeof status === "number") {
    lines.push(`Status: ${status}`);
  }
  if (typeof reason === "string") {
    lines.push(`Reason: ${reason}`);
  }
  if (error.retryAfterMs !== undefined) {
    lines.push(`Retry after ${Math.max(1, Math.ceil(error.retryAfterMs / 1_000))} seconds.`);
  }
  return { content: [{ type: "text", text: lines.join("\n") }], isError: true };
}

function toBlock(piece: ToolContent, index: number): ContentBlock {
  switch (piece.type) {
    case "text":
      return { type: "text", text: piece.text };
    case "json":
      return { type: "text", text: JSON.stringify(piece.value) };
    case "binary":
      return toBinaryBlock(piece.base64, piece.mime_type, index);
  }
}

function toBinaryBlock(data: string, mimeType: string, index: number): ContentBlock {
  if (mimeType.startsWith("image/")) {
    return { type: "image", data, mimeType };
  }
  if (mimeType.startsWith("audio/")) {
    return { type: "audio", data, mimeType };
  }
  return { type: "resource", resource: { uri: `gatehouse:result/${index}`, mimeType, blob: data } };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
