/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["deepseek-chat", "llm", "DeepSeek Chat", 64000, "0.27", "1.1", "0.07"],
  ["deepseek-reasoner", "llm", "Deepseek R1", 64000, "0.55", "2.19", "0.14"],
  ["deepseek-v3.1-terminus", "llm", "DeepSeek V3.1 Terminus", 128000, "0.27", "0.95", "0.13"],
  ["deepseek-v3.2", "llm", "DeepSeek V3.2", 128000, "0.2288", "0.3432", null],
  ["deepseek-v3.2-exp", "llm", "DeepSeek V3.2 Exp", 128000, "0.27", "0.41", null],
  ["deepseek-v4-flash", "llm", "DeepSeek V4 Flash", 1000000, "0.44", "1.32", "0.014"],
  ["deepseek-v4-pro", "llm", "DeepSeek V4 Pro", 1000000, "1.32", "3.96", "0.044"],
] as const;
