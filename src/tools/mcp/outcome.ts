/** What an MCP tool answered, as an outcome of ours, searched for secrets. */
import type { CallToolResult, ContentBlock } from "@modelcontextprotocol/client";
import { redactSecrets, type Secret } from "../../base/secret.js";
import type { ToolContent, ToolOutcome } from "../contract.js";
import { redactJson } from "./redact.js";

/**
 * Text stays text, images, audio and blobs become binary, links to resources and structured content become JSON. A text
 * that only repeats the structured content is left out.
 */
export function toOutcome(result: CallToolResult, secrets: readonly Secret[]): ToolOutcome {
  const { structuredContent } = result;
  const blocks = result.content.map(toContent).filter((piece) => !repeats(piece, structuredContent));
  const structured: ToolContent[] = structuredContent === undefined ? [] : [{ type: "json", value: structuredContent }];
  return {
    is_error: result.isError === true,
    status: null,
    content: [...blocks, ...structured].map((piece) => redactContent(piece, secrets)),
  };
}

function toContent(block: ContentBlock): ToolContent {
  switch (block.type) {
    case "text":
      return { type: "text", text: block.text, mime_type: "text/plain" };
    case "image":
    case "audio":
      return { type: "binary", base64: block.data, mime_type: block.mimeType };
    case "resource":
      return "text" in block.resource
        ? { type: "text", text: block.resource.text, mime_type: block.resource.mimeType ?? "text/plain" }
        : {
            type: "binary",
            base64: block.resource.blob,
            mime_type: block.resource.mimeType ?? "application/octet-stream",
          };
    case "resource_link":
      return { type: "json", value: block };
  }
}

function repeats(piece: ToolContent, structured: unknown): boolean {
  if (structured === undefined || piece.type !== "text" || !/^\s*[{["\d-tfn]/.test(piece.text)) {
    return false;
  }
  try {
    return canonical(JSON.parse(piece.text)) === canonical(structured);
  } catch {
    return false;
  }
}

/** JSON text with the keys of every object in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function redactContent(piece: ToolContent, secrets: readonly Secret[]): ToolContent {
  switch (piece.type) {
    case "text":
      return { ...piece, text: redactSecrets(piece.text, secrets) };
    case "json":
      return { ...piece, value: redactJson(piece.value, secrets) };
    case "binary":
      // Base64 with a hole in it would be no base64.
      return redactSecrets(piece.base64, secrets) === piece.base64
        ? piece
        : { type: "text", text: "[redacted]", mime_type: "text/plain" };
  }
}
