/** What a question to the log may say. */
import { z } from "@hono/zod-openapi";
import { PageQuery, pageOf } from "../http/page.js";
import { AuditEntry } from "./model.js";

const id = z.string().min(1).max(200);

/** What narrows the log. */
export const AuditFilter = z.object({
  actor: id.optional().describe("Id of the account or key that did it."),
  action: z
    .string()
    .max(120)
    .regex(/^[a-z0-9_]+(?:\.[a-z0-9_]+)?$|^[a-z0-9_]+\.?[a-z0-9_]*\*$/, "Give an action, or its beginning and a `*`.")
    .optional()
    .describe("Such as `member.invited`; `member.*` for all that begin so."),
  target: id.optional().describe("Id of a thing that it was done to."),
  outcome: z.enum(["success", "denied", "failure"]).optional().describe("How it ended."),
  from: z.iso.datetime({ offset: true }).optional().describe("The first moment, itself included."),
  to: z.iso.datetime({ offset: true }).optional().describe("The end, itself left out."),
});
export type AuditFilter = z.infer<typeof AuditFilter>;

/** What the list is asked by. */
export const AuditQuery = AuditFilter.extend(PageQuery.shape);

/** A page of the log, newest first. */
export const AuditPage = pageOf(AuditEntry).openapi("AuditPage");
