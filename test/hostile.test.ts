/** Wherever a user gives an address, one that leads to a private network, to ourselves or around the guard is refused, and nothing is stored or sent. */
import { describe, it } from "vitest";
import { addCredential, unique } from "./connections/seed.js";
import { call, type Answer } from "./support/client.js";
import { deep } from "./support/deep.js";
import { dumpRecord } from "./support/dump.js";
import { hostileHosts, hostileUrls } from "./support/hostile.js";
import { seedWorkspace, type SeededWorkspace } from "./support/seed.js";

const key = "k-0123456789abcdef";
const own = "127.0.0.1:8787";
const addresses = [...[...hostileHosts, own].map((host) => `https://${host}/v1`), ...hostileUrls];

/** A door that takes an address, and what is sent to it. */
interface Place {
  readonly pointer: string;
  knock(workspace: SeededWorkspace, credentialId: string, address: string): Promise<Answer>;
}

const document = {
  openapi: "3.1.0",
  info: { title: "t", version: "1" },
  servers: [{ url: "https://api.example.com" }],
  paths: { "/a": { get: { operationId: "a", responses: { 200: { description: "ok" } } } } },
};

function addTools(workspace: SeededWorkspace, body: object): Promise<Answer> {
  const name = unique("tools").toLowerCase();
  return call("POST", `/workspaces/${workspace.id}/tool-providers`, {
    token: workspace.token,
    body: { name, ...body },
  });
}

const places: Readonly<Record<string, Place>> = {
  "a new credential": {
    pointer: "/credentials/base_url",
    knock: (workspace, _id, address) =>
      addCredential(workspace, "openai_compatible", { api_key: key, base_url: address }),
  },
  "a changed credential": {
    pointer: "/credentials/base_url",
    knock: (workspace, id, address) =>
      call("PATCH", `/workspaces/${workspace.id}/credentials/${id}`, {
        token: workspace.token,
        body: { credentials: { api_key: key, base_url: address } },
      }),
  },
  "a new workspace's credential": {
    pointer: "/providers/0/credentials/base_url",
    knock: (workspace, _id, address) =>
      call("POST", "/workspaces", {
        token: workspace.token,
        body: {
          name: unique("Hostile"),
          providers: [{ provider_name: "openai_compatible", credentials: { api_key: key, base_url: address } }],
        },
      }),
  },
  "a tool document": {
    pointer: "/url",
    knock: (workspace, _id, address) => addTools(workspace, { kind: "openapi", url: address }),
  },
  "a tool document's server": {
    pointer: "/base_url",
    knock: (workspace, _id, address) => addTools(workspace, { kind: "openapi", document, base_url: address }),
  },
  "an MCP server": {
    pointer: "/url",
    knock: (workspace, _id, address) => addTools(workspace, { kind: "mcp", url: address }),
  },
};

describe("a hostile address", () => {
  it.for(Object.entries(places))("is refused for %s", { timeout: 120_000 }, async ([, place], { expect }) => {
    const workspace = await seedWorkspace();
    const fields = { api_key: "k-first-0123456789", base_url: "https://ok.upstream.test/v1" };
    const { body: credential } = await addCredential(workspace, "openai_compatible", fields, { validate: false });
    const step = deep(4, 1);
    const before = await dumpRecord();
    for (const address of addresses.filter((_, index) => index % step === 0)) {
      const answer = await place.knock(workspace, credential.id, address);
      const pointers = (answer.body.errors ?? []).map((error: { pointer: string }) => error.pointer);
      expect([address, answer.status, pointers]).toEqual([address, 422, [place.pointer]]);
    }
    expect(await dumpRecord()).toBe(before);
  });

  it("is refused by the form of every provider that takes an address of one's own", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { body } = await call("GET", `/workspaces/${workspace.id}/model-providers`, { token: workspace.token });
    type Form = { name: string; required: boolean }[];
    const taking = (body.data as { provider_name: string; form: Form }[]).filter(({ form }) =>
      form.some(({ name }) => name === "base_url"),
    );
    expect(taking.length).toBeGreaterThan(2);
    for (const { provider_name: name } of taking) {
      for (const host of ["10.0.0.1", "[::ffff:169.254.169.254]", "a.localhost", "10.0.0.1.nip.io", own]) {
        const fields = { api_key: `sk-ant-${key}`, base_url: `https://${host}/v1` };
        const answer = await addCredential(workspace, name, fields);
        const pointers = (answer.body.errors ?? []).map((error: { pointer: string }) => error.pointer);
        expect([name, host, answer.status]).toEqual([name, host, 422]);
        expect([name, host, pointers]).toEqual([name, host, ["/credentials/base_url"]]);
      }
    }
  });
});
