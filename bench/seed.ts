/** Sets a Gatehouse up as a customer would: a workspace, two credentials on the upstream, a pool over them at 3:1, and a key. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Miniflare } from "miniflare";
import { root } from "./workers.ts";

type Fields = Readonly<Record<string, unknown>>;

const model = "bench";

/** What a caller of the seeded Gatehouse needs. */
export interface Seeded {
  readonly key: string;
  readonly model: string;
}

/** Brings its database up to date and makes what a call needs. */
export async function seed(miniflare: Miniflare, url: string, setupToken: string, upstream: string): Promise<Seeded> {
  await migrate(miniflare);
  const opened = await post(url, "/dev/demo-session", setupToken, {});
  const call = (address: string, body: Fields): Promise<Fields> =>
    post(url, address, String(opened["session_token"]), body);
  const { id } = await call("/workspaces", { name: "Bench" });
  const workspace = `/workspaces/${String(id)}`;
  const instances = [];
  for (const [alias, weight] of [
    ["three", 3],
    ["one", 1],
  ] as const) {
    const credential = await call(`${workspace}/model-providers/openai_compatible/credentials`, {
      name: alias,
      credentials: { base_url: `${upstream}/v1`, api_key: `sk-bench-${alias}-0123456789-0123456789` },
      validate: false,
    });
    const target = { provider_name: "openai_compatible", model: "bench-model", credential_id: credential["id"] };
    instances.push({ alias, weight, ...target });
  }
  await call(`${workspace}/pools`, { name: model, strategy: "weighted", instances });
  const { secret } = await call(`${workspace}/api-keys`, { name: "bench", scopes: ["models:invoke"] });
  return { key: String(secret), model };
}

async function migrate(miniflare: Miniflare): Promise<void> {
  const db = await miniflare.getD1Database("DB");
  const folder = path.join(root, "migrations");
  const files = readdirSync(folder).filter((file) => file.endsWith(".sql"));
  for (const file of files.toSorted()) {
    const statements = readFileSync(path.join(folder, file), "utf8").split("--> statement-breakpoint");
    await db.batch(statements.filter((text) => text.trim() !== "").map((text) => db.prepare(text)));
  }
}

async function post(url: string, address: string, token: string, body: Fields): Promise<Fields> {
  const response = await fetch(`${url}${address}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  if (!response.ok) {
    throw new Error(`${address} answered ${response.status}: ${text}`);
  }
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
