/** Is it alive, is it ready: D1, KV, the Router and the settings answer, the queues are bound, the keyring opens what is stored. The result is kept 5 s. */
import { sql } from "drizzle-orm";
import type { Database } from "../base/database.js";
import type { Keyring } from "../base/keyring.js";
import { describeError, log } from "../base/log.js";
import { readSettings } from "../base/settings.js";

const keptMs = 5_000;

interface Part {
  readonly name: string;
  readonly ok: boolean;
  readonly detail?: string;
}

/** What /readyz answers. */
export interface Readiness {
  readonly status: "ready" | "not_ready";
  readonly parts: readonly Part[];
}

const kept = new WeakMap<object, { readonly at: number; readonly readiness: Readiness }>();

/** What rooms further up know to ask. */
interface Questions {
  /** Makes one call to a Router. */
  router(): Promise<unknown>;
  /** Entries of KEYRING that stored data keys need and this deployment lacks. */
  missingEntries(keyring: Keyring): Promise<readonly string[]>;
}

/** Asks every part, or gives what they said in the last 5 s. */
export async function readiness(env: Env, db: Database, questions: Questions, now: number): Promise<Readiness> {
  const known = kept.get(env);
  if (known !== undefined && now - known.at < keptMs) {
    return known.readiness;
  }
  const asked = await Promise.all([
    ask("d1", () => db.get(sql`SELECT count(*) FROM setup`)),
    ask("kv", () => env.CONFIG.get("readyz")),
    ask("router", () => questions.router()),
  ]);
  const keyring = await askKeyring(env, questions);
  const queue = { name: "queue", ok: [env.MAIL, env.WEBHOOKS].every((one) => typeof one?.send === "function") };
  const parts = [...asked, queue, ...keyring, ...settingParts(env)];
  const result: Readiness = { status: parts.every((part) => part.ok) ? "ready" : "not_ready", parts };
  kept.set(env, { at: now, readiness: result });
  return result;
}

function settingParts(env: Env): Part[] {
  const reading = readSettings(env);
  const problems = "problems" in reading ? reading.problems : reading.settings.notReady;
  return problems.map(({ setting, detail }) => ({ name: setting.toLowerCase(), ok: false, detail }));
}

/** Nothing to ask while KEYRING itself is among the settings at fault, which say so. */
async function askKeyring(env: Env, questions: Questions): Promise<Part[]> {
  const reading = readSettings(env);
  if ("problems" in reading) {
    return reading.problems.some(({ setting }) => setting === "KEYRING") ? [] : [{ name: "keyring", ok: true }];
  }
  let missing: readonly string[] = [];
  const { keyring } = reading.settings;
  const part = await ask("keyring", async () => (missing = await questions.missingEntries(keyring)));
  if (missing.length === 0) {
    return [part];
  }
  const detail = `Data keys are wrapped under entries that this KEYRING lacks: ${missing.join(", ")}. Put them back, from your copy of it.`;
  return [{ name: "keyring", ok: false, detail }];
}

async function ask(name: string, question: () => Promise<unknown>): Promise<Part> {
  try {
    await question();
    return { name, ok: true };
  } catch (error) {
    log("error", "not_ready", { part: name, cause: describeError(error) });
    return { name, ok: false, detail: `${name} does not answer.` };
  }
}
