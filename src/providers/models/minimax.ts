/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["M2-her", "llm", "MiniMax M2-her", 64000, "0.3", "1.2", null],
  ["MiniMax-M2", "llm", "MiniMax M2", 204800, "0.3", "1.2", "0.03"],
  ["MiniMax-M2.1-highspeed", "llm", "MiniMax M2.1 Highspeed", 204800, "0.6", "2.4", "0.03"],
  ["MiniMax-M2.5-highspeed", "llm", "MiniMax M2.5 Highspeed", 204800, "0.6", "2.4", "0.03"],
  ["MiniMax-M2.7", "llm", "MiniMax M2.7", 204800, "0.3", "1.2", "0.06"],
  ["MiniMax-M2.7-highspeed", "llm", "MiniMax M2.7 Highspeed", 204800, "0.6", "2.4", "0.06"],
  ["MiniMax-M3", "llm", "MiniMax M3", 1000000, "0.3", "1.2", "0.06"],
] as const;
