import { describe, it } from "vitest";
import type { ModelRow } from "../../src/models/model.js";
import { readModelFacts } from "../../src/snapshot/model-facts.js";

function rowOf(model: string, price: string | null, more: Partial<ModelRow> = {}): ModelRow {
  return {
    workspaceId: "ws_1",
    providerName: "openai_compatible",
    model,
    isCustom: true,
    type: "llm",
    title: null,
    contextWindow: null,
    maxOutput: null,
    price,
    enabled: true,
    credentialIds: null,
    revision: 1,
    createdAt: 1,
    updatedAt: 1,
    ...more,
  };
}

function priceText(input: string | null, output: string | null): string {
  return JSON.stringify({ input_usd_per_mtok: input, output_usd_per_mtok: output, cached_input_usd_per_mtok: null });
}

describe("facts of called models", () => {
  it("mix three parts of input and one of output into one price, in micro-dollars", async ({ expect }) => {
    const rows = [
      rowOf("chat", priceText("2", "10")),
      rowOf("embed", priceText("0.02", null)),
      rowOf("free", priceText(null, null)),
      rowOf("unreadable", "{"),
      rowOf("unasked", priceText("1", "1")),
    ];
    const asked = ["chat", "embed", "free", "unreadable", "unheard-of"];
    const called = asked.map((model) => ({ providerName: "openai_compatible", model }));
    const facts = await readModelFacts(rows, called);
    expect(called.map((one) => facts.price(one))).toEqual([4_000_000, 20_000, undefined, undefined, undefined]);
    expect(facts.price({ providerName: "openai_compatible", model: "unasked" })).toBeUndefined();
  });

  it("price tokens only where all that a call uses has a price, in whole micro-dollars", async ({ expect }) => {
    const rows = [
      rowOf("chat", priceText("0.1", "0.000007")),
      rowOf("half", priceText("2", null)),
      rowOf("embed", priceText("0.02", null), { type: "embedding" }),
      rowOf("speech", priceText(null, "12"), { type: "speech" }),
      rowOf("long", null, { maxOutput: 8_192 }),
    ];
    const called = rows.map(({ model }) => ({ providerName: "openai_compatible", model }));
    const facts = await readModelFacts(rows, called);
    const none = undefined;
    const priced = [{ input: 100_000, output: 7 }, none, { input: 20_000, output: 0 }, none, none];
    expect(called.map((one) => facts.prices(one))).toEqual(priced);
    expect(called.map((one) => facts.maxOutput(one))).toEqual([none, none, none, none, 8_192]);
  });

  it("take the catalogue's price where the workspace has none of its own", async ({ expect }) => {
    const called = { providerName: "openai", model: "gpt-4o-mini" };
    const own = rowOf("gpt-4o-mini", priceText("9", "9"), { providerName: "openai", isCustom: false });
    const byCatalogue = (await readModelFacts([], [called])).price(called) ?? 0;
    expect([byCatalogue > 0, byCatalogue < 9_000_000]).toEqual([true, true]);
    expect((await readModelFacts([own], [called])).price(called)).toBe(9_000_000);
  });

  it("know which models are disabled", async ({ expect }) => {
    const facts = await readModelFacts([rowOf("off", null, { enabled: false }), rowOf("on", null)], []);
    const names = ["off", "on", "unheard-of"];
    const disabled = names.map((model) => facts.isDisabled({ providerName: "openai_compatible", model }));
    expect(disabled).toEqual([true, false, false]);
  });
});
