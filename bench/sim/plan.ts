/** What a run is to do. */
export interface SimPlan {
  readonly shards: readonly number[];
  readonly minutes: number;
  readonly callsPerSecond: number;
  readonly loss: number;
  readonly seed: number;
}
