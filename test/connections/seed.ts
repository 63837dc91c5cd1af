/** What the tests of this room stand on: credentials and pools made by HTTP, and reads of what the service stored. */
import { env } from "cloudflare:workers";
import { publish } from "../../src/snapshot/publish.js";
import { routerFor } from "../../src/routing/router-for.js";
import { call, type Answer } from "../support/client.js";
import type { SeededWorkspace } from "../support/seed.js";

let count = 0;

/** A word that no other test has. */
export function unique(word: string): string {
  count += 1;
  return `${word}-${count}`;
}

/** The credentials path of a provider. */
export function credentialsPath(workspace: Pick<SeededWorkspace, "id">, provider: string): string {
  return `/workspaces/${workspace.id}/model-providers/${provider}/credentials`;
}

/** POSTs a credential. */
export function addCredential(
  workspace: SeededWorkspace,
  provider: string,
  credentials: Readonly<Record<string, string>>,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Answer> {
  const body = { name: unique("Credential"), credentials, ...more };
  return call("POST", credentialsPath(workspace, provider), { token: workspace.token, body });
}

/** The id of a new sandbox credential that answers. */
export async function sandboxCredential(workspace: SeededWorkspace, label = "ok"): Promise<string> {
  const made = await addCredential(workspace, "sandbox", { api_key: `sk-sandbox-${label}` }, { validate: false });
  if (made.status !== 201) {
    throw new Error(`seed: credential answered ${made.status} ${made.text}`);
  }
  return made.body.id;
}

/** An instance of the sandbox. */
export function sandboxInstance(credentialId: string, more: Readonly<Record<string, unknown>> = {}) {
  return { provider_name: "sandbox", model: "sandbox-chat", credential_id: credentialId, ...more };
}

/** Brings what was recorded into force, as the 2xx of a change does. */
export function publishNow(workspace: Pick<SeededWorkspace, "id">): Promise<void> {
  return publish(env, workspace.id, (bindings, id, region) => routerFor(bindings, id, region));
}

interface AuditLine {
  readonly action: string;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly targets: readonly { readonly type: string; readonly id: string }[];
  readonly actor_type: string;
}

/** The audit rows about one target, oldest first. */
export async function auditOf(id: string): Promise<AuditLine[]> {
  const query = env.DB.prepare(
    "SELECT action, before, after, targets, actor_type FROM audit_log WHERE instr(targets, ?) > 0 ORDER BY seq",
  );
  const { results } = await query.bind(`"${id}"`).all<Record<string, string>>();
  return results.map((row) => ({
    action: row["action"] ?? "",
    before: JSON.parse(row["before"] ?? "null"),
    after: JSON.parse(row["after"] ?? "null"),
    targets: JSON.parse(row["targets"] ?? "[]"),
    actor_type: row["actor_type"] ?? "",
  }));
}

/** Everything that D1 holds, as text. */
export async function dumpRecord(): Promise<string> {
  const named = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '_cf%'",
  ).all<{
    name: string;
  }>();
  const texts: string[] = [];
  for (const { name } of named.results) {
    texts.push(`${name} ${JSON.stringify((await env.DB.prepare(`SELECT * FROM "${name}"`).all()).results)}`);
  }
  return texts.join("\n");
}

/** Everything that KV holds, as text. */
export async function dumpConfig(): Promise<string> {
  const { keys } = await env.CONFIG.list();
  const texts: string[] = [];
  for (const { name } of keys) {
    texts.push(`${name} ${await env.CONFIG.get(name)}`);
  }
  return texts.join("\n");
}
