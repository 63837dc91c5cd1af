/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["kimi-k2.5", "llm", "Kimi K2.5", 262144, "0.6", "3", "0.1"],
  ["kimi-k2.6", "llm", "Kimi K2.6", 262144, "0.95", "4", "0.16"],
  ["kimi-k2.7-code", "llm", "Kimi K2.7 Code", 262144, "0.95", "4", "0.19"],
  ["kimi-k2.7-code-highspeed", "llm", "Kimi K2.7 Code HighSpeed", 262144, "1.9", "8", "0.38"],
  ["kimi-k3", "llm", "Kimi K3", 1048576, "3", "15", "0.3"],
  ["moonshot-v1-128k", "llm", "Moonshot V1 128K", 131072, "2", "5", null],
  ["moonshot-v1-32k", "llm", "Moonshot V1 32K", 32768, "1", "3", null],
  ["moonshot-v1-8k", "llm", "Moonshot V1 8K", 8192, "0.2", "2", null],
] as const;
