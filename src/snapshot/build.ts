/** Reads a workspace's configuration together with its version, in one transaction: what it gives is that version and no other. */
import { and, asc, eq, gt, isNull, or, sql } from "drizzle-orm";
import { z } from "zod";
import { sha256Hex } from "../base/bytes.js";
import { hideSql, type Database } from "../base/database.js";
import { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import {
  credentials,
  poolInstances,
  pools,
  findOptions,
  readOptions,
  type CredentialRow,
} from "../connections/model.js";
import { backInUseAt } from "../connections/validation.js";
import { cutScopes, roleOf } from "../keys/keys.js";
import { apiKeys, readLimits, type ApiKeyRow } from "../keys/model.js";
import { defaultModels, models } from "../models/model.js";
import { toMicroUsd, type BudgetUsd, type WorkspaceLimits } from "../tenancy/limits-schema.js";
import { members, workspaces, WorkspaceSettings, type Region, type WorkspaceRow } from "../tenancy/model.js";
import { dataKeys } from "../vault/model.js";
import { toRouterCatalogue } from "./catalogue.js";
import { readModelFacts, type ModelFacts } from "./model-facts.js";
import {
  PoolPolicy,
  snapshotFormat,
  type ConfigAddress,
  type ConfigSnapshot,
  type RouterBudget,
  type RouterInstance,
  type RouterKey,
  type RouterLimits,
  type RouterPool,
  type RouterRows,
} from "./model.js";

/** One version of a workspace's configuration, in each of its two forms. */
export interface Config {
  readonly address: ConfigAddress;
  readonly rows: RouterRows;
  readonly snapshot: ConfigSnapshot;
  /** The snapshot as it is filed: the address's digest is of these very bytes. */
  readonly text: string;
  /** Every region that has a Router to tell: those of the keys, revoked ones too, and the workspace's own. */
  readonly regions: readonly Region[];
}

type PoolRow = typeof pools.$inferSelect;
type InstanceRow = typeof poolInstances.$inferSelect;
type DataKeyRow = typeof dataKeys.$inferSelect;

interface KeyWithMaker {
  readonly key: ApiKeyRow;
  readonly maker: { readonly role: "ADMIN" | "MEMBER"; readonly removedAt: number | null };
}

/**
 * A revoked key goes to the Routers for this long, and after that only until they are known to have it. It is for the day the
 * record is restored from a backup, which reaches 30 days back: what was revoked before is revoked in the backup too. A Router
 * keeps what it was told on its own disk; one that lost that disk does not know the key, and refuses it for that.
 */
const tombstonesForMs = 35 * 24 * 3_600_000;

/** A key that ran out of money may be topped up, and an untried one may be good: the failure table deals with both. */
const usableStatuses: ReadonlySet<CredentialRow["status"]> = new Set(["active", "unverified", "exhausted"]);

/** The keys that Routers have to hear of, out of all the keys of a workspace. */
function isTold(workspaceId: string) {
  const applied = sql`(SELECT ${workspaces.appliedVersion} FROM ${workspaces} WHERE ${workspaces.id} = ${workspaceId})`;
  return or(
    isNull(apiKeys.revokedAt),
    gt(apiKeys.revokedAt, Date.now() - tombstonesForMs),
    isNull(apiKeys.revokedVersion),
    gt(apiKeys.revokedVersion, applied),
  );
}

/** The workspace's newest configuration, a deleted one's too (as not active). Throws `not_found` for a workspace that was never made, or whose purge has begun. */
export async function readConfig(db: Database, workspaceId: string): Promise<Config> {
  // D1 runs a batch as one transaction.
  const [found, keyRows, credentialRows, poolRows, instanceRows, dataKeyRows, regionRows, ...catalogue] = await hideSql(
    db.batch(configQueries(db, workspaceId)),
  );
  const workspace = found[0];
  if (workspace === undefined) {
    throw new AppError("not_found");
  }
  const snapshot = toSnapshot(workspace, credentialRows, instanceRows, dataKeyRows);
  const text = JSON.stringify(snapshot);
  const [modelRows, defaultRows] = catalogue;
  const facts = await readModelFacts(modelRows, instanceRows);
  const rows = {
    ...toRouterRows(workspace, keyRows, credentialRows, poolRows, instanceRows, facts),
    ...toShards(workspace, regionRows),
    catalogue: await toRouterCatalogue(credentialRows, modelRows, defaultRows),
  };
  const address = { epoch: snapshot.epoch, version: snapshot.version, digest: await sha256Hex(text) };
  const regions = [...new Set([workspace.region, ...regionRows.map((row) => row.region)])];
  return { address, rows, snapshot, text, regions };
}

/** Those that somebody can call through; a region whose keys are all revoked is still told of them, but shares nothing out any more. */
function toShards(
  { firstRegion }: WorkspaceRow,
  regionRows: readonly { readonly region: Region; readonly living: number }[],
): Pick<RouterRows, "shards"> {
  if (firstRegion === null) {
    return {};
  }
  const all = regionRows.filter((row) => row.living === 1 || row.region === firstRegion).map((row) => row.region);
  return { shards: { first: firstRegion, all } };
}

/** Everything that a configuration is built from. Sorted, so that the same content has the same bytes. */
function configQueries(db: Database, workspaceId: string) {
  const makerOfKey = and(eq(members.workspaceId, apiKeys.workspaceId), eq(members.id, apiKeys.madeBy));
  return [
    db
      .select()
      .from(workspaces)
      .where(and(eq(workspaces.id, workspaceId), isNull(workspaces.purgeState))),
    db
      .select({ key: apiKeys, maker: { role: members.role, removedAt: members.removedAt } })
      .from(apiKeys)
      .innerJoin(members, makerOfKey)
      .where(and(eq(apiKeys.workspaceId, workspaceId), isTold(workspaceId)))
      .orderBy(asc(apiKeys.id)),
    // Those of tool providers stay out of the hot path altogether.
    db
      .select()
      .from(credentials)
      .where(and(eq(credentials.workspaceId, workspaceId), eq(credentials.providerType, "model")))
      .orderBy(asc(credentials.id)),
    db.select().from(pools).where(eq(pools.workspaceId, workspaceId)).orderBy(asc(pools.id)),
    db
      .select()
      .from(poolInstances)
      .where(eq(poolInstances.workspaceId, workspaceId))
      .orderBy(asc(poolInstances.poolId), asc(poolInstances.position), asc(poolInstances.id)),
    db.select().from(dataKeys).where(eq(dataKeys.workspaceId, workspaceId)).orderBy(asc(dataKeys.id)),
    db
      .select({ region: apiKeys.region, living: sql<number>`max(${apiKeys.revokedAt} IS NULL)` })
      .from(apiKeys)
      .where(eq(apiKeys.workspaceId, workspaceId))
      .groupBy(apiKeys.region)
      .orderBy(asc(apiKeys.region)),
    db
      .select()
      .from(models)
      .where(eq(models.workspaceId, workspaceId))
      .orderBy(asc(models.providerName), asc(models.model)),
    db.select().from(defaultModels).where(eq(defaultModels.workspaceId, workspaceId)),
  ] as const;
}

/** One whose fields cannot be read must not hold up everybody's changes: it is out, as its answers say. */
function isUsable(row: CredentialRow): boolean {
  return usableStatuses.has(row.status) && findOptions(row) !== null;
}

/** Credentials that may not be used stay out: a sealed secret travels no further than it is needed. */
function toSnapshot(
  workspace: WorkspaceRow,
  credentialRows: readonly CredentialRow[],
  instanceRows: readonly InstanceRow[],
  dataKeyRows: readonly DataKeyRow[],
): ConfigSnapshot {
  const usable = credentialRows.filter((row) => isUsable(row));
  const needed = new Set(usable.map((row) => row.dataKeyId));
  return {
    format: snapshotFormat,
    workspace_id: workspace.id,
    epoch: workspace.configEpoch,
    version: workspace.configVersion,
    data_keys: dataKeyRows.filter((row) => needed.has(row.id)).map((row) => ({ id: row.id, wrapped: row.wrapped })),
    credentials: usable.map((row) => ({
      id: row.id,
      provider_name: row.providerName,
      base_url: row.baseUrl,
      options: readOptions(row),
      origin: row.origin,
      sealed: row.sealed,
      secret_version: row.secretVersion,
      data_key_id: row.dataKeyId,
    })),
    instances: instanceRows.map((row) => ({
      id: row.id,
      credential_id: row.credentialId,
      provider_name: row.providerName,
      model: row.model,
    })),
  };
}

function toRouterRows(
  workspace: WorkspaceRow,
  keyRows: readonly KeyWithMaker[],
  credentialRows: readonly CredentialRow[],
  poolRows: readonly PoolRow[],
  instanceRows: readonly InstanceRow[],
  facts: ModelFacts,
): RouterRows {
  const byPool = Map.groupBy(instanceRows, (row) => row.poolId);
  return {
    workspace_id: workspace.id,
    active: workspace.deletedAt === null,
    ...limitsOf(workspace),
    keys: keyRows.map((row) => toRouterKey(row, workspace.ownerMemberId)),
    pools: poolRows.flatMap((row) => toRouterPool(row, byPool.get(row.id) ?? [], facts)),
    credentials: credentialRows.map((row) => ({
      id: row.id,
      usable: isUsable(row),
      validated_at_ms: backInUseAt(row),
    })),
  };
}

/** A key that was revoked lately goes along as a tombstone; so does one whose maker is gone. */
function toRouterKey({ key, maker }: KeyWithMaker, ownerMemberId: string): RouterKey {
  const nothing = { scopes: [], models: null, rpm: null, concurrent: null };
  const named = { id: key.id, digest: key.digest, ...previousSecret(key), expires_at_ms: key.expiresAt };
  if (key.revokedAt !== null || maker.removedAt !== null) {
    return { ...named, ...nothing, revoked: true };
  }
  try {
    const limits = readLimits(key.limits);
    return {
      ...named,
      scopes: cutScopes(key.scopes, roleOf(key.madeBy, ownerMemberId, maker.role)),
      models: limits.models ?? null,
      tools: limits.tools ?? null,
      rpm: limits.rpm ?? null,
      concurrent: limits.concurrent ?? null,
      ...(limits.tpm === undefined ? {} : { tpm: limits.tpm }),
      ...(limits.budget_usd === undefined ? {} : { budget: toRouterBudget(limits.budget_usd) }),
      revoked: false,
    };
  } catch (error) {
    // One row that cannot be read must not hold up everybody's revocations. Without scopes it opens nothing, and it can heal.
    log("error", "api_key_unreadable", { key_id: key.id, cause: describeError(error) });
    return { ...named, ...nothing, revoked: false };
  }
}

function previousSecret({ previousDigest, previousUntil }: ApiKeyRow): Pick<RouterKey, "previous"> {
  return previousDigest === null || previousUntil === null
    ? {}
    : { previous: { digest: previousDigest, expires_at_ms: previousUntil } };
}

function toRouterBudget({ day, month }: BudgetUsd | WorkspaceLimits["budget_usd"]): RouterBudget {
  return { day: toMicroUsd(day), month: toMicroUsd(month) };
}

/** The workspace's limits, if it has any. Ones that cannot be read let nothing through: a limit that is not understood must not be dropped. */
function limitsOf(workspace: WorkspaceRow): { readonly limits?: RouterLimits } {
  try {
    const { budget_usd: budget, concurrent, rpm, tpm } = WorkspaceSettings.parse(JSON.parse(workspace.settings)).limits;
    const isLimited = [rpm, tpm, concurrent, budget.day, budget.month].some((limit) => limit !== null);
    return isLimited ? { limits: { rpm, tpm, concurrent, budget: toRouterBudget(budget) } } : {};
  } catch (error) {
    log("error", "workspace_limits_unreadable", { workspace_id: workspace.id, cause: describeError(error) });
    return { limits: { rpm: null, tpm: null, concurrent: null, budget: { day: 0, month: 0 } } };
  }
}

function toRouterPool(row: PoolRow, instances: readonly InstanceRow[], facts: ModelFacts): RouterPool[] {
  try {
    const policy = PoolPolicy.parse(JSON.parse(row.policy));
    const fallbacks = z.array(z.string()).parse(JSON.parse(row.fallbacks));
    const { id, name, strategy } = row;
    return [
      {
        id,
        name,
        strategy,
        policy,
        fallbacks,
        instances: instances.map((one) => toRouterInstance(one, strategy, facts)),
      },
    ];
  } catch (error) {
    log("error", "pool_unreadable", { pool_id: row.id, cause: describeError(error) });
    return [];
  }
}

/** One of a disabled model is not enabled either. */
function toRouterInstance(row: InstanceRow, strategy: PoolRow["strategy"], facts: ModelFacts): RouterInstance {
  const price = strategy === "cost" ? facts.price(row) : undefined;
  const prices = facts.prices(row);
  const maxOutput = facts.maxOutput(row);
  return {
    id: row.id,
    alias: row.alias,
    provider_name: row.providerName,
    model: row.model,
    credential_id: row.credentialId,
    weight: row.weight,
    priority: row.priority,
    enabled: row.enabled && !facts.isDisabled(row),
    ...(price === undefined ? {} : { price }),
    ...(prices === undefined ? {} : { prices }),
    ...(maxOutput === undefined ? {} : { max_output: maxOutput }),
  };
}
