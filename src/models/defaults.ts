/** The model or pool that a workspace uses for each type when nobody says which. Clients reach that for llm by the model name `default`. */
import { and, eq, isNotNull, ne, sql } from "drizzle-orm";
import type { Actor } from "../access/principal.js";
import { auditRow } from "../audit/audit.js";
import { guardThat, hideSql, type Change, type Database } from "../base/database.js";
import { AppError, type FieldError } from "../base/errors.js";
import { credentials, pools } from "../connections/model.js";
import { perType, type DefaultModel, type DefaultTarget, type PutDefaultModels } from "./default-schema.js";
import { defaultModels, models, modelTypes, type DefaultModelRow } from "./model.js";
import { readCredentialIds, typeOf, type ModelEntry } from "./model-schema.js";
import { toEntry, tryFindModel } from "./models.js";

/** A workspace's defaults with what is needed to show them. */
export interface Defaults {
  readonly revision: number;
  readonly rows: readonly DefaultModelRow[];
  readonly poolNames: ReadonlyMap<string, string>;
  /** The ids of credentials that are not disabled, by provider. */
  readonly credentials: ReadonlyMap<string, readonly string[]>;
  /** By type, for rows that name a model; one that is not known any more is missing. */
  readonly entries: ReadonlyMap<string, ModelEntry>;
}

/** Everything that the answer shows, of one moment but for the catalogue. */
export async function readDefaults(db: Database, workspaceId: string): Promise<Defaults> {
  const isEnabled = and(
    eq(credentials.workspaceId, workspaceId),
    eq(credentials.providerType, "model"),
    ne(credentials.status, "disabled"),
  );
  const isDefault = and(eq(defaultModels.workspaceId, workspaceId), isNotNull(defaultModels.poolId));
  const ofPool = and(eq(pools.workspaceId, defaultModels.workspaceId), eq(pools.id, defaultModels.poolId));
  // Not a join: D1's batches answer rows by column name, so two tables' columns of one name would become one.
  const isNamed = sql`(${models.providerName}, ${models.model}) IN (SELECT ${defaultModels.providerName}, ${defaultModels.model}
    FROM ${defaultModels} WHERE ${defaultModels.workspaceId} = ${workspaceId})`;
  const [rows, named, enabled, changed] = await hideSql(
    db.batch([
      db.select().from(defaultModels).where(eq(defaultModels.workspaceId, workspaceId)),
      db.select({ id: pools.id, name: pools.name }).from(defaultModels).innerJoin(pools, ofPool).where(isDefault),
      db.select({ id: credentials.id, provider: credentials.providerName }).from(credentials).where(isEnabled),
      db
        .select()
        .from(models)
        .where(and(eq(models.workspaceId, workspaceId), isNamed)),
    ]),
  );
  const entries = new Map<string, ModelEntry>();
  for (const { type, providerName, model } of rows) {
    const row = changed.find((one) => one.providerName === providerName && one.model === model) ?? null;
    const entry = providerName === null || model === null ? null : await toEntry(providerName, model, row);
    if (entry !== null) {
      entries.set(type, entry);
    }
  }
  return {
    revision: Math.max(0, ...rows.map((row) => row.revision)),
    rows,
    poolNames: new Map(named.map(({ id, name }) => [id, name])),
    credentials: groupIds(enabled),
    entries,
  };
}

/** The answer's view. */
export function toDefaultModels(defaults: Defaults): Record<(typeof modelTypes)[number], DefaultModel> {
  const byType = new Map(defaults.rows.map((row) => [row.type, row]));
  return perType((type) => toDefaultModel(defaults, byType.get(type)));
}

/**
 * Plans the defaults of every type; what changes nothing has no statements. Throws `validation_failed` for a pool that is not
 * there and for a model that is not known, not enabled or of another type. Refused with `precondition_failed` (with `ifMatch`)
 * or `conflict` when they changed since they were read, or a pool went.
 */
export async function planDefaults(
  db: Database,
  workspaceId: string,
  actor: Actor,
  before: Defaults,
  input: PutDefaultModels,
  ifMatch: number | null,
): Promise<Change<Defaults>> {
  if (ifMatch !== null && ifMatch !== before.revision) {
    throw new AppError("precondition_failed");
  }
  const revision = before.revision + 1;
  const found = await Promise.all(modelTypes.map((type) => resolveTarget(db, workspaceId, type, input[type])));
  const errors = found.flatMap((one) => ("error" in one ? [one.error] : []));
  if (errors.length > 0) {
    throw new AppError("validation_failed", { errors });
  }
  const targets = found.flatMap((one) => ("error" in one ? [] : [one]));
  const rows = targets.map(({ type, columns }) => ({ workspaceId, type, ...columns, revision }));
  const [was, is] = [describe(before.rows), describe(rows)];
  if (JSON.stringify(was) === JSON.stringify(is)) {
    return { statements: [], value: before };
  }
  const present = sql`(SELECT coalesce(max(${defaultModels.revision}), 0) FROM ${defaultModels} WHERE ${defaultModels.workspaceId} = ${workspaceId})`;
  return {
    statements: [
      guardThat(db, sql`${present} = ${before.revision}`, ifMatch === null ? "conflict" : "precondition_failed"),
      db.delete(defaultModels).where(eq(defaultModels.workspaceId, workspaceId)),
      db.insert(defaultModels).values(rows),
      auditRow(db, actor, {
        workspaceId,
        action: "default_models.updated",
        targets: [{ type: "workspace", id: workspaceId }],
        before: was,
        after: is,
      }),
    ],
    value: { ...before, revision, rows, ...namesOf(targets) },
    conflicts: { foreign_key: "conflict" },
  };
}

type TargetColumns = Pick<DefaultModelRow, "providerName" | "model" | "poolId">;

/** What a default was found to be. */
interface Target {
  readonly type: DefaultModelRow["type"];
  readonly columns: TargetColumns;
  readonly pool?: { readonly id: string; readonly name: string };
  readonly entry?: ModelEntry;
}

const blank: TargetColumns = { providerName: null, model: null, poolId: null };

async function resolveTarget(
  db: Database,
  workspaceId: string,
  type: DefaultModelRow["type"],
  target: DefaultTarget,
): Promise<Target | { readonly error: FieldError }> {
  if (target === null) {
    return { type, columns: blank };
  }
  if ("pool" in target) {
    const pool = await findPoolName(db, workspaceId, target.pool);
    const error = { pointer: `/${type}/pool`, detail: "This workspace has no such pool.", code: "unknown_pool" };
    return pool === null ? { error } : { type, columns: { ...blank, poolId: pool.id }, pool };
  }
  const { provider_name: providerName, model } = target;
  const entry = await tryFindModel(db, workspaceId, providerName, model);
  if (entry === null) {
    const detail = "Neither the catalogue nor this workspace knows such a model of this provider.";
    return { error: { pointer: `/${type}/model`, detail, code: "unknown_model" } };
  }
  if (typeOf(entry) !== type || entry.row?.enabled === false) {
    const detail = typeOf(entry) === type ? "This model is disabled." : `This model is of the type ${typeOf(entry)}.`;
    return { error: { pointer: `/${type}/model`, detail, code: "unfit_model" } };
  }
  return { type, columns: { ...blank, providerName, model }, entry };
}

function namesOf(targets: readonly Target[]): Pick<Defaults, "poolNames" | "entries"> {
  return {
    poolNames: new Map(targets.flatMap(({ pool }) => (pool === undefined ? [] : [[pool.id, pool.name] as const]))),
    entries: new Map(targets.flatMap(({ type, entry }) => (entry === undefined ? [] : [[type, entry] as const]))),
  };
}

async function findPoolName(
  db: Database,
  workspaceId: string,
  idOrName: string,
): Promise<{ readonly id: string; readonly name: string } | null> {
  const isThis = and(
    eq(pools.workspaceId, workspaceId),
    sql`(${pools.id} = ${idOrName} OR ${pools.name} = ${idOrName})`,
  );
  const [row] = await hideSql(db.select({ id: pools.id, name: pools.name }).from(pools).where(isThis).limit(1).all());
  return row ?? null;
}

function toDefaultModel(defaults: Defaults, row: DefaultModelRow | undefined): DefaultModel {
  if (row === undefined) {
    return null;
  }
  const { providerName, model, poolId, type } = row;
  if (poolId !== null) {
    const name = defaults.poolNames.get(poolId);
    return name === undefined ? null : { pool: name, pool_id: poolId, available: true };
  }
  if (providerName === null || model === null) {
    return null;
  }
  const entry = defaults.entries.get(type);
  const isThere = entry !== undefined && typeOf(entry) === type && entry.row?.enabled !== false;
  const enabled = defaults.credentials.get(providerName) ?? [];
  const held = readCredentialIds(entry?.row ?? null);
  const available = isThere && enabled.some((id) => held === null || held.includes(id));
  return { provider_name: providerName, model, available };
}

function groupIds(rows: readonly { readonly id: string; readonly provider: string }[]): Defaults["credentials"] {
  const byProvider = Map.groupBy(rows, ({ provider }) => provider);
  return new Map(Array.from(byProvider, ([provider, own]) => [provider, own.map(({ id }) => id)]));
}

/** What the audit log tells, and what makes two states the same. */
function describe(rows: readonly DefaultModelRow[]): Readonly<Record<string, unknown>> {
  const byType = new Map(rows.map((row) => [row.type, row]));
  return perType((type) => {
    const { providerName, model, poolId } = byType.get(type) ?? blank;
    return poolId === null ? (model === null ? null : { provider_name: providerName, model }) : { pool_id: poolId };
  });
}
