import { describe, it } from "vitest";
import { sha256Hex } from "../../src/base/bytes.js";
import { credentials as credentialTable, type CredentialRow } from "../../src/connections/model.js";
import { getTableColumns } from "drizzle-orm";
import type { ModelRow } from "../../src/models/model.js";
import { providers } from "../../src/providers/catalogue.js";
import { knownModels } from "../../src/providers/known-models.js";
import { toRouterCatalogue } from "../../src/snapshot/catalogue.js";
import { catalogueEdition } from "../../src/snapshot/model.js";

/** What the catalogue knew when the edition was last raised. */
const recorded = { edition: 2, digest: "8659d51b55f7f2a1856bf77a85ba4c7474c25fd9108145091f98a3c2aab9ee65" };

function credentialOf(providerName: string, id: string, more: Partial<CredentialRow> = {}): CredentialRow {
  const blank = Object.fromEntries(Object.keys(getTableColumns(credentialTable)).map((name) => [name, null]));
  return { ...blank, id, providerName, providerType: "model", status: "active", ...more } as CredentialRow;
}

function modelOf(providerName: string, model: string, more: Partial<ModelRow> = {}): ModelRow {
  const blank = { title: null, contextWindow: null, maxOutput: null, price: null, credentialIds: null };
  const times = { revision: 1, createdAt: 1, updatedAt: 1 };
  return {
    workspaceId: "ws",
    providerName,
    model,
    isCustom: true,
    type: "llm",
    enabled: true,
    ...blank,
    ...times,
    ...more,
  };
}

describe("the catalogue as Routers are told it", () => {
  it("has an edition of its own for every list of names: raise it and record the digest when this fails", async ({
    expect,
  }) => {
    const ordered = providers.map(({ name }) => name).toSorted((a, b) => (a < b ? -1 : 1));
    const names = await Promise.all(
      ordered.map(async (name) => {
        const known = (await knownModels(name)).map(({ model }) => model);
        return [name, known.toSorted((a, b) => (a < b ? -1 : 1))];
      }),
    );
    const digest = await sha256Hex(JSON.stringify(names));
    expect({ edition: catalogueEdition, digest }).toEqual(recorded);
  });

  it("knows no name twice for a provider, none that a client cannot send, and none that a path cannot carry", async ({
    expect,
  }) => {
    for (const { name } of providers) {
      const known = (await knownModels(name)).map(({ model }) => model);
      expect([name, new Set(known).size]).toEqual([name, known.length]);
      expect([name, known.filter((model) => !/^[!#-[\]-~]{1,128}$/.test(model) || /^\.{1,2}$/.test(model))]).toEqual([
        name,
        [],
      ]);
    }
  });

  it("stays under 200 KB with every provider and five credentials for each", async ({ expect }) => {
    const rows = providers.flatMap(({ name }) =>
      Array.from({ length: 5 }, (_, index) =>
        credentialOf(name, `cred_01h455vb4pex5vsknk084sn0${index}${name}`.slice(0, 31)),
      ),
    );
    const told = await toRouterCatalogue(rows, [], []);
    expect(told.providers.length).toBe(providers.length);
    const models = told.providers.flatMap((provider) => provider.models);
    const bytes = JSON.stringify(told).length;
    console.log(`catalogue: ${models.length} names of ${told.providers.length} providers, ${bytes} bytes`);
    expect(models.length).toBeGreaterThan(500);
    expect(bytes).toBeLessThan(200_000);
  });

  it("tells of a provider only what its credentials in use can call", async ({ expect }) => {
    const rows = [
      credentialOf("sandbox", "a"),
      credentialOf("sandbox", "b", { status: "invalid" }),
      credentialOf("sandbox", "off", { status: "disabled" }),
      credentialOf("openai_compatible", "tool", { providerType: "tool" }),
      credentialOf("ollama", "off-too", { status: "disabled" }),
    ];
    const price = JSON.stringify({
      input_usd_per_mtok: "0.02",
      output_usd_per_mtok: "1.5",
      cached_input_usd_per_mtok: "0.000001",
    });
    const models = [
      modelOf("sandbox", "sandbox-chat", { isCustom: false, enabled: false }),
      modelOf("sandbox", "held", { credentialIds: JSON.stringify(["b", "off", "gone"]), price, maxOutput: 99 }),
      modelOf("sandbox", "lost", { credentialIds: JSON.stringify(["gone"]) }),
      modelOf("sandbox", "broken", { credentialIds: "{" }),
      modelOf("sandbox", "free"),
      modelOf("openai_compatible", "unreachable"),
    ];
    const { providers: told } = await toRouterCatalogue(rows, models, []);
    const known = (await knownModels("sandbox")).map(({ model }) => model).filter((model) => model !== "sandbox-chat");
    expect(told).toEqual([
      {
        id: "sandbox",
        models: [...known, "held", "free"],
        credentials: ["a", "b"],
        held: [{ model: "held", places: [1] }],
        prices: [...known.map(() => expect.anything()), [20_000, 1_500_000, 1], null],
        max_outputs: [{ model: "held", tokens: 99 }],
      },
    ]);
  });
});
