/** Written by `npm run catalogue:models` from the lists in scripts/catalogue-models.ts; change the script instead. */
export const rows = [
  ["BAAI/bge-m3", "embedding", "BGE M3", null, null, null, null],
  ["BAAI/bge-reranker-v2-m3", "rerank", "BGE reranker 2 M3", null, null, null, null],
  ["Qwen/Qwen3-32B", "llm", "Qwen3 32B", null, null, null, null],
  ["deepseek-ai/DeepSeek-V3", "llm", "DeepSeek V3", null, null, null, null],
] as const;
