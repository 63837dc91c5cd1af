/** What an export holds of tools: the providers and every tool of theirs, as they could be entered again. */
import { and, asc, eq, gt, sql } from "drizzle-orm";
import { z } from "zod";
import { hideSql, type Database } from "../base/database.js";
import { toolProviders, tools, toTool } from "../toolbox/model.js";

/** One row, with the place to go on from. */
interface ToolsRow {
  readonly cursor: string;
  readonly data: object;
}

const Json = z.record(z.string(), z.unknown());

/** Providers after an id, `limit` of them. */
export async function readToolProviders(
  db: Database,
  workspaceId: string,
  after: string,
  limit: number,
): Promise<ToolsRow[]> {
  const query = db
    .select()
    .from(toolProviders)
    .where(and(eq(toolProviders.workspaceId, workspaceId), gt(toolProviders.id, after)))
    .orderBy(asc(toolProviders.id));
  return (await hideSql(query.limit(limit).all())).map((row) => ({
    cursor: row.id,
    data: {
      id: row.id,
      kind: row.kind,
      name: row.name,
      title: row.title,
      description: row.description,
      base_url: row.baseUrl,
      source_url: row.sourceUrl,
      auth: Json.parse(JSON.parse(row.auth)),
      credential_id: row.credentialId,
      timeout_seconds: row.timeoutSeconds,
      enabled: row.enabled,
      created_at: new Date(row.createdAt).toISOString(),
      updated_at: new Date(row.updatedAt).toISOString(),
    },
  }));
}

/** Tools after a place (`provider id/name`), `limit` of them. */
export async function readTools(db: Database, workspaceId: string, after: string, limit: number): Promise<ToolsRow[]> {
  const [providerId = "", name = ""] = after.split("/");
  const query = db
    .select({ provider: toolProviders.name, row: tools })
    .from(tools)
    .innerJoin(
      toolProviders,
      and(eq(toolProviders.workspaceId, tools.workspaceId), eq(toolProviders.id, tools.providerId)),
    )
    .where(
      and(eq(tools.workspaceId, workspaceId), sql`(${tools.providerId}, ${tools.name}) > (${providerId}, ${name})`),
    )
    .orderBy(asc(tools.providerId), asc(tools.name));
  return (await hideSql(query.limit(limit).all())).map(({ provider, row }) => ({
    cursor: `${row.providerId}/${row.name}`,
    data: { ...toTool(provider, row), call: Json.parse(JSON.parse(row.call)) },
  }));
}
