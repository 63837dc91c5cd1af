/** Applies the project's migrations to the test file's own D1 before its first test. */
import { applyD1Migrations, type D1Migration } from "cloudflare:test";
import { env } from "cloudflare:workers";

declare global {
  // oxlint-disable-next-line typescript/no-namespace -- the platform's own way to add a test-only binding
  namespace Cloudflare {
    interface Env {
      TEST_MIGRATIONS: D1Migration[];
    }
  }
}

await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
