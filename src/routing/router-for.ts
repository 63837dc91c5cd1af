/** The one place that knows which object holds a workspace's routing in a region. */

const hints: ReadonlySet<string> = new Set<DurableObjectLocationHint>([
  "wnam",
  "enam",
  "sam",
  "weur",
  "eeur",
  "apac",
  "oc",
  "afr",
  "me",
] satisfies DurableObjectLocationHint[]);

/** The Router of a workspace's shard. `region` is the key's own; `auto` leaves the place to the platform. Makes a new stub, as is needed after an exception. */
export function routerFor(
  env: Pick<Env, "ROUTER">,
  workspaceId: string,
  region: string,
): ReturnType<Env["ROUTER"]["get"]> {
  const id = routerId(env, workspaceId, region);
  return isHint(region) ? env.ROUTER.get(id, { locationHint: region }) : env.ROUTER.get(id);
}

/** The region whose Router an object is; null for another workspace's. */
export function regionOf(env: Pick<Env, "ROUTER">, workspaceId: string, id: DurableObjectId): string | null {
  return ["auto", ...hints].find((region) => routerId(env, workspaceId, region).equals(id)) ?? null;
}

function routerId(env: Pick<Env, "ROUTER">, workspaceId: string, region: string): DurableObjectId {
  return env.ROUTER.idFromName(`${workspaceId}/${region}`);
}

function isHint(region: string): region is DurableObjectLocationHint {
  return hints.has(region);
}
