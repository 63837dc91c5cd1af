/** Limits on the wire, of keys and of workspaces alike. Holds no table. */
import { z } from "@hono/zod-openapi";

const dearest = 1_000_000_000;

export const TokensPerMinute = z
  .number()
  .int()
  .min(1)
  .max(1_000_000_000)
  .describe(
    "Tokens in any 60 s: input and the longest answer are held when a call begins, and what it used counts when it ends.",
  );

/** At most a billion dollars and no less than a micro-dollar, so that micro-dollars are whole numbers. */
const Usd = z.number().min(0.000001, "Give at least 0.000001.").max(dearest);

export const BudgetUsd = z
  .strictObject({ day: Usd.optional(), month: Usd.optional() })
  .describe("USD that calls may cost in a UTC day and in a UTC month.");
export type BudgetUsd = z.infer<typeof BudgetUsd>;

/** A change of a budget: what is left out stays, null takes a part or all of it away. */
export const ChangedBudgetUsd = z
  .strictObject({ day: Usd.nullable().optional(), month: Usd.nullable().optional() })
  .nullable();

/** Limits of all calls of a workspace together; null means none. */
export const WorkspaceLimits = z
  .object({
    rpm: z.number().int().min(1).max(1_000_000).nullable().default(null).describe("Requests in any 60 s."),
    tpm: TokensPerMinute.nullable().default(null),
    concurrent: z.number().int().min(1).max(100_000).nullable().default(null).describe("Requests running at once."),
    budget_usd: z
      .object({ day: Usd.nullable().default(null), month: Usd.nullable().default(null) })
      .prefault({})
      .describe("USD that calls may cost in a UTC day and in a UTC month."),
  })
  .openapi("WorkspaceLimits");
export type WorkspaceLimits = z.infer<typeof WorkspaceLimits>;

/** A change of them: what is left out stays, null takes a limit away. */
export const ChangedWorkspaceLimits = z.strictObject({
  rpm: WorkspaceLimits.shape.rpm.unwrap().optional(),
  tpm: WorkspaceLimits.shape.tpm.unwrap().optional(),
  concurrent: WorkspaceLimits.shape.concurrent.unwrap().optional(),
  budget_usd: ChangedBudgetUsd.optional(),
});
export type ChangedWorkspaceLimits = z.infer<typeof ChangedWorkspaceLimits>;

/** Dollars as micro-dollars; null for no budget. */
export function toMicroUsd(usd: number | null | undefined): number | null {
  return usd === null || usd === undefined ? null : Math.round(usd * 1e6);
}
