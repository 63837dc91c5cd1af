/** Counts what the test runners themselves reported. As a program, given the exit code of `npm test`, it prints each failure, of a first try too, and then `N passed, N failed`. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** Where each run of a test runner leaves its JSON report. */
export const reportFolder = path.join(path.dirname(import.meta.dirname), ".cache/reports");

/** The runs of a test runner that make up `npm test`, by their reports' names. */
export type RunName = (typeof runNames)[number];
const runNames = ["unit", "e2e-waiting", "e2e-timed"] as const;

/** What we read of the runner's report, which has Jest's shape. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    /** The file's absolute path. */
    readonly name: string;
    readonly status: string;
    /** Why the file as a whole failed, where it did, for example at an import. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

interface Tally {
  readonly passed: number;
  readonly failed: number;
  /** One text for each failure, also of a test that then passed: where, which test, and the beginning of why. */
  readonly failures: readonly string[];
}

/** How much of a failure's message is printed again, in characters. */
const longestMessage = 1500;

/** A test that passed keeps the message of a try that failed before. */
function listFailures(report: Report): string[] {
  return report.testResults.flatMap((file) => {
    const where = path.relative(path.dirname(import.meta.dirname), file.name);
    const tests = file.assertionResults.filter(({ failureMessages }) => failureMessages.length > 0);
    if (tests.length === 0) {
      return file.status === "failed" ? [`FAILED ${where}\n${file.message.slice(0, longestMessage)}`] : [];
    }
    return tests.map(({ status, fullName, failureMessages }) => {
      const outcome = status === "passed" ? "PASSED AT THE SECOND TRY" : "FAILED";
      const ours = failureMessages
        .flatMap((message) => message.split("\n"))
        .filter((line) => !line.includes("node_modules"));
      return `${outcome} ${where} > ${fullName}\n${ours.join("\n").slice(0, longestMessage)}`;
    });
  });
}

/** A missing or empty report counts as one failure: a runner that died, or found nothing to run, has proved nothing. */
function readReport(name: RunName): Tally {
  const file = path.join(reportFolder, `${name}.json`);
  if (!existsSync(file)) {
    return { passed: 0, failed: 1, failures: [`FAILED ${name}: it left no report`] };
  }
  const report: Report = JSON.parse(readFileSync(file, "utf8"));
  const ran = report.numPassedTests + report.numFailedTests;
  return {
    passed: report.numPassedTests,
    failed: ran === 0 ? 1 : report.numFailedTests,
    failures: listFailures(report),
  };
}

/** The sum over all runs. Never "0 failed" when `npm test` failed for another reason, such as a check. */
function sumReports(exitCode: number): Tally {
  const tallies = runNames.map(readReport);
  const passed = tallies.reduce((sum, tally) => sum + tally.passed, 0);
  const failed = tallies.reduce((sum, tally) => sum + tally.failed, 0);
  const failures = tallies.flatMap((tally) => tally.failures);
  return { passed, failed: exitCode === 0 ? failed : Math.max(failed, 1), failures };
}

if (import.meta.main) {
  const { passed, failed, failures } = sumReports(Number(process.argv[2] ?? "0"));
  // Again, and last, where the end of a long log is all that is kept of it.
  for (const failure of failures) {
    console.log(`${failure}\n`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
