/** The one place that knows which Ledger keeps a workspace's checkpoints. */

/** The Ledger of a workspace. Makes a new stub, as is needed after an exception. */
export function ledgerFor(env: Pick<Env, "LEDGER">, workspaceId: string): ReturnType<Env["LEDGER"]["get"]> {
  return env.LEDGER.get(env.LEDGER.idFromName(workspaceId));
}
