/** Good requests at the write routes of credentials, models and pools. */
import { fresh, make, of, type WriteCase } from "./request-case.js";
import type { SeededWorkspace } from "./seed.js";

const vendor = "/model-providers/sandbox";

async function credentialOf(team: SeededWorkspace): Promise<string> {
  const body = { name: fresh("cred"), credentials: { api_key: "sk-sandbox-ok" }, validate: false };
  return (await make(team, "POST", `${vendor}/credentials`, body)).id;
}

const rotation = () => ({ credentials: { api_key: `sk-sandbox-ok-${fresh("new")}` }, validate: false });

async function rotated(team: SeededWorkspace): Promise<string> {
  const id = await credentialOf(team);
  await make(team, "POST", `/credentials/${id}/rotate`, rotation());
  return id;
}

async function modelOf(team: SeededWorkspace): Promise<string> {
  return (await make(team, "POST", `${vendor}/models`, { model: fresh("model"), type: "llm" })).model;
}

async function poolBody(team: SeededWorkspace) {
  const instance = { provider_name: "sandbox", model: "sandbox-chat", credential_id: await credentialOf(team) };
  return { name: fresh("pool"), strategy: "weighted", instances: [{ ...instance, alias: "a" }] };
}

async function poolOf(team: SeededWorkspace): Promise<{ path: string; instance: string }> {
  const { id, instances } = await make(team, "POST", "/pools", await poolBody(team));
  return { path: `/pools/${id}`, instance: `/pools/${id}/instances/${instances[0].id}` };
}

function door(at: string, pathOf: (id: string) => string): Readonly<Record<string, WriteCase>> {
  return {
    [`patch ${at}`]: {
      prepare: async (team) => of(team, pathOf(await credentialOf(team)), { name: fresh("renamed") }),
      audit: 1,
      unpublished: true,
    },
    [`delete ${at}`]: {
      prepare: async (team) => of(team, pathOf(await credentialOf(team))),
      audit: 1,
      leavesNothing: true,
    },
    [`post ${at}/validate`]: {
      prepare: async (team) => of(team, `${pathOf(await credentialOf(team))}/validate`),
      audit: 1,
    },
    [`post ${at}/rotate`]: {
      prepare: async (team) => of(team, `${pathOf(await credentialOf(team))}/rotate`, rotation()),
      audit: 1,
    },
    [`post ${at}/rollback`]: {
      prepare: async (team) => of(team, `${pathOf(await rotated(team))}/rollback`, { validate: false }),
      audit: 1,
    },
  };
}

const models = "/workspaces/{ws}/model-providers/{provider}/models";
const pools = "/workspaces/{ws}/pools";

/** By operation. */
export const connectionRequests: Readonly<Record<string, WriteCase>> = {
  "post /workspaces/{ws}/model-providers/{provider}/credentials": {
    prepare: async (team) =>
      of(team, `${vendor}/credentials`, {
        name: fresh("cred"),
        credentials: { api_key: "sk-sandbox-ok" },
        validate: false,
      }),
    audit: 1,
  },
  ...door("/workspaces/{ws}/model-providers/{provider}/credentials/{id}", (id) => `${vendor}/credentials/${id}`),
  ...door("/workspaces/{ws}/credentials/{id}", (id) => `/credentials/${id}`),
  [`post ${models}`]: {
    prepare: async (team) => of(team, `${vendor}/models`, { model: fresh("model"), type: "llm" }),
    audit: 1,
  },
  [`patch ${models}/{model}`]: {
    prepare: async (team) => of(team, `${vendor}/models/${await modelOf(team)}`, { title: fresh("title") }),
    audit: 1,
    unpublished: true,
  },
  [`delete ${models}/{model}`]: {
    prepare: async (team) => of(team, `${vendor}/models/${await modelOf(team)}`),
    audit: 1,
    leavesNothing: true,
  },
  "put /workspaces/{ws}/default-models": {
    prepare: async (team) => {
      const llm = { provider_name: "sandbox", model: await modelOf(team) };
      const none = { embedding: null, rerank: null, speech: null, image: null, moderation: null };
      return of(team, "/default-models", { llm, ...none });
    },
    audit: 1,
  },
  [`post ${pools}`]: { prepare: async (team) => of(team, "/pools", await poolBody(team)), audit: 1 },
  [`put ${pools}/{pool}`]: {
    prepare: async (team) => of(team, (await poolOf(team)).path, await poolBody(team)),
    audit: 1,
  },
  [`delete ${pools}/{pool}`]: {
    prepare: async (team) => of(team, (await poolOf(team)).path),
    audit: 1,
    leavesNothing: true,
  },
  [`post ${pools}/{pool}/dry-run`]: {
    prepare: async (team) => of(team, `${(await poolOf(team)).path}/dry-run`, { requests: 3 }),
    audit: 0,
  },
  [`post ${pools}/{pool}/instances/{id}/drain`]: {
    prepare: async (team) => of(team, `${(await poolOf(team)).instance}/drain`),
    audit: 1,
  },
  [`post ${pools}/{pool}/instances/{id}/resume`]: {
    prepare: async (team) => {
      const { instance } = await poolOf(team);
      await make(team, "POST", `${instance}/drain`);
      return of(team, `${instance}/resume`);
    },
    audit: 1,
  },
  [`post ${pools}/{pool}/instances/{id}/clear-cooldown`]: {
    prepare: async (team) => of(team, `${(await poolOf(team)).instance}/clear-cooldown`),
    audit: 1,
  },
};
