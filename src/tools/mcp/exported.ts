/** The workspace's tools under the names that agents see. */
import { and, asc, eq, sql } from "drizzle-orm";
import { z } from "zod";
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../../base/bytes.js";
import { hideSql, type Database } from "../../base/database.js";
import { toolProviders, tools } from "../../toolbox/model.js";
import { listEnabledTools, type EnabledTool } from "../tools.js";
import { exportedName, hashedPrefix, readPlainName, type ToolPlace } from "./names.js";

/** A page of tools, with the cursor of the next one. */
export interface ExportedPage {
  readonly tools: readonly (EnabledTool & { readonly exported: string })[];
  readonly nextCursor: string | null;
}

const pageSize = 100;

/** One page of enabled tools that `allowed` names (null for all). Null for a cursor that is none of ours. */
export async function listExportedTools(
  db: Database,
  workspaceId: string,
  allowed: readonly string[] | null,
  cursor: string | null,
): Promise<ExportedPage | null> {
  const after = cursor === null ? null : readCursor(cursor);
  if (cursor !== null && after === null) {
    return null;
  }
  const { tools: page, hasMore } = await listEnabledTools(db, workspaceId, allowed, { after, limit: pageSize });
  const last = page.at(-1);
  return {
    tools: await Promise.all(page.map(async (tool) => ({ ...tool, exported: await exportedName(tool) }))),
    nextCursor: last === undefined || !hasMore ? null : writeCursor(last),
  };
}

/** The tool behind a name, whether or not it is enabled; null when no tool of the workspace has it. */
export async function findByExportedName(
  db: Database,
  workspaceId: string,
  exported: string,
): Promise<ToolPlace | null> {
  const plain = readPlainName(exported);
  if (plain !== null) {
    return (await exportedName(plain)) === exported ? plain : null;
  }
  const prefix = hashedPrefix(exported);
  if (prefix === null) {
    return null;
  }
  const begins = sql`substr(${toolProviders.name} || '__' || ${tools.name}, 1, ${prefix.length}) = ${prefix}`;
  const isOfProvider = and(eq(tools.workspaceId, toolProviders.workspaceId), eq(tools.providerId, toolProviders.id));
  const places = await hideSql(
    db
      .select({ provider: toolProviders.name, name: tools.name })
      .from(toolProviders)
      .innerJoin(tools, isOfProvider)
      .where(and(eq(toolProviders.workspaceId, workspaceId), begins))
      .orderBy(asc(toolProviders.name), asc(tools.name))
      .all(),
  );
  const names = await Promise.all(places.map(exportedName));
  return places[names.indexOf(exported)] ?? null;
}

const Cursor = z.tuple([z.string(), z.string()]);

function writeCursor({ provider, name }: ToolPlace): string {
  return toBase64Url(utf8(JSON.stringify([provider, name])));
}

function readCursor(cursor: string): ToolPlace | null {
  const bytes = fromBase64Url(cursor);
  try {
    const [provider, name] = Cursor.parse(JSON.parse(bytes === null ? "" : fromUtf8(bytes)));
    return { provider, name };
  } catch {
    return null;
  }
}
