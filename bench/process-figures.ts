/** What the kernel says of a process: its CPU time and its memory. Linux only. */
import { readFileSync, readdirSync } from "node:fs";

/** USER_HZ: the unit of /proc's times is 10 ms on every Linux that Node runs on. */
const microsecondsPerTick = 10_000;

/** CPU time of all threads so far, user and system, in microseconds. Steps of 10 ms. */
export function cpuMicroseconds(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[11]) + Number(fields[12])) * microsecondsPerTick;
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? "0") * 1024;
}

/** Children of this process that run a program of that name. */
export function childrenNamed(name: string): readonly number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        const text = readFileSync(`/proc/${pid}/stat`, "utf8");
        return text.includes(`(${name})`) && Number(fieldsOf(text)[1]) === process.pid;
      } catch {
        return false;
      }
    });
}

/** The fields of /proc/<pid>/stat after the name, state first. */
function statOf(pid: number): readonly string[] {
  return fieldsOf(readFileSync(`/proc/${pid}/stat`, "utf8"));
}

function fieldsOf(text: string): readonly string[] {
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
