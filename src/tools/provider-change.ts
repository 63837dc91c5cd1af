/** A provider's source and what follows from it: added, replaced, read again. Its tools keep their names and their switches; its credentials hold only for the origins that they were entered for. */
import { and, eq, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditEach, auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, type Change, type Database, type Statement } from "../base/database.js";
import { newId } from "../base/ids.js";
import { credentials } from "../connections/model.js";
import { strandedReason } from "../connections/validation.js";
import { toolProviders, tools, type ToolProviderRow } from "../toolbox/model.js";
import { basesOf, ownerOf, sealOrigin } from "./auth.js";
import type { ToolAuth, ToolDefinition } from "./contract.js";
import { providersPerWorkspace, toAudit, usualTimeoutSeconds } from "./providers.js";
import type { ToolSource } from "./source.js";

/** What a provider is to be. */
export interface ProviderDraft {
  readonly title: string;
  readonly description: string;
  readonly baseUrl: string;
  readonly auth: ToolAuth;
  readonly sourceUrl: string | null;
  readonly baseOverride: string | null;
  readonly timeoutSeconds: number | undefined;
  /** Null when it could not be read yet: then the tools stay as they are, and `refreshError` says why. */
  readonly source: Pick<ToolSource, "tools" | "digest"> | null;
  readonly refreshError: string | null;
}

/** Tools are written in pieces of about this many characters: D1 takes parameters of up to 2 MB. */
const pieceChars = 512 * 1024;

/** Plans a new provider with its tools. The change may fail with `name_taken` or `limit_reached`. */
export function planCreateProvider(
  db: Database,
  workspaceId: string,
  actor: Actor,
  named: Pick<ToolProviderRow, "kind" | "name">,
  draft: ProviderDraft,
): Change<ToolProviderRow> {
  const row: ToolProviderRow = {
    id: newId("toolProvider"),
    workspaceId,
    ...named,
    credentialId: null,
    enabled: true,
    triedAt: null,
    revision: 1,
    createdAt: actor.at,
    ...toColumns(draft, actor.at, null),
  };
  const count = sql`(SELECT count(*) FROM ${toolProviders} WHERE ${toolProviders.workspaceId} = ${workspaceId})`;
  return {
    statements: [
      guardThat(db, sql`${count} < ${providersPerWorkspace}`, "limit_reached"),
      db.insert(toolProviders).values(row),
      ...(draft.source === null ? [] : putTools(db, row, draft.source.tools)),
      auditRow(db, actor, {
        workspaceId,
        action: "tool_provider.created",
        targets: [{ type: "tool_provider", id: row.id }],
        after: { ...toAudit(row), tools: draft.source?.tools.length ?? 0 },
      }),
    ],
    value: row,
    conflicts: { "tool_providers.name": "name_taken" },
  };
}

/**
 * Plans another source for a provider, or the same one read again. Tools go and come by name, those that stay keep their
 * switch. Credentials that were entered for another origin cannot be used until they are entered again. The change may fail
 * with `conflict` or `precondition_failed`.
 */
export function planReplaceProvider(
  db: Database,
  actor: Actor,
  row: ToolProviderRow,
  draft: ProviderDraft,
  options: { readonly action: "tool_provider.updated" | "tool_provider.refreshed"; readonly ifMatch: number | null },
): Change<ToolProviderRow> {
  const expected = options.ifMatch ?? row.revision;
  const after: ToolProviderRow = { ...row, ...toColumns(draft, actor.at, row), revision: expected + 1 };
  const isThis = and(
    eq(toolProviders.workspaceId, row.workspaceId),
    eq(toolProviders.id, row.id),
    eq(toolProviders.revision, expected),
  );
  const { id: _id, workspaceId, kind: _kind, name: _name, createdAt: _createdAt, ...columns } = after;
  return {
    statements: [
      db.update(toolProviders).set(columns).where(isThis),
      guardChanged(db, options.ifMatch === null ? "conflict" : "precondition_failed"),
      ...(draft.source === null ? [] : dropTools(db, row, draft.source.tools)),
      ...(draft.source === null ? [] : putTools(db, row, draft.source.tools)),
      ...retireCredentials(db, actor, after, draft.auth),
      auditRow(db, actor, {
        workspaceId,
        action: options.action,
        targets: [{ type: "tool_provider", id: row.id }],
        before: toAudit(row),
        after: { ...toAudit(after), refresh_error: after.refreshError },
      }),
    ],
    value: after,
  };
}

function toColumns(draft: ProviderDraft, now: number, before: ToolProviderRow | null) {
  return {
    title: draft.title,
    description: draft.description,
    baseUrl: draft.baseUrl,
    origin: new URL(draft.baseUrl).origin,
    auth: JSON.stringify(draft.auth),
    sourceUrl: draft.sourceUrl,
    baseOverride: draft.baseOverride,
    digest: draft.source?.digest ?? before?.digest ?? null,
    timeoutSeconds: draft.timeoutSeconds ?? before?.timeoutSeconds ?? usualTimeoutSeconds,
    refreshedAt: draft.source === null ? (before?.refreshedAt ?? null) : now,
    refreshError: draft.refreshError,
    updatedAt: now,
  };
}

function dropTools(db: Database, row: ToolProviderRow, kept: readonly ToolDefinition[]): Statement[] {
  const names = JSON.stringify(kept.map((tool) => tool.name));
  const isGone = and(
    eq(tools.workspaceId, row.workspaceId),
    eq(tools.providerId, row.id),
    sql`${tools.name} NOT IN (SELECT value FROM json_each(${names}))`,
  );
  return [db.delete(tools).where(isGone)];
}

/** One statement for many tools; the switch of one that is there already stays as it is. */
function putTools(
  db: Database,
  row: Pick<ToolProviderRow, "workspaceId" | "id">,
  definitions: readonly ToolDefinition[],
): Statement[] {
  const texts = definitions.map((tool, position) =>
    JSON.stringify({
      name: tool.name,
      title: tool.title,
      description: tool.description,
      input_schema: JSON.stringify(tool.input_schema),
      call: JSON.stringify(tool.call),
      position,
    }),
  );
  return toPieces(texts).map((piece) =>
    db
      .insert(tools)
      .select(
        // The WHERE keeps SQLite from reading ON CONFLICT as a join's ON.
        sql`SELECT ${row.workspaceId}, ${row.id}, e.value ->> 'name', e.value ->> 'title', e.value ->> 'description',
          e.value ->> 'input_schema', e.value ->> 'call', 1, e.value ->> 'position' FROM json_each(${piece}) AS e WHERE true`,
      )
      .onConflictDoUpdate({
        target: [tools.workspaceId, tools.providerId, tools.name],
        set: {
          title: sql`excluded.title`,
          description: sql`excluded.description`,
          inputSchema: sql`excluded.input_schema`,
          call: sql`excluded.call`,
          position: sql`excluded.position`,
        },
      }),
  );
}

/** JSON arrays of the texts, in order, each a piece of bounded size. */
function toPieces(texts: readonly string[]): string[] {
  const pieces: string[][] = [];
  let room = 0;
  for (const text of texts) {
    if (text.length > room || pieces.length === 0) {
      pieces.push([]);
      room = pieceChars;
    }
    pieces.at(-1)?.push(text);
    room -= text.length;
  }
  return pieces.map((piece) => `[${piece.join(",")}]`);
}

/** The seal itself holds each secret to its origins; this says so where people look. */
function retireCredentials(db: Database, actor: Actor, row: ToolProviderRow, auth: ToolAuth): Statement[] {
  const origins = JSON.stringify(basesOf(row).map((base) => sealOrigin(auth, base)));
  const isStranded = sql`${credentials.workspaceId} = ${row.workspaceId} AND ${credentials.providerType} = 'tool'
    AND ${credentials.providerName} = ${ownerOf(row)} AND ${credentials.status} NOT IN ('invalid', 'disabled')
    AND ${credentials.origin} NOT IN (SELECT value FROM json_each(${origins}))`;
  const told = {
    workspaceId: row.workspaceId,
    action: "credential.refused",
    target: { type: "credential", id: sql`${credentials.id}` },
    before: sql`json_object('status', ${credentials.status})`,
    after: sql`json_object('status', 'invalid', 'reason', ${strandedReason})`,
  };
  return [
    auditEach(db, actor, told, sql`${credentials} WHERE ${isStranded}`),
    db
      .update(credentials)
      .set({
        status: "invalid",
        isValid: null,
        reason: strandedReason,
        retryAt: null,
        revision: sql`${credentials.revision} + 1`,
        updatedAt: actor.at,
      })
      .where(isStranded),
  ];
}
