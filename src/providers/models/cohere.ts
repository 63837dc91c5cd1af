/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["command-a-03-2025", "llm", "Command A", null, "2.5", "10", null],
  ["command-r", "llm", "Command R", null, "0.15", "0.6", null],
  ["command-r-plus", "llm", "Command R+", null, "2.5", "10", null],
  ["command-r7b-12-2024", "llm", "Command R7B", null, "0.0375", "0.15", null],
  ["embed-v4.0", "embedding", "Embed v4.0", 128000, "0.12", null, null],
  ["rerank-v3.5", "rerank", "Rerank 3.5", null, null, null, null],
] as const;
