/** Default models on the wire. Holds no table; that stands in `model.ts`. */
import { z } from "@hono/zod-openapi";
import type { modelTypes } from "./model.js";

const ModelTarget = z.strictObject({ provider_name: z.string().max(64), model: z.string().max(256) });
const PoolTarget = z.strictObject({ pool: z.string().max(128).describe("The pool's id or name.") });
const Target = z
  .union([ModelTarget, PoolTarget], { error: "Give {provider_name, model}, {pool} or null." })
  .nullable()
  .default(null);
export type DefaultTarget = z.infer<typeof Target>;

/** Replaces them all: a type that is left out has no default any more. */
export const PutDefaultModels = z
  .strictObject({ llm: Target, embedding: Target, rerank: Target, speech: Target, image: Target, moderation: Target })
  .openapi("PutDefaultModels", {
    example: { llm: { provider_name: "openai", model: "gpt-5-mini" }, embedding: { pool: "embeddings" } },
  });
export type PutDefaultModels = z.infer<typeof PutDefaultModels>;

const Available = z.boolean().describe("Whether it is there, enabled, and has a credential that is not disabled.");

const DefaultModel = z
  .union([
    z.object({ provider_name: z.string(), model: z.string(), available: Available }),
    z.object({ pool: z.string(), pool_id: z.string(), available: Available }),
  ])
  .nullable();
export type DefaultModel = z.infer<typeof DefaultModel>;

export const DefaultModels = z
  .object({
    llm: DefaultModel,
    embedding: DefaultModel,
    rerank: DefaultModel,
    speech: DefaultModel,
    image: DefaultModel,
    moderation: DefaultModel,
  })
  .openapi("DefaultModels", {
    example: {
      llm: { provider_name: "openai", model: "gpt-5-mini", available: true },
      embedding: null,
      rerank: null,
      speech: null,
      image: null,
      moderation: null,
    },
  });
export type DefaultModels = z.infer<typeof DefaultModels>;

/** Every type with a value of its own. */
export function perType<T>(value: (type: (typeof modelTypes)[number]) => T): Record<(typeof modelTypes)[number], T> {
  return {
    llm: value("llm"),
    embedding: value("embedding"),
    rerank: value("rerank"),
    speech: value("speech"),
    image: value("image"),
    moderation: value("moderation"),
  };
}
