/**
 * Brings the test file's own D1 to the project's schema before its first test. Every statement of every migration, in order,
 * but as one batch and without the book of what was applied; `wrangler d1 migrations apply` itself runs in the end-to-end tests.
 * `cloudflare:test` would do the same, but it loads the whole Worker, for the third of the files that need none of it too.
 */
import { env } from "cloudflare:workers";

declare global {
  // oxlint-disable-next-line typescript/no-namespace -- the platform's own way to add a test-only binding
  namespace Cloudflare {
    interface Env {
      readonly TEST_SCHEMA: readonly string[];
    }
  }
}

await env.DB.batch(env.TEST_SCHEMA.map((statement) => env.DB.prepare(statement)));
