/** Things of the house that requests may use up: each is made when it is first named, and anew after it was spent. */
import { type Call, connect, expectOk } from "../client.ts";
import type { Invitee } from "./people.ts";
import { helperDocument } from "./helper.ts";
import { proofMakers } from "./proofs.ts";
import { rows, type Tenant, text } from "./tenant.ts";

/** What they are made from. */
export interface SparesOptions {
  readonly url: string;
  /** The origin that requests are sent to: the Worker behind `url`. */
  readonly door: string;
  readonly helper: string;
  /** The owner's session. */
  readonly owner: string;
  readonly house: Tenant;
  /** The id of the workspace that the passers are invited to. */
  readonly annex: string;
  readonly passers: readonly Invitee[];
  readonly run: string;
  readonly secretMark: string;
}

/** The spare things. */
export interface Spares {
  /** What the word stands for, or null when it is no spare thing or there is none left. */
  find(name: string): Promise<string | null>;
  /** The session of somebody who may sign out or leave; null when all have. */
  leaver(): Promise<string | null>;
  spend(operation: string, words: readonly string[]): void;
  /** Deletes what has gathered, but for these ids and names. */
  tidy(kept: ReadonlySet<string>): Promise<void>;
}

type Maker = () => Promise<string | null>;

/** Operations after which what they named is gone, or is something else. */
const spending = /^(delete|remove|revoke|restore|accept|decline|signOut)/;
const dayMs = 86_400_000;

/** Builds the store; nothing is made yet. */
export function buildSpares(options: SparesOptions): Spares {
  const people = [...options.passers];
  const store = new Map<string, Promise<string | null>>();
  let count = 0;
  const unique = (): string => {
    count += 1;
    return `f${options.run}-${count.toString(36)}`;
  };
  const makers: Readonly<Record<string, Maker>> = {
    ...wordMakers(options),
    ...workspaceMakers(options, store, unique),
    ...thingMakers(options, unique),
    ...personMakers(options, people),
    ...proofMakers(
      options.url,
      options.door,
      () => people.shift() ?? null,
      () => find("leaver"),
    ),
  };
  const find = async (name: string): Promise<string | null> => {
    if (name === "unique") {
      return unique();
    }
    if (name === "email") {
      return `${unique()}@example.com`;
    }
    if (name === "secret") {
      return `sk-sandbox-ok-${options.secretMark}-${unique()}`;
    }
    const maker = Object.hasOwn(makers, name) ? makers[name] : undefined;
    if (maker === undefined) {
      return null;
    }
    const known = store.get(name) ?? maker().catch(() => null);
    store.set(name, known);
    return await known;
  };
  return {
    find,
    leaver: () => find("leaver"),
    spend(operation, words) {
      for (const word of spending.test(operation) ? words : []) {
        store.delete(word.slice(1));
      }
      if (/Passkey/.test(operation)) {
        // A challenge is good once.
        store.delete("passkeyRegistration");
        store.delete("passkeyAssertion");
      }
      for (const [made, from] of dependants) {
        if (!store.has(from)) {
          store.delete(made);
        }
      }
    },
    tidy: (kept) => tidy(options, kept, store),
  };
}

/** What stands and falls with another. */
const dependants: readonly (readonly [string, string])[] = [
  ["spareSlug", "spareWs"],
  ["leaverSession", "leaver"],
  ["passkeyRegistration", "leaver"],
  ["passkey", "leaver"],
];

/** The time so many milliseconds from this moment. */
function at(ms: number): string {
  return new Date(Date.now() + ms).toISOString();
}

function wordMakers({ helper, annex }: SparesOptions): Readonly<Record<string, Maker>> {
  return {
    annex: () => Promise.resolve(annex),
    helper: () => Promise.resolve(helper),
    tokenUrl: () => Promise.resolve(`${helper}/token`),
    soon: () => Promise.resolve(at(20 * dayMs)),
    hourAgo: () => Promise.resolve(at(-3_600_000)),
  };
}

function workspaceMakers(
  { url, owner }: SparesOptions,
  store: Map<string, Promise<string | null>>,
  unique: () => string,
): Readonly<Record<string, Maker>> {
  const person = connect(url, owner);
  const open = async (): Promise<string> =>
    text(expectOk(await person("POST", "/workspaces", { name: unique() })), "id");
  const slugOf = async (id: string): Promise<string> =>
    text(expectOk(await person("GET", `/workspaces/${id}`)), "slug");
  return {
    spareWs: open,
    async spareSlug() {
      const id = await (store.get("spareWs") ?? open());
      store.set("spareWs", Promise.resolve(id));
      return id === null ? null : await slugOf(id);
    },
    async deletedWs() {
      const id = await open();
      expectOk(await person("DELETE", `/workspaces/${id}`, { slug: await slugOf(id) }));
      return id;
    },
  };
}

function thingMakers(
  { helper, house, owner, secretMark, url }: SparesOptions,
  unique: () => string,
): Readonly<Record<string, Maker>> {
  const { call, things } = house;
  const made =
    (path: string, body: () => object, field = "id"): Maker =>
    async () =>
      text(expectOk(await call("POST", path, body())), field);
  const credential = (key: string) => ({
    name: unique(),
    credentials: { api_key: `${key}-${secretMark}` },
    validate: false,
  });
  const tools = `/tool-providers/${things["tools"]}/credentials`;
  /** With a secret before it, to go back to. */
  const rotated =
    (list: string, key: string): Maker =>
    async () => {
      const id = await made(list, () => credential(key))();
      const { name: _name, ...next } = credential(`${key}-2`);
      expectOk(await call("POST", `${list}/${id}/rotate`, next));
      return id;
    };
  const instance = { provider_name: "sandbox", model: "sandbox-chat", credential_id: things["credential"] };
  return {
    spareKey: made("/api-keys", () => ({ name: unique(), scopes: ["models:invoke"] })),
    spareCredential: rotated("/model-providers/sandbox/credentials", "sk-sandbox-ok"),
    sparePool: made("/pools", () => ({ name: unique(), instances: [{ ...instance, alias: unique() }] })),
    spareModel: made("/model-providers/sandbox/models", () => ({ model: unique(), type: "llm" }), "model"),
    spareWebhook: made("/webhooks", () => ({ url: `${helper}/hook`, events: ["budget.*"] })),
    spareTools: made(
      "/tool-providers",
      () => ({ kind: "openapi", name: unique(), document: helperDocument(helper) }),
      "name",
    ),
    linkedTools: made(
      "/tool-providers",
      () => ({ kind: "openapi", name: unique(), url: `${helper}/document` }),
      "name",
    ),
    spareToolCredential: rotated(tools, "tool"),
    async spareInvite() {
      const { results } = expectOk(await call("POST", "/members/invite", { emails: [`${unique()}@example.com`] }));
      return text(rows({ results }, "results")[0], "invite_id");
    },
    async spareToken() {
      const body = { name: unique(), scopes: ["workspace:read"] };
      return text(expectOk(await connect(url, owner)("POST", "/me/tokens", body)), "id");
    },
  };
}

function personMakers({ url, annex }: SparesOptions, people: Invitee[]): Readonly<Record<string, Maker>> {
  const next = async (): Promise<string | null> => (await people.shift()?.join()) ?? null;
  let leaver: Promise<string | null> = Promise.resolve(null);
  return {
    leaver: () => (leaver = next()),
    async leaverSession() {
      const token = await leaver;
      const [session] = rows(expectOk(await connect(url, token)("GET", "/auth/sessions")));
      return text(session, "id");
    },
    inviteToken: () => Promise.resolve(people.shift()?.token ?? null),
    async spareMember() {
      const token = await next();
      const memberships = token === null ? [] : rows(expectOk(await connect(url, token)("GET", "/me")), "memberships");
      const here = memberships.find((one) => JSON.stringify(one).includes(annex));
      return here === undefined ? null : text(here, "member_id");
    },
  };
}

const lists: readonly (readonly [string, string])[] = [
  ["/pools", "id"],
  ["/api-keys", "id"],
  ["/model-providers/sandbox/credentials", "id"],
  ["/model-providers/sandbox/models?custom=true", "model"],
  ["/webhooks", "id"],
  ["/tool-providers", "name"],
];

async function tidy(
  { house, owner, url }: SparesOptions,
  kept: ReadonlySet<string>,
  store: Map<string, Promise<string | null>>,
): Promise<void> {
  const spares = await Promise.all(store.values());
  const isKept = (row: Readonly<Record<string, unknown>>, field: string): boolean =>
    kept.has(text(row, field)) ||
    kept.has(String(row["name"])) ||
    spares.includes(text(row, field)) ||
    typeof row["revoked_at"] === "string";
  const sweep = async (call: Call, [list, field]: readonly [string, string]): Promise<void> => {
    const [path = "", query = ""] = list.split("?");
    const { body } = await call("GET", `${path}?limit=200&${query}`);
    for (const row of rows(body).filter((one) => !isKept(one, field))) {
      await call("DELETE", `${path}/${encodeURIComponent(text(row, field))}`);
    }
  };
  for (const list of lists) {
    await sweep(house.call, list);
  }
  await sweep(house.call, [`/tool-providers/${house.things["tools"]}/credentials`, "id"]);
  await sweep(connect(url, owner), ["/me/tokens", "id"]);
}
