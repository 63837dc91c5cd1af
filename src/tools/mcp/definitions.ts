/** Tools as an MCP server lists them, turned into definitions with names that fit ours. */
import type { Tool } from "@modelcontextprotocol/client";
import { redactSecrets, type Secret } from "../../base/secret.js";
import type { ToolDefinition } from "../contract.js";
import { hashedName, maxNameLength } from "./names.js";
import { redactJson } from "./redact.js";
import { tameSchema } from "./schemas.js";

const maxTitleLength = 200;
const maxDescriptionLength = 8_000;

/**
 * The definitions of a server's tools, in its order. A name keeps its letters, digits, `_` and `-`; where two would then
 * be one, those that were changed end in a hash of the server's own name, so that names do not depend on the order. A tool
 * listed twice is taken once, one whose name holds a secret not at all.
 */
export async function toDefinitions(
  tools: readonly Tool[],
  secrets: readonly Secret[],
): Promise<readonly ToolDefinition[]> {
  const first = new Map(tools.toReversed().map((tool) => [tool.name, tool]));
  const listed = [...new Set(tools.map((tool) => tool.name))]
    .filter((name) => redactSecrets(name, secrets) === name)
    .flatMap((name) => first.get(name) ?? []);
  const counts = new Map<string, number>();
  for (const { name } of listed) {
    counts.set(plainName(name), (counts.get(plainName(name)) ?? 0) + 1);
  }
  return await Promise.all(
    listed.map((tool) =>
      toDefinition(tool, secrets, tool.name.length > maxNameLength || (counts.get(plainName(tool.name)) ?? 0) > 1),
    ),
  );
}

async function toDefinition(tool: Tool, secrets: readonly Secret[], isAmbiguous: boolean): Promise<ToolDefinition> {
  const plain = plainName(tool.name);
  const title = redactSecrets(tool.title ?? tool.annotations?.title ?? "", secrets);
  return {
    name: plain === tool.name || !isAmbiguous ? plain : await hashedName(plain, tool.name),
    title: title === "" ? null : title.slice(0, maxTitleLength),
    description: redactSecrets(tool.description ?? "", secrets).slice(0, maxDescriptionLength),
    input_schema: tameSchema(redactJson(tool.inputSchema, secrets)),
    call: {
      kind: "mcp",
      tool: tool.name,
      ...(tool.execution?.taskSupport === "required" ? { task: true } : {}),
    },
  };
}

/** A name as far as it can stand: other characters become `_`. Cut to length, so it says by itself whether it was changed. */
function plainName(name: string): string {
  const plain = name.replaceAll(/[^a-zA-Z0-9_-]/g, "_").slice(0, maxNameLength);
  return plain === "" ? "tool" : plain;
}
