/** Every list that goes on by cursor, with what makes its rows come and go. */
import { env } from "cloudflare:workers";
import { commit } from "../../src/base/database.js";
import { requireSettings } from "../../src/base/settings.js";
import { planSession } from "../../src/identity/sessions.js";
import { usageHours } from "../../src/usage/model.js";
import { sendQuietly, type Sending } from "./quiet.js";
import { fresh, make } from "./request-case.js";
import { db, seedAccount, seedKey, seedMember, seedWorkspace, type SeededWorkspace } from "./seed.js";
import { toolDocument } from "./tool-document.js";

/** A row of any list. */
export type Row = Readonly<Record<string, unknown>>;

/** One list of one owner. */
export interface OpenList {
  readonly path: string;
  readonly token: string;
  /** Makes one row more, at a place that is not always the same where the list is in order of name. */
  add(): Promise<void>;
  /** Ends a row, which leaves the list or stays in it as ended. */
  readonly remove?: (row: Row) => Promise<void>;
}

/** What one list is tried with. */
export interface ListCase {
  /** Makes an owner and their list. Each call makes others. */
  readonly open: () => Promise<OpenList>;
  /** What tells rows apart; `id` when left out. */
  readonly nameOf?: (row: Row) => string;
  /** Rows that can't be ended. */
  readonly isFixed?: (row: Row) => boolean;
  /** Asked for with every page. */
  readonly query?: string;
  /** A filter that every row passes. */
  readonly filter?: string;
}

async function send(sending: Sending) {
  const answer = await sendQuietly(sending);
  if (answer.status >= 300) {
    throw new Error(`${sending.method} ${sending.path} answered ${answer.status} ${answer.text}`);
  }
  return answer.body;
}

/** A list whose rows are made by POST and ended by DELETE on their own address. */
async function inWorkspace(path: string, bodyOf: (team: SeededWorkspace) => unknown): Promise<OpenList> {
  const team = await seedWorkspace();
  return {
    path: `/workspaces/${team.id}${path}`,
    token: team.token,
    add: async () => {
      await make(team, "POST", path, bodyOf(team));
    },
    remove: async ({ id }) => {
      await make(team, "DELETE", `${path}/${String(id)}`);
    },
  };
}

let named = 0;

/** A name that sorts before some of the others and behind some. */
function anywhere(word: string): string {
  named += 1;
  return `${"abcdefghij"[(named * 7) % 10]}-${fresh(word)}`;
}

const hook = () => ({ url: "https://hooks.example.com/", events: ["invite.declined"] });
const secret = () => ({ name: anywhere("cred"), credentials: { api_key: "sk-sandbox-ok" }, validate: false });
const ofTools = "/workspaces/{ws}/tool-providers/{provider}";

const own: Readonly<Record<string, ListCase>> = {
  "/auth/sessions": {
    open: async () => {
      const { id, token } = await seedAccount();
      const from = { ip: null, userAgent: "test", requestId: null };
      return {
        path: "/auth/sessions",
        token,
        add: async () => {
          const session = await planSession(requireSettings(env).authSecret, db, id, from, Date.now());
          await commit(db, [session.statement]);
        },
        remove: async (row) => {
          await send({ method: "DELETE", path: `/auth/sessions/${String(row["id"])}`, token });
        },
      };
    },
    isFixed: ({ current }) => current === true,
  },
  "/me/tokens": {
    open: async () => {
      const { token } = await seedAccount();
      return {
        path: "/me/tokens",
        token,
        add: async () => {
          const body = { name: fresh("token"), scopes: ["workspace:read"] };
          await send({ method: "POST", path: "/me/tokens", token, body });
        },
        remove: async ({ id }) => {
          await send({ method: "DELETE", path: `/me/tokens/${String(id)}`, token });
        },
      };
    },
  },
  "/workspaces": {
    open: async () => {
      const { token } = await seedAccount();
      return {
        path: "/workspaces",
        token,
        add: async () => {
          await send({ method: "POST", path: "/workspaces", token, body: { name: fresh("Team") } });
        },
        remove: async ({ id, slug }) => {
          await send({ method: "DELETE", path: `/workspaces/${String(id)}`, token, body: { slug } });
        },
      };
    },
    filter: "state=active",
  },
};

const inHouse: Readonly<Record<string, ListCase>> = {
  "/workspaces/{ws}/members": {
    open: async () => {
      const team = await seedWorkspace();
      return {
        ...listAt(team, "/members"),
        add: async () => {
          await seedMember(team.id, "MEMBER");
        },
      };
    },
    isFixed: ({ role }) => role === "OWNER",
    filter: "search=Person",
  },
  "/workspaces/{ws}/invites": {
    open: async () => {
      const team = await seedWorkspace();
      return {
        ...listAt(team, "/invites"),
        add: async () => {
          await make(team, "POST", "/members/invite", { emails: [`${fresh("guest")}@example.org`] });
        },
      };
    },
  },
  "/workspaces/{ws}/api-keys": {
    open: () => inWorkspace("/api-keys", () => ({ name: fresh("key"), scopes: ["models:invoke"] })),
  },
  "/workspaces/{ws}/webhooks": { open: () => inWorkspace("/webhooks", hook) },
  "/workspaces/{ws}/webhooks/{id}/deliveries": {
    open: async () => {
      const team = await seedWorkspace();
      const { id } = await make(team, "POST", "/webhooks", hook());
      return {
        path: `/workspaces/${team.id}/webhooks/${id}/deliveries`,
        token: team.token,
        add: async () => {
          await make(team, "POST", `/webhooks/${id}/test`);
        },
      };
    },
  },
  "/workspaces/{ws}/audit-log": {
    open: async () => {
      const team = await seedWorkspace();
      return {
        path: `/workspaces/${team.id}/audit-log`,
        token: team.token,
        add: async () => {
          await make(team, "PATCH", "", { name: fresh("Name") });
        },
      };
    },
    filter: "from=2020-01-01T00:00:00Z",
  },
  "/workspaces/{ws}/requests": {
    open: async () => {
      const team = await seedWorkspace();
      const path = `/workspaces/${team.id}/requests`;
      const { secret: token } = await seedKey(team);
      const body = { model: "none", messages: [{ role: "user", content: "hi" }] };
      const count = async () =>
        (await send({ method: "GET", path: `${path}?limit=200`, token: team.token })).data.length;
      return {
        path,
        token: team.token,
        add: async () => {
          const before = await count();
          await sendQuietly({ method: "POST", path: "/v1/chat/completions", token, body });
          while ((await count()) === before) {
            // A refusal is told to the Router behind the answer.
          }
        },
      };
    },
    filter: "result=refused",
  },
  "/workspaces/{ws}/usage": {
    open: async () => {
      const team = await seedWorkspace();
      return {
        path: `/workspaces/${team.id}/usage`,
        token: team.token,
        add: async () => {
          await db.insert(usageHours).values(usageOf(team.id));
        },
      };
    },
    nameOf: ({ start, model }) => `${String(start)} ${String(model)}`,
    query: "group_by=model",
    filter: "endpoint=chat",
  },
};

const connected: Readonly<Record<string, ListCase>> = {
  "/workspaces/{ws}/model-providers/{provider}/credentials": {
    open: () => inWorkspace("/model-providers/sandbox/credentials", secret),
  },
  "/workspaces/{ws}/model-providers/{provider}/models": {
    open: async () => {
      const path = "/model-providers/openai_compatible/models";
      const list = await inWorkspace(path, () => ({ model: anywhere("m"), type: "llm" }));
      const { token } = list;
      return {
        ...list,
        remove: async ({ model }) => {
          await send({ method: "DELETE", path: `${list.path}/${String(model)}`, token });
        },
      };
    },
    nameOf: ({ model }) => String(model),
    filter: "type=llm",
  },
  "/workspaces/{ws}/pools": {
    open: async () => {
      const team = await seedWorkspace();
      const { id } = await make(team, "POST", "/model-providers/sandbox/credentials", secret());
      const instance = { provider_name: "sandbox", model: "sandbox-chat", credential_id: id };
      return {
        ...listAt(team, "/pools"),
        add: async () => {
          const body = { name: anywhere("pool"), strategy: "weighted", instances: [instance] };
          await make(team, "POST", "/pools", body);
        },
      };
    },
  },
  "/workspaces/{ws}/tools": {
    open: async () => {
      const team = await seedWorkspace();
      return {
        path: `/workspaces/${team.id}/tools`,
        token: team.token,
        add: async () => {
          await make(team, "POST", "/tool-providers", {
            kind: "openapi",
            name: anywhere("tools"),
            document: toolDocument({ operations: ["echo"] }),
          });
        },
        remove: async ({ provider, name }) => {
          await make(team, "PATCH", `/tool-providers/${String(provider)}/tools/${String(name)}`, { enabled: false });
        },
      };
    },
    nameOf: ({ provider, name }) => `${String(provider)}/${String(name)}`,
  },
  [`${ofTools}/tools`]: {
    open: async () => {
      const team = await seedWorkspace();
      const names = new Set([anywhere("op")]);
      const document = () => toolDocument({ operations: [...names] });
      await make(team, "POST", "/tool-providers", { kind: "openapi", name: "mine", document: document() });
      const put = async () => {
        await make(team, "PUT", "/tool-providers/mine", { kind: "openapi", document: document() });
      };
      return {
        path: `/workspaces/${team.id}/tool-providers/mine/tools`,
        token: team.token,
        add: async () => {
          names.add(anywhere("op"));
          await put();
        },
        remove: async ({ name }) => {
          names.delete(String(name));
          await put();
        },
      };
    },
    nameOf: ({ name }) => String(name),
  },
  [`${ofTools}/credentials`]: {
    open: async () => {
      const team = await seedWorkspace();
      const document = toolDocument({ security: { type: "http", scheme: "bearer" } });
      await make(team, "POST", "/tool-providers", { kind: "openapi", name: "mine", document });
      const path = "/tool-providers/mine/credentials";
      return {
        ...listAt(team, path),
        add: async () => {
          await make(team, "POST", path, { name: anywhere("cred"), credentials: { api_key: "word" }, validate: false });
        },
      };
    },
  },
};

/** A list of the workspace whose rows are ended by DELETE. */
function listAt(team: SeededWorkspace, path: string): Required<Omit<OpenList, "add">> {
  return {
    path: `/workspaces/${team.id}${path}`,
    token: team.token,
    remove: async ({ id }) => {
      await make(team, "DELETE", `${path}/${String(id)}`);
    },
  };
}

function usageOf(workspaceId: string): typeof usageHours.$inferInsert {
  const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
  const whose = { workspaceId, hour, shard: "", keyId: "key", memberId: "", poolId: "pool", instanceId: "inst" };
  const counts = {
    errors: 0,
    callerFaults: 0,
    departures: 0,
    refusals: 0,
    failedAttempts: 0,
    unpriced: 0,
    estimated: 0,
  };
  const sums = { promptTokens: 1, completionTokens: 1, cachedTokens: 0, costMicroUsd: 1, durationMs: 1 };
  const told = { revision: 1, toldAt: Date.now() };
  return {
    ...whose,
    providerName: "sandbox",
    model: anywhere("m"),
    endpoint: "chat",
    requests: 1,
    ...counts,
    ...sums,
    ...told,
  };
}

/** By the list's path pattern. */
export const listCases: Readonly<Record<string, ListCase>> = { ...own, ...inHouse, ...connected };
