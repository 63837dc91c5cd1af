import { describe, it } from "vitest";
import { costOf } from "../../src/routing/price.js";

const price = { input: 2_500_000, output: 10_000_000, cached: 1_250_000, cache_write: 3_000_000 };

describe("the cost of a call", () => {
  it("is each kind of token at its own price, in micro-dollars", ({ expect }) => {
    expect(costOf({ prompt_tokens: 1_000, completion_tokens: 100 }, price)).toBe(2_500 + 1_000);
    const cached = { prompt_tokens: 1_000, completion_tokens: 0, cached_tokens: 400, cache_write_tokens: 500 };
    expect(costOf(cached, price)).toBe(250 + 500 + 1_500);
  });

  it("is rounded up, so that no call is free", ({ expect }) => {
    const cheap = { input: 20_000, output: 0 };
    expect(costOf({ prompt_tokens: 1, completion_tokens: 0 }, cheap)).toBe(1);
    expect(costOf({ prompt_tokens: 51, completion_tokens: 0 }, cheap)).toBe(2);
    expect(costOf({ prompt_tokens: 0, completion_tokens: 9 }, cheap)).toBe(0);
  });

  it("takes the input's price for what has none of its own, and a quarter more for writing to a cache", ({
    expect,
  }) => {
    const plain = { input: 1_000_000, output: 0 };
    expect(costOf({ prompt_tokens: 100, completion_tokens: 0, cached_tokens: 100 }, plain)).toBe(100);
    expect(costOf({ prompt_tokens: 100, completion_tokens: 0, cache_write_tokens: 100 }, plain)).toBe(125);
  });

  it("counts no token twice, whatever a provider says of its cache", ({ expect }) => {
    const odd = { prompt_tokens: 10, completion_tokens: 0, cached_tokens: 50, cache_write_tokens: 50 };
    expect(costOf(odd, price)).toBe(costOf({ ...odd, cached_tokens: 10, cache_write_tokens: 0 }, price));
  });
});
