/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["deepseek-ai/deepseek-coder-33b-instruct", "llm", "deepseek-ai/deepseek-coder-33b-instruct", null, "0.8", "0.8", null],
  ["meta-llama/Llama-3.3-70B-Instruct-Turbo", "llm", "meta-llama/Llama-3.3-70B-Instruct-Turbo", null, "0.88", "0.88", null],
  ["meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "llm", "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", null, "0.27", "0.85", null],
  ["meta-llama/Llama-4-Scout-17B-16E-Instruct", "llm", "meta-llama/Llama-4-Scout-17B-16E-Instruct", null, "0.18", "0.59", null],
  ["meta-llama/Meta-Llama-3-70B-Instruct-Turbo", "llm", "meta-llama/Meta-Llama-3-70B-Instruct-Turbo", null, "0.88", "0.88", null],
  ["meta-llama/Meta-Llama-3-8B-Instruct-Turbo", "llm", "meta-llama/Meta-Llama-3-8B-Instruct-Turbo", null, "0.18", "0.18", null],
  ["meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo", "llm", "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo", null, "3.5", "3.5", null],
  ["meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", "llm", "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", null, "0.88", "0.88", null],
  ["meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "llm", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", null, "0.18", "0.18", null],
  ["meta-llama/Meta-Llama-3.3-70B-Instruct-Turbo", "llm", "meta-llama/Meta-Llama-3.3-70B-Instruct-Turbo", null, "0.88", "0.88", null],
  ["mistralai/Mistral-7B-Instruct-v0.2", "llm", "mistralai/Mistral-7B-Instruct-v0.2", null, "0.2", "0.2", null],
] as const;
