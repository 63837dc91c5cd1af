/** Written by `npm run catalogue:models` from the lists in scripts/catalogue-models.ts; change the script instead. */
export const rows = [
  ["qwen-max", "llm", "Qwen Max", null, null, null, null],
  ["qwen-plus", "llm", "Qwen Plus", null, null, null, null],
  ["qwen-turbo", "llm", "Qwen Turbo", null, null, null, null],
  ["text-embedding-v4", "embedding", "Text embedding 4", null, null, null, null],
] as const;
