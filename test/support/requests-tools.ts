/** Good requests at the write routes of tool providers, their tools and credentials. */
import { fresh, make, of, type WriteCase } from "./request-case.js";
import type { SeededWorkspace } from "./seed.js";
import { schemes, toolDocument } from "./tool-document.js";

const one = "/workspaces/{ws}/tool-providers/{provider}";
const document = () => toolDocument({ security: schemes.bearer });
const secret = (word: string) => ({ credentials: { api_key: word }, validate: false });

async function providerOf(team: SeededWorkspace): Promise<string> {
  const name = fresh("tools");
  await make(team, "POST", "/tool-providers", { kind: "openapi", name, document: document() });
  return `/tool-providers/${name}`;
}

async function credentialOf(team: SeededWorkspace): Promise<string> {
  const provider = await providerOf(team);
  const { id } = await make(team, "POST", `${provider}/credentials`, { name: fresh("cred"), ...secret("first") });
  return `${provider}/credentials/${id}`;
}

/** By operation. */
export const toolRequests: Readonly<Record<string, WriteCase>> = {
  "post /workspaces/{ws}/tool-providers": {
    prepare: async (team) =>
      of(team, "/tool-providers", { kind: "openapi", name: fresh("tools"), document: document() }),
    audit: 1,
  },
  [`put ${one}`]: {
    prepare: async (team) =>
      of(team, await providerOf(team), { kind: "openapi", document: toolDocument({ operations: ["text"] }) }),
    audit: 1,
    readsAnew: true,
    unpublished: true,
  },
  [`patch ${one}`]: { prepare: async (team) => of(team, await providerOf(team), { title: fresh("title") }), audit: 1 },
  [`delete ${one}`]: {
    prepare: async (team) => {
      const path = await providerOf(team);
      await make(team, "POST", `${path}/credentials`, { name: fresh("cred"), ...secret("first") });
      return of(team, path);
    },
    // The credential goes as well.
    audit: 2,
    leavesNothing: true,
  },
  [`post ${one}/refresh`]: {
    prepare: async (team) => {
      const name = fresh("tools");
      const url = `https://tools.upstream.test/documents/${name}`;
      const put = (what: object) => fetch(url, { method: "PUT", body: JSON.stringify(what) });
      await put(document());
      await make(team, "POST", "/tool-providers", { kind: "openapi", name, url });
      await put(toolDocument({ operations: ["text"] }));
      return of(team, `/tool-providers/${name}/refresh`);
    },
    audit: 1,
    unpublished: true,
  },
  [`patch ${one}/tools/{tool}`]: {
    prepare: async (team) => of(team, `${await providerOf(team)}/tools/echo`, { enabled: false }),
    audit: 1,
  },
  [`post ${one}/credentials`]: {
    prepare: async (team) =>
      of(team, `${await providerOf(team)}/credentials`, { name: fresh("cred"), ...secret("first") }),
    audit: 1,
  },
  [`patch ${one}/credentials/{id}`]: {
    prepare: async (team) => of(team, await credentialOf(team), { name: fresh("renamed") }),
    audit: 1,
    unpublished: true,
  },
  [`delete ${one}/credentials/{id}`]: {
    prepare: async (team) => of(team, await credentialOf(team)),
    audit: 1,
    leavesNothing: true,
  },
  [`post ${one}/credentials/{id}/validate`]: {
    prepare: async (team) => of(team, `${await credentialOf(team)}/validate`),
    audit: 1,
  },
  [`post ${one}/credentials/{id}/rotate`]: {
    prepare: async (team) => of(team, `${await credentialOf(team)}/rotate`, secret("second")),
    audit: 1,
  },
  [`post ${one}/credentials/{id}/rollback`]: {
    prepare: async (team) => {
      const path = await credentialOf(team);
      await make(team, "POST", `${path}/rotate`, secret("second"));
      return of(team, `${path}/rollback`, { validate: false });
    },
    audit: 1,
  },
  "post /workspaces/{ws}/tools/{provider}/{tool}/invoke": {
    prepare: async (team) => {
      const name = fresh("tools");
      await make(team, "POST", "/tool-providers", { kind: "openapi", name, document: toolDocument() });
      return of(team, `/tools/${name}/echo/invoke`, { input: { q: "hello" } });
    },
    audit: 1,
    actsOutside: true,
  },
};
