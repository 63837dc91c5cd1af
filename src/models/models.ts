/** Models of a provider: the catalogue's, changed where a workspace changed them, and its own. Only what differs from the catalogue is stored. */
import { and, count, eq, sql, type SQL } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow, type AuditEvent } from "../audit/audit.js";
import { guardChanged, guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError, invalidField, type FieldError } from "../base/errors.js";
import { credentials } from "../connections/model.js";
import { knownModels } from "../providers/known-models.js";
import { models, type ModelRow } from "./model.js";
import { isCustom, toModel, typeOf, type CreateModel, type ModelEntry, type UpdateModel } from "./model-schema.js";

/** A workspace's own models together: every one of them is told to the Router by name. */
const mostCustomModels = 1000;

/** Which models a list shows; null for any. */
export interface ModelFilter {
  readonly type: ModelRow["type"] | null;
  readonly enabled: boolean | null;
  readonly custom: boolean | null;
}

/** A provider's models by name: up to `limit` after a name. */
export async function listModels(
  db: Database,
  workspaceId: string,
  providerName: string,
  filter: ModelFilter,
  after: string | null,
  limit: number,
): Promise<readonly ModelEntry[]> {
  const isListed = and(eq(models.workspaceId, workspaceId), eq(models.providerName, providerName));
  const rows = await hideSql(db.select().from(models).where(isListed).all());
  const entries = await mergeModels(providerName, rows);
  const shown = entries.filter((entry) => (after === null || entry.model > after) && isShown(entry, filter));
  return shown.toSorted((a, b) => (a.model < b.model ? -1 : 1)).slice(0, limit);
}

/** Every model of a provider, in no order: `rows` are the workspace's rows for it. */
export async function mergeModels(providerName: string, rows: readonly ModelRow[]): Promise<readonly ModelEntry[]> {
  const byName = new Map(rows.map((row) => [row.model, row]));
  const known = await knownModels(providerName);
  const names = new Set(known.map((one) => one.model));
  return [
    ...known.map((one) => ({ providerName, model: one.model, known: one, row: byName.get(one.model) ?? null })),
    ...rows.filter((row) => !names.has(row.model)).map((row) => ({ providerName, model: row.model, known: null, row })),
  ];
}

/** One model. Throws `not_found` for a name that neither the catalogue nor the workspace has. */
export async function findModel(
  db: Database,
  workspaceId: string,
  providerName: string,
  model: string,
): Promise<ModelEntry> {
  const entry = await tryFindModel(db, workspaceId, providerName, model);
  if (entry === null) {
    throw new AppError("not_found");
  }
  return entry;
}

/** As `findModel`, with null for a name that nobody has. */
export async function tryFindModel(
  db: Database,
  workspaceId: string,
  providerName: string,
  model: string,
): Promise<ModelEntry | null> {
  const isThis = and(
    eq(models.workspaceId, workspaceId),
    eq(models.providerName, providerName),
    eq(models.model, model),
  );
  const [row] = await hideSql(db.select().from(models).where(isThis).limit(1).all());
  return await toEntry(providerName, model, row ?? null);
}

/** A model by its row, if it has one; null when the catalogue does not know it either. */
export async function toEntry(providerName: string, model: string, row: ModelRow | null): Promise<ModelEntry | null> {
  const known = (await knownModels(providerName)).find((one) => one.model === model) ?? null;
  return known === null && row === null ? null : { providerName, model, known, row };
}

/** Plans a model of the workspace's own. Throws `name_taken` for one that is there, `validation_failed` for credentials that are not the provider's. Conflicts: `name_taken`, `limit_reached`. */
export async function planModel(
  db: Database,
  workspaceId: string,
  actor: Actor,
  providerName: string,
  input: CreateModel,
): Promise<Change<ModelEntry>> {
  if ((await tryFindModel(db, workspaceId, providerName, input.model)) !== null) {
    throw new AppError("name_taken", {
      detail: "This provider has a model of that name already. Change that one by PATCH, or choose another name.",
    });
  }
  await checkCredentials(db, workspaceId, providerName, input.credential_ids);
  const row: ModelRow = {
    workspaceId,
    providerName,
    model: input.model,
    isCustom: true,
    type: input.type,
    title: input.title,
    contextWindow: input.context_window,
    maxOutput: input.max_output,
    price: toJson(input.price),
    enabled: input.enabled,
    credentialIds: toJson(unique(input.credential_ids)),
    // A name can be given again: an ETag of the model that had it before must not fit.
    revision: actor.at,
    createdAt: actor.at,
    updatedAt: actor.at,
  };
  const entry = { providerName, model: row.model, known: null, row };
  const isOwn = and(eq(models.workspaceId, workspaceId), eq(models.isCustom, true));
  const owned = db.select({ number: count() }).from(models).where(isOwn);
  return {
    statements: [
      guardThat(db, sql`(${owned}) < ${mostCustomModels}`, "limit_reached"),
      db.insert(models).values(row),
      auditRow(db, actor, { ...describeDeed(workspaceId, entry, "model.created"), after: publicFields(entry) }),
    ],
    value: entry,
    conflicts: { "models.model": "name_taken" },
  };
}

/**
 * Plans a model's new state; one that changes nothing has no statements. Throws `validation_failed` for a predefined one's type
 * and as `planModel`. Refused with `precondition_failed` (with `ifMatch`) or `conflict` when it changed since it was read.
 */
export async function planModelUpdate(
  db: Database,
  actor: Actor,
  workspaceId: string,
  before: ModelEntry,
  input: UpdateModel,
  ifMatch: number | null,
): Promise<Change<ModelEntry>> {
  requireRevision(before, ifMatch);
  if (input.type !== undefined && input.type !== typeOf(before) && !isCustom(before)) {
    throw invalidField("/type", "The catalogue says what this model is for; only a custom model's type can change.");
  }
  await checkCredentials(db, workspaceId, before.providerName, input.credential_ids ?? null);
  const old = before.row ?? blankRow(workspaceId, actor, before);
  const row = { ...old, ...changedColumns(input), revision: old.revision + 1, updatedAt: actor.at };
  const after = { ...before, row };
  if (JSON.stringify(publicFields(before)) === JSON.stringify(publicFields(after))) {
    return { statements: [], value: before };
  }
  const refusal = ifMatch === null ? "conflict" : "precondition_failed";
  const write =
    before.row === null
      ? db.insert(models).values(row)
      : db.update(models).set(row).where(isAt(workspaceId, before.row));
  return {
    statements: [
      write,
      guardChanged(db, refusal),
      auditRow(db, actor, {
        ...describeDeed(workspaceId, before, "model.updated"),
        before: publicFields(before),
        after: publicFields(after),
      }),
    ],
    value: after,
    conflicts: { "models.model": refusal },
  };
}

/** Plans the end of a custom model. Throws `model_predefined` for one that the catalogue knows. Refused as an update is. */
export function planModelDeletion(
  db: Database,
  actor: Actor,
  workspaceId: string,
  before: ModelEntry,
  ifMatch: number | null,
): Change<null> {
  requireRevision(before, ifMatch);
  if (!isCustom(before) || before.row === null) {
    throw new AppError("model_predefined");
  }
  return {
    statements: [
      db.delete(models).where(isAt(workspaceId, before.row)),
      guardChanged(db, ifMatch === null ? "conflict" : "precondition_failed"),
      auditRow(db, actor, { ...describeDeed(workspaceId, before, "model.deleted"), before: publicFields(before) }),
    ],
    value: null,
  };
}

/** What `If-Match` compares: 0 for a predefined model that nobody changed. */
export function revisionOf({ row }: ModelEntry): number {
  return row?.revision ?? 0;
}

function isShown(entry: ModelEntry, { type, enabled, custom }: ModelFilter): boolean {
  return (
    (type === null || typeOf(entry) === type) &&
    (enabled === null || (entry.row?.enabled ?? true) === enabled) &&
    (custom === null || isCustom(entry) === custom)
  );
}

/** A row that says nothing yet. */
function blankRow(workspaceId: string, actor: Actor, entry: ModelEntry): ModelRow {
  return {
    workspaceId,
    providerName: entry.providerName,
    model: entry.model,
    isCustom: false,
    type: typeOf(entry),
    title: null,
    contextWindow: null,
    maxOutput: null,
    price: null,
    enabled: true,
    credentialIds: null,
    revision: 0,
    createdAt: actor.at,
    updatedAt: actor.at,
  };
}

function changedColumns(input: UpdateModel): Partial<ModelRow> {
  const { type, title, enabled, price, context_window: contextWindow, max_output: maxOutput } = input;
  return {
    ...(type === undefined ? {} : { type }),
    ...(title === undefined ? {} : { title }),
    ...(contextWindow === undefined ? {} : { contextWindow }),
    ...(maxOutput === undefined ? {} : { maxOutput }),
    ...(price === undefined ? {} : { price: toJson(price) }),
    ...(enabled === undefined ? {} : { enabled }),
    ...(input.credential_ids === undefined ? {} : { credentialIds: toJson(unique(input.credential_ids)) }),
  };
}

function toJson(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}

function unique(ids: readonly string[] | null): readonly string[] | null {
  return ids === null ? null : [...new Set(ids)];
}

/** A credential never changes its provider. That it still stands when the row is written is not asked: one that goes counts no more. */
async function checkCredentials(
  db: Database,
  workspaceId: string,
  providerName: string,
  ids: readonly string[] | null,
): Promise<void> {
  if (ids === null) {
    return;
  }
  const isNamed = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.providerType, "model"),
    eq(credentials.providerName, providerName),
    sql`${credentials.id} IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`,
  );
  const rows = await hideSql(db.select({ id: credentials.id }).from(credentials).where(isNamed).all());
  const own = new Set(rows.map((row) => row.id));
  const errors = ids.flatMap((id, index): FieldError[] => {
    const detail = `This workspace has no such credential of ${providerName}.`;
    return own.has(id) ? [] : [{ pointer: `/credential_ids/${index}`, detail, code: "unknown_credential" }];
  });
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
}

function requireRevision(before: ModelEntry, ifMatch: number | null): void {
  if (ifMatch !== null && ifMatch !== revisionOf(before)) {
    throw new AppError("precondition_failed");
  }
}

function isAt(workspaceId: string, row: ModelRow): SQL | undefined {
  return and(
    eq(models.workspaceId, workspaceId),
    eq(models.providerName, row.providerName),
    eq(models.model, row.model),
    eq(models.revision, row.revision),
  );
}

function describeDeed(
  workspaceId: string,
  { providerName, model }: ModelEntry,
  action: string,
): Pick<AuditEvent, "workspaceId" | "action" | "targets"> {
  return { workspaceId, action, targets: [{ type: "model", id: `${providerName}/${model}` }] };
}

/** What the audit log tells of a model, and what makes two states of it the same. */
function publicFields(entry: ModelEntry): Readonly<Record<string, unknown>> {
  const { updated_at: _, ...fields } = toModel(entry);
  return fields;
}
