/** Runs before each file of end-to-end tests: an answer that is not as the contract says fails the test that got it. */
import { afterAll, afterEach, inject } from "vitest";
import { expectGatehouse, heldFetch, settle } from "./contract.ts";

// Tests call it, and the SDKs take it when they are made.
globalThis.fetch = heldFetch;

// The files that start servers of their own run without the shared one.
const shared: string | undefined = inject("serverUrl");
if (shared !== undefined) {
  expectGatehouse(shared);
}

afterEach(settle);
afterAll(settle);
