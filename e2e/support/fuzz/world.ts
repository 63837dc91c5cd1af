/** The world that requests are sent to: a house with its callers, a stranger with a house of their own, and a neighbour whom nobody calls. */
import { randomBytes } from "node:crypto";
import { type Call, connect, expectOk } from "../client.ts";
import type { CallerName } from "./generate.ts";
import { invitePeople, type Invitee } from "./people.ts";
import { buildSpares, type Spares } from "./spares.ts";
import { buildTenant, makeKey, rows, type Tenant, text } from "./tenant.ts";

/** Where a world is built. */
export interface Site {
  readonly url: string;
  /** The origin that requests are sent to: the Worker behind `url`. */
  readonly door: string;
  /** The session of the server's first account. */
  readonly sessionToken: string;
  readonly helper: string;
  /** How many people may come to be used up. */
  readonly people: number;
}

/** The world. */
export interface World {
  readonly tokens: Readonly<Record<CallerName, () => Promise<string | null>>>;
  /** What a text of a request stands for here: the text itself unless it is a known `$` word. */
  resolve(word: string): Promise<string>;
  /** Takes notice that an operation succeeded with these `$` words: what it used up is made anew when it is next named. */
  spend(operation: string, words: readonly string[]): void;
  /** Makes room after a limit was reached. */
  tidy(): Promise<void>;
  /** Texts that nobody but its own people may ever be shown, by tenant. */
  readonly canaries: Readonly<Record<"house" | "stranger" | "neighbour", readonly string[]>>;
  readonly house: Tenant;
  readonly neighbour: Tenant;
  /** The ids of the neighbour's workspace and of its owner. */
  readonly neighbourIds: readonly string[];
  /** What may be in no answer and no log line. */
  readonly secrets: readonly string[];
}

/** Names of the token and the keys that callers have. */
const callerNames = ["For the run", "some", "models"] as const;

interface Callers {
  readonly admin: string;
  readonly member: string;
  readonly ownerToken: string;
  readonly keyOfSome: string;
  readonly keyOfModels: string;
}

/** Builds it; three seconds, for letters are waited for. */
export async function buildWorld(site: Site): Promise<World> {
  const run = randomBytes(4).toString("hex");
  const secretMark = `mark${randomBytes(8).toString("hex")}`;
  const canary = { house: `canaryh${run}`, stranger: `canarys${run}`, neighbour: `canaryn${run}` };
  const ada = connect(site.url, site.sessionToken);
  const annex = await openWorkspace(ada, `Annex ${run}`);
  const porch = await openWorkspace(ada, `Porch ${run}`);
  // Letters take a second: all are waited for at once.
  const [[owner = ""], passers, [stranger = ""], [neighbourOwner = ""]] = await Promise.all([
    invitePeople(site.url, annex.call, `${canary.house}-owner`, 1, "ADMIN").then(joinAll),
    invitePeople(site.url, annex.call, `passer-${run}`, site.people),
    invitePeople(site.url, porch.call, canary.stranger, 1).then(joinAll),
    invitePeople(site.url, porch.call, canary.neighbour, 1).then(joinAll),
  ]);
  const tenantOf = (name: keyof typeof canary, ownerToken: string): Promise<Tenant> =>
    buildTenant({
      url: site.url,
      helper: site.helper,
      ownerToken,
      canary: canary[name],
      sent: `sent${name}${run}`,
      secretMark,
    });
  const [house, strangersHouse, neighbour] = await Promise.all([
    tenantOf("house", owner),
    tenantOf("stranger", stranger),
    tenantOf("neighbour", neighbourOwner),
  ]);
  const staff = await hireStaff(site.url, house, canary.house);
  const callers = { ...(await makeCallers(connect(site.url, owner), house)), ...staff };
  const spares = buildSpares({ ...site, owner, house, annex: annex.id, passers, run, secretMark });
  return assemble({
    house,
    neighbour,
    strangersHouse,
    callers,
    owner,
    stranger,
    spares,
    canary,
    secretMark,
    adminMember: staff.adminMember,
    neighbourIds: [
      neighbour.things["ws"] ?? "",
      text(expectOk(await connect(site.url, neighbourOwner)("GET", "/me")), "id"),
    ],
  });
}

interface Workspace {
  readonly id: string;
  readonly call: Call;
}

async function openWorkspace(person: Call, name: string): Promise<Workspace> {
  const id = text(expectOk(await person("POST", "/workspaces", { name })), "id");
  return { id, call: (method, path, body, headers) => person(method, `/workspaces/${id}${path}`, body, headers) };
}

async function joinAll(people: readonly Invitee[]): Promise<string[]> {
  const sessions: string[] = [];
  for (const person of people) {
    sessions.push(await person.join());
  }
  return sessions;
}

/** An admin and a member of the house. */
async function hireStaff(url: string, house: Tenant, canary: string) {
  const [[admin = ""], [member = ""]] = await Promise.all([
    invitePeople(url, house.call, `${canary}-admin`, 1, "ADMIN").then(joinAll),
    invitePeople(url, house.call, `${canary}-member`, 1).then(joinAll),
  ]);
  const [adminRow] = rows(expectOk(await house.call("GET", "/members?role=ADMIN")));
  return { admin, member, adminMember: text(adminRow, "id") };
}

async function makeCallers(owner: Call, house: Tenant): Promise<Omit<Callers, "admin" | "member">> {
  const scopes = ["workspace:read", "pools:manage", "pools:read", "audit:read", "members:manage", "workspaces:create"];
  const ownerToken = text(expectOk(await owner("POST", "/me/tokens", { name: callerNames[0], scopes })), "secret");
  const some = await makeKey(house.call, callerNames[1], ["workspace:read", "pools:read", "usage:read", "tools:read"]);
  const models = await makeKey(house.call, callerNames[2], ["models:invoke"]);
  return { ownerToken, keyOfSome: some.secret, keyOfModels: models.secret };
}

interface Parts {
  readonly house: Tenant;
  readonly neighbour: Tenant;
  readonly strangersHouse: Tenant;
  readonly callers: Callers;
  readonly owner: string;
  readonly stranger: string;
  readonly spares: Spares;
  readonly canary: Readonly<Record<"house" | "stranger" | "neighbour", string>>;
  readonly secretMark: string;
  readonly adminMember: string;
  readonly neighbourIds: readonly string[];
}

function fixed(token: string | null): () => Promise<string | null> {
  return () => Promise.resolve(token);
}

function assemble(parts: Parts): World {
  const { house, neighbour, strangersHouse, callers, owner, stranger, spares, canary, secretMark } = parts;
  const forged = `${house.key.slice(0, -1)}${house.key.endsWith("a") ? "b" : "a"}`;
  const foreign = Object.entries(neighbour.things).map(
    ([name, id]) => [`foreign${name.charAt(0).toUpperCase()}${name.slice(1)}`, id] as const,
  );
  const known = new Map<string, string>([
    ...Object.entries(house.things),
    ...foreign,
    ["adminMember", parts.adminMember],
  ]);
  return {
    house,
    neighbour,
    neighbourIds: parts.neighbourIds,
    tokens: {
      owner: fixed(owner),
      admin: fixed(callers.admin),
      member: fixed(callers.member),
      ownerToken: fixed(callers.ownerToken),
      keyOfAll: fixed(house.key),
      keyOfSome: fixed(callers.keyOfSome),
      keyOfModels: fixed(callers.keyOfModels),
      stranger: fixed(stranger),
      strangersKey: fixed(strangersHouse.key),
      forged: fixed(forged),
      leaver: () => spares.leaver(),
      nobody: fixed(null),
    },
    async resolve(word) {
      const name = /^\$([a-zA-Z]+)$/.exec(word)?.[1];
      return name === undefined ? word : (known.get(name) ?? (await spares.find(name)) ?? word);
    },
    spend: (operation, words) => spares.spend(operation, words),
    tidy: () => spares.tidy(new Set([...known.values(), "chat", "media", ...callerNames])),
    canaries: {
      house: [canary.house],
      stranger: [canary.stranger],
      // A pool's name is a model's name, which the gateway's log repeats: it is not sent from outside, its id is.
      neighbour: [canary.neighbour],
    },
    secrets: [
      secretMark,
      owner,
      stranger,
      house.key,
      strangersHouse.key,
      neighbour.key,
      ...Object.entries(callers).flatMap(([name, token]) => (name === "adminMember" ? [] : [token])),
    ],
  };
}
