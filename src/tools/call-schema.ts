/** How a tool is called, as its row holds it: what is read back from the record is checked like anything from outside. */
import { z } from "zod";
import type { McpCall, OpenApiCall } from "./contract.js";

const Style = z.enum(["simple", "label", "matrix", "form", "spaceDelimited", "pipeDelimited", "deepObject"]);
const Encoding = z.enum(["value", "json", "text", "file"]);

const StoredCall: z.ZodType<OpenApiCall | McpCall> = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("openapi"),
    method: z.string(),
    server: z.string(),
    path: z.string(),
    parameters: z.array(
      z.object({
        name: z.string(),
        in: z.enum(["path", "query", "header", "cookie"]),
        input: z.string(),
        style: Style,
        explode: z.boolean(),
        allow_reserved: z.boolean(),
        content_type: z.string().nullable(),
      }),
    ),
    body: z
      .object({
        content_type: z.string(),
        input: z.string().nullable(),
        encoding: Encoding,
        properties: z.array(
          z.object({
            name: z.string(),
            encoding: Encoding,
            style: Style,
            explode: z.boolean(),
            content_type: z.string().nullable(),
          }),
        ),
      })
      .nullable(),
  }),
  z.object({ kind: z.literal("mcp"), tool: z.string(), task: z.literal(true).exactOptional() }),
]);

/** The call of a tool's row. */
export function readCall(stored: string): OpenApiCall | McpCall {
  return StoredCall.parse(JSON.parse(stored));
}
