/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["claude-fable-5", "llm", "Claude Fable 5", 1000000, "10", "50", "1"],
  ["claude-fable-5-1", "llm", "Claude Fable 5.1", 1000000, "10", "50", "0.25"],
  ["claude-haiku-4-5", "llm", "Claude Haiku 4.5", 200000, "1", "5", "0.1"],
  ["claude-opus-4-0", "llm", "Claude Opus 4", 200000, "15", "75", "1.5"],
  ["claude-opus-4-1", "llm", "Claude Opus 4.1", 200000, "15", "75", "1.5"],
  ["claude-opus-4-5", "llm", "Claude Opus 4.5", 200000, "5", "25", "0.5"],
  ["claude-opus-4-6", "llm", "Claude Opus 4.6", 1000000, "5", "25", "0.5"],
  ["claude-opus-4-7", "llm", "Claude Opus 4.7", 1000000, "5", "25", "0.5"],
  ["claude-opus-4-8", "llm", "Claude Opus 4.8", 1000000, "5", "25", "0.5"],
  ["claude-opus-5", "llm", "Claude Opus 5", 1000000, "5", "25", "0.5"],
  ["claude-opus-5-5", "llm", "Claude Opus 5.5", 1000000, "4", "20", "0.2"],
  ["claude-sonnet-4-0", "llm", "Claude Sonnet 4", 200000, "3", "15", "0.3"],
  ["claude-sonnet-4-5", "llm", "Claude Sonnet 4.5", 200000, "3", "15", "0.3"],
  ["claude-sonnet-4-6", "llm", "Claude Sonnet 4.6", 1000000, "3", "15", "0.3"],
  ["claude-sonnet-5", "llm", "Claude Sonnet 5", 1000000, "2", "10", "0.2"],
] as const;
