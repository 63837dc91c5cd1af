/** Is it alive, is it ready: D1, KV, the Router and the settings answer, the queue is bound. The result is kept 5 s. */
import { sql } from "drizzle-orm";
import type { Database } from "../base/database.js";
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

/** Asks every part, or gives what they said in the last 5 s. `askRouter` makes one call to a Router. */
export async function readiness(
  env: Env,
  db: Database,
  askRouter: () => Promise<unknown>,
  now: number,
): Promise<Readiness> {
  const known = kept.get(env);
  if (known !== undefined && now - known.at < keptMs) {
    return known.readiness;
  }
  const asked = await Promise.all([
    ask("d1", () => db.get(sql`SELECT count(*) FROM setup`)),
    ask("kv", () => env.CONFIG.get("readyz")),
    ask("router", askRouter),
  ]);
  const queue = { name: "queue", ok: typeof env.MAIL?.send === "function" };
  const parts = [...asked, queue, ...settingParts(env)];
  const result: Readiness = { status: parts.every((part) => part.ok) ? "ready" : "not_ready", parts };
  kept.set(env, { at: now, readiness: result });
  return result;
}

function settingParts(env: Env): Part[] {
  const reading = readSettings(env);
  const problems = "problems" in reading ? reading.problems : reading.settings.notReady;
  const broken = problems.map(({ setting, detail }) => ({ name: setting.toLowerCase(), ok: false, detail }));
  return broken.some((part) => part.name === "keyring") ? broken : [{ name: "keyring", ok: true }, ...broken];
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
