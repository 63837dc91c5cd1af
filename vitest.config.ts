import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { serveUpstream } from "./test/support/upstream-server.js";

const key = (letter: string): string => btoa(letter.repeat(32)).replaceAll("=", "");
const keyring = (letter: string): string => JSON.stringify({ primary: "t1", keys: { t1: key(letter) } });

// A failure is repeated by SEED=<n> npm run test:unit
const seed = process.env["SEED"] ?? String(Math.floor(Math.random() * 2 ** 31));
process.env["SEED"] = seed;
console.log(`seed ${seed}`);
const deepBindings = process.env["DEEP"] === "1" ? { DEEP: "1", SEED: seed } : { SEED: seed };

export default defineConfig({
  plugins: [
    cloudflareTest(async () => ({
      wrangler: { configPath: "./wrangler.toml" },
      miniflare: {
        bindings: {
          ...deepBindings,
          TEST_MIGRATIONS: await readD1Migrations("migrations"),
          PUBLIC_URL: "http://127.0.0.1:8787",
          KEYRING: keyring("k"),
          TOKEN_SECRET: keyring("t"),
          MAIL_SECRET: keyring("m"),
          AUTH_SECRET: keyring("a"),
          CHECKPOINT_KEY: key("c"),
          SETUP_TOKEN: "setup-token-of-the-tests-0123456789",
          MAIL_TRANSPORT: "outbox",
          SANDBOX: "1",
          WORKSPACE_CREATORS: "anyone",
          OUTBOUND_ALLOW: "",
        },
        outboundService: { node: serveUpstream },
      },
    })),
  ],
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["./test/support/migrations.ts"],
    testTimeout: 30_000,
    // A passing test's log lines say nothing; a failing one's are shown.
    silent: "passed-only",
  },
});
