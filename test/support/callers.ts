/** Two workspaces alike, and everybody who may knock at one of them: with every kind of credential, good, foreign, worn out and forged. */
import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import { scopes, tokenScopes, type Role, type Scope, type TokenScope } from "../../src/access/permissions.js";
import { newId } from "../../src/base/ids.js";
import { routerFor } from "../../src/routing/router-for.js";
import { invites } from "../../src/tenancy/model.js";
import { webhookDeliveries } from "../../src/webhooks/model.js";
import { call } from "./client.js";
import { deep } from "./deep.js";
import {
  db,
  seedAccount,
  seedMember,
  seedPool,
  seedWorkspace,
  type SeededAccount,
  type SeededWorkspace,
} from "./seed.js";
import { schemes, toolDocument } from "./tool-document.js";

/** Kinds of things that a path's last parameter can name. */
export type ThingKind =
  | "key"
  | "credential"
  | "member"
  | "pool"
  | "instance"
  | "provider"
  | "invite"
  | "model"
  | "toolProvider"
  | "toolCredential"
  | "webhook"
  | "delivery"
  | "request";

/** A workspace with its people, a key of every scope, and one thing of each kind. */
export interface House {
  readonly id: string;
  readonly people: Readonly<Record<Role, SeededAccount>>;
  readonly key: string;
  readonly things: Readonly<Record<ThingKind, string>>;
}

/** Who knocks, and by which right they stand where. */
export type Caller =
  | { readonly as: "nobody" }
  /** Good, but not here. `home`: the role in a workspace of their own. */
  | { readonly as: "stranger"; readonly by: "session" | "token" | "key"; readonly home: Role | null }
  | { readonly as: "role"; readonly role: Role }
  /** Every scope but `lacks`; or, alone, the one that is asked for. */
  | { readonly as: "key"; readonly lacks: Scope | null; readonly isAlone: boolean }
  | { readonly as: "token"; readonly role: Role; readonly lacks: TokenScope | null }
  /** The owner of the deleted workspace that is knocked at. */
  | { readonly as: "owner of a deleted workspace" };

export interface Knock {
  readonly name: string;
  readonly caller: Caller;
  readonly token: string | undefined;
  /** The workspace in the path. */
  readonly at: House;
}

export interface World {
  readonly house: House;
  readonly neighbour: House;
  /** Everybody. The keys and tokens without a scope lack the given one. */
  knocks(lacks: TokenScope | null): Promise<readonly Knock[]>;
}

/** Builds the two houses and the callers that do not depend on a scope. */
export async function buildWorld(): Promise<World> {
  const house = await buildHouse();
  const neighbour = await buildHouse();
  const bad = await buildBad(house);
  const removed = await buildRemoved(house);
  const deleted = await buildDeleted();
  const { OWNER: owner, ADMIN: admin, MEMBER: member } = house.people;
  const ownerToken = await makeToken(owner, tokenScopes);
  const memberToken = await makeToken(member, tokenScopes);
  const { OWNER, ADMIN, MEMBER } = neighbour.people;
  const fixed: Knock[] = [
    { name: "nobody", caller: { as: "nobody" }, token: undefined, at: house },
    ...bad.map(([name, token]): Knock => ({ name, caller: { as: "nobody" }, token, at: house })),
    ...removed,
    ...deleted,
    ...([owner, admin, member] as const).map(({ token }, index): Knock => {
      const role = (["OWNER", "ADMIN", "MEMBER"] as const)[index] ?? "MEMBER";
      return { name: `the ${role}`, caller: { as: "role", role }, token, at: house };
    }),
    knockFrom("the owner next door", stranger("session", "OWNER"), OWNER.token, house),
    knockFrom("the admin next door", stranger("session", "ADMIN"), ADMIN.token, house),
    knockFrom("the member next door", stranger("session", "MEMBER"), MEMBER.token, house),
    knockFrom("the key of every scope next door", stranger("key", "OWNER"), neighbour.key, house),
    knockFrom("a person without any workspace", stranger("session", null), (await seedAccount()).token, house),
    { name: "the key of every scope", caller: { as: "key", lacks: null, isAlone: false }, token: house.key, at: house },
    {
      name: "the owner's token of every scope",
      caller: { as: "token", role: "OWNER", lacks: null },
      token: ownerToken,
      at: house,
    },
    {
      name: "the member's token of every scope",
      caller: { as: "token", role: "MEMBER", lacks: null },
      token: memberToken,
      at: house,
    },
  ];
  const lacking = new Map<TokenScope | null, Promise<Knock[]>>();
  return {
    house,
    neighbour,
    async knocks(lacks) {
      const more = lacking.get(lacks) ?? buildLacking(house, lacks);
      lacking.set(lacks, more);
      return [...fixed, ...(await more)];
    },
  };
}

function stranger(by: "session" | "token" | "key", home: Role | null): Caller {
  return { as: "stranger", by, home };
}

function knockFrom(name: string, caller: Caller, token: string, at: House): Knock {
  return { name, caller, token, at };
}

async function buildHouse(): Promise<House> {
  const workspace = await seedWorkspace();
  const admin = await seedMember(workspace.id, "ADMIN");
  const member = await seedMember(workspace.id, "MEMBER");
  await seedPool(workspace, [{ alias: "a", secret: "sk-sandbox-ok", weight: 1 }]);
  const path = `/workspaces/${workspace.id}`;
  const first = async (list: string) => (await call("GET", `${path}/${list}`, workspace)).body.data[0].id as string;
  const owner = await call("GET", `${path}/members?role=OWNER`, workspace);
  const invited = await call("POST", `${path}/members/invite`, {
    token: workspace.token,
    body: { emails: [`invitee-${workspace.id}@example.com`] },
  });
  const inviteId = invited.body.results[0].invite_id as string;
  // Closed, so that whoever may touch it finds nothing to do.
  await db.update(invites).set({ state: "revoked", closedAt: 1 }).where(eq(invites.id, inviteId));
  const key = await first("api-keys");
  const pools = await call("GET", `${path}/pools`, workspace);
  const model = `own-${workspace.id}`;
  await call("POST", `${path}/model-providers/sandbox/models`, {
    token: workspace.token,
    body: { model, type: "llm" },
  });
  return {
    id: workspace.id,
    people: { OWNER: workspace.owner, ADMIN: admin, MEMBER: member },
    key: await makeKey(workspace, scopes),
    things: {
      key,
      credential: await first("model-providers/sandbox/credentials"),
      member: owner.body.data[0].id,
      pool: pools.body.data[0].id,
      instance: pools.body.data[0].instances[0].id,
      provider: "sandbox",
      model,
      invite: inviteId,
      ...(await buildTools(workspace)),
      ...(await buildWebhook(workspace)),
      request: await logRequest(workspace),
    },
  };
}

/** A call in the workspace's request log. */
async function logRequest(workspace: SeededWorkspace): Promise<string> {
  const told = { provider: "any", tool: "any", result: "ok", status: 200, code: null, duration_ms: 1 } as const;
  const [call_id, request_id] = [newId("operation"), `req_of_${workspace.id}`];
  const router = routerFor(env, workspace.id, "auto");
  await router.noteTool({ ...told, call_id, request_id, key_id: null, member_id: null });
  return request_id;
}

/** A tool provider with its tools `echo` and `text`, and a credential for it. */
async function buildTools(workspace: SeededWorkspace) {
  const toolProvider = `tools-of-${workspace.id}`;
  const path = `/workspaces/${workspace.id}/tool-providers`;
  const document = toolDocument({ security: schemes.bearer });
  await call("POST", path, { token: workspace.token, body: { kind: "openapi", name: toolProvider, document } });
  const made = await call("POST", `${path}/${toolProvider}/credentials`, {
    token: workspace.token,
    body: { name: "mine", credentials: { api_key: "tool-secret" }, validate: false },
  });
  return { toolProvider, toolCredential: made.body.id as string };
}

/** A webhook that is out, so that nothing is sent while the record is compared, with a delivery that failed. */
async function buildWebhook(workspace: SeededWorkspace) {
  const path = `/workspaces/${workspace.id}/webhooks`;
  const body = { url: "https://hooks.example.com/", events: ["pool.created"] };
  const webhook = (await call("POST", path, { token: workspace.token, body })).body.id as string;
  await call("PATCH", `${path}/${webhook}`, { token: workspace.token, body: { enabled: false } });
  const delivery = newId("webhookDelivery");
  const ended = { auditSeq: 1, type: "pool.created", state: "failed", dueAt: 1, lookAt: 1, createdAt: 1 } as const;
  await db.insert(webhookDeliveries).values({ id: delivery, workspaceId: workspace.id, webhookId: webhook, ...ended });
  return { webhook, delivery };
}

/** Credentials that were good or look it: each is nobody. They are refused before any route is chosen, so CI tries four of them at every door. */
async function buildBad(house: House): Promise<[string, string][]> {
  const workspace = { id: house.id, token: house.people.OWNER.token };
  const account = await seedAccount();
  await env.DB.prepare("UPDATE session SET expiresAt = '2026-01-01T00:00:00.000Z' WHERE userId = ?")
    .bind(account.id)
    .run();
  const expiredKey = await makeKey(workspace, scopes);
  await db.run(sql.raw(`UPDATE api_keys SET expires_at = 1 WHERE last_four = '${expiredKey.slice(-4)}'`));
  const revokedKey = await makeKey(workspace, scopes);
  await db.run(sql.raw(`UPDATE api_keys SET revoked_at = 1 WHERE last_four = '${revokedKey.slice(-4)}'`));
  const expiredToken = await makeToken(house.people.OWNER, tokenScopes);
  await db.run(sql.raw(`UPDATE personal_tokens SET expires_at = 1 WHERE last_four = '${expiredToken.slice(-4)}'`));
  const [token = "", signature = ""] = workspace.token.split(".");
  const bad: [string, string][] = [
    ["an expired session", account.token],
    ["an expired key", expiredKey],
    ["a session with another signature", `${token}.${flip(signature, 5)}`],
    ["a forged key", flip(house.key, house.key.length - 1)],
    ["a revoked key", revokedKey],
    ["an expired personal token", expiredToken],
    ["a session with another token", `${flip(token, 5)}.${signature}`],
    ["a session without its signature", token],
    ["a key of another workspace id", flip(house.key, house.key.length - 80)],
    ["a forged personal token", flip(expiredToken, 20)],
  ];
  return bad.slice(0, deep(4, bad.length));
}

/** Somebody who was an admin here until a moment ago. */
async function buildRemoved(house: House): Promise<Knock[]> {
  const admin = await seedMember(house.id, "ADMIN");
  const key = await makeKey({ id: house.id, token: admin.token }, ["workspace:read", "members:manage", "keys:manage"]);
  const token = await makeToken(admin, tokenScopes);
  await expectStatus(204, call("DELETE", `/workspaces/${house.id}/members/${admin.memberId}`, house.people.OWNER));
  return [
    { name: "a removed admin", caller: stranger("session", null), token: admin.token, at: house },
    { name: "a removed admin's personal token", caller: stranger("token", null), token, at: house },
    { name: "a removed admin's key", caller: { as: "nobody" }, token: key, at: house },
  ];
}

/** The people of a deleted workspace, who knock at that one. */
async function buildDeleted(): Promise<Knock[]> {
  const gone = await buildHouse();
  const { OWNER: owner, ADMIN: admin } = gone.people;
  const token = await makeToken(owner, tokenScopes);
  const { slug } = (await call("GET", `/workspaces/${gone.id}`, owner)).body;
  await expectStatus(202, call("DELETE", `/workspaces/${gone.id}`, { token: owner.token, body: { slug } }));
  return [
    {
      name: "the owner of the deleted workspace",
      caller: { as: "owner of a deleted workspace" },
      token: owner.token,
      at: gone,
    },
    { name: "its owner's personal token", caller: stranger("token", null), token, at: gone },
    { name: "an admin of the deleted workspace", caller: stranger("session", null), token: admin.token, at: gone },
    { name: "a key of the deleted workspace", caller: { as: "nobody" }, token: gone.key, at: gone },
  ];
}

async function buildLacking(house: House, lacks: TokenScope | null): Promise<Knock[]> {
  const { OWNER: owner } = house.people;
  const workspace = { id: house.id, token: owner.token };
  const keyLacks = scopes.find((scope) => scope === lacks) ?? null;
  const key = await makeKey(workspace, keyLacks === null ? scopes : scopes.filter((scope) => scope !== keyLacks));
  const token = await makeToken(
    owner,
    tokenScopes.filter((scope) => scope !== lacks),
  );
  const knocks: Knock[] = [
    { name: `a key without ${lacks}`, caller: { as: "key", lacks: keyLacks, isAlone: false }, token: key, at: house },
    { name: `a personal token without ${lacks}`, caller: { as: "token", role: "OWNER", lacks }, token, at: house },
  ];
  if (keyLacks !== null) {
    const only = await makeKey(workspace, [keyLacks]);
    knocks.push({
      name: `a key with ${lacks} alone`,
      caller: { as: "key", lacks: null, isAlone: true },
      token: only,
      at: house,
    });
  }
  return knocks;
}

let names = 0;

async function makeKey(at: Pick<SeededWorkspace, "id" | "token">, wanted: readonly Scope[]): Promise<string> {
  names += 1;
  const body = { name: `Key ${names}`, scopes: wanted };
  return (await expectStatus(201, call("POST", `/workspaces/${at.id}/api-keys`, { token: at.token, body }))).body
    .secret;
}

async function makeToken(person: Pick<SeededAccount, "token">, wanted: readonly TokenScope[]): Promise<string> {
  names += 1;
  const body = { name: `Token ${names}`, scopes: wanted };
  return (await expectStatus(201, call("POST", "/me/tokens", { token: person.token, body }))).body.secret;
}

async function expectStatus(status: number, answering: ReturnType<typeof call>): ReturnType<typeof call> {
  const answer = await answering;
  if (answer.status !== status) {
    throw new Error(`seed: ${status} was expected, not ${answer.status} ${answer.text}`);
  }
  return answer;
}

function flip(text: string, at: number): string {
  return text.slice(0, at) + (text.charAt(at) === "a" ? "b" : "a") + text.slice(at + 1);
}
