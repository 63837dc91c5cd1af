/** The one place that knows which object holds a workspace's routing in a region. */
import type { Router } from "./router.do.js";

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
export function routerFor(env: Pick<Env, "ROUTER">, workspaceId: string, region: string): DurableObjectStub<Router> {
  const id = env.ROUTER.idFromName(`${workspaceId}/${region}`);
  return isHint(region) ? env.ROUTER.get(id, { locationHint: region }) : env.ROUTER.get(id);
}

function isHint(region: string): region is DurableObjectLocationHint {
  return hints.has(region);
}
