/** Vendors whose accounts belong to a region, each with a host of its own, Bearer keys and OpenAI's wire. */
import type { FormField, ProviderRegion } from "./contract.js";
import { defineProvider } from "./define.js";
import { apiKeyField, baseUrlField, regionField } from "./form.js";
import { trialCall, trialModelField, trialVerdicts } from "./trial.js";

function regions(intl: string, cn: string): readonly [ProviderRegion, ProviderRegion] {
  return [
    { name: "intl", title: "International", base_url: intl },
    { name: "cn", title: "Mainland China", base_url: cn },
  ];
}

function regionalForm(keyHelp: string, choices: readonly ProviderRegion[], ...more: FormField[]): readonly FormField[] {
  const proxy = "Only for a proxy of your own: it takes the place of the region's address.";
  return [apiKeyField(keyHelp), regionField(choices), ...more, baseUrlField(proxy)];
}

const noCredit = "The API key is good, but its account has no credit left.";

const moonshotRegions = regions("https://api.moonshot.ai", "https://api.moonshot.cn");

/** `moonshot`: proved by the balance, which says whether there is credit too. */
export const moonshot = defineProvider({
  name: "moonshot",
  title: "Moonshot AI (Kimi)",
  docs_url: "https://platform.moonshot.ai/docs",
  base_url: moonshotRegions[0].base_url,
  regions: moonshotRegions,
  form: regionalForm("A key from platform.moonshot.ai or, for Mainland China, platform.moonshot.cn.", moonshotRegions),
  auth: "bearer",
  key_hint: { pattern: "sk-.+", text: "they begin with sk-" },
  endpoints: { "chat/completions": "/v1/chat/completions", messages: "/anthropic/v1/messages" },
  messages_auth: "bearer",
  validation: { method: "GET", path: "/v1/users/me/balance" },
  verdicts: [
    {
      from: 200,
      to: 200,
      body: /"available_balance"\s*:\s*(?:-|0(?:\.0+)?\s*[,}])/,
      outcome: "no_quota",
      reason: noCredit,
    },
  ],
});

const zhipuRegions = regions("https://api.z.ai/api", "https://open.bigmodel.cn/api");

/** `zhipu` */
export const zhipu = defineProvider({
  name: "zhipu",
  title: "Zhipu AI (GLM)",
  docs_url: "https://docs.z.ai/api-reference/introduction",
  base_url: zhipuRegions[0].base_url,
  regions: zhipuRegions,
  form: regionalForm("A key from z.ai or, for Mainland China, open.bigmodel.cn.", zhipuRegions),
  auth: "bearer",
  key_hint: {
    pattern: "[0-9a-f]{32}\\.[A-Za-z0-9]{16}",
    text: "32 hexadecimal digits, a dot, and 16 letters and digits",
  },
  endpoints: {
    "chat/completions": "/paas/v4/chat/completions",
    embeddings: "/paas/v4/embeddings",
    "images/generations": "/paas/v4/images/generations",
    messages: "/anthropic/v1/messages",
  },
  validation: { method: "GET", path: "/paas/v4/models" },
});

const dashscopeRegions = regions("https://dashscope-intl.aliyuncs.com", "https://dashscope.aliyuncs.com");

/** `dashscope` */
export const dashscope = defineProvider({
  name: "dashscope",
  title: "Alibaba Cloud Model Studio (Qwen)",
  docs_url: "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
  base_url: dashscopeRegions[0].base_url,
  regions: dashscopeRegions,
  form: regionalForm("A key from Model Studio of the region that you choose.", dashscopeRegions),
  auth: "bearer",
  key_hint: { pattern: "sk-.+", text: "they begin with sk-" },
  endpoints: {
    "chat/completions": "/compatible-mode/v1/chat/completions",
    embeddings: "/compatible-mode/v1/embeddings",
  },
  validation: { method: "GET", path: "/compatible-mode/v1/models" },
});

const siliconflowRegions = regions("https://api.siliconflow.com/v1", "https://api.siliconflow.cn/v1");

/** `siliconflow`: proved by the account's own page. Its balance says nothing, since some models are free. */
export const siliconflow = defineProvider({
  name: "siliconflow",
  title: "SiliconFlow",
  docs_url: "https://docs.siliconflow.com",
  base_url: siliconflowRegions[0].base_url,
  regions: siliconflowRegions,
  form: regionalForm(
    "A key from cloud.siliconflow.com or, for Mainland China, cloud.siliconflow.cn.",
    siliconflowRegions,
  ),
  auth: "bearer",
  key_hint: { pattern: "sk-.+", text: "they begin with sk-" },
  endpoints: {
    "chat/completions": "/chat/completions",
    embeddings: "/embeddings",
    "images/generations": "/images/generations",
    "audio/speech": "/audio/speech",
    "audio/transcriptions": "/audio/transcriptions",
    rerank: "/rerank",
  },
  validation: { method: "GET", path: "/user/info" },
});

const minimaxRegions = regions("https://api.minimax.io", "https://api.minimaxi.com");

/** `minimax`: its model list is known from hearsay only, so a model may be named to try the key with. */
export const minimax = defineProvider({
  name: "minimax",
  title: "MiniMax",
  docs_url: "https://platform.minimax.io/docs/api-reference/text-openai-api",
  base_url: minimaxRegions[0].base_url,
  regions: minimaxRegions,
  form: regionalForm(
    "A key from platform.minimax.io or, for Mainland China, platform.minimaxi.com.",
    minimaxRegions,
    trialModelField("If the check alone leaves the key unverified: it is tried with a chat of one token.", {
      placeholder: "MiniMax-M2.5",
    }),
  ),
  auth: "bearer",
  key_hint: { pattern: "eyJ.+|sk-.+", text: "they begin with sk- or eyJ" },
  endpoints: { "chat/completions": "/v1/chat/completions", messages: "/anthropic/v1/messages" },
  validation: ({ options: { validate_model: model } }) =>
    model === undefined ? { method: "GET", path: "/v1/models" } : trialCall(model, "/v1/chat/completions"),
  // It answers 200 with a code of its own where others answer 401 and 402.
  verdicts: [
    ...trialVerdicts,
    { from: 200, to: 200, body: /"status_code"\s*:\s*(?:1004|2049)\b/, outcome: "invalid", reason: null },
    { from: 200, to: 200, body: /"status_code"\s*:\s*1008\b/, outcome: "no_quota", reason: noCredit },
  ],
});
