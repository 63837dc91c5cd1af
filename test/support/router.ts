/** Trouble with a workspace's Router, for tests of what happens then. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { vi } from "vitest";
import { routerFor } from "../../src/routing/router-for.js";

/** Makes the workspace's Router refuse every new version, until `vi.restoreAllMocks()`. */
export async function breakRouter(workspaceId: string): Promise<void> {
  await runInDurableObject(routerFor(env, workspaceId, "auto"), (router) => {
    // A property of the object itself would not be reached by RPC.
    const methods = Object.getPrototypeOf(router) as typeof router;
    vi.spyOn(methods, "apply").mockRejectedValue(new Error("the Router is not to be reached"));
  });
}
