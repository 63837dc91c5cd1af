/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["deepseek-r1-distill-llama-70b", "llm", "DeepSeek R1 Distill Llama 70B", 131072, "0.75", "0.99", null],
  ["llama-3.1-8b-instant", "llm", "Llama 3.1 8B Instant 128k", null, "0.05", "0.08", null],
  ["llama-3.3-70b-versatile", "llm", "Llama 3.3 70B Versatile 128k", null, "0.59", "0.79", null],
  ["llama-guard-3-8b", "moderation", "llama-guard-3-8b", null, "0.2", "0.2", null],
  ["meta-llama/llama-4-maverick-17b-128e-instruct", "llm", "Llama 4 Maverick 17B 128E", 131072, "0.2", "0.6", null],
  ["meta-llama/llama-4-scout-17b-16e-instruct", "llm", "Llama 4 Scout (17Bx16E) 128k", null, "0.11", "0.34", null],
  ["meta-llama/llama-guard-4-12b", "moderation", "Llama Guard 4 12B", 131072, "0.2", "0.2", null],
  ["mistral-saba-24b", "llm", "mistral-saba-24b", null, "0.79", "0.79", null],
  ["moonshotai/kimi-k2-instruct", "llm", "Kimi K2 1T 128k", 131072, "1", "3", "0.5"],
  ["openai/gpt-oss-120b", "llm", "openai/gpt-oss-120b", 131072, "0.15", "0.6", "0.075"],
  ["openai/gpt-oss-20b", "llm", "openai/gpt-oss-20b", 131072, "0.075", "0.3", "0.0375"],
  ["qwen/qwen3-32b", "llm", "Qwen3 32B 131k", 131072, "0.29", "0.59", null],
  ["whisper-large-v3", "speech", "Whisper Large V3", null, null, null, null],
  ["whisper-large-v3-turbo", "speech", "Whisper Large V3 Turbo", null, null, null, null],
] as const;
