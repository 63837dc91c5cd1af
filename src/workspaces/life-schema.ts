/** The end of a workspace on the wire. */
import { z } from "@hono/zod-openapi";
import { PageQuery } from "../http/page.js";

export const DeleteWorkspace = z
  .strictObject({ slug: z.string().max(100).describe("The workspace's slug, to show that this very one is meant.") })
  .openapi("DeleteWorkspace");
export type DeleteWorkspace = z.infer<typeof DeleteWorkspace>;

export const WorkspacesQuery = PageQuery.extend({
  state: z
    .enum(["active", "deleted"])
    .default("active")
    .describe("`deleted`: those that you own and deleted, until a backup cannot hold them any more."),
});
export type WorkspacesQuery = z.infer<typeof WorkspacesQuery>;
