/** Counts what the test runners themselves reported. As a program, given the exit code of `npm test`, it prints `N passed, N failed`. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** Where each run of a test runner leaves its JSON report. */
export const reportFolder = path.join(path.dirname(import.meta.dirname), ".cache/reports");

/** The runs of a test runner that make up `npm test`, by their reports' names. */
export type RunName = (typeof runNames)[number];
const runNames = ["unit", "e2e-waiting", "e2e-timed"] as const;

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
}

interface Tally {
  readonly passed: number;
  readonly failed: number;
}

/** A missing or empty report counts as one failure: a runner that died, or found nothing to run, has proved nothing. */
function readReport(name: RunName): Tally {
  const file = path.join(reportFolder, `${name}.json`);
  if (!existsSync(file)) {
    return { passed: 0, failed: 1 };
  }
  const report: Report = JSON.parse(readFileSync(file, "utf8"));
  const ran = report.numPassedTests + report.numFailedTests;
  return { passed: report.numPassedTests, failed: ran === 0 ? 1 : report.numFailedTests };
}

/** The sum over all runs. Never "0 failed" when `npm test` failed for another reason, such as a check. */
function sumReports(exitCode: number): Tally {
  const tallies = runNames.map(readReport);
  const passed = tallies.reduce((sum, tally) => sum + tally.passed, 0);
  const failed = tallies.reduce((sum, tally) => sum + tally.failed, 0);
  return { passed, failed: exitCode === 0 ? failed : Math.max(failed, 1) };
}

if (import.meta.main) {
  const { passed, failed } = sumReports(Number(process.argv[2] ?? "0"));
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
