/** The record under watch: every statement that a test makes it run, with what SQLite says of its plan and what it costs to read. */
import { env } from "cloudflare:workers";

/** One statement as it was run. */
export interface Watched {
  readonly sql: string;
  readonly params: readonly unknown[];
}

function runBatch(statements: D1PreparedStatement[]): Promise<D1Result[]> {
  return env.DB.batch(statements);
}

/** A D1 binding that notes what it is asked, and the notes. */
export function watchRecord(): { readonly binding: D1Database; readonly seen: Watched[] } {
  const seen: Watched[] = [];
  const prepare = (sql: string): D1PreparedStatement => {
    const statement = env.DB.prepare(sql);
    const note = { sql, params: [] as readonly unknown[] };
    seen.push(note);
    return new Proxy(statement, {
      get(target, name) {
        if (name === "bind") {
          return (...params: unknown[]) => {
            note.params = params;
            return target.bind(...params);
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  };
  return { binding: { prepare, batch: runBatch } as unknown as D1Database, seen };
}

/** The steps of a statement's plan, in SQLite's own words. */
export async function planOf({ sql, params }: Watched): Promise<readonly string[]> {
  const query = env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`).bind(...params);
  const { results } = await query.all<{ detail: string }>();
  return results.map(({ detail }) => detail);
}

/**
 * The steps that go through a whole table or a whole index. What has no rows of its own is left out: constants, and the lists that
 * `json_each` makes of a parameter or of one row's text.
 */
export function wholeScans(plan: readonly string[]): readonly string[] {
  return plan.filter((step) => /^SCAN (?!CONSTANT ROW|\d+-ROW VALUES CLAUSE|\S+ (?:EXISTS )?VIRTUAL TABLE)/.test(step));
}

/** Rows read by running these queries once more; what writes is left out. */
export async function rowsRead(seen: readonly Watched[]): Promise<number> {
  const queries = seen.filter(({ sql }) => /^\s*(select|with)\b/i.test(sql));
  let rows = 0;
  for (const { sql, params } of queries) {
    const { meta } = await env.DB.prepare(sql)
      .bind(...params)
      .all();
    rows += meta.rows_read;
  }
  return rows;
}
