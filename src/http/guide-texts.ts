/** The Markdown files that are served as pages. Each is bundled as text and loaded when it is first asked for. */
import type { Language } from "./docs-page.js";

type Load = () => Promise<{ readonly default: string }>;

/** The guides in the order of their list, each in every language. */
export const guideTexts: Readonly<Record<string, Readonly<Record<Language, Load>>>> = {
  "first-call": {
    en: () => import("../../docs/guides/first-call.md"),
    zh: () => import("../../docs/guides/zh/first-call.md"),
  },
  "invite-team": {
    en: () => import("../../docs/guides/invite-team.md"),
    zh: () => import("../../docs/guides/zh/invite-team.md"),
  },
  "rotate-key": {
    en: () => import("../../docs/guides/rotate-key.md"),
    zh: () => import("../../docs/guides/zh/rotate-key.md"),
  },
  "build-pool": {
    en: () => import("../../docs/guides/build-pool.md"),
    zh: () => import("../../docs/guides/zh/build-pool.md"),
  },
  "set-budget": {
    en: () => import("../../docs/guides/set-budget.md"),
    zh: () => import("../../docs/guides/zh/set-budget.md"),
  },
  "connect-mcp": {
    en: () => import("../../docs/guides/connect-mcp.md"),
    zh: () => import("../../docs/guides/zh/connect-mcp.md"),
  },
  "move-from-litellm": {
    en: () => import("../../docs/guides/move-from-litellm.md"),
    zh: () => import("../../docs/guides/zh/move-from-litellm.md"),
  },
  "move-from-portkey": {
    en: () => import("../../docs/guides/move-from-portkey.md"),
    zh: () => import("../../docs/guides/zh/move-from-portkey.md"),
  },
  "move-from-dify": {
    en: () => import("../../docs/guides/move-from-dify.md"),
    zh: () => import("../../docs/guides/zh/move-from-dify.md"),
  },
  "run-in-production": {
    en: () => import("../../docs/guides/run-in-production.md"),
    zh: () => import("../../docs/guides/zh/run-in-production.md"),
  },
};

/** The manual: what guides link to for the whole of a matter. English only. */
export const manualTexts: Readonly<Record<string, Load>> = {
  architecture: () => import("../../docs/architecture.md"),
  audit: () => import("../../docs/audit.md"),
  gateway: () => import("../../docs/gateway.md"),
  performance: () => import("../../docs/performance.md"),
  providers: () => import("../../docs/providers.md"),
  routing: () => import("../../docs/routing.md"),
  sandbox: () => import("../../docs/sandbox.md"),
  settings: () => import("../../docs/settings.md"),
  storage: () => import("../../docs/storage.md"),
  tools: () => import("../../docs/tools.md"),
  translation: () => import("../../docs/translation.md"),
  usage: () => import("../../docs/usage.md"),
  vault: () => import("../../docs/vault.md"),
  webhooks: () => import("../../docs/webhooks.md"),
};
