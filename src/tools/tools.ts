/** The tools of a workspace: listed, found, and switched on and off. Those of a provider that is off are off with it. */
import { and, asc, eq, sql, type SQL } from "drizzle-orm";
import { z } from "zod";
import type { Actor } from "../access/principal.js";
import { auditIfChanged } from "../audit/audit.js";
import { hideSql, type Change, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { toolProviders, tools, type ToolProviderRow, type ToolRow } from "../toolbox/model.js";
import type { JsonSchema, ToolDefinition } from "./contract.js";

/** A tool that can be called. `provider` is its provider's wire name. */
export interface EnabledTool extends Pick<ToolDefinition, "name" | "title" | "description" | "input_schema"> {
  readonly provider: string;
}

/** A tool's place in the order of `listEnabledTools`. */
export type ToolPlace = Pick<EnabledTool, "provider" | "name">;

/** A tool that can be called, with its provider. */
export interface FoundTool {
  readonly provider: ToolProviderRow;
  readonly tool: ToolRow;
}

const JsonObject = z.record(z.string(), z.unknown());

/** Tools in order, and whether more come after them. */
export interface ToolPage<T> {
  readonly tools: readonly T[];
  readonly hasMore: boolean;
}

/** Of the schemas and descriptions on one page, if more than one tool is on it: a schema alone may have 256 KiB. */
const pageBytes = 1_048_576;
const bytesOfTool = sql<number>`octet_length(${tools.inputSchema}) + octet_length(${tools.description})`;

/**
 * The workspace's enabled tools by provider and name: up to `limit` after a place (null for the first), fewer where they are
 * large. `allowed`: only those it names as `provider/tool` or `provider/*`; null for all.
 */
export async function listEnabledTools(
  db: Database,
  workspaceId: string,
  allowed: readonly string[] | null,
  page: { readonly after: ToolPlace | null; readonly limit: number },
): Promise<ToolPage<EnabledTool>> {
  const { after, limit } = page;
  const isEnabled = and(
    eq(toolProviders.workspaceId, workspaceId),
    eq(toolProviders.enabled, true),
    eq(tools.enabled, true),
    isAllowed(allowed),
    after === null ? undefined : sql`(${toolProviders.name}, ${tools.name}) > (${after.provider}, ${after.name})`,
  );
  const order = [asc(toolProviders.name), asc(tools.name)];
  const sizes = db.select({ bytes: bytesOfTool }).from(toolProviders).innerJoin(tools, ofProvider()).where(isEnabled);
  const found = await hideSql(
    sizes
      .orderBy(...order)
      .limit(limit + 1)
      .all(),
  );
  const count = countFitting(found, limit);
  const rows = await hideSql(
    db
      .select({ provider: toolProviders.name, row: tools })
      .from(toolProviders)
      .innerJoin(tools, ofProvider())
      .where(isEnabled)
      .orderBy(...order)
      .limit(count)
      .all(),
  );
  const listed = rows.map(({ provider, row }) => ({
    provider,
    name: row.name,
    title: row.title,
    description: row.description,
    input_schema: readSchema(row),
  }));
  return { tools: listed, hasMore: found.length > count };
}

function countFitting(found: readonly { readonly bytes: number }[], limit: number): number {
  let room = pageBytes;
  const at = found.findIndex(({ bytes }, index) => {
    room -= bytes;
    return room < 0 && index > 0;
  });
  return Math.min(limit, at === -1 ? found.length : at);
}

/** A tool with its provider, both by their wire names; null when there is none, or it or its provider is off. */
export async function findEnabledTool(db: Database, workspaceId: string, place: ToolPlace): Promise<FoundTool | null> {
  const isThis = and(
    eq(toolProviders.workspaceId, workspaceId),
    eq(toolProviders.name, place.provider),
    eq(toolProviders.enabled, true),
    eq(tools.name, place.name),
    eq(tools.enabled, true),
  );
  const query = db.select({ provider: toolProviders, tool: tools }).from(toolProviders).innerJoin(tools, ofProvider());
  const [found] = await hideSql(query.where(isThis).limit(1).all());
  return found ?? null;
}

/** A provider's tools, also those that are off, by name: up to `limit` after a name (null for the first), fewer where they are large. */
export async function listProviderTools(
  db: Database,
  workspaceId: string,
  providerId: string,
  after: string | null,
  limit: number,
): Promise<ToolPage<ToolRow>> {
  const isListed = and(
    eq(tools.workspaceId, workspaceId),
    eq(tools.providerId, providerId),
    after === null ? undefined : sql`${tools.name} > ${after}`,
  );
  const sizes = db.select({ bytes: bytesOfTool }).from(tools).where(isListed).orderBy(asc(tools.name));
  const found = await hideSql(sizes.limit(limit + 1).all());
  const count = countFitting(found, limit);
  const rows = db.select().from(tools).where(isListed).orderBy(asc(tools.name)).limit(count);
  return { tools: await hideSql(rows.all()), hasMore: found.length > count };
}

/** One tool of a provider. Throws `not_found`. */
export async function findTool(db: Database, workspaceId: string, providerId: string, name: string): Promise<ToolRow> {
  const isThis = and(eq(tools.workspaceId, workspaceId), eq(tools.providerId, providerId), eq(tools.name, name));
  const [row] = await hideSql(db.select().from(tools).where(isThis).limit(1).all());
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return row;
}

/** Plans switching a tool on or off; what already stands writes nothing. */
export function planToolSwitch(
  db: Database,
  actor: Actor,
  provider: Pick<ToolProviderRow, "id" | "name">,
  row: ToolRow,
  enabled: boolean,
): Change<ToolRow> {
  const isThis = and(
    eq(tools.workspaceId, row.workspaceId),
    eq(tools.providerId, row.providerId),
    eq(tools.name, row.name),
  );
  return {
    statements: [
      db
        .update(tools)
        .set({ enabled })
        .where(and(isThis, sql`${tools.enabled} IS NOT ${enabled ? 1 : 0}`)),
      auditIfChanged(db, actor, {
        workspaceId: row.workspaceId,
        action: enabled ? "tool.enabled" : "tool.disabled",
        targets: [
          { type: "tool_provider", id: provider.id },
          { type: "tool", id: `${provider.name}/${row.name}` },
        ],
      }),
    ],
    value: { ...row, enabled },
  };
}

/** A tool's input schema. */
export function readSchema(row: Pick<ToolRow, "inputSchema">): JsonSchema {
  return JsonObject.parse(JSON.parse(row.inputSchema));
}

function ofProvider(): SQL | undefined {
  return and(eq(tools.workspaceId, toolProviders.workspaceId), eq(tools.providerId, toolProviders.id));
}

function isAllowed(allowed: readonly string[] | null): SQL | undefined {
  return allowed === null
    ? undefined
    : sql`EXISTS (SELECT 1 FROM json_each(${JSON.stringify(allowed)}) AS a
        WHERE a.value = ${toolProviders.name} || '/*' OR a.value = ${toolProviders.name} || '/' || ${tools.name})`;
}
