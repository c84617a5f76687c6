import type { Times } from './statistics';

/** Another program on the same shapes, in turn with ours. */
export interface PeerRun {
  readonly shape: string;
  readonly program: string;
  /** How it holds the weights. */
  readonly weights: string;
  readonly prefill: Times;
  readonly prefillRatio: Times;
  readonly decode: Times;
  readonly decodeRatio: Times;
}

export interface PeerResults {
  readonly runs: readonly PeerRun[];
  readonly missing: readonly { readonly program: string; readonly why: string }[];
}
