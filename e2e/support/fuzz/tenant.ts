/** A workspace with one thing of every kind, made by its owner over HTTP. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Call, connect, expectOk } from "../client.ts";
import { helperDocument } from "./helper.ts";

/** What a tenant is made with. */
export interface TenantOptions {
  readonly url: string;
  readonly ownerToken: string;
  /** Stands in the name of everything that is never entered in a request: whoever sees it sees the tenant's rows. */
  readonly canary: string;
  /** Likewise of what is entered in requests from outside, such as a tool provider's name. */
  readonly sent: string;
  readonly helper: string;
  /** A text that stands in every secret. */
  readonly secretMark: string;
}

/** A tenant. */
export interface Tenant {
  /** Calls of the owner, relative to the workspace. */
  readonly call: Call;
  readonly things: Readonly<Record<string, string>>;
  /** Key of every scope. */
  readonly key: string;
}

const allScopes = [
  "workspace:read",
  "workspace:manage",
  "members:read",
  "members:manage",
  "keys:manage",
  "providers:read",
  "providers:manage",
  "pools:read",
  "pools:manage",
  "tools:read",
  "tools:manage",
  "tools:invoke",
  "models:invoke",
  "usage:read",
  "audit:read",
  "vault:rotate",
];

/** A key with these scopes, all when none are named. */
export async function makeKey(
  call: Call,
  name: string,
  scopes: readonly string[] = allScopes,
): Promise<{ id: string; secret: string }> {
  const body = expectOk(await call("POST", "/api-keys", { name, scopes }));
  return { id: String(body["id"]), secret: String(body["secret"]) };
}

/** Builds it. */
export async function buildTenant(options: TenantOptions): Promise<Tenant> {
  const { canary, ownerToken, url } = options;
  const person = connect(url, ownerToken);
  const { id, slug } = expectOk(await person("POST", "/workspaces", { name: `${canary} Team` }));
  const call: Call = (method, path, body, headers) => person(method, `/workspaces/${String(id)}${path}`, body, headers);
  const made = async (path: string, body: object): Promise<Readonly<Record<string, unknown>>> =>
    expectOk(await call("POST", path, body));
  const key = await makeKey(call, `${canary} key`);
  const [owner] = rows(expectOk(await call("GET", "/members?role=OWNER")));
  const invited = rows(await made("/members/invite", { emails: [`${canary}@example.com`] }), "results");
  return {
    call,
    key: key.secret,
    things: {
      ws: String(id),
      slug: String(slug),
      key: key.id,
      member: text(owner, "id"),
      invite: text(invited[0], "invite_id"),
      ...(await addModels(made, options)),
      ...(await addTools(made, options)),
      ...(await addWebhook(made, call, options)),
      request: await logRequest(url, key.secret, call),
      cursor: text(expectOk(await call("GET", "/pools?limit=1")), "next_cursor"),
    },
  };
}

type Made = (path: string, body: object) => Promise<Readonly<Record<string, unknown>>>;

async function addModels(made: Made, { canary, helper, sent, secretMark }: TenantOptions) {
  const credentials = { api_key: `sk-sandbox-ok-${secretMark}` };
  const { id: credential } = await made("/model-providers/sandbox/credentials", {
    name: `${canary} credential`,
    credentials,
    validate: false,
  });
  const instance = (model: string) => ({
    alias: `${canary}-${model}`,
    provider_name: "sandbox",
    model,
    credential_id: credential,
  });
  const poolName = `${canary}-pool`;
  const pool = await made("/pools", { name: poolName, instances: [instance("sandbox-chat")] });
  await made("/pools", { name: "chat", instances: [instance("sandbox-chat")] });
  const server = { base_url: `${helper}/v1`, api_key: `sk-${secretMark}` };
  const media = await made("/model-providers/openai_compatible/credentials", {
    name: `${canary} media`,
    credentials: server,
    validate: false,
  });
  const place = {
    alias: "media",
    provider_name: "openai_compatible",
    model: "helper-model",
    credential_id: media["id"],
  };
  await made("/pools", { name: "media", instances: [place] });
  await made("/model-providers/sandbox/models", { model: `${sent}-model`, type: "llm", title: `${canary} model` });
  const [first] = rows(pool, "instances");
  return {
    credential: String(credential),
    pool: String(pool["id"]),
    poolName,
    instance: text(first, "id"),
    model: `${sent}-model`,
  };
}

async function addTools(made: Made, { canary, sent, helper, secretMark }: TenantOptions) {
  const name = `${sent}-tools`;
  await made("/tool-providers", { kind: "openapi", name, title: `${canary} tools`, document: helperDocument(helper) });
  const credentials = { api_key: `tool-${secretMark}` };
  const { id } = await made(`/tool-providers/${name}/credentials`, {
    name: `${canary} tool credential`,
    credentials,
    validate: false,
  });
  return { tools: name, toolCredential: String(id) };
}

async function addWebhook(made: Made, call: Call, { canary, helper }: TenantOptions) {
  const { id } = await made("/webhooks", { url: `${helper}/hook/${canary}`, events: ["budget.*"] });
  await made(`/webhooks/${String(id)}/test`, {});
  const [delivery] = rows(expectOk(await call("GET", `/webhooks/${String(id)}/deliveries`)));
  return { webhook: String(id), delivery: text(delivery, "id") };
}

/** One model call, and its id once the log has it. */
async function logRequest(url: string, key: string, call: Call): Promise<string> {
  const body = { model: "chat", messages: [{ role: "user", content: "Say hello." }] };
  const answer = await connect(url, key)("POST", "/v1/chat/completions", body);
  expectOk(answer);
  const id = answer.headers.get("x-request-id") ?? "";
  for (let round = 0; round < 100 && (await call("GET", `/requests/${id}`)).status !== 200; round += 1) {
    await sleep(50);
  }
  return id;
}

/** The objects of a list in an answer. */
export function rows(
  body: Readonly<Record<string, unknown>>,
  name = "data",
): readonly Readonly<Record<string, unknown>>[] {
  const list = body[name];
  return Array.isArray(list) ? (list as Readonly<Record<string, unknown>>[]) : [];
}

/** A field of such an object as text. Throws when it is not there. */
export function text(row: Readonly<Record<string, unknown>> | undefined, name: string): string {
  const value = row?.[name];
  if (typeof value !== "string") {
    throw new TypeError(`no ${name} in ${JSON.stringify(row)}`);
  }
  return value;
}
