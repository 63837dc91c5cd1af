/** What goes in at the doors of tool providers. */
import { z } from "@hono/zod-openapi";
import { DisplayName } from "../identity/model.js";
import { ToolAuthSchema } from "./model.js";

const ProviderName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "Use 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit.")
  .describe("Its name in paths, in keys' allow-lists and for agents. It never changes.");

const Url = z.string().max(2_000);
const Description = z.string().max(2_000);
const TimeoutSeconds = z
  .number()
  .int()
  .min(1)
  .max(300)
  .describe("How long a call may take, 1 to 300 seconds; 60 when left out.");

/** What an OpenAPI provider is read from. */
const openApiSource = {
  document: z
    .union([
      z
        .string()
        .min(1)
        .openapi({ maxLength: 5 * 1024 * 1024 }),
      z.record(z.string(), z.unknown()),
    ])
    .optional()
    .describe("The OpenAPI document: JSON or YAML text, or a JSON object. Up to 5 MB and 300 operations."),
  url: Url.optional().describe("Where the document is, instead of `document`. It is fetched again by a refresh."),
  base_url: Url.optional().describe("Where calls go; the document's first server when left out."),
  auth: ToolAuthSchema.optional().describe("How calls are authenticated; what the document asks for when left out."),
};

const mcpSource = {
  url: Url.describe("The server's streamable HTTP endpoint."),
  auth: ToolAuthSchema.default({ type: "none" }),
};

const words = {
  title: DisplayName.optional(),
  description: Description.optional(),
  timeout_seconds: TimeoutSeconds.optional(),
};

export const CreateToolProvider = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("builtin"), name: ProviderName, timeout_seconds: TimeoutSeconds.optional() }),
    z.strictObject({ kind: z.literal("openapi"), name: ProviderName, ...words, ...openApiSource }),
    z.strictObject({ kind: z.literal("mcp"), name: ProviderName, ...words, ...mcpSource }),
  ])
  .openapi("CreateToolProvider");
export type CreateToolProvider = z.infer<typeof CreateToolProvider>;

export const ReplaceToolProvider = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("openapi"), ...words, ...openApiSource }),
    z.strictObject({ kind: z.literal("mcp"), ...words, ...mcpSource }),
  ])
  .openapi("ReplaceToolProvider");
export type ReplaceToolProvider = z.infer<typeof ReplaceToolProvider>;

export const UpdateToolProvider = z
  .strictObject({
    ...words,
    enabled: z.boolean().optional().describe("False takes all its tools out of use."),
    credential_id: z
      .string()
      .max(64)
      .nullable()
      .optional()
      .describe("The credential that calls use; null for the newest good one."),
  })
  .openapi("UpdateToolProvider");
export type UpdateToolProvider = z.infer<typeof UpdateToolProvider>;

export const UpdateTool = z
  .strictObject({ enabled: z.boolean().describe("Whether it can be invoked.") })
  .openapi("UpdateTool");

export const InvokeTool = z
  .strictObject({
    input: z.record(z.string(), z.unknown()).default({}).describe("As the tool's `input_schema` says."),
    credential_id: z
      .string()
      .max(64)
      .optional()
      .describe("The credential to use; the provider's own choice when left out."),
  })
  .openapi("InvokeTool");

/** What a tool answered. */
export const ToolResult = z
  .object({
    is_error: z.boolean().describe("The tool itself says that it failed."),
    status: z.number().int().nullable().describe("The provider's HTTP status; null for MCP."),
    content: z.array(
      z.discriminatedUnion("type", [
        z.object({ type: z.literal("json"), value: z.unknown() }),
        z.object({ type: z.literal("text"), text: z.string(), mime_type: z.string() }),
        z.object({ type: z.literal("binary"), base64: z.string(), mime_type: z.string() }),
      ]),
    ),
    omitted: z
      .boolean()
      .optional()
      .describe("True on a replayed answer that was too large to keep: the tool ran once, its output is gone."),
  })
  .openapi("ToolResult");
