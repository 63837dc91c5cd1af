/** What tool providers a workspace has: their rows, one row for each tool, and the public view of both. What is done with them stands in `tools/`. */
import { foreignKey, index, integer, primaryKey, sqliteTable, text, unique } from "drizzle-orm/sqlite-core";
import { z } from "@hono/zod-openapi";
import { workspaces } from "../tenancy/model.js";

export const toolProviderKinds = ["builtin", "openapi", "mcp"] as const;

export const toolProviders = sqliteTable(
  "tool_providers",
  {
    id: text("id").primaryKey(),
    workspaceId: text("workspace_id").notNull(),
    kind: text("kind", { enum: toolProviderKinds }).notNull(),
    /** The wire name: stands in paths, in keys' allow-lists and in the names that agents see, so it never changes. */
    name: text("name").notNull(),
    title: text("title").notNull(),
    description: text("description").notNull(),
    /** Where its calls go; the server's own address for MCP. */
    baseUrl: text("base_url").notNull(),
    /** The only origin that its credentials may be sent to. */
    origin: text("origin").notNull(),
    /** How calls are authenticated, as JSON of `ToolAuth`. */
    auth: text("auth").notNull(),
    /** Where its document is fetched from; null for one that was given as text, for MCP and for built-in ones. */
    sourceUrl: text("source_url"),
    /** The base URL that its owner gave; null when the document's own server counts. */
    baseOverride: text("base_override"),
    /** SHA-256 of what its tools were read from, hex; null before the first reading. */
    digest: text("digest"),
    /** The credential that calls use; null for the newest good one. */
    credentialId: text("credential_id"),
    timeoutSeconds: integer("timeout_seconds").notNull(),
    enabled: integer("enabled", { mode: "boolean" }).notNull().default(true),
    /** When its tools were last read. */
    refreshedAt: integer("refreshed_at"),
    /** When an MCP server was last asked for its tools by the clock, whatever came of it; null before the first time. */
    triedAt: integer("tried_at"),
    /** Why the last reading failed; null when it did not. */
    refreshError: text("refresh_error"),
    revision: integer("revision").notNull().default(1),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [
    unique("tool_providers_in_workspace").on(table.workspaceId, table.id),
    unique("tool_providers_name").on(table.workspaceId, table.name),
    index("tool_providers_stale").on(table.kind, table.refreshedAt),
    foreignKey({ name: "tool_providers_workspace", columns: [table.workspaceId], foreignColumns: [workspaces.id] }),
  ],
);

export const tools = sqliteTable(
  "tools",
  {
    workspaceId: text("workspace_id").notNull(),
    providerId: text("provider_id").notNull(),
    name: text("name").notNull(),
    title: text("title"),
    description: text("description").notNull(),
    /** JSON Schema of the input, as JSON. */
    inputSchema: text("input_schema").notNull(),
    /** How it is called, as JSON of `OpenApiCall` or `McpCall`. */
    call: text("call").notNull(),
    enabled: integer("enabled", { mode: "boolean" }).notNull().default(true),
    /** Its place in the document. */
    position: integer("position").notNull(),
  },
  (table) => [
    primaryKey({ name: "tools_pk", columns: [table.workspaceId, table.providerId, table.name] }),
    foreignKey({
      name: "tools_provider",
      columns: [table.workspaceId, table.providerId],
      foreignColumns: [toolProviders.workspaceId, toolProviders.id],
    }).onDelete("cascade"),
  ],
);

export type ToolProviderRow = typeof toolProviders.$inferSelect;
export type ToolRow = typeof tools.$inferSelect;

/** How calls to a provider are authenticated; the values come from its credential. */
export const ToolAuthSchema = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("none") }),
    z
      .strictObject({
        type: z.literal("api_key"),
        in: z.enum(["header", "query", "cookie", "path"]).describe("`path` is for built-in providers alone."),
        name: z
          .string()
          .regex(/^[A-Za-z0-9_.$-]{1,128}$/, "Use letters, digits and _ . $ - only.")
          .describe("The header's or query parameter's name."),
        prefix: z
          .string()
          .max(64)
          .regex(/^[\x20-\x7e]*$/, "Use printable ASCII only.")
          .exactOptional()
          .describe("Written before the key."),
      })
      // The generator takes an exactly optional field for a required one.
      .openapi({ required: ["type", "in", "name"] }),
    z.strictObject({ type: z.literal("bearer") }),
    z.strictObject({ type: z.literal("basic") }),
    z.strictObject({
      type: z.literal("headers"),
      names: z
        .array(z.string().regex(/^[A-Za-z0-9_.-]{1,128}$/, "Use letters, digits and _ . - only."))
        .min(1)
        .max(10)
        .refine(
          (names) => new Set(names.map((name) => name.toLowerCase())).size === names.length,
          "Name each header once.",
        )
        .readonly()
        .describe("The headers' names. Their values are the credential's."),
    }),
    z.strictObject({
      type: z.literal("oauth_client_credentials"),
      token_url: z.string().max(2_000),
      scopes: z
        .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/))
        .max(100)
        .readonly(),
    }),
  ])
  .openapi("ToolAuth");

/** A tool provider, as the answers show it. */
export const ToolProvider = z
  .object({
    id: z.string().describe("A built-in provider that was not added yet has its name here."),
    name: z.string().describe("Its name in paths, in allow-lists and for agents."),
    kind: z.enum(toolProviderKinds),
    title: z.string(),
    description: z.string(),
    docs_url: z.string().nullable(),
    key_url: z.string().nullable().describe("Where a credential for it is to be had; built-in ones only."),
    base_url: z.string(),
    source_url: z.string().nullable(),
    auth: ToolAuthSchema,
    form: z
      .array(
        z.object({
          name: z.string(),
          label: z.string(),
          secret: z.boolean(),
          required: z.boolean(),
          help: z.string(),
          default: z.string().optional(),
          choices: z.array(z.object({ value: z.string(), label: z.string() })).optional(),
          placeholder: z.string().optional(),
        }),
      )
      .describe("What a credential for it is made of; empty when it needs none."),
    added: z.boolean().describe("Whether the workspace has it; false for built-in ones that wait to be added."),
    enabled: z.boolean(),
    configured: z
      .boolean()
      .describe("Whether its tools can be called: it was added, and has a credential or needs none."),
    credential_id: z.string().nullable().describe("The credential that calls use; null for the newest good one."),
    timeout_seconds: z.number().int(),
    tools_count: z.number().int(),
    refreshed_at: z.iso.datetime().nullable(),
    refresh_error: z.string().nullable(),
    created_at: z.iso.datetime().nullable(),
    updated_at: z.iso.datetime().nullable(),
  })
  .openapi("ToolProvider");
export type ToolProvider = z.infer<typeof ToolProvider>;

/** A tool, as the answers show it. */
export const Tool = z
  .object({
    provider: z.string().describe("Its provider's name."),
    name: z.string(),
    title: z.string().nullable(),
    description: z.string(),
    input_schema: z.record(z.string(), z.unknown()).describe("JSON Schema of the input."),
    enabled: z.boolean(),
  })
  .openapi("Tool");
export type Tool = z.infer<typeof Tool>;

const JsonObject = z.record(z.string(), z.unknown());

/** The answer's view of a tool. */
export function toTool(provider: string, row: ToolRow): Tool {
  return {
    provider,
    name: row.name,
    title: row.title,
    description: row.description,
    input_schema: JsonObject.parse(JSON.parse(row.inputSchema)),
    enabled: row.enabled,
  };
}
