/** What the model chooser says about sizes, memory and time. Pure, so that it can be tested without an editor. */
import type { DownloadRequest, ModelCatalogueRequest } from '../../server/protocol';

/** `organisation/name`, with `@revision` where one is wanted. The server checks it more closely. */
const HUB_ID = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*(?:@[A-Za-z0-9][\w./-]*)?$/;
/** Where people copy ids from. */
const HUB_PAGE = /^https?:\/\/(?:www\.)?huggingface\.co\/([^/\s]+\/[^/\s?#]+)/;

/** The id of a model on the hub that a user typed or pasted: the id itself, or the address of its page. */
export function typedHubId(text: string): string | undefined {
  const trimmed = text.trim();
  const id = HUB_PAGE.exec(trimmed)?.[1] ?? trimmed;
  return HUB_ID.test(id) ? id : undefined;
}

/** 14130000000 as `14.1 GB`, 950000 as `950 kB`. */
export function dataSize(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Whole units only: nobody plans by the second of an hour. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** Whether a model's weights fit into this machine's memory; with less, answers come from the disk, slowly. */
export function fitsMemory({
  memoryBytes,
  machineMemoryBytes,
}: Pick<ModelCatalogueRequest.Entry, 'memoryBytes' | 'machineMemoryBytes'>): boolean {
  return memoryBytes <= machineMemoryBytes;
}

/** `1.2 GB of 14.1 GB · 12.0 MB/s · 18 min left`, or what it waits for. */
export function downloadState({
  bytes,
  totalBytes,
  bytesPerSecond,
  secondsLeft,
  note,
}: DownloadRequest.Partial): string {
  const parts = [`${dataSize(bytes)} of ${dataSize(totalBytes)}`];
  if (note !== undefined) parts.push(note);
  else {
    if (bytesPerSecond !== undefined) parts.push(`${dataSize(bytesPerSecond)}/s`);
    if (secondsLeft !== undefined) parts.push(`${duration(secondsLeft)} left`);
  }
  return parts.join(' · ');
}
