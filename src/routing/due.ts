/** The object's one alarm, serving a small table of tasks that fall due. A task that fails is tried again; the alarm is always armed for the soonest. */
import { describeError, log } from "../base/log.js";

/** What the object may have to do without being called. */
export type DueTask = "expire_tickets" | "tell_siblings" | "tell_usage" | "tell_budgets" | "age_log";

/** A failed task is tried again after this. */
const retryMs = 10_000;

/** Puts a task on the table, or moves it to an earlier time; a later time than the table's changes nothing, so repeats write no row. `armAlarm` follows. */
export function setDue(sql: SqlStorage, task: DueTask, at: number): void {
  sql.exec(
    `INSERT INTO due (task, at) VALUES (?, ?)
     ON CONFLICT (task) DO UPDATE SET at = excluded.at WHERE excluded.at < at`,
    task,
    at,
  );
}

/** Takes a task off the table. */
export function dropDue(sql: SqlStorage, task: DueTask): void {
  sql.exec("DELETE FROM due WHERE task = ?", task);
}

/** Arms the alarm for the soonest task, if there is one and the alarm is not set at or before it. */
export async function armAlarm(storage: DurableObjectStorage): Promise<void> {
  const { at } = storage.sql.exec<{ at: number | null }>("SELECT min(at) AS at FROM due").one();
  if (at === null) {
    return;
  }
  const armed = await storage.getAlarm();
  if (armed === null || armed > at) {
    await storage.setAlarm(at);
  }
}

/** Runs every task that is due, each by itself, and arms the alarm for what is left. Never throws: the platform gives a failing alarm up after six tries. */
export async function runDue(
  storage: DurableObjectStorage,
  tasks: Readonly<Record<DueTask, () => void>>,
  now: number,
): Promise<void> {
  try {
    for (const { task } of storage.sql.exec<{ task: string }>("SELECT task FROM due WHERE at <= ?", now).toArray()) {
      if (isDueTask(task, tasks)) {
        runTask(storage.sql, task, tasks[task], now);
      } else {
        storage.sql.exec("DELETE FROM due WHERE task = ?", task);
      }
    }
  } catch (error) {
    log("error", "router_alarm_failed", { error: describeError(error) });
  } finally {
    await armAlarm(storage).catch((error: unknown) => {
      log("error", "router_alarm_not_armed", { error: describeError(error) });
    });
  }
}

function runTask(sql: SqlStorage, task: DueTask, run: () => void, now: number): void {
  try {
    sql.exec("DELETE FROM due WHERE task = ?", task);
    run();
  } catch (error) {
    log("error", "router_task_failed", { task, error: describeError(error) });
    setDue(sql, task, now + retryMs);
  }
}

function isDueTask(task: string, tasks: Readonly<Record<DueTask, () => void>>): task is DueTask {
  return Object.hasOwn(tasks, task);
}
