/**
 * Models that are called by their own names: each is a pool of its provider's credentials, made when the name is first asked for
 * and by every version again that carries a lane of it. Pure.
 */
import { PoolPolicyInput } from "../connections/pool-schema.js";
import { implicitInstanceId, implicitPoolId, readImplicitPool, type ImplicitPool } from "../snapshot/implicit.js";
import type { RouterCatalogue, RouterInstance, RouterPool, RouterPrice, RouterRows } from "../snapshot/model.js";
import { toLivePool, type CarriedLane } from "./live.js";
import type { AdmitRequest } from "./model.js";
import type { LiveCatalogue, LiveConfig, LivePool, LiveProvider } from "./state.js";

/** Where a name leads. `stale`: the Router knows an older catalogue than the asker, so it may be there all the same. */
export type Found =
  | { readonly kind: "pool"; readonly pool: LivePool }
  | { readonly kind: "none" }
  | { readonly kind: "stale" }
  | { readonly kind: "ambiguous"; readonly providers: readonly string[] };

/** The name that clients ask for to get the workspace's default. */
const defaultName = "default";

const policy = PoolPolicyInput.parse({});
const none: Found = { kind: "none" };

/** Indexes what the rows say of the catalogue. */
export function indexCatalogue(catalogue: RouterCatalogue | undefined): LiveCatalogue {
  const names = new Map<string, string[]>();
  const rows = catalogue?.providers ?? [];
  for (const { id, models } of rows) {
    for (const model of models) {
      const known = names.get(model);
      if (known === undefined) {
        names.set(model, [id]);
      } else {
        known.push(id);
      }
    }
  }
  return {
    edition: catalogue?.edition ?? null,
    providers: new Map(rows.map((row) => [row.id, toLiveProvider(row)])),
    names,
    defaults: new Map((catalogue?.defaults ?? []).map((row) => [row.type, row])),
  };
}

/**
 * The pool that a name leads to: a pool of that name before anything else, then the workspace's default for `default`, then a
 * model that exactly one provider has. A gateway that does not say its catalogue can open no instance of the latter two.
 */
export function findPool(config: LiveConfig, request: Pick<AdmitRequest, "model" | "type" | "catalogue">): Found {
  const named = config.pools_by_name.get(request.model);
  if (named !== undefined) {
    return { kind: "pool", pool: named };
  }
  if (request.catalogue === undefined) {
    return none;
  }
  const byDefault = request.model === defaultName ? defaultPool(config, request.type ?? "llm") : null;
  if (byDefault !== null) {
    return { kind: "pool", pool: byDefault };
  }
  const providers = config.catalogue.names.get(request.model) ?? [];
  if (providers.length > 1) {
    return { kind: "ambiguous", providers };
  }
  const [provider] = providers;
  const own = provider === undefined ? null : implicitPool(config, { provider_name: provider, model: request.model });
  if (own !== null) {
    return { kind: "pool", pool: own };
  }
  return (config.catalogue.edition ?? -1) < request.catalogue ? { kind: "stale" } : none;
}

/** A pool by its id, also one of a model that is called by its name. */
export function findPoolById(config: LiveConfig, id: string): LivePool | undefined {
  const place = readImplicitPool(id);
  return config.pools_by_id.get(id) ?? (place === null ? undefined : (implicitPool(config, place) ?? undefined));
}

/** The pool of a provider's model; null when the provider has no such model, or no credential for it. It is made once and then stays. */
export function implicitPool(
  config: LiveConfig,
  place: ImplicitPool,
  carried: ReadonlyMap<string, CarriedLane> = new Map(),
): LivePool | null {
  const known = config.pools_by_id.get(implicitPoolId(place));
  if (known !== undefined) {
    return known;
  }
  const row = describePool(config.catalogue, place);
  if (row === null) {
    return null;
  }
  const pool = toLivePool(row, config.credentials, carried);
  config.pools_by_id.set(row.id, pool);
  for (const instance of pool.instances) {
    config.instances.set(instance.row.id, instance);
  }
  return pool;
}

/** The names that can be called without a pool, by provider, without those that a pool has taken; the default's own name stands under `gatehouse`. */
export function listNames(config: LiveConfig): readonly { readonly provider: string; readonly names: string[] }[] {
  const { catalogue, pools_by_name: pools } = config;
  const isFree = (name: string): boolean => !pools.has(name) && catalogue.names.get(name)?.length === 1;
  const own = Array.from(catalogue.providers, ([provider, { models }]) => {
    return { provider, names: Array.from(models).filter((name) => isFree(name) && name !== defaultName) };
  });
  const found = findPool(config, { model: defaultName, catalogue: 0 });
  const isOwn = found.kind === "pool" && !pools.has(defaultName);
  return isOwn ? [{ provider: "gatehouse", names: [defaultName] }, ...own] : own;
}

/** Whether rows of the version in force tell a newer catalogue than it has. */
export function tellsMore(config: LiveConfig, rows: RouterRows): boolean {
  return (rows.catalogue?.edition ?? -1) > (config.catalogue.edition ?? -1);
}

function toLiveProvider(row: RouterCatalogue["providers"][number]): LiveProvider {
  return {
    models: new Set(row.models),
    credentials: row.credentials,
    held: new Map(
      row.held.map(({ model, places }) => [model, places.flatMap((place) => row.credentials[place] ?? [])]),
    ),
    prices: new Map(
      row.models.flatMap((model, place): [string, RouterPrice][] => {
        const price = unpackPrice(row.prices?.[place] ?? null);
        return price === null ? [] : [[model, price]];
      }),
    ),
    max_outputs: new Map((row.max_outputs ?? []).map(({ model, tokens }) => [model, tokens])),
  };
}

function unpackPrice(packed: readonly number[] | null): RouterPrice | null {
  const [input, output, cached] = packed ?? [];
  return input === undefined || output === undefined
    ? null
    : { input, output, ...(cached === undefined ? {} : { cached }) };
}

function defaultPool(config: LiveConfig, type: string): LivePool | null {
  const target = config.catalogue.defaults.get(type);
  if (target === undefined) {
    return null;
  }
  return "pool_id" in target ? (config.pools_by_id.get(target.pool_id) ?? null) : implicitPool(config, target);
}

function describePool({ providers }: LiveCatalogue, place: ImplicitPool): RouterPool | null {
  const { provider_name: name, model } = place;
  const provider = providers.get(name);
  if (provider === undefined || !provider.models.has(model)) {
    return null;
  }
  const credentials = provider.held.get(model) ?? provider.credentials;
  if (credentials.length === 0) {
    return null;
  }
  const instances = credentials.map((id) => describeInstance(place, id, provider));
  return { id: implicitPoolId(place), name: model, strategy: "weighted", policy, fallbacks: [], instances };
}

/** The alias names the credential by the end of its id: its own name may not stand in a header. */
function describeInstance(
  { provider_name, model }: ImplicitPool,
  credentialId: string,
  { max_outputs: maxOutputs, prices: known }: LiveProvider,
): RouterInstance {
  const [prices, maxOutput] = [known.get(model), maxOutputs.get(model)];
  const stem = `${provider_name}-${model.replaceAll(/[^A-Za-z0-9._:/@-]/g, "-")}`.slice(0, 150);
  return {
    id: implicitInstanceId({ credential_id: credentialId, model }),
    alias: `${stem}-${credentialId.slice(-6)}`,
    provider_name,
    model,
    credential_id: credentialId,
    weight: 1,
    priority: 0,
    enabled: true,
    ...(prices === undefined ? {} : { prices }),
    ...(maxOutput === undefined ? {} : { max_output: maxOutput }),
  };
}
