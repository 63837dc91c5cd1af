import * as fc from "fast-check";
import { describe, it } from "vitest";
import { utf8 } from "../../src/base/bytes.js";
import { estimateCall } from "../../src/gateway/estimate.js";
import { scanBody, type ReadField } from "../../src/gateway/scan.js";
import type { UpstreamEndpoint } from "../../src/providers/contract.js";
import { deep, seed } from "../support/deep.js";

const fields: readonly ReadField[] = [
  "model",
  "max_tokens",
  "max_completion_tokens",
  "max_output_tokens",
  "n",
  "best_of",
  "prompt",
  "input",
];

function estimate(endpoint: UpstreamEndpoint, value: object) {
  const body = utf8(JSON.stringify(value));
  return estimateCall(endpoint, body, scanBody(body, fields));
}

describe("what a call may use", () => {
  it("is its text by bytes, and the cap of each answer that it asks for", ({ expect }) => {
    const text = "ordinary words ".repeat(1_000);
    const chat = { model: "m", messages: [{ role: "user", content: text }] };
    const bytes = JSON.stringify(chat).length;
    const plain = { input_tokens: Math.ceil(bytes / 3.5), output_tokens: null, choices: 1 };
    expect(estimate("chat/completions", chat)).toEqual(plain);
    for (const [cap, other] of [
      [7, 9],
      [9, 7],
    ]) {
      const capped = estimate("chat/completions", { max_tokens: cap, max_completion_tokens: other, n: 3 });
      expect(capped).toMatchObject({ output_tokens: 9, choices: 3 });
    }
    expect(estimate("responses", { max_output_tokens: 5, max_tokens: 1 })).toMatchObject({ output_tokens: 5 });
    expect(estimate("completions", { max_tokens: 5, n: 2, best_of: 4 })).toMatchObject({
      output_tokens: 5,
      choices: 4,
    });
    const prompts: readonly (readonly [unknown, number])[] = [
      ["one, [two]", 4],
      [["one", "two, three", "[four"], 12],
      [[[15_496], [995, 42]], 8],
      [[15_496, 995, 42], 4],
      [[], 4],
    ];
    for (const [prompt, choices] of prompts) {
      expect([prompt, estimate("completions", { max_tokens: 5, n: 4, prompt }).choices]).toEqual([prompt, choices]);
    }
    expect(estimate("messages", { max_tokens: 100 })).toMatchObject({ output_tokens: 100, choices: 1 });
  });

  it("has no answer to pay for where none is made of tokens, and none for what is free", ({ expect }) => {
    const input = { model: "m", input: "words to embed" };
    expect(estimate("embeddings", input)).toMatchObject({ output_tokens: 0, choices: 1 });
    expect(estimate("embeddings", input).input_tokens).toBeGreaterThan(5);
    expect(estimate("messages/count_tokens", input)).toEqual({ input_tokens: 0, output_tokens: 0, choices: 1 });
    expect(estimate("images/generations", { n: 2 })).toMatchObject({ output_tokens: 4_160, choices: 2 });
    expect(estimate("audio/speech", { input: "twelve chars" })).toMatchObject({ output_tokens: 18 });
  });

  it("takes no cap from what is no count, so that the cap of the pool holds", ({ expect }) => {
    for (const odd of ["9", -1, null, true, {}, []]) {
      expect(estimate("chat/completions", { max_tokens: odd, n: odd })).toMatchObject({
        output_tokens: null,
        choices: 1,
      });
    }
    expect(estimate("chat/completions", { max_tokens: 1e300, n: 1e300 })).toMatchObject({
      output_tokens: 100_000_000,
      choices: 100_000,
    });
  });

  it("counts pictures and documents by what they are, not by their bytes", ({ expect }) => {
    const data = "iVBORw0KGgo/".repeat(50_000);
    const image = { messages: [{ content: [{ image_url: { url: `data:image/png;base64,${data}` } }] }] };
    const pictures = [image, image, { type: "base64", media_type: "image/jpeg", data }];
    expect(estimate("chat/completions", image).input_tokens).toBeLessThan(1_700);
    expect(estimate("messages", { pictures }).input_tokens).toBeGreaterThan(3 * 1_600 - 1);
    expect(estimate("messages", { pictures }).input_tokens).toBeLessThan(3 * 1_700);
    const document = estimate("messages", { type: "base64", media_type: "application/pdf", data });
    expect(document.input_tokens).toBeGreaterThan(data.length / 31);
    expect(document.input_tokens).toBeLessThan(data.length / 29);
  });

  it("is the same however words and data are mixed", ({ expect }) => {
    const words = fc.string({ maxLength: 60, unit: "grapheme" }).map((text) => ({ text, isData: false }));
    const data = fc.integer({ min: 600, max: 5_000 }).map((size) => ({ text: "Ab0+".repeat(size / 4), isData: true }));
    fc.assert(
      fc.property(fc.array(fc.oneof(words, data), { maxLength: 8 }), (parts) => {
        const content = parts.map(({ text, isData }) => (isData ? { url: `data:image/png;base64,${text}` } : { text }));
        const told = estimate("chat/completions", { content }).input_tokens;
        const all = utf8(JSON.stringify({ content })).length;
        const inData = parts.reduce((sum, { text, isData }) => sum + (isData ? text.length : 0), 0);
        const images = parts.filter(({ isData }) => isData).length;
        const wanted = (all - inData) / 3.5 + images * 1_600;
        // The type of the data may count as a part of it.
        expect(Math.abs(told - wanted)).toBeLessThanOrEqual(1 + images * 10);
      }),
      { numRuns: deep(100, 5_000), seed: seed() },
    );
  });
});
