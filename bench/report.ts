/** Medians of the rounds, and how each contestant stands to the floor of its host. */
import type { Sample } from "./measure.ts";

/** The medians of one contestant in one setting. */
export type Figures = Omit<Sample, "round">;

const measured = [
  "calls",
  "rps",
  "p50",
  "p99",
  "firstByteP50",
  "firstByteP99",
  "cpu",
  "residentBytes",
  "upstreamBusy",
  "callersBusy",
] as const;

export function summarize(samples: readonly Sample[]): readonly Figures[] {
  const groups = Map.groupBy(samples, ({ name, host, kind, callers }) => [name, host, kind, callers].join(" "));
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) {
      return [];
    }
    const { round: _round, ...rest } = first;
    const medians = Object.fromEntries(measured.map((field) => [field, median(group.map((sample) => sample[field]))]));
    return [{ ...rest, ...medians, failures: group.reduce((sum, { failures }) => sum + failures, 0) }];
  });
}

function median(values: readonly (number | null)[]): number | null {
  const sorted = values.filter((value) => value !== null).toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle];
  if (upper === undefined) {
    return null;
  }
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** The table, a block for each kind and number of callers. */
export function writeTable(figures: readonly Figures[]): string {
  const blocks = Map.groupBy(
    figures,
    ({ kind, callers }) => `${kind}, ${callers} ${callers === 1 ? "caller" : "callers"}`,
  );
  return [...blocks]
    .map(([title, rows]) => `${title}\n${align([heads, ...rows.map((row) => cells(row, rows))])}`)
    .join("\n\n");
}

const heads = [
  "",
  "host",
  "RPS",
  "p50 ms",
  "p99 ms",
  "first byte ms",
  "CPU µs",
  "RSS MB",
  "× floor RPS",
  "× floor CPU",
  "× floor first byte",
  "upstream busy",
  "callers busy",
  "failed",
];

function cells(row: Figures, rows: readonly Figures[]): readonly string[] {
  const floor = rows.find(({ name, host }) => name === "floor" && host === row.host);
  return [
    row.name,
    row.host,
    row.rps.toFixed(0),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
    row.firstByteP50.toFixed(2),
    row.cpu?.toFixed(0) ?? "-",
    row.residentBytes === null ? "-" : (row.residentBytes / 1_048_576).toFixed(0),
    ratio(row.rps, floor?.rps),
    ratio(row.cpu, floor?.cpu),
    ratio(row.firstByteP50, floor?.firstByteP50),
    percent(row.upstreamBusy),
    percent(row.callersBusy),
    String(row.failures),
  ];
}

function ratio(value: number | null, against: number | null | undefined): string {
  return value === null || against === null || against === undefined || against === 0
    ? "-"
    : (value / against).toFixed(2);
}

function percent(part: number): string {
  return `${(part * 100).toFixed(0)} %`;
}

function align(rows: readonly (readonly string[])[]): string {
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
