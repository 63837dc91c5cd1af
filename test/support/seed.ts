/** Makes what a test stands on by HTTP, like a customer. Every call makes its own account and workspace. */
import { env } from "cloudflare:workers";
import { commit, openDatabase } from "../../src/base/database.js";
import { newId } from "../../src/base/ids.js";
import { requireSettings } from "../../src/base/settings.js";
import { users } from "../../src/identity/model.js";
import { planSession } from "../../src/identity/sessions.js";
import { members } from "../../src/tenancy/model.js";
import { call } from "./client.js";

export const db = openDatabase(env.DB);

export interface SeededAccount {
  readonly id: string;
  readonly email: string;
  readonly token: string;
}

export interface SeededWorkspace {
  readonly id: string;
  readonly slug: string;
  readonly owner: SeededAccount;
  /** Session token of the owner. */
  readonly token: string;
}

let count = 0;

/** An account with a session, written as sign-in writes them. */
export async function seedAccount(): Promise<SeededAccount> {
  count += 1;
  const id = newId("account");
  const at = new Date().toISOString();
  const email = `person-${count}-${id.slice(-6)}@example.com`;
  const session = await planSession(
    requireSettings(env).authSecret,
    db,
    id,
    { ip: null, userAgent: "test", requestId: null },
    Date.now(),
  );
  await db.insert(users).values({ id, name: `Person ${count}`, email, createdAt: at, updatedAt: at });
  await commit(db, [session.statement]);
  return { id, email, token: session.token.reveal() };
}

/** A workspace made by its owner through the API. */
export async function seedWorkspace(): Promise<SeededWorkspace> {
  const owner = await seedAccount();
  const answer = await call("POST", "/workspaces", {
    token: owner.token,
    body: { name: `Team ${owner.id.slice(-8)}` },
  });
  if (answer.status !== 201) {
    throw new Error(`seed: POST /workspaces answered ${answer.status} ${answer.text}`);
  }
  return { id: answer.body.id, slug: answer.body.slug, owner, token: owner.token };
}

/** Another person in a workspace, with a role, written as joining writes it. */
export async function seedMember(
  workspaceId: string,
  role: "ADMIN" | "MEMBER",
): Promise<SeededAccount & { readonly memberId: string }> {
  const account = await seedAccount();
  const memberId = newId("member");
  await db.insert(members).values({ id: memberId, workspaceId, userId: account.id, role, createdAt: Date.now() });
  return { ...account, memberId };
}

/** A sandbox credential in a workspace; answers its id. */
async function seedCredential(workspace: SeededWorkspace, name: string, secret: string): Promise<string> {
  const path = `/workspaces/${workspace.id}/model-providers/sandbox/credentials`;
  const body = { name, credentials: { api_key: secret }, validate: false };
  return (await made("POST", path, workspace.token, body)).id;
}

/** A pool named `chat` over sandbox credentials by alias and weight, and a key that may call it; answers the key. */
export async function seedPool(
  workspace: SeededWorkspace,
  instances: readonly { readonly alias: string; readonly secret: string; readonly weight: number }[],
): Promise<string> {
  const placed = [];
  for (const { alias, secret, weight } of instances) {
    const credentialId = await seedCredential(workspace, alias, secret);
    placed.push({ alias, provider_name: "sandbox", model: "sandbox-chat", credential_id: credentialId, weight });
  }
  await made("POST", `/workspaces/${workspace.id}/pools`, workspace.token, {
    name: "chat",
    strategy: "weighted",
    instances: placed,
  });
  return (await seedKey(workspace)).secret;
}

/** An API key that may call models. */
export async function seedKey(workspace: SeededWorkspace, name = "caller"): Promise<{ id: string; secret: string }> {
  return await made("POST", `/workspaces/${workspace.id}/api-keys`, workspace.token, {
    name,
    scopes: ["models:invoke"],
  });
}

async function made(
  method: string,
  path: string,
  token: string,
  body: unknown,
): Promise<{ id: string; secret: string }> {
  const answer = await call(method, path, { token, body });
  if (answer.status !== 201) {
    throw new Error(`seed: ${method} ${path} answered ${answer.status} ${answer.text}`);
  }
  return answer.body;
}
