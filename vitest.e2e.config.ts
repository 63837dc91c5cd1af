/** The end-to-end tests: plain Node, real clients, and a Gatehouse started as `npm start` starts it. */
import { defineConfig } from "vitest/config";

/** Files that mostly wait, for a queue, a mail server's patience or a command line, and on servers of their own: they mind no company. */
const waiting = [
  "e2e/mail*.test.ts",
  "e2e/keyring.test.ts",
  "e2e/bench.test.ts",
  "e2e/bundle.test.ts",
  "e2e/fresh-clone.test.ts",
];

export default defineConfig({
  test: {
    // One server and two cores: files side by side would only disturb each other's timings.
    fileParallelism: false,
    // Every answer that a test or its SDK gets is held against the contract.
    setupFiles: ["./e2e/support/contract-setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // For a machine that others load too; what passed at its second try is named at the end of CI.
    retry: process.env["CI"] === undefined ? 0 : 1,
    projects: [
      { extends: true, test: { name: "waiting", include: waiting } },
      {
        extends: true,
        test: {
          name: "timed",
          include: ["e2e/**/*.test.ts"],
          exclude: waiting,
          globalSetup: ["./e2e/support/global-setup.ts"],
        },
      },
    ],
  },
});
