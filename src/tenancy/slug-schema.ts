/** A workspace's short name in addresses, and the words that no workspace may have. */
import { z } from "@hono/zod-openapi";

/** Words that paths need for themselves; no slug may be one. */
export const reservedSlugs: ReadonlySet<string> = new Set([
  "admin",
  "anthropic",
  "api",
  "api-keys",
  "assets",
  "audit-log",
  "auth",
  "console",
  "current",
  "default-models",
  "dev",
  "docs",
  "export",
  "healthz",
  "help",
  "invite",
  "invites",
  "login",
  "logout",
  "mcp",
  "me",
  "members",
  "model-providers",
  "new",
  "openapi",
  "ownership-transfer",
  "pools",
  "readyz",
  "requests",
  "restore",
  "root",
  "settings",
  "setup",
  "signin",
  "signup",
  "static",
  "status",
  "support",
  "switch",
  "system",
  "tool-providers",
  "tools",
  "usage",
  "v1",
  "vault",
  "workspace",
  "workspaces",
  "www",
]);

/** A slug: 2–48 of a–z, 0–9 and single dashes inside, no reserved word and nothing that looks like a workspace id. */
export const Slug = z
  .string()
  .min(2, "At least 2 characters.")
  .max(48, "At most 48 characters.")
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "Use a–z, 0–9 and single dashes inside.")
  .refine((slug) => !reservedSlugs.has(slug), "This word is reserved. Choose another.");
