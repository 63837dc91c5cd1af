/** The record: D1 through drizzle's select builder, opened without a schema so that tables stay in their features. */
import { sql, type SQL } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { drizzle, type DrizzleD1Database } from "drizzle-orm/d1";
import { sqliteTable, text } from "drizzle-orm/sqlite-core";
import { AppError, isErrorCode, type ErrorCode } from "./errors.js";

/** The database as verbs take it. */
export type Database = DrizzleD1Database;

/** One statement, not yet run. Builders are synchronous: drizzle's are thenable, so an `async` function would run them on return. */
export type Statement = BatchItem<"sqlite">;

/** Never holds a row: a trigger refuses every insert with the code it was given (migration `guards`). */
const guards = sqliteTable("guards", { code: text("code").notNull() });

/** A planned change: its statements, what it will have made, and the codes of the constraints it may run into. */
export interface Change<T> {
  readonly statements: readonly Statement[];
  readonly value: T;
  /** Error by constraint: `table.column` (of a UNIQUE index, as SQLite names it) or `foreign_key`. */
  readonly conflicts?: Readonly<Record<string, ErrorCode>>;
}

/** Opens the record on a D1 binding; costs nothing by itself. */
export function openDatabase(binding: D1Database): Database {
  return drizzle(binding);
}

/** Runs statements as one transaction. Throws `AppError` for a guard's code or a UNIQUE failure (`conflict`); never lets SQL or parameters out. */
export async function commit(db: Database, statements: readonly Statement[]): Promise<void> {
  const [first, ...rest] = statements;
  if (first === undefined) {
    return;
  }
  await hideSql(db.batch([first, ...rest]));
}

/** Runs a change with statements before and after it, all in one transaction. Constraint failures wear the change's own codes. */
export async function commitChange<T>(
  db: Database,
  change: Change<T>,
  around: { readonly before?: readonly Statement[]; readonly after?: readonly Statement[] } = {},
): Promise<T> {
  try {
    await commit(db, [...(around.before ?? []), ...change.statements, ...(around.after ?? [])]);
  } catch (error) {
    const constraint = violated(error);
    const code = Object.entries(change.conflicts ?? {}).find(([name]) => constraint.includes(name))?.[1];
    throw code === undefined ? error : new AppError(code, { cause: error });
  }
  return change.value;
}

/** Awaits a query and turns its failure into an `AppError` without the SQL and its parameters, which drizzle puts into the message. */
export async function hideSql<T>(query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    throw toAppError(error);
  }
}

/** A guard to put right after a mutation: when that one changed no row, the whole batch rolls back with this code. */
export function guardChanged(db: Database, code: ErrorCode): Statement {
  return db.insert(guards).select(sql`SELECT ${code} WHERE changes() = 0`);
}

/** A guard on any condition: when the condition does not hold, the whole batch rolls back with this code. */
export function guardThat(db: Database, condition: SQL, code: ErrorCode): Statement {
  return db.insert(guards).select(sql`SELECT ${code} WHERE NOT coalesce((${condition}), 0)`);
}

function toAppError(error: unknown): unknown {
  if (error instanceof AppError) {
    return error;
  }
  const told = causes(error);
  const guard = /guard:([a-z_]+)/.exec(told)?.[1];
  if (guard !== undefined && isErrorCode(guard)) {
    return new AppError(guard);
  }
  const unique = /UNIQUE constraint failed: ([\w., ]+)/.exec(told)?.[1];
  if (unique !== undefined) {
    return new AppError("conflict", { cause: new Error(`constraint: ${unique}`) });
  }
  if (told.includes("FOREIGN KEY constraint failed")) {
    return new AppError("conflict", { cause: new Error("constraint: foreign_key") });
  }
  const constraint = /(CHECK|NOT NULL) constraint failed/.exec(told)?.[0];
  return new AppError("internal", { cause: new Error(`database: ${constraint ?? "query failed"}`) });
}

function violated(error: unknown): string {
  const cause = error instanceof AppError && error.code === "conflict" ? error.cause : undefined;
  return cause instanceof Error ? cause.message : "";
}

function causes(error: unknown): string {
  const words: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    words.push(at.message);
  }
  return words.join("\n");
}
