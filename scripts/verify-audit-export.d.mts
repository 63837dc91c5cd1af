/** What verify-audit says of an export, for tests that run where Node's types are not. */
export interface Verdict {
  readonly ok: boolean;
  readonly proved: boolean;
  readonly findings: readonly {
    readonly kind: string;
    readonly detail: string;
    readonly line?: number;
    readonly seq?: number;
  }[];
  readonly warnings: readonly string[];
  readonly rows: number;
  readonly size: number | null;
  readonly root: string | null;
}

export function verifyExport(
  bytes: Uint8Array,
  options?: { readonly key?: string | undefined; readonly checkpoints?: readonly string[] },
): Verdict;
