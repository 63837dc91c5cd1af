/** The end-to-end tests: plain Node, real clients, and a Gatehouse started as `npm start` starts it. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/**/*.test.ts"],
    globalSetup: ["./e2e/support/global-setup.ts"],
    // One server and two cores: files side by side would only disturb each other's timings.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
