import * as fc from "fast-check";
import { describe, it } from "vitest";
import { classifyAnswer, classifyInBand, transientFailure } from "../../src/routing/classify.js";
import { failureClasses, type FailureClass } from "../../src/routing/model.js";
import { deep, seed } from "../support/deep.js";
import { recordedAt, recordedErrors } from "./recorded-errors.js";

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

function inRange(ms: number): number {
  return Math.min(3_600_000, Math.max(1_000, ms));
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

/** Words that take an instance out where an upstream says them itself. */
const poison = [
  "invalid api key",
  "Incorrect API key provided: sk-1",
  "API key not valid. Please pass a valid API key.",
  "your credit balance is too low",
  "insufficient balance",
  "you exceeded your current quota",
  "The model `x` does not exist",
  "no such model",
  "余额不足",
  '"code": "invalid_api_key"',
  "it's 'invalid api key' \"or\" so",
];

/** Text that may end the quotes around it. */
const breakout = fc.oneof(
  fc.string(),
  fc
    .array(fc.constantFrom("'", '"', "`", "”", "\\", " ", ".", "' ", '" ', "`, ", "” "), { maxLength: 5 })
    .map((parts) => parts.join("")),
);

/** As Python writes a string: in single quotes, in double ones when only those make it simpler; with escapes. */
function reprOf(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  return quote + text.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`) + quote;
}

describe("classifyAnswer", () => {
  for (const [name, status, body, expected] of cases) {
    it(`calls ${name} ${expected}`, ({ expect }) => {
      expect(classify(status, body).class).toBe(expected);
    });
  }

  it.for(recordedErrors)(
    "$name",
    ({ status, headers = {}, body, class: kind, code, wait: asked = null }, { expect }) => {
      const sent = new Headers(headers);
      const failure =
        status === 200
          ? classifyInBand(body, sent, recordedAt)
          : classifyAnswer({ status, headers: sent, body: JSON.stringify(body) }, recordedAt);
      expect(failure).toMatchObject({ status, class: kind, code, retry_after_ms: asked });
    },
  );

  it("whatever a caller plants in a prompt, and however an upstream quotes it: no instance is blamed for it", ({
    expect,
  }) => {
    const planted = fc
      .tuple(breakout, fc.constantFrom(...poison), breakout)
      .map(([before, words, after]) => before + words + after);
    const quoted = fc.oneof(
      planted.map((text) => `messages.0.content: Input should be a valid list, got ${JSON.stringify(text)}`),
      planted.map((text) => `1 validation error: {'role': 'user', 'content': ${reprOf(text)}} is not allowed`),
      planted.map((text) => `Invalid value: \`${text}\`. Supported values are 'a' and 'b'.`),
      planted.map((text) => `Could not parse: “${text}”`),
      planted.map((text) => `Unterminated string: "${text.replaceAll('"', "'")}`),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(400, 403, 404, 422, 429, 500, 503),
        quoted,
        fc.boolean(),
        (status, message, isBare) => {
          const failure = classify(
            status,
            isBare ? { detail: message } : error(message, null, "invalid_request_error"),
          );
          expect(failure).toMatchObject({ class: classify(status).class, retry_after_ms: null });
        },
      ),
      { numRuns: deep(500, 50_000), seed: seed() },
    );
  });

  it("what a caller plants does not lengthen a wait either", ({ expect }) => {
    const echo = 'slow down: "{\\"retryDelay\\": \\"3600s\\", \\"X-RateLimit-Reset\\": \\"99999999999\\"}"';
    expect(classify(429, error(echo), { "retry-after": "2" })).toMatchObject({
      class: "rate_limit",
      retry_after_ms: 2_000,
    });
    expect(classify(429, error('{"retryDelay": "3600s"}'), { "retry-after": "2" }).retry_after_ms).toBe(2_000);
  });

  it("a vendor's own words are taken wherever it names the model, and after the names of wrapped errors", ({
    expect,
  }) => {
    expect(classify(404, error('model "llama9" not found, try pulling it first')).class).toBe("model_missing");
    expect(classify(404, error("The model `gpt-9` does not exist")).class).toBe("model_missing");
    expect(classify(404, error("File 'model.txt' not found")).class).toBe("caller_fault");
    expect(classify(404, error('"the model does not exist" was not found')).class).toBe("caller_fault");
    expect(classify(400, error("litellm.BadRequestError: XaiException - Incorrect API key provided: x")).class).toBe(
      "credential",
    );
    expect(classify(400, error("The header says invalid api key")).class).toBe("caller_fault");
    expect(classify(400, error("Model Not Exist", "invalid_request_error")).class).toBe("model_missing");
    expect(classify(400, error("The prompt says that the model does not exist")).class).toBe("caller_fault");
    expect(classify(403, error("The security token included in the request is invalid.")).class).toBe("credential");
    expect(classify(500, error("Internal error; not enough credits were found in the caller's text")).class).toBe(
      "transient",
    );
    expect(classify(403, { message: "no" }, { "x-amzn-errortype": "AccessDeniedException" }).class).toBe(
      "model_missing",
    );
    const model = { "x-amzn-errortype": "ModelErrorException:" };
    expect(classify(424, { message: "x" }, model).class).toBe("transient");
    expect(classify(424, { message: "x" }).class).toBe("caller_fault");
    expect(classify(403, error("slow down", "rateLimitExceeded")).class).toBe("rate_limit");
  });

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

  it("counts only the windows that are spent, where what is left in them is told", ({ expect }) => {
    const day = { "x-ratelimit-remaining-requests-day": "14000", "x-ratelimit-reset-requests-day": "33011.38" };
    const spent = { "x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-reset-tokens-minute": "21.4" };
    expect(wait({ ...day, ...spent })).toBe(21_400);
    expect(wait(day)).toBe(3_600_000);
    expect(wait({ ...day, ...spent, "retry-after": "40" })).toBe(40_000);
    expect(wait({ "ratelimitbysize-remaining": "0", "ratelimitbysize-reset": "12" })).toBe(12_000);
    expect(wait({ "anthropic-ratelimit-unified-reset": String(now / 1000 + 90) })).toBe(90_000);
    expect(wait({ "anthropic-ratelimit-unified-7d-reset": String(now / 1000 + 90) })).toBeNull();
    const inBody = { error: { code: 429, metadata: { headers: { "X-RateLimit-Reset": String(now + 70_000) } } } };
    expect(wait({}, 429, inBody)).toBe(70_000);
  });

  it("any wait in any of its forms comes out as itself, between one second and one hour", ({ expect }) => {
    const forms: readonly ((ms: number) => Record<string, string>)[] = [
      (ms) => ({ "retry-after": String(ms / 1_000) }),
      (ms) => ({ "retry-after-ms": String(ms) }),
      (ms) => ({ "retry-after": new Date(now + Math.ceil(ms / 1_000) * 1_000).toUTCString() }),
      (ms) => ({ "x-ratelimit-reset-requests": `${Math.floor(ms / 60_000)}m${(ms % 60_000) / 1_000}s` }),
      (ms) => ({ "x-ratelimit-reset-tokens": `${ms}ms` }),
      (ms) => ({ "x-ratelimit-reset": String((now + ms) / 1_000) }),
      (ms) => ({ "x-ratelimit-reset": String(now + ms) }),
      (ms) => ({ "x-ratelimit-reset": new Date(now + ms).toISOString() }),
      (ms) => ({ "anthropic-ratelimit-tokens-reset": new Date(now + ms).toISOString() }),
    ];
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 7_200_000 }),
        fc.integer({ min: 0, max: 7_200_000 }),
        fc.constantFrom(...forms),
        fc.string(),
        (ms, other, form, noise) => {
          const got = wait(form(ms)) ?? Number.NaN;
          // A date tells whole seconds.
          expect(Math.abs(got - inRange(ms))).toBeLessThanOrEqual(1_000);
          expect(Number.isInteger(got)).toBe(true);
          const body = { error: { message: noise, details: [{ retryDelay: `${other / 1_000}s` }] } };
          expect(Math.abs((wait(form(ms), 429, body) ?? 0) - inRange(Math.max(ms, other)))).toBeLessThanOrEqual(1_000);
        },
      ),
      { numRuns: deep(300, 30_000), seed: seed() },
    );
  });

  it("any text in any of the headers gives a wait in range or none", ({ expect }) => {
    const text = fc.stringMatching(/^[0-9.:+eEsmhdnTZ, JaMoG-]{0,30}$/);
    fc.assert(
      fc.property(text, fc.constantFrom("retry-after", "retry-after-ms", "x-ratelimit-reset"), (value, name) => {
        const got = wait({ [name]: value });
        expect(got === null || (Number.isInteger(got) && got >= 1_000 && got <= 3_600_000)).toBe(true);
      }),
      { numRuns: deep(500, 50_000), seed: seed() },
    );
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

  it("reads the error of a failed response, of a failed choice, of MiniMax's numbers, and a status written as text", ({
    expect,
  }) => {
    const failed = (code: string) => inBand({ type: "response.failed", response: { error: { code, message: "x" } } });
    expect(failed("rate_limit_exceeded")).toBe("rate_limit");
    expect(failed("server_error")).toBe("transient");
    expect(failed("slow_down")).toBe("rate_limit");
    expect(failed("invalid_prompt")).toBe("caller_fault");
    expect(failed("image_too_large")).toBe("caller_fault");
    expect(inBand({ choices: [{ index: 0, finish_reason: "error", error: { code: 502, message: "x" } }] })).toBe(
      "transient",
    );
    expect(inBand({ choices: [{ finish_reason: "stop" }, { finish_reason: "error" }] })).toBe("transient");
    expect(inBand({ choices: [{ finish_reason: "stop" }, { error: { code: 429, message: "x" } }] })).toBe("rate_limit");
    const minimax = (code: number) => inBand({ choices: null, base_resp: { status_code: code, status_msg: "x" } });
    expect([1002, 1004, 1008, 1027, 1000, 0].map(minimax)).toEqual([
      "rate_limit",
      "credential",
      "quota",
      "caller_fault",
      "transient",
      null,
    ]);
    expect(inBand({ error: { code: "429", message: "x" } })).toBe("rate_limit");
    expect(inBand({ type: "error", code: "server_is_overloaded", message: "x", param: null })).toBe("overloaded");
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
      { type: "response.completed", response: { status: "completed", error: null } },
      { type: "response.created", response: {} },
      { choices: [{ error: null }] },
      { errors: [] },
      { base_resp: { status_code: 0, status_msg: "" }, choices: [] },
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
