import * as fc from "fast-check";
import { describe, it } from "vitest";
import { classifyAnswer, classifyInBand, transientFailure } from "../../src/routing/classify.js";
import { failureClasses, type FailureClass } from "../../src/routing/model.js";
import { deep, seed } from "../support/deep.js";

const now = Date.UTC(2026, 10, 22, 12, 0, 0);

function classify(status: number, body: unknown = "", headers: Record<string, string> = {}) {
  return classifyAnswer(
    { status, headers: new Headers(headers), body: typeof body === "string" ? body : JSON.stringify(body) },
    now,
  );
}

const wait = (headers: Record<string, string>, status = 429, body: unknown = "") =>
  classify(status, body, headers).retry_after_ms;
const inBand = (value: unknown) => classifyInBand(value, new Headers(), now)?.class ?? null;

function error(message: string, code: string | null = null, type: string | null = null) {
  return { error: { message, code, type, param: null } };
}

type Case = readonly [name: string, status: number, body: unknown, expected: FailureClass];

const cases: readonly Case[] = [
  ["a plain bad request", 400, error("Invalid value", null, "invalid_request_error"), "caller_fault"],
  ["a path that is not there", 404, "404 page not found", "caller_fault"],
  ["413", 413, "", "caller_fault"],
  ["415", 415, "", "caller_fault"],
  ["422", 422, { detail: [{ msg: "field required" }] }, "caller_fault"],
  ["409", 409, "", "caller_fault"],
  ["418", 418, "", "caller_fault"],
  [
    "a policy refusal",
    400,
    error("Your request was rejected by our safety system", "content_policy_violation"),
    "caller_fault",
  ],
  [
    "a policy refusal with key wording",
    403,
    error("flagged; see your API key's policy", "content_filter"),
    "caller_fault",
  ],
  [
    "a 429 that blames this request's size",
    429,
    error(
      "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000.",
      "rate_limit_exceeded",
      "tokens",
    ),
    "caller_fault",
  ],
  [
    "a 500 that blames the context length",
    500,
    error("This model's maximum context length is 8192 tokens"),
    "caller_fault",
  ],
  ["a 503 that blames the prompt", 503, error("prompt is too long: 210000 tokens > 200000 maximum"), "caller_fault"],
  [
    "a country that is not served",
    403,
    error("Country, region, or territory not supported", "unsupported_country_region_territory"),
    "caller_fault",
  ],
  ["a page of markup with 403", 403, "<html>authentication portal, enter your credentials</html>", "caller_fault"],
  [
    "429",
    429,
    error("Rate limit reached for gpt-4o: Limit 3, Used 3, Requested 1.", "rate_limit_exceeded", "requests"),
    "rate_limit",
  ],
  ["429 without a body", 429, "", "rate_limit"],
  [
    "Gemini's per-minute limit",
    429,
    [{ error: { code: 429, message: "You exceeded your current quota", status: "RESOURCE_EXHAUSTED" } }],
    "rate_limit",
  ],
  ["402", 402, "", "quota"],
  [
    "insufficient_quota",
    429,
    error(
      "You exceeded your current quota, please check your plan and billing details.",
      "insufficient_quota",
      "insufficient_quota",
    ),
    "quota",
  ],
  [
    "Anthropic's credit text",
    400,
    {
      type: "error",
      error: { type: "invalid_request_error", message: "Your credit balance is too low to access the Anthropic API." },
    },
    "quota",
  ],
  ["DeepSeek's balance", 402, error("Insufficient Balance"), "quota"],
  ["401", 401, error("Incorrect API key provided", "invalid_api_key"), "credential"],
  ["401 without a body", 401, "", "credential"],
  ["403 with key wording", 403, error("Your API key does not have permission"), "credential"],
  [
    "Gemini's 400 for a bad key",
    400,
    [
      {
        error: {
          code: 400,
          message: "API key not valid.",
          status: "INVALID_ARGUMENT",
          details: [{ reason: "API_KEY_INVALID" }],
        },
      },
    ],
    "credential",
  ],
  [
    "xAI's 400 for a bad key",
    400,
    { code: "Client specified an invalid argument", error: "Incorrect API key provided: xa***." },
    "credential",
  ],
  [
    "404 model_not_found",
    404,
    error("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"),
    "model_missing",
  ],
  [
    "Anthropic's missing model",
    404,
    { type: "error", error: { type: "not_found_error", message: "model: claude-9 not found" } },
    "model_missing",
  ],
  [
    "vLLM's missing model",
    404,
    { object: "error", message: "The model `x` does not exist.", type: "NotFoundError", code: 404 },
    "model_missing",
  ],
  [
    "no access to the model",
    403,
    error("Project `p` does not have access to model `m`", "model_not_found"),
    "model_missing",
  ],
  ["a missing model behind FastAPI", 404, { detail: "Model not found" }, "model_missing"],
  ["408", 408, "", "transient"],
  ["500", 500, "", "transient"],
  ["502", 502, "<html>Bad gateway</html>", "transient"],
  ["504", 504, "", "transient"],
  ["520", 520, "", "transient"],
  ["530", 530, "", "transient"],
  ["599", 599, "", "transient"],
  ["a redirect", 307, "", "transient"],
  ["503", 503, "", "overloaded"],
  ["529", 529, { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }, "overloaded"],
];

describe("classifyAnswer", () => {
  for (const [name, status, body, expected] of cases) {
    it(`calls ${name} ${expected}`, ({ expect }) => {
      expect(classify(status, body).class).toBe(expected);
    });
  }

  it("never blames an instance for words that the caller planted and the upstream quoted", ({ expect }) => {
    for (const quoted of [
      "'incorrect api key provided'",
      '"invalid api key"',
      "`your credit balance is too low`",
      "'model x does not exist'",
    ]) {
      expect(classify(400, error(`Invalid value: ${quoted}. Supported values are: 'a' and 'b'.`)).class, quoted).toBe(
        "caller_fault",
      );
    }
  });

  it("keeps the provider's code as at most 64 harmless characters", ({ expect }) => {
    expect(classify(400, error("x", "Bad Value!/é")).code).toBe("bad_value_");
    expect(classify(400, error("x", "a".repeat(200))).code).toHaveLength(64);
    expect(classify(400, "no json").code).toBeNull();
    expect(classify(500, { error: { code: 529, message: "x" } }).code).toBe("529");
  });

  it("says whether it was a time-out", ({ expect }) => {
    expect([classify(408).timed_out, classify(504).timed_out, classify(500).timed_out]).toEqual([true, true, false]);
    expect(transientFailure("timeout", true)).toEqual({
      class: "transient",
      status: null,
      code: "timeout",
      retry_after_ms: null,
      timed_out: true,
    });
  });

  it("gives some class to any answer at all, and cools nothing for a 4xx it does not know", ({ expect }) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 999 }),
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.jsonValue().map((value) => JSON.stringify({ error: value })),
        ),
        (status, body) => {
          const failure = classify(status, body);
          expect(failureClasses).toContain(failure.class);
          expect(failure.code ?? "").toMatch(/^[a-z0-9_.-]{0,64}$/);
        },
      ),
      { numRuns: deep(200, 10_000), seed: seed() },
    );
  });
});

describe("retry-after", () => {
  it("reads seconds, dates and milliseconds", ({ expect }) => {
    expect(wait({ "retry-after": "5" })).toBe(5_000);
    expect(wait({ "retry-after": " 2.5 " })).toBe(2_500);
    expect(wait({ "retry-after": new Date(now + 90_000).toUTCString() })).toBe(90_000);
    expect(wait({ "retry-after-ms": "1500" })).toBe(1_500);
  });

  it("reads windows as durations, seconds, epoch times and dates", ({ expect }) => {
    expect(wait({ "x-ratelimit-reset-requests": "1m30s" })).toBe(90_000);
    expect(wait({ "x-ratelimit-reset-tokens": "2500ms" })).toBe(2_500);
    expect(wait({ "x-ratelimit-reset-tokens": "1h2m3.5s" })).toBe(3_600_000);
    expect(wait({ "x-ratelimit-reset": "30" })).toBe(30_000);
    expect(wait({ "x-ratelimit-reset": String(now / 1000 + 60) })).toBe(60_000);
    expect(wait({ "x-ratelimit-reset": String(now + 61_000) })).toBe(61_000);
    expect(wait({ "anthropic-ratelimit-tokens-reset": new Date(now + 20_000).toISOString() })).toBe(20_000);
    expect(wait({}, 429, { error: { message: "slow", details: [{ retryDelay: "34.5s" }] } })).toBe(34_500);
  });

  it("takes the longest of all that are named", ({ expect }) => {
    expect(
      wait({
        "retry-after": "5",
        "retry-after-ms": "7000",
        "x-ratelimit-reset-requests": "6s",
        "x-ratelimit-reset-tokens": "20ms",
      }),
    ).toBe(7_000);
    expect(wait({ "retry-after": "5", "x-ratelimit-reset-requests": "8s" })).toBe(8_000);
  });

  it("clamps to one second and one hour", ({ expect }) => {
    expect(wait({ "retry-after": "0" })).toBe(1_000);
    expect(wait({ "x-ratelimit-reset-tokens": "20ms" })).toBe(1_000);
    expect(wait({ "retry-after": new Date(now - 90_000).toUTCString() })).toBe(1_000);
    expect(wait({ "retry-after": "86400" })).toBe(3_600_000);
  });

  it("says null for what it cannot read, and for classes that name no wait", ({ expect }) => {
    for (const value of ["", "soon", "-5", "1e9", "NaN", "5 s please", "0x10", "99999999999999999999", "1m30"]) {
      expect(wait({ "retry-after": value }), value).toBeNull();
    }
    expect(wait({ "x-ratelimit-remaining-requests": "5" })).toBeNull();
    expect(wait({ "retry-after": "5" }, 500)).toBeNull();
    expect(wait({ "retry-after": "5" }, 401)).toBeNull();
  });

  it("heeds Retry-After of an overloaded upstream, not its rate-limit windows", ({ expect }) => {
    expect(wait({ "retry-after": "7", "x-ratelimit-reset-requests": "1h" }, 503)).toBe(7_000);
    expect(wait({ "x-ratelimit-reset-requests": "1h" }, 503)).toBeNull();
  });
});

describe("classifyInBand", () => {
  it("classes an error inside a 200 by its own code", ({ expect }) => {
    expect(inBand(error("slow down", "rate_limit_exceeded", "requests"))).toBe("rate_limit");
    expect(inBand(error("quota", "insufficient_quota"))).toBe("quota");
    expect(inBand({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })).toBe("overloaded");
    expect(inBand({ type: "error", error: { type: "authentication_error", message: "bad" } })).toBe("credential");
    expect(inBand(error("gone", "model_not_found"))).toBe("model_missing");
    expect(inBand(error("bad", null, "invalid_request_error"))).toBe("caller_fault");
    expect(inBand({ error: { code: 429, message: "openrouter" } })).toBe("rate_limit");
    expect(inBand({ error: { code: 502, message: "openrouter" } })).toBe("transient");
    expect(inBand(error("The server had an error", null, "server_error"))).toBe("transient");
    expect(inBand({ error: "something odd" })).toBe("transient");
    expect(inBand({ code: "internal", message: "x" })).toBe("transient");
  });

  it("is null for what is no error", ({ expect }) => {
    for (const value of [
      { choices: [] },
      { choices: [], error: null },
      { choices: [], error: {} },
      { id: "x", error: {} },
      { error: "" },
      [],
      null,
      "error",
      1,
      { message: "hello" },
      { id: "x", choices: [{ message: {} }], code: 1, message: "x" },
    ]) {
      expect(inBand(value)).toBeNull();
    }
  });

  it("keeps 200 as the status it came with", ({ expect }) => {
    expect(classifyInBand(error("x", "rate_limit_exceeded"), new Headers({ "retry-after": "9" }), now)).toMatchObject({
      status: 200,
      retry_after_ms: 9_000,
    });
  });
});
