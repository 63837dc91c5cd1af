import { beforeAll, describe, it } from "vitest";
import type { Role, Scope, TokenScope } from "../src/access/permissions.js";
import { buildWorld, type Caller, type House, type Knock, type ThingKind, type World } from "./support/callers.js";
import { call, type Answer } from "./support/client.js";
import { dumpRecord, withoutRequestId } from "./support/dump.js";
import { seedAccount } from "./support/seed.js";

type Verdict = "allowed" | 401 | 403 | 404;

/** What is sent with every knock: chosen so that who is allowed changes nothing that the next one needs. */
interface Sent {
  readonly body?: unknown;
  /** Input that is good, for where `body` is not. */
  readonly good?: unknown;
  readonly ifMatch?: string;
}

/** Who may do what, by hand: read off the contract, never off the code's own declarations. */
type Row = Sent &
  (
    | {
        readonly in: "workspace";
        readonly least: Role;
        /** The scope that opens it to keys and personal tokens; null where none ever does. */
        readonly scope: Scope | null;
        /** What the path's last parameter names. */
        readonly thing?: ThingKind;
        /** What a MEMBER (or their personal token) meets instead, where things belong to who made them. */
        readonly member?: Verdict;
        /** What a key meets that has that scope and no other, where a key's own scopes bound what it may hand on. */
        readonly alone?: Verdict;
        /** The workspace is whoever's own: nobody is a stranger who has one. */
        readonly current?: true;
        /** A deleted workspace's owner may. */
        readonly afterDeletion?: true;
      }
    /** Any signed-in person; `token` is the scope by which a personal token may too. `spent`: it ends the session, so each caller gets an own one. */
    | { readonly in: "account"; readonly token?: TokenScope; readonly spent?: true }
    /** Everybody meets the same, whoever they are. */
    | { readonly in: "public"; readonly status: number }
  );

const nonsense = { nonsense: true };
const stale = '"999999"';

const table: Readonly<Record<string, Row>> = {
  "post /setup": {
    in: "public",
    status: 403,
    body: { email: "a@example.com", name: "A", workspace: { name: "A" } },
  },
  "post /dev/demo-session": { in: "public", status: 403 },
  "post /auth/email-code": { in: "public", status: 422, body: nonsense },
  "post /auth/email-code/verify": { in: "public", status: 422, body: nonsense },
  "get /.well-known/audit-log-key": { in: "public", status: 200 },
  "get /auth/methods": { in: "public", status: 200 },
  "get /auth/jwks": { in: "public", status: 200 },
  "post /auth/sign-in/social": { in: "public", status: 422, body: nonsense },
  "get /auth/callback/{provider}": { in: "public", status: 404 },
  "post /auth/passkey/options": { in: "public", status: 200 },
  "post /auth/passkey/verify": { in: "public", status: 422, body: nonsense },
  "get /invites/{token}": { in: "public", status: 404 },
  "post /invites/{token}/accept": { in: "public", status: 404, body: {} },
  "post /invites/{token}/decline": { in: "public", status: 404 },

  "get /auth/token": { in: "account" },
  "get /auth/sessions": { in: "account" },
  "delete /auth/sessions": { in: "account", spent: true },
  "delete /auth/sessions/{id}": { in: "account" },
  "post /auth/sign-out": { in: "account", spent: true },
  "get /me": { in: "account" },
  "patch /me": { in: "account", body: nonsense },
  "get /me/tokens": { in: "account" },
  "post /me/tokens": { in: "account", body: nonsense },
  "delete /me/tokens/{id}": { in: "account" },
  "get /me/passkeys": { in: "account" },
  "post /me/passkeys": { in: "account", body: nonsense },
  "post /me/passkeys/options": { in: "account" },
  "delete /me/passkeys/{id}": { in: "account" },
  "get /workspaces": { in: "account", token: "workspace:read" },
  "post /workspaces": { in: "account", token: "workspaces:create", body: nonsense },

  "get /workspaces/{ws}": { in: "workspace", least: "MEMBER", scope: "workspace:read" },
  "patch /workspaces/{ws}": { in: "workspace", least: "ADMIN", scope: "workspace:manage", body: nonsense },
  "delete /workspaces/{ws}": {
    in: "workspace",
    least: "OWNER",
    scope: null,
    afterDeletion: true,
    body: { slug: "another" },
  },
  "post /workspaces/{ws}/switch": { in: "workspace", least: "MEMBER", scope: null },
  "get /workspaces/{ws}/export": { in: "workspace", least: "OWNER", scope: null },

  "get /workspaces/{ws}/members": { in: "workspace", least: "MEMBER", scope: "members:read" },
  "get /workspaces/{ws}/members/{id}": { in: "workspace", least: "MEMBER", scope: "members:read", thing: "member" },
  "patch /workspaces/{ws}/members/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "members:manage",
    thing: "member",
    // An ADMIN who gives a role that is theirs to give; the one it is given to has another, so nothing comes of it.
    body: { role: "MEMBER" },
    ifMatch: stale,
  },
  "delete /workspaces/{ws}/members/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "members:manage",
    // The owner, whom nobody can remove: who may remove members at all is told so.
    thing: "member",
  },
  "post /workspaces/{ws}/ownership-transfer": { in: "workspace", least: "OWNER", scope: null, body: nonsense },
  "delete /workspaces/{ws}/ownership-transfer": { in: "workspace", least: "OWNER", scope: null },
  "post /workspaces/{ws}/ownership-transfer/confirm": { in: "workspace", least: "OWNER", scope: null, body: nonsense },
  "post /workspaces/{ws}/members/invite": { in: "workspace", least: "ADMIN", scope: "members:manage", body: nonsense },
  "post /workspaces/members/invite": {
    in: "workspace",
    least: "ADMIN",
    scope: "members:manage",
    current: true,
    body: nonsense,
  },
  "get /workspaces/{ws}/invites": { in: "workspace", least: "ADMIN", scope: "members:read" },
  "delete /workspaces/{ws}/invites/{id}": { in: "workspace", least: "ADMIN", scope: "members:manage", thing: "invite" },
  "post /workspaces/{ws}/invites/{id}/resend": {
    in: "workspace",
    least: "ADMIN",
    scope: "members:manage",
    thing: "invite",
  },

  "get /workspaces/{ws}/api-keys": { in: "workspace", least: "MEMBER", scope: "keys:manage" },
  "post /workspaces/{ws}/api-keys": { in: "workspace", least: "MEMBER", scope: "keys:manage", body: nonsense },
  "get /workspaces/{ws}/api-keys/{id}": {
    in: "workspace",
    least: "MEMBER",
    scope: "keys:manage",
    thing: "key",
    member: 404,
  },
  "patch /workspaces/{ws}/api-keys/{id}": {
    in: "workspace",
    least: "MEMBER",
    scope: "keys:manage",
    thing: "key",
    member: 404,
    body: { name: "Renamed" },
    ifMatch: stale,
  },
  "delete /workspaces/{ws}/api-keys/{id}": {
    in: "workspace",
    least: "MEMBER",
    scope: "keys:manage",
    thing: "key",
    member: 404,
    ifMatch: stale,
  },
  "post /workspaces/{ws}/api-keys/{id}/rotate": {
    in: "workspace",
    least: "MEMBER",
    scope: "keys:manage",
    thing: "key",
    member: 404,
    alone: 403,
    body: {},
    ifMatch: stale,
  },

  "get /workspaces/{ws}/model-providers": { in: "workspace", least: "MEMBER", scope: "providers:read" },
  "get /workspaces/{ws}/model-providers/{provider}": {
    in: "workspace",
    least: "MEMBER",
    scope: "providers:read",
    thing: "provider",
  },
  "get /workspaces/{ws}/model-providers/{provider}/credentials": {
    in: "workspace",
    least: "MEMBER",
    scope: "providers:read",
    thing: "provider",
  },
  "post /workspaces/{ws}/model-providers/{provider}/credentials": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "provider",
    body: nonsense,
  },
  "get /workspaces/{ws}/model-providers/{provider}/credentials/{id}": {
    in: "workspace",
    least: "MEMBER",
    scope: "providers:read",
    thing: "credential",
  },
  "delete /workspaces/{ws}/model-providers/{provider}/credentials/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    ifMatch: stale,
  },
  "post /workspaces/{ws}/model-providers/{provider}/credentials/{id}/validate": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
  },
  "patch /workspaces/{ws}/model-providers/{provider}/credentials/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    body: { name: "Renamed" },
    ifMatch: stale,
  },
  "post /workspaces/{ws}/model-providers/{provider}/credentials/{id}/rotate": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    body: { credentials: { api_key: "sk-sandbox-ok-rotated" }, validate: false },
    ifMatch: stale,
  },
  "post /workspaces/{ws}/model-providers/{provider}/credentials/{id}/rollback": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    body: { validate: false },
    ifMatch: stale,
  },
  "patch /workspaces/{ws}/credentials/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    body: { name: "Renamed" },
    ifMatch: stale,
  },
  "post /workspaces/{ws}/credentials/{id}/rotate": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    body: { credentials: { api_key: "sk-sandbox-ok-rotated" }, validate: false },
    ifMatch: stale,
  },
  "post /workspaces/{ws}/credentials/{id}/rollback": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    body: { validate: false },
    ifMatch: stale,
  },
  "get /workspaces/{ws}/credentials/{id}": {
    in: "workspace",
    least: "MEMBER",
    scope: "providers:read",
    thing: "credential",
  },
  "delete /workspaces/{ws}/credentials/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
    ifMatch: stale,
  },
  "post /workspaces/{ws}/credentials/{id}/validate": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "credential",
  },

  "get /workspaces/{ws}/model-providers/{provider}/models": {
    in: "workspace",
    least: "MEMBER",
    scope: "providers:read",
    thing: "provider",
  },
  "post /workspaces/{ws}/model-providers/{provider}/models": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "provider",
    body: nonsense,
  },
  "get /workspaces/{ws}/model-providers/{provider}/models/{model}": {
    in: "workspace",
    least: "MEMBER",
    scope: "providers:read",
    thing: "model",
  },
  "patch /workspaces/{ws}/model-providers/{provider}/models/{model}": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "model",
    body: { title: "Renamed" },
    ifMatch: stale,
  },
  "delete /workspaces/{ws}/model-providers/{provider}/models/{model}": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    thing: "model",
    ifMatch: stale,
  },
  "get /workspaces/{ws}/default-models": { in: "workspace", least: "MEMBER", scope: "providers:read" },
  "put /workspaces/{ws}/default-models": {
    in: "workspace",
    least: "ADMIN",
    scope: "providers:manage",
    body: nonsense,
  },

  "get /workspaces/{ws}/pools": { in: "workspace", least: "MEMBER", scope: "pools:read" },
  "post /workspaces/{ws}/pools": { in: "workspace", least: "ADMIN", scope: "pools:manage", body: nonsense },
  "get /workspaces/{ws}/pools/{pool}": { in: "workspace", least: "MEMBER", scope: "pools:read", thing: "pool" },
  "put /workspaces/{ws}/pools/{pool}": {
    in: "workspace",
    least: "ADMIN",
    scope: "pools:manage",
    thing: "pool",
    body: nonsense,
  },
  "delete /workspaces/{ws}/pools/{pool}": {
    in: "workspace",
    least: "ADMIN",
    scope: "pools:manage",
    thing: "pool",
    ifMatch: stale,
  },
  "post /workspaces/{ws}/pools/{pool}/instances/{id}/drain": {
    in: "workspace",
    least: "ADMIN",
    scope: "pools:manage",
    thing: "instance",
  },
  "post /workspaces/{ws}/pools/{pool}/instances/{id}/resume": {
    in: "workspace",
    least: "ADMIN",
    scope: "pools:manage",
    thing: "instance",
  },
  "post /workspaces/{ws}/pools/{pool}/instances/{id}/clear-cooldown": {
    in: "workspace",
    least: "ADMIN",
    scope: "pools:manage",
    thing: "instance",
  },
  "post /workspaces/{ws}/pools/{pool}/dry-run": {
    in: "workspace",
    least: "MEMBER",
    scope: "pools:read",
    thing: "pool",
    body: {},
  },
  "get /workspaces/{ws}/pools/{pool}/state": { in: "workspace", least: "MEMBER", scope: "pools:read", thing: "pool" },

  "get /workspaces/{ws}/usage": { in: "workspace", least: "MEMBER", scope: "usage:read" },
  "get /workspaces/{ws}/requests": { in: "workspace", least: "ADMIN", scope: "usage:read" },
  "get /workspaces/{ws}/requests/{id}": { in: "workspace", least: "ADMIN", scope: "usage:read", thing: "request" },

  "get /workspaces/{ws}/audit-log": { in: "workspace", least: "ADMIN", scope: "audit:read" },
  "get /workspaces/{ws}/audit-log/export": { in: "workspace", least: "ADMIN", scope: "audit:read" },
  "get /workspaces/{ws}/audit-log/checkpoint": { in: "workspace", least: "ADMIN", scope: "audit:read" },
  "get /workspaces/{ws}/audit-log/proof": { in: "workspace", least: "ADMIN", scope: "audit:read" },

  "get /workspaces/{ws}/vault": { in: "workspace", least: "OWNER", scope: "vault:rotate" },
  "post /workspaces/{ws}/vault/rotate": { in: "workspace", least: "OWNER", scope: "vault:rotate" },

  "get /workspaces/{ws}/tool-providers": { in: "workspace", least: "MEMBER", scope: "tools:read" },
  "post /workspaces/{ws}/tool-providers": { in: "workspace", least: "ADMIN", scope: "tools:manage", body: nonsense },
  "get /workspaces/{ws}/tool-providers/{provider}": {
    in: "workspace",
    least: "MEMBER",
    scope: "tools:read",
    thing: "toolProvider",
  },
  "put /workspaces/{ws}/tool-providers/{provider}": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolProvider",
    body: nonsense,
    good: { kind: "openapi", document: "{}" },
  },
  "patch /workspaces/{ws}/tool-providers/{provider}": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolProvider",
    body: { title: "Renamed" },
    ifMatch: stale,
  },
  "delete /workspaces/{ws}/tool-providers/{provider}": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolProvider",
    ifMatch: stale,
  },
  "post /workspaces/{ws}/tool-providers/{provider}/refresh": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolProvider",
  },
  "get /workspaces/{ws}/tool-providers/{provider}/tools": {
    in: "workspace",
    least: "MEMBER",
    scope: "tools:read",
    thing: "toolProvider",
  },
  "get /workspaces/{ws}/tool-providers/{provider}/tools/{tool}": {
    in: "workspace",
    least: "MEMBER",
    scope: "tools:read",
    thing: "toolProvider",
  },
  "patch /workspaces/{ws}/tool-providers/{provider}/tools/{tool}": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolProvider",
    body: { enabled: true },
  },
  "get /workspaces/{ws}/tool-providers/{provider}/credentials": {
    in: "workspace",
    least: "MEMBER",
    scope: "tools:read",
    thing: "toolProvider",
  },
  "post /workspaces/{ws}/tool-providers/{provider}/credentials": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolProvider",
    body: nonsense,
    good: { name: "theirs", credentials: { api_key: "tool-secret" } },
  },
  "get /workspaces/{ws}/tool-providers/{provider}/credentials/{id}": {
    in: "workspace",
    least: "MEMBER",
    scope: "tools:read",
    thing: "toolCredential",
  },
  "patch /workspaces/{ws}/tool-providers/{provider}/credentials/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolCredential",
    body: { name: "Renamed" },
    ifMatch: stale,
  },
  "delete /workspaces/{ws}/tool-providers/{provider}/credentials/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolCredential",
    ifMatch: stale,
  },
  "post /workspaces/{ws}/tool-providers/{provider}/credentials/{id}/validate": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolCredential",
  },
  "post /workspaces/{ws}/tool-providers/{provider}/credentials/{id}/rotate": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolCredential",
    body: { credentials: { api_key: "another-secret" }, validate: false },
    ifMatch: stale,
  },
  "post /workspaces/{ws}/tool-providers/{provider}/credentials/{id}/rollback": {
    in: "workspace",
    least: "ADMIN",
    scope: "tools:manage",
    thing: "toolCredential",
    body: { validate: false },
    ifMatch: stale,
  },
  "get /workspaces/{ws}/tools": { in: "workspace", least: "MEMBER", scope: "tools:read" },
  "post /workspaces/{ws}/tools/{provider}/{tool}/invoke": {
    in: "workspace",
    least: "MEMBER",
    scope: "tools:invoke",
    thing: "toolProvider",
    body: { input: { q: 1 } },
  },

  "get /workspaces/{ws}/webhooks": { in: "workspace", least: "ADMIN", scope: "workspace:manage" },
  "post /workspaces/{ws}/webhooks": { in: "workspace", least: "ADMIN", scope: "workspace:manage", body: nonsense },
  "get /workspaces/{ws}/webhooks/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "workspace:manage",
    thing: "webhook",
  },
  // Who may not read the audit log is not told it either.
  "patch /workspaces/{ws}/webhooks/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "workspace:manage",
    thing: "webhook",
    alone: 403,
    body: { description: "Renamed" },
    ifMatch: stale,
  },
  "delete /workspaces/{ws}/webhooks/{id}": {
    in: "workspace",
    least: "ADMIN",
    scope: "workspace:manage",
    thing: "webhook",
    ifMatch: stale,
  },
  "post /workspaces/{ws}/webhooks/{id}/rotate-secret": {
    in: "workspace",
    least: "ADMIN",
    scope: "workspace:manage",
    thing: "webhook",
    alone: 403,
    body: {},
    ifMatch: stale,
  },
  "post /workspaces/{ws}/webhooks/{id}/test": {
    in: "workspace",
    least: "ADMIN",
    scope: "workspace:manage",
    thing: "webhook",
  },
  "get /workspaces/{ws}/webhooks/{id}/deliveries": {
    in: "workspace",
    least: "ADMIN",
    scope: "workspace:manage",
    thing: "webhook",
  },
  "post /workspaces/{ws}/webhooks/{id}/deliveries/{delivery}/redeliver": {
    in: "workspace",
    least: "ADMIN",
    scope: "workspace:manage",
    thing: "webhook",
  },

  // Last: it brings the deleted workspace back, at which the others knock.
  "post /workspaces/{ws}/restore": { in: "workspace", least: "OWNER", scope: null, afterDeletion: true },
};

const ranks: readonly Role[] = ["OWNER", "ADMIN", "MEMBER"];
const absentWorkspace = "ws_01h455vb4pex5vsknk084sn02q";
const absentThings: Readonly<Record<ThingKind, string>> = {
  key: "key_01h455vb4pex5vsknk084sn02q",
  credential: "cred_01h455vb4pex5vsknk084sn02q",
  member: "mem_01h455vb4pex5vsknk084sn02q",
  pool: "pool_01h455vb4pex5vsknk084sn02q",
  instance: "inst_01h455vb4pex5vsknk084sn02q",
  invite: "inv_01h455vb4pex5vsknk084sn02q",
  model: "no-such-model",
  provider: "no_such_provider",
  toolProvider: "no-such-provider",
  toolCredential: "cred_01h455vb4pex5vsknk084sn02q",
  webhook: "wh_01h455vb4pex5vsknk084sn02q",
  delivery: "whd_01h455vb4pex5vsknk084sn02q",
  request: "req_01h455vb4pex5vsknk084sn02q",
};

let world: World;

beforeAll(async () => {
  world = await buildWorld();
}, 120_000);

describe("who may do what", () => {
  it("has a row for every operation of the contract but the gateway's, the agents' and those for anyone that are not declared, and for nothing else", async ({
    expect,
  }) => {
    const { body } = await call("GET", "/openapi.json");
    const elsewhere = new Set(["Gateway", "Agents", "Service"]);
    const operations = Object.entries(body.paths as Record<string, Record<string, { tags: string[] }>>)
      .flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, { tags }]) => ({ at: `${method} ${path}`, tags })),
      )
      .filter(({ at, tags }) => !tags.some((tag) => elsewhere.has(tag)) && at !== "get /dev/outbox")
      .map(({ at }) => at);
    expect(Object.keys(table).toSorted()).toEqual(operations.toSorted());
  });

  it.for(Object.entries(table))("%s", { timeout: 120_000 }, async ([operation, row], { expect }) => {
    const scope = row.in === "workspace" ? row.scope : row.in === "account" ? (row.token ?? null) : null;
    const knocks = await world.knocks(scope);
    const expected = knocks.map((knock) => ({ knock, verdict: judge(row, knock.caller) }));
    const refused = expected.filter(({ verdict }) => typeof verdict === "number");
    const before = await dumpRecord();
    for (const { knock, verdict } of refused) {
      const answer = await knockAt(operation, row, knock, knock.at);
      expect([knock.name, toVerdict(answer)]).toEqual([knock.name, verdict]);
      if (verdict === 404 && knock.caller.as === "stranger" && operation.includes("{ws}")) {
        const absent = await knockAt(operation, row, knock, { ...knock.at, id: absentWorkspace });
        expect(withoutRequestId(answer.text)).toBe(withoutRequestId(absent.text));
      }
    }
    expect(await dumpRecord()).toBe(before);
    for (const { knock, verdict } of expected.filter((one) => typeof one.verdict !== "number")) {
      const answer = await knockAt(
        operation,
        row,
        row.in === "account" && row.spent ? await renew(knock) : knock,
        knock.at,
      );
      const met = row.in === "public" ? answer.status : row.in === "account" ? passed(answer) : toVerdict(answer);
      expect([knock.name, met]).toEqual([knock.name, row.in === "public" ? row.status : verdict]);
    }
  });

  it.for(Object.entries(table).filter(([, row]) => row.in === "workspace" && (row.thing ?? "provider") !== "provider"))(
    "%s: a thing of the workspace next door is the same nothing as one that never was",
    async ([operation, row], { expect }) => {
      if (row.in !== "workspace" || row.thing === undefined) {
        return;
      }
      const { thing } = row;
      const { house, neighbour } = world;
      const owner: Knock = {
        name: "the owner",
        caller: { as: "role", role: "OWNER" },
        token: house.people.OWNER.token,
        at: house,
      };
      const before = await dumpRecord();
      // Input that is good, so that it is the thing which is looked at.
      const good = row.good ?? (operation === "put /workspaces/{ws}/pools/{pool}" ? goodPool(house) : row.body);
      const sent = { ...row, body: good };
      const meet = (id: string) =>
        knockAt(operation, sent, owner, { ...house, things: { ...house.things, [thing]: id } });
      const foreign = await meet(neighbour.things[row.thing]);
      const absent = await meet(absentThings[row.thing]);
      expect(foreign.status).toBe(404);
      expect(withoutRequestId(foreign.text)).toBe(withoutRequestId(absent.text));
      expect(await dumpRecord()).toBe(before);
    },
  );
});

/** The table's word for a caller. */
function judge(row: Row, caller: Caller): Verdict {
  if (row.in === "public") {
    return "allowed";
  }
  if (caller.as === "nobody") {
    return 401;
  }
  return row.in === "account" ? judgeAccount(row, caller) : judgeWorkspace(row, caller);
}

function judgeAccount(row: Extract<Row, { in: "account" }>, caller: Caller): Verdict {
  const by = caller.as === "stranger" ? caller.by : caller.as;
  if (by === "key") {
    return 403;
  }
  const lacks = caller.as === "token" ? caller.lacks : null;
  return by !== "token" || (row.token !== undefined && lacks !== row.token) ? "allowed" : 403;
}

function judgeWorkspace(row: Extract<Row, { in: "workspace" }>, caller: Caller): Verdict {
  switch (caller.as) {
    case "nobody":
      return 401;
    case "role":
      return judgeRole(row, caller.role);
    case "key":
      if (row.scope === null || caller.lacks === row.scope) {
        return 403;
      }
      return caller.isAlone ? (row.alone ?? "allowed") : "allowed";
    case "token":
      return row.scope !== null && caller.lacks !== row.scope ? judgeRole(row, caller.role) : 403;
    case "owner of a deleted workspace":
      return row.afterDeletion === true ? "allowed" : 404;
    case "stranger":
      return row.current === true && caller.home !== null ? judgeRole(row, caller.home) : 404;
  }
}

function judgeRole(row: Extract<Row, { in: "workspace" }>, role: Role): Verdict {
  if (ranks.indexOf(role) > ranks.indexOf(row.least)) {
    return 403;
  }
  return role === "MEMBER" ? (row.member ?? "allowed") : "allowed";
}

function toVerdict({ status }: Answer): "allowed" | number {
  return status >= 500 || [401, 403, 404].includes(status) ? status : "allowed";
}

/** Outside workspaces no gate answers 404: it is the thing itself that is not there. */
function passed(answer: Answer): "allowed" | number {
  return answer.status === 404 ? "allowed" : toVerdict(answer);
}

async function knockAt(operation: string, row: Row, knock: Knock, at: House): Promise<Answer> {
  const [method = "", pattern = ""] = operation.split(" ");
  const headers: Record<string, string> = row.ifMatch === undefined ? {} : { "if-match": row.ifMatch };
  const body = row.body === undefined ? {} : { body: row.body };
  const token = knock.token === undefined ? {} : { token: knock.token };
  return await call(method.toUpperCase(), fill(pattern, row, at), { headers, ...body, ...token });
}

function fill(pattern: string, row: Row, { id, things }: House): string {
  const thing = row.in === "workspace" && row.thing !== undefined ? things[row.thing] : "unknown";
  return pattern
    .replace("{ws}", id)
    .replace("{provider}", row.in === "workspace" ? providerOf(pattern, things) : "unknown")
    .replace("{tool}", "echo")
    .replace("{pool}", things.pool)
    .replace("{model}", things.model)
    .replace("{delivery}", things.delivery)
    .replace(/\{(id|token)\}/, thing);
}

function providerOf(pattern: string, things: House["things"]): string {
  return pattern.includes("/tool") ? things.toolProvider : things.provider;
}

function goodPool(house: House): unknown {
  const instance = { provider_name: "sandbox", model: "sandbox-chat", credential_id: house.things.credential };
  return { name: "other", strategy: "weighted", instances: [instance] };
}

async function renew(knock: Knock): Promise<Knock> {
  return { ...knock, token: (await seedAccount()).token };
}
