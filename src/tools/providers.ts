/** A workspace's tool providers: found, listed, changed in what is not their source, and deleted with their tools and credentials. */
import { and, asc, eq, inArray, or, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditEach, auditIfChanged, auditRow } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { credentials } from "../connections/model.js";
import { toolProviders, tools, type ToolProvider, type ToolProviderRow } from "../toolbox/model.js";
import type { UpdateToolProvider } from "../toolbox/provider-schema.js";
import { basesOf, formOf, ownerOf, readAuth, sealOrigin } from "./auth.js";
import { findBuiltin, listBuiltins, type Builtin } from "./builtin/builtin.js";

/** Providers of a workspace, built-in ones not counted until they are added. */
export const providersPerWorkspace = 100;

/** How long a call may take when nothing is said. */
export const usualTimeoutSeconds = 60;

const usable = ["active", "unverified", "exhausted"] as const;

/** A provider of the workspace by id or name. Throws `not_found`. */
export async function findProvider(db: Database, workspaceId: string, idOrName: string): Promise<ToolProviderRow> {
  const isThis = and(
    eq(toolProviders.workspaceId, workspaceId),
    or(eq(toolProviders.id, idOrName), eq(toolProviders.name, idOrName)),
  );
  const [row] = await hideSql(db.select().from(toolProviders).where(isThis).limit(1).all());
  if (row === undefined) {
    throw new AppError("not_found");
  }
  return row;
}

/** One provider as the answers show it; a built-in one also before it is added. Throws `not_found`. */
export async function readProvider(db: Database, workspaceId: string, idOrName: string): Promise<ShownProvider> {
  const builtin = findBuiltin(idOrName);
  try {
    const row = await findProvider(db, workspaceId, idOrName);
    const shown = toToolProvider(row, await countTools(db, row), await credentialHomes(db, workspaceId));
    return { shown, row };
  } catch (error) {
    if (builtin !== null && error instanceof AppError && error.code === "not_found") {
      return { shown: offerBuiltin(builtin), row: null };
    }
    throw error;
  }
}

/** A provider's answer, and its row if the workspace has it. */
export interface ShownProvider {
  readonly shown: ToolProvider;
  readonly row: ToolProviderRow | null;
}

/** Every provider of the workspace by name, then the built-in ones that it has not added. */
export async function listProviders(db: Database, workspaceId: string): Promise<ToolProvider[]> {
  const count = db
    .select({ id: tools.providerId, count: sql<number>`count(*)`.as("count") })
    .from(tools)
    .where(eq(tools.workspaceId, workspaceId))
    .groupBy(tools.providerId)
    .as("counted");
  const rows = await hideSql(
    db
      .select({ row: toolProviders, count: count.count })
      .from(toolProviders)
      .leftJoin(count, eq(count.id, toolProviders.id))
      .where(eq(toolProviders.workspaceId, workspaceId))
      .orderBy(asc(toolProviders.name))
      .all(),
  );
  const homes = await credentialHomes(db, workspaceId);
  const added = new Set(rows.map(({ row }) => row.name));
  return [
    ...rows.map((found) => toToolProvider(found.row, found.count ?? 0, homes)),
    ...listBuiltins()
      .filter((builtin) => !added.has(builtin.name))
      .map(offerBuiltin),
  ];
}

/** The answer's view of a provider. */
export function toToolProvider(row: ToolProviderRow, count: number, homes: ReadonlySet<string>): ToolProvider {
  const builtin = row.kind === "builtin" ? findBuiltin(row.name) : null;
  const form = formOf(row);
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    title: row.title,
    description: row.description,
    docs_url: builtin?.docs_url ?? null,
    key_url: builtin?.key_url ?? null,
    base_url: row.baseUrl,
    source_url: row.sourceUrl,
    auth: readAuth(row),
    form: form.map(toField),
    added: true,
    enabled: row.enabled,
    configured: form.length === 0 || basesOf(row).some((base) => homes.has(homeOf(row, base))),
    credential_id: row.credentialId,
    timeout_seconds: row.timeoutSeconds,
    tools_count: count,
    refreshed_at: toIso(row.refreshedAt),
    refresh_error: row.refreshError,
    created_at: toIso(row.createdAt),
    updated_at: toIso(row.updatedAt),
  };
}

/** Where the workspace has a credential that can be used: owner and what it is sealed to, as `homeOf` writes them. */
export async function credentialHomes(db: Database, workspaceId: string): Promise<ReadonlySet<string>> {
  const isUsable = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.providerType, "tool"),
    inArray(credentials.status, [...usable]),
  );
  const fields = { owner: credentials.providerName, origin: credentials.origin };
  const rows = await hideSql(db.selectDistinct(fields).from(credentials).where(isUsable).all());
  return new Set(rows.map(({ owner, origin }) => `${owner} ${origin}`));
}

function homeOf(row: ToolProviderRow, base: string): string {
  return `${ownerOf(row)} ${sealOrigin(readAuth(row), base)}`;
}

/** How many tools a provider has, those that are off too. */
export async function countTools(db: Database, row: Pick<ToolProviderRow, "workspaceId" | "id">): Promise<number> {
  const isThis = and(eq(tools.workspaceId, row.workspaceId), eq(tools.providerId, row.id));
  const [counted] = await hideSql(
    db
      .select({ count: sql<number>`count(*)` })
      .from(tools)
      .where(isThis)
      .all(),
  );
  return counted?.count ?? 0;
}

/**
 * Plans a change of title, description, time-out, default credential or of being on; what is left out stays, and what already
 * stands writes nothing. Throws `validation_failed` for a credential that is not this provider's; the change may fail with
 * `precondition_failed` or `conflict`.
 */
export function planUpdateProvider(
  db: Database,
  actor: Actor,
  row: ToolProviderRow,
  input: UpdateToolProvider,
  ifMatch: number | null,
): Change<ToolProviderRow> {
  const next = {
    title: input.title ?? row.title,
    description: input.description ?? row.description,
    timeoutSeconds: input.timeout_seconds ?? row.timeoutSeconds,
    enabled: input.enabled ?? row.enabled,
    credentialId: input.credential_id === undefined ? row.credentialId : input.credential_id,
  };
  const expected = ifMatch ?? row.revision;
  const isChanged = JSON.stringify(next) !== JSON.stringify(pick(row));
  const after = { ...row, ...next, ...(isChanged ? { revision: expected + 1, updatedAt: actor.at } : {}) };
  const isThis = and(eq(toolProviders.workspaceId, row.workspaceId), eq(toolProviders.id, row.id));
  const holds = sql`EXISTS (SELECT 1 FROM ${toolProviders} WHERE ${isThis} AND ${toolProviders.revision} = ${expected})`;
  return {
    statements: [
      guardThat(db, holds, ifMatch === null ? "conflict" : "precondition_failed"),
      ...(isChanged
        ? [
            db
              .update(toolProviders)
              .set({ ...next, revision: expected + 1, updatedAt: actor.at })
              .where(isThis),
            auditIfChanged(db, actor, {
              workspaceId: row.workspaceId,
              action: "tool_provider.updated",
              targets: [{ type: "tool_provider", id: row.id }],
              before: toAudit(row),
              after: toAudit(after),
            }),
          ]
        : []),
    ],
    value: after,
  };
}

/** Throws `validation_failed` for a default credential that is not one of this provider. */
export async function checkDefaultCredential(
  db: Database,
  row: ToolProviderRow,
  credentialId: string | null | undefined,
): Promise<void> {
  if (credentialId === null || credentialId === undefined) {
    return;
  }
  const isThis = and(
    eq(credentials.workspaceId, row.workspaceId),
    eq(credentials.id, credentialId),
    eq(credentials.providerType, "tool"),
    eq(credentials.providerName, ownerOf(row)),
  );
  const found = await hideSql(db.select({ id: credentials.id }).from(credentials).where(isThis).limit(1).all());
  if (found.length === 0) {
    throw invalidField("/credential_id", "This provider has no such credential.", "unknown_credential");
  }
}

/** Plans the end of a provider, its tools and its credentials. The change may fail with `not_found` or `precondition_failed`. */
export function planDeleteProvider(
  db: Database,
  actor: Actor,
  row: ToolProviderRow,
  ifMatch: number | null,
): Change<null> {
  const { workspaceId } = row;
  const isOwned = sql`${credentials.workspaceId} = ${workspaceId} AND ${credentials.providerType} = 'tool' AND ${credentials.providerName} = ${ownerOf(row)}`;
  const isThis = and(
    eq(toolProviders.workspaceId, workspaceId),
    eq(toolProviders.id, row.id),
    ifMatch === null ? undefined : eq(toolProviders.revision, ifMatch),
  );
  const gone = {
    workspaceId,
    action: "credential.deleted",
    target: { type: "credential", id: sql`${credentials.id}` },
    before: sql`json_object('provider_name', ${credentials.providerName}, 'name', ${credentials.name}, 'masked', ${credentials.masked})`,
  };
  return {
    statements: [
      db.delete(toolProviders).where(isThis),
      guardChanged(db, ifMatch === null ? "not_found" : "precondition_failed"),
      auditEach(db, actor, gone, sql`${credentials} WHERE ${isOwned}`),
      db.delete(credentials).where(isOwned),
      auditRow(db, actor, {
        workspaceId,
        action: "tool_provider.deleted",
        targets: [{ type: "tool_provider", id: row.id }],
        before: toAudit(row),
      }),
    ],
    value: null,
  };
}

/** What the audit log may know of a provider. */
export function toAudit(row: ToolProviderRow): Readonly<Record<string, unknown>> {
  const { kind, name, title, enabled, digest } = row;
  return {
    kind,
    name,
    title,
    base_url: row.baseUrl,
    source_url: row.sourceUrl,
    auth: readAuth(row),
    digest,
    credential_id: row.credentialId,
    timeout_seconds: row.timeoutSeconds,
    enabled,
  };
}

/** A provider of the catalogue as the workspace could add it. */
function offerBuiltin(builtin: Builtin): ToolProvider {
  const { name, title, description, docs_url, key_url, auth, form, bases } = builtin;
  return {
    id: name,
    name,
    kind: "builtin",
    title,
    description,
    docs_url,
    key_url,
    base_url: bases[0]?.url ?? "",
    source_url: null,
    auth,
    form: form.map(toField),
    added: false,
    enabled: false,
    configured: false,
    credential_id: null,
    timeout_seconds: usualTimeoutSeconds,
    tools_count: 0,
    refreshed_at: null,
    refresh_error: null,
    created_at: null,
    updated_at: null,
  };
}

type ShownField = ToolProvider["form"][number];

function toField({ choices, ...field }: Readonly<ReturnType<typeof formOf>[number]>): ShownField {
  const { name, label, secret, required, help } = field;
  return {
    name,
    label,
    secret,
    required,
    help,
    ...(field.default === undefined ? {} : { default: field.default }),
    ...(field.placeholder === undefined ? {} : { placeholder: field.placeholder }),
    ...(choices === undefined ? {} : { choices: choices.map((choice) => ({ ...choice })) }),
  };
}

function pick(row: ToolProviderRow) {
  const { title, description, timeoutSeconds, enabled, credentialId } = row;
  return { title, description, timeoutSeconds, enabled, credentialId };
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
