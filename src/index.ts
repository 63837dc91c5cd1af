/** The Worker: joins the rooms that must not know each other. */
import { app } from "./app.js";
import { meterRecord } from "./base/budget.js";
import { openDatabase, type Database } from "./base/database.js";
import { describeError, log } from "./base/log.js";
import { requireSettings } from "./base/settings.js";
import { sweepThrottles } from "./audit/throttle.js";
import { sweepRefused } from "./connections/confirm.js";
import { sweepExpiringCredentials } from "./connections/credential-reminders.js";
import { sweepPreviousSecrets } from "./connections/credential-rotation.js";
import { sweepAnswers } from "./http/idempotency.js";
import { sweepCodes } from "./identity/code-limits.js";
import { sweepChallenges } from "./identity/passkeys.js";
import { sweepSessions } from "./identity/own-sessions.js";
import { sweepExpiringKeys } from "./keys/expiry-warnings.js";
import { sweepCare } from "./ledger/care.js";
import { sweepSeals } from "./ledger/seal.js";
import { consumeMail } from "./mail/consumer.js";
import { sweepClosedLetters, sweepOutbox } from "./mail/outbox.js";
import { sweepRotations } from "./rotation/advance.js";
import { routerFor } from "./routing/router-for.js";
import { publish, sweepUnapplied } from "./snapshot/publish.js";
import { sweepUsage } from "./usage/sweep.js";
import { refreshServers } from "./tools/mcp/refresh.js";
import { sweepEntries } from "./vault/entries.js";
import { sweepWrappings } from "./vault/rewrap.js";
import { letterWriters } from "./workspaces/letters.js";
import { sweepCheckpoints } from "./webhooks/checkpoints.js";
import { consumeWebhooks } from "./webhooks/consumer.js";
import { sweepWebhooks } from "./webhooks/deliveries.js";
import { sweepPurges } from "./workspaces/purge.js";

export { Ledger } from "./ledger/ledger.do.js";
export { Router } from "./routing/router.do.js";

const publishesPerSweep = 100;
const retriesPerSweep = 20;
const rotationsPerSweep = 20;
const toolServersPerSweep = 20;
/** Each moves its workspace's version: fewer than are published in a sweep, or changes by people would wait behind them. */
const wrappingsPerSweep = 50;

export default {
  fetch: (request, env, context) => app.fetch(request, env, context),
  async queue(batch, env) {
    await (batch.queue.startsWith("gatehouse-webhooks")
      ? consumeWebhooks(batch, env)
      : consumeMail(batch, env, letterWriters));
  },
  async scheduled(_controller, bound) {
    const { binding, budget } = meterRecord(bound.DB);
    const env = { ...bound, DB: binding };
    const db = openDatabase(binding);
    const now = Date.now();
    // One sweep that fails must not keep the others from running.
    await Promise.all([
      sweep("publish", () => sweepUnapplied(env, routerFor, publishesPerSweep, budget)),
      sweep("refused", () => sweepRefused(env, (on, id) => publish(on, id, routerFor), now, retriesPerSweep, budget)),
      sweep("outbox", () => sweepOutbox(env, db, now)),
      sweep("letters", () => sweepClosedLetters(db, now)),
      sweep("answers", () => sweepAnswers(db, now)),
      sweep("codes", () => sweepCodes(db, now)),
      sweep("purge", () => sweepPurges(env, db, now, routerFor, budget)),
      sweep("challenges", () => sweepChallenges(db, now)),
      sweep("usage", () => sweepUsage(db, now)),
      sweep("key_warnings", () => sweepExpiringKeys(db, now)),
      sweep("credential_reminders", () => sweepExpiringCredentials(db, now)),
      sweep("previous_secrets", () => sweepPreviousSecrets(db, now)),
      sweep("sessions", () => sweepSessions(db, now)),
      sweep("rotations", () =>
        sweepRotations(env, (on, id) => publish(on, id, routerFor), now, rotationsPerSweep, budget),
      ),
      sweep("tool_servers", () => refreshServers(env, db, now, toolServersPerSweep, budget)),
      sweep("keyring", () => sweepKeyring(env, db, now)),
      sweep("seals", () => sweepSeals(env, db, now, budget)),
      sweep("audit_care", () => sweepCare(env, db, now, budget)),
      sweep("checkpoints", () => sweepCheckpoints(env, db, now, budget)),
      sweep("webhooks", () => sweepWebhooks(env, db, now)),
      sweep("throttles", () => sweepThrottles(db, now)),
    ]);
  },
} satisfies ExportedHandler<Env>;

async function sweepKeyring(env: Env, db: Database, now: number): Promise<void> {
  const { keyring } = requireSettings(env);
  await sweepEntries(db, env.CF_VERSION_METADATA.id, keyring, now);
  await sweepWrappings(db, keyring, wrappingsPerSweep);
}

async function sweep(name: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log("error", "sweep_failed", { sweep: name, cause: describeError(error) });
  }
}
