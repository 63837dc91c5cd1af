/** What the Router can tell about itself: the pools' instances as they stand, and the names a key may use. Pure. */
import { authorizeKey, refuse } from "./authorize.js";
import { isProbing } from "./cooldown.js";
import { findPoolById, listNames } from "./implicit.js";
import type { AdmitRequest, InstanceState, ModelNames, Refusal } from "./model.js";
import type { LiveInstance, RouterState } from "./state.js";

/** Every instance of a pool, in the configuration's order; empty for a pool this Router does not know. */
export function surveyInstances(state: RouterState, poolId: string, now: number): readonly InstanceState[] {
  const pool = state.config === null ? undefined : findPoolById(state.config, poolId);
  const instances = pool?.instances ?? [];
  return instances.map((instance) => ({
    id: instance.row.id,
    alias: instance.row.alias,
    ...describeHealth(state, instance, now),
    picks: instance.picks,
    in_flight: state.tickets.by_instance.get(instance.row.id) ?? 0,
    failures: instance.failures,
  }));
}

/** Names a key may use, in the configuration's order, or the refusal its calls would meet. */
export function listModels(
  state: RouterState,
  request: Omit<AdmitRequest, "model" | "request_id">,
  now: number,
): ModelNames | Refusal {
  const verdict = authorizeKey(state, request, now);
  if (verdict.kind === "refused") {
    return verdict;
  }
  const { config, key } = verdict;
  if (request.catalogue !== undefined && (config.catalogue.edition ?? -1) < request.catalogue) {
    return refuse("not_configured");
  }
  const isAllowed = (name: string): boolean => key.models === null || key.models.has(name);
  const names = config.rows.pools.map((pool) => pool.name).filter(isAllowed);
  const provided = listNames(config).map((one) => ({ ...one, names: one.names.filter(isAllowed) }));
  return { kind: "models", names, provided: provided.filter((one) => one.names.length > 0) };
}

type Health = Pick<InstanceState, "status" | "cooling_until" | "reason" | "probe_due">;

function describeHealth(state: RouterState, instance: LiveInstance, now: number): Health {
  const plain = { cooling_until: null, reason: null };
  if (!instance.row.enabled || instance.weight === 0) {
    return { status: "drained", ...plain };
  }
  if (state.cooldowns.outs.has(instance.row.credential_id)) {
    return { status: "out", cooling_until: null, reason: "credential" };
  }
  if (!instance.is_credential_usable) {
    return { status: "out", cooling_until: null, reason: "credential_unusable" };
  }
  const cooldown = state.cooldowns.entries.get(instance.cooldown_key);
  if (cooldown === undefined) {
    return { status: "ready", ...plain };
  }
  const told = { cooling_until: new Date(cooldown.until).toISOString(), reason: cooldown.reason };
  if (isProbing(cooldown, now)) {
    return { status: "probing", ...told };
  }
  return { status: "cooling", ...told, probe_due: cooldown.until <= now };
}
