/** Errors as upstreams really send them, with where each was reported. Ids are shortened; words, codes and headers are as recorded. */
import type { FailureClass } from "../../src/routing/model.js";

/** One recorded error. */
export interface RecordedError {
  /** Who answered, and on what occasion. */
  readonly name: string;
  /** A public report or page that shows it. */
  readonly source: string;
  /** 200 for an error inside a good answer or a stream: a body, or an event's data. */
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly class: FailureClass;
  readonly code: string | null;
  /** Milliseconds that it asks for; absent means none. */
  readonly wait?: number;
}

/** When all of them were read: 2025-06-17T05:21:48Z. */
export const recordedAt = Date.UTC(2025, 5, 17, 5, 21, 48);

const github = "https://github.com/";

function openai(message: string, code: string | null, type: string | null = null): object {
  return { error: { message, type, param: null, code } };
}

function anthropic(type: string, message: string): object {
  return { type: "error", error: { type, message }, request_id: "req_0" };
}

function gemini(code: number, message: string, status: string, details: readonly object[] = []): readonly object[] {
  return [{ error: { code, message, status, details } }];
}

const exceeded = "You exceeded your current quota, please check your plan and billing details.";
const retryIn36 = [
  {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    violations: [{ quotaId: "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", quotaValue: "20" }],
  },
  { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "36s" },
];
const xaiSpent =
  "Your team 16f2151a has either used all available credits or reached its monthly spending limit. To continue making API requests, please purchase more credits or raise your spending limit.";
const rechargeZhipu = "余额不足或无可用资源包,请充值。";
const overloadedNow = "Our servers are currently overloaded. Please try again later.";

export const recordedErrors: readonly RecordedError[] = [
  {
    name: "OpenAI: tokens of the minute used up, said in five headers",
    source: `${github}wrtnlabs/autobe/issues/136`,
    status: 429,
    headers: {
      "retry-after": "1",
      "retry-after-ms": "494",
      "x-ratelimit-remaining-requests": "9999",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-requests": "6ms",
      "x-ratelimit-reset-tokens": "1m0.052s",
    },
    body: openai(
      "Rate limit reached for gpt-4.1 in organization org-0 on tokens per min (TPM): Limit 30000000, Used 30000000, Requested 247009. Please try again in 494ms.",
      "rate_limit_exceeded",
      "tokens",
    ),
    class: "rate_limit",
    code: "rate_limit_exceeded",
    wait: 60_052,
  },
  {
    name: "OpenAI: one request larger than the minute",
    source: `${github}vanna-ai/vanna-flask/issues/11`,
    status: 429,
    body: openai(
      "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 342389. The input or output tokens must be reduced in order to run successfully.",
      "rate_limit_exceeded",
      "tokens",
    ),
    class: "caller_fault",
    code: "rate_limit_exceeded",
  },
  {
    name: "OpenAI: no credit",
    source: `${github}hitsz-ids/airda/issues/19`,
    status: 429,
    body: openai(exceeded, "insufficient_quota", "insufficient_quota"),
    class: "quota",
    code: "insufficient_quota",
  },
  {
    name: "Azure: call rate, with the wait in words only",
    source: `${github}microsoft/copilot-camp/issues/551`,
    status: 429,
    headers: { "x-ratelimit-remaining-requests": "7" },
    body: { error: { code: "429", message: "Rate limit is exceeded. Try again in 2 seconds." } },
    class: "rate_limit",
    code: "429",
  },
  {
    name: "Azure: token rate of the tier",
    source: `${github}jasonacox/TinyLLM/issues/17`,
    status: 429,
    headers: { "retry-after": "86400" },
    body: {
      error: {
        code: "429",
        message:
          "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2023-05-15 have exceeded token rate limit of your current AIServices S0 pricing tier. Please retry after 86400 seconds.",
      },
    },
    class: "rate_limit",
    code: "429",
    wait: 3_600_000,
  },
  {
    name: "Azure: peak load, worded as if the request were too large",
    source: `${github}pollinations/pollinations/issues/6260`,
    status: 429,
    body: {
      error: {
        code: "RATE_LIMITED",
        message:
          "The system is currently experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load. Please retry after 20 seconds.",
      },
    },
    class: "overloaded",
    code: "rate_limited",
  },
  {
    name: "Anthropic: input tokens of the minute",
    source: `${github}FoundationAgents/OpenManus/issues/746`,
    status: 429,
    headers: {
      "anthropic-ratelimit-input-tokens-remaining": "0",
      "anthropic-ratelimit-input-tokens-reset": "2025-06-17T05:22:18Z",
      "anthropic-ratelimit-requests-remaining": "49",
      "anthropic-ratelimit-requests-reset": "2025-06-17T05:26:48Z",
    },
    body: anthropic(
      "rate_limit_error",
      "This request would exceed the rate limit for your organization of 20,000 input tokens per minute. Please reduce the prompt length or the maximum tokens requested, or try again later.",
    ),
    class: "rate_limit",
    code: "rate_limit_error",
    wait: 30_000,
  },
  {
    name: "Anthropic: overloaded inside a stream of status 200",
    source: `${github}Wei-Shaw/sub2api/issues/5563`,
    status: 200,
    headers: { "anthropic-ratelimit-unified-7d-reset": "1786989600" },
    body: anthropic("overloaded_error", "Overloaded"),
    class: "overloaded",
    code: "overloaded_error",
  },
  {
    name: "Gemini: requests of the minute, in words of a quota",
    source: `${github}diegosouzapw/OmniRoute/issues/9504`,
    status: 429,
    body: gemini(429, `${exceeded} Please retry in 36.429760048s.`, "RESOURCE_EXHAUSTED", retryIn36),
    class: "rate_limit",
    code: "resource_exhausted",
    wait: 36_000,
  },
  {
    name: "Gemini: no capacity",
    source: "https://discuss.ai.google.dev/t/144544",
    status: 503,
    body: {
      error: {
        code: 503,
        details: [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "MODEL_CAPACITY_EXHAUSTED" }],
        message: "No capacity available for model claude-opus-4-6-thinking on the server",
        status: "UNAVAILABLE",
      },
    },
    class: "overloaded",
    code: "unavailable",
  },
  {
    name: "Bedrock: throttled, named by a header alone",
    source: `${github}aws-samples/amazon-bedrock-client-for-mac/issues/99`,
    status: 429,
    headers: { "x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/" },
    body: { message: "Too many tokens, please wait before trying again." },
    class: "rate_limit",
    code: "throttlingexception",
  },
  {
    name: "Bedrock: a model without access",
    source: `${github}anthropics/claude-code/issues/536`,
    status: 403,
    headers: { "x-amzn-errortype": "AccessDeniedException" },
    body: { message: "You don't have access to the model with the specified model ID." },
    class: "model_missing",
    code: "accessdeniedexception",
  },
  {
    name: "Bedrock: a model that is not served on demand",
    source: `${github}anthropics/claude-code/issues/1466`,
    status: 400,
    headers: { "x-amzn-errortype": "ValidationException" },
    body: {
      message:
        "Invocation of model ID anthropic.claude-sonnet-4-20250514-v1:0 with on-demand throughput isn’t supported.",
    },
    class: "model_missing",
    code: "validationexception",
  },
  {
    name: "Bedrock: more output asked for than the model has",
    source: `${github}charmbracelet/crush/issues/946`,
    status: 400,
    headers: { "x-amzn-errortype": "ValidationException" },
    body: { message: "The maximum tokens you requested exceeds the model limit of 32768" },
    class: "caller_fault",
    code: "validationexception",
  },
  {
    name: "Groq: a request larger than the minute",
    source: `${github}HunorLaczko/ha-groq-cloud-api/issues/27`,
    status: 413,
    body: openai(
      "Request too large for model llama-3.1-8b-instant in organization org_0 service tier on_demand on tokens per minute (TPM): Limit 6000, Requested 12328, please reduce your message size and try again.",
      "rate_limit_exceeded",
      "tokens",
    ),
    class: "caller_fault",
    code: "rate_limit_exceeded",
  },
  {
    name: "Groq: tokens of the day",
    source: `${github}continuedev/continue/issues/10920`,
    status: 429,
    headers: { "retry-after": "579" },
    body: openai(
      "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_0` service tier `on_demand` on tokens per day (TPD): Limit 100000, Used 97050, Requested 3619. Please try again in 9m38.016s.",
      "rate_limit_exceeded",
      "tokens",
    ),
    class: "rate_limit",
    code: "rate_limit_exceeded",
    wait: 579_000,
  },
  {
    name: "Mistral: the tier's capacity, under a type that blames the request",
    source: `${github}continuedev/continue/issues/6185`,
    status: 429,
    body: {
      object: "error",
      message: "Service tier capacity exceeded for this model.",
      type: "invalid_request_error",
      param: null,
      code: null,
    },
    class: "overloaded",
    code: "invalid_request_error",
  },
  {
    name: "Mistral: the request rate",
    source: `${github}raycast/extensions/issues/31107`,
    status: 429,
    body: { object: "error", message: "Rate limit exceeded", type: "rate_limited", param: null, code: "1300" },
    class: "rate_limit",
    code: "1300",
  },
  {
    name: "Mistral: the request rate, bare",
    source: `${github}pydantic/pydantic-ai/issues/1885`,
    status: 429,
    body: { message: "Requests rate limit exceeded" },
    class: "rate_limit",
    code: null,
  },
  {
    name: "xAI: credits used up, as plain text in JSON",
    source: `${github}continuedev/continue/issues/10373`,
    status: 429,
    body: xaiSpent,
    class: "quota",
    code: null,
  },
  {
    name: "xAI: credits used up, with 403",
    source: `${github}warpdotdev/warp/issues/14867`,
    status: 403,
    body: { code: "permission-denied", error: xaiSpent },
    class: "quota",
    code: "permission-denied",
  },
  {
    name: "xAI: a team without credits",
    source: `${github}continuedev/continue/issues/12670`,
    status: 403,
    body: { error: "Your newly created team doesn't have any credits or licenses yet." },
    class: "quota",
    code: null,
  },
  {
    name: "Moonshot: not active for want of money",
    source: `${github}MoonshotAI/Kimi-K2/issues/5`,
    status: 403,
    body: {
      error: {
        message: "Your account xx is not active, organization xx exceeded current quota, please check your plan",
        type: "exceeded_current_quota_error",
      },
    },
    class: "quota",
    code: "exceeded_current_quota_error",
  },
  {
    name: "Moonshot: the engine is overloaded, said with 429",
    source: `${github}MoonshotAI/kimi-code/issues/2152`,
    status: 429,
    body: {
      error: {
        message: "The engine is currently overloaded, please try again later",
        type: "engine_overloaded_error",
      },
    },
    class: "overloaded",
    code: "engine_overloaded_error",
  },
  {
    name: "Moonshot: requests of the minute",
    source: `${github}MoonshotAI/kimi-cli/issues/1599`,
    status: 429,
    body: {
      error: {
        message: "Your account org-0 request reached organization max RPM: 20, please try again after 1 seconds",
        type: "rate_limit_reached_error",
      },
    },
    class: "rate_limit",
    code: "rate_limit_reached_error",
  },
  {
    name: "DashScope: payment overdue",
    source: `${github}tencentmusic/supersonic/issues/1572`,
    status: 400,
    body: { code: "Arrearage", message: "Access denied, please make sure your account is in good standing." },
    class: "quota",
    code: "arrearage",
  },
  {
    name: "DashScope: the free quota is used up",
    source: `${github}axoviq-ai/synthadoc/issues/215`,
    status: 403,
    body: openai(
      'The free quota has been exhausted. To continue accessing the model on a paid basis, please complete your payment information（or disable the "use free tier only" mode in the management console if already completed).',
      "AllocationQuota.FreeTierOnly",
      "AllocationQuota.FreeTierOnly",
    ),
    class: "quota",
    code: "allocationquota.freetieronly",
  },
  {
    name: "Zhipu: no balance",
    source: `${github}edison7009/EchoBird/issues/104`,
    status: 429,
    body: { error: { code: "1113", message: rechargeZhipu } },
    class: "quota",
    code: "1113",
  },
  {
    name: "Zhipu: no balance, on Anthropic's wire as a rate limit",
    source: `${github}zai-org/feedback/issues/789`,
    status: 429,
    body: {
      type: "error",
      error: {
        type: "rate_limit_error",
        code: "1113",
        message: "[1113][Insufficient balance or no resource package. Please recharge.][20260922]",
      },
    },
    class: "quota",
    code: "1113",
  },
  {
    name: "SiliconFlow: paid balance insufficient",
    source: `${github}FoundationAgents/OpenManus/issues/438`,
    status: 403,
    body: {
      code: 30011,
      message: "The selected model requires paid balance. Your paid balance is insufficient. Please top up.",
      data: null,
    },
    class: "quota",
    code: "30011",
  },
  {
    name: "MiniMax: no balance, with 500",
    source: `${github}MiniMax-AI/MiniMax-M2/issues/62`,
    status: 500,
    body: anthropic("api_error", "insufficient balance (1008)"),
    class: "quota",
    code: "api_error",
  },
  {
    name: "MiniMax: no balance, with 429",
    source: `${github}modelscope/modelscope/issues/1691`,
    status: 429,
    body: { error: { http_code: "429", message: "insufficient balance (1008)", type: "insufficient_balance_error" } },
    class: "quota",
    code: "insufficient_balance_error",
  },
  {
    name: "DeepSeek: no balance",
    source: `${github}666ghj/BettaFish/issues/286`,
    status: 402,
    body: openai("Insufficient Balance", "invalid_request_error", "unknown_error"),
    class: "quota",
    code: "invalid_request_error",
  },
  {
    name: "Fireworks: suspended at the spending limit",
    source: `${github}pollinations/pollinations/issues/12136`,
    status: 412,
    body: openai(
      "Account acme is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices.",
      "PRECONDITION_FAILED",
      "error",
    ),
    class: "quota",
    code: "precondition_failed",
  },
  {
    name: "vLLM: over the context, with the status as its code",
    source: `${github}harbor-framework/harbor/pull/996`,
    status: 400,
    body: {
      error: {
        message:
          "You passed 1015 input tokens and requested 10 output tokens. However, the model's context length is only 1024 tokens, resulting in a maximum input length of 1014 tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=1015)",
        type: "BadRequestError",
        param: "input_tokens",
        code: 400,
      },
    },
    class: "caller_fault",
    code: "badrequesterror",
  },
  {
    name: "LiteLLM: a rate limit wrapped in another's words",
    source: `${github}jasonacox/TinyLLM/issues/17`,
    status: 429,
    body: openai(
      "litellm.RateLimitError: AzureException RateLimitError - Error code: 429 - {'error': {'code': '429', 'message': 'Requests to the ChatCompletions_Create Operation have exceeded token rate limit'}}\nReceived Model Group=azure-gpt-4o-mini",
      "429",
      "throttling_error",
    ),
    class: "rate_limit",
    code: "throttling_error",
  },
  {
    name: "OpenRouter: a shared pool's rate limit, told by its metadata",
    source: `${github}open-webui/computer/issues/293`,
    status: 429,
    body: {
      error: {
        message: "Provider returned error",
        code: 429,
        metadata: { raw: "z-ai/glm-5.3-flash is temporarily rate-limited upstream.", provider_name: "BaseTen" },
      },
    },
    class: "rate_limit",
    code: "429",
  },
  {
    name: "OpenRouter: a rate limit beside an empty answer of status 200",
    source: `${github}BerriAI/litellm/issues/8448`,
    status: 200,
    body: {
      id: "gen-0",
      choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: null } }],
      error: {
        message: "Provider returned error",
        code: 429,
        metadata: { raw: "error code: 1015", provider_name: "Kluster" },
      },
    },
    class: "rate_limit",
    code: "429",
  },
  {
    name: "Workers AI: the free allocation of the day",
    source: "https://developers.cloudflare.com/workers-ai/platform/errors/",
    status: 429,
    body: {
      success: false,
      errors: [{ code: 3036, message: "You have used up your daily free allocation of 10,000 neurons." }],
      result: {},
      messages: [],
    },
    class: "quota",
    code: "3036",
  },
  {
    name: "Workers AI: out of capacity",
    source: "https://developers.cloudflare.com/workers-ai/platform/errors/",
    status: 429,
    body: { success: false, errors: [{ code: 3040, message: "No more data centers to forward the request to" }] },
    class: "overloaded",
    code: "3040",
  },
  {
    name: "Workers AI: no such model",
    source: "https://developers.cloudflare.com/workers-ai/platform/errors/",
    status: 400,
    body: { success: false, errors: [{ code: 5007, message: "No such model @cf/none or task" }] },
    class: "model_missing",
    code: "5007",
  },
  {
    name: "Workers AI: a private model",
    source: "https://developers.cloudflare.com/workers-ai/platform/errors/",
    status: 403,
    body: { success: false, errors: [{ code: 5018, message: "The account is not allowed to access this model" }] },
    class: "model_missing",
    code: "5018",
  },
  {
    name: "Responses: overloaded, as an event of a stream",
    source: `${github}XiaomiMiMo/MiMo-Code/issues/2083`,
    status: 200,
    body: {
      type: "error",
      error: { type: "service_unavailable_error", code: "server_is_overloaded", message: overloadedNow },
    },
    class: "overloaded",
    code: "server_is_overloaded",
  },
  {
    name: "Responses: overloaded, as the response that failed",
    source: `${github}tailcallhq/forgecode/pull/3040`,
    status: 200,
    body: {
      type: "response.failed",
      response: { id: "resp_0", status: "failed", error: { code: "server_is_overloaded", message: overloadedNow } },
    },
    class: "overloaded",
    code: "server_is_overloaded",
  },
  {
    name: "Moonshot behind a reseller: suspended for want of balance",
    source: `${github}anomalyco/opencode/issues/24462`,
    status: 429,
    body: {
      error: {
        message:
          "Your account org-0 <ak-0> is suspended due to insufficient balance, please recharge your account or check your plan",
        type: "exceeded_current_quota_error",
      },
    },
    class: "quota",
    code: "exceeded_current_quota_error",
  },
];
