import type { EngineResults } from './engineStages';
import type { FirstTokenPeer } from './firstTokenPeer';
import type { PeerResults } from './peers';
import type { ColdStart, Memory } from './processes';

/** docs/results/performance.json. */
export interface PerformanceResults {
  readonly machine: string;
  readonly cores: number;
  /** Shapes that the whole bench has, measured or not. */
  readonly planned: readonly { readonly shape: string; readonly title: string; readonly precision: string }[];
  readonly engine: readonly EngineResults[];
  /** What was measured beside the shapes: when, by which command, and the hash of the sources. */
  readonly others: { readonly measuredAt: string; readonly command: string; readonly code: string };
  readonly memory: readonly { readonly title: string; readonly precision: string; readonly memory: Memory }[];
  /** Hash of the sources whose memory was measured, where that was done again later (`--only memory`). */
  readonly memoryCode?: string;
  readonly coldStart: ColdStart;
  readonly peers: PeerResults;
  /** llama-mtmd-cli, where it was given. */
  readonly firstTokenPeer?: FirstTokenPeer;
}
