import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { defineConfig } from "vitest/config";
import { serveUpstream } from "./test/support/upstream-server.js";

const key = (letter: string): string => btoa(letter.repeat(32)).replaceAll("=", "");
const keyring = (letter: string): string => JSON.stringify({ primary: "t1", keys: { t1: key(letter) } });

// A failure is repeated by SEED=<n> npm run test:unit
const seed = process.env["SEED"] ?? String(Math.floor(Math.random() * 2 ** 31));
process.env["SEED"] = seed;
console.log(`seed ${seed}`);
const isDeep = process.env["DEEP"] === "1";
const deepBindings = isDeep ? { DEEP: "1", SEED: seed } : { SEED: seed };

/**
 * Every entry point of a package that the Worker or its tests import for more than its types. All of them or none: a
 * package that is bundled for one import and not for another would stand in the Worker twice.
 */
function findPackages(): string[] {
  const files = ["src", "test"].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => readFileSync(path.join(folder, file), "utf8")),
  );
  const imports = /^(?:import|export)\s(?!type\b)[^;]*?from "([^".][^"]*)";$|\bimport\("([^".][^"]*)"\)/gm;
  const names = files.flatMap((text) => [...text.matchAll(imports)].map((match) => match[1] ?? match[2] ?? ""));
  return [...new Set(names)].filter((name) => name !== "vitest" && !/^(node|cloudflare):/.test(name)).toSorted();
}

const packages = findPackages();
// One bundle for each set of packages, so that a run beside another with one import more takes nothing from under it.
const bundleName = createHash("sha256").update(packages.join("\n")).digest("hex").slice(0, 12);

export default defineConfig({
  cacheDir: path.join(".cache/vite", bundleName),
  plugins: [
    cloudflareTest(async () => ({
      wrangler: { configPath: "./wrangler.toml" },
      miniflare: {
        bindings: {
          ...deepBindings,
          TEST_SCHEMA: (await readD1Migrations("migrations")).flatMap(({ queries }) => queries),
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
          ALLOWED_ORIGINS: "https://console.example",
        },
        outboundService: { node: serveUpstream },
      },
    })),
  ],
  test: {
    include: ["test/**/*.test.ts"],
    // Packages arrive as a few bundles, as they do in production, and not as hundreds of modules for each file.
    deps: {
      optimizer: {
        ssr: {
          enabled: true,
          include: packages,
          rolldownOptions: { external: [/^node:/, /^cloudflare:/] },
        },
      },
    },
    // A file's worker waits for Node, or for a clock, half of its time. Vitest's own choice on two cores is one.
    maxWorkers: 3,
    // With three at once on two cores, what is polled for may be a while in coming.
    expect: { poll: { timeout: 10_000 } },
    // A cached module is sent with its source map, which costs more than it saves where the cache begins empty.
    fsModuleCache: process.env["CI"] === undefined,
    setupFiles: ["./test/support/migrations.ts"],
    // For a machine that others load too; what passed at its second try is named at the end of CI.
    retry: process.env["CI"] === undefined ? 0 : 1,
    // The long form of a property is as long as it says; what hangs is ended with its whole step.
    testTimeout: isDeep ? 600_000 : 30_000,
    // A passing test's log lines say nothing; a failing one's are shown.
    silent: "passed-only",
  },
});
