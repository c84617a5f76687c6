import type { TextConfig } from '../checkpoint/config';
import type { DecoderRunner } from './decoderRunner';
import { DeviceDecoder } from './deviceDecoder';
import type { GraphSessions } from './graphSessions';
import { HostDecoder } from './hostDecoder';

/**
 * The runner that fits where the sessions live.
 *
 * @param capacity rows that the caches will probably hold.
 */
export function createDecoderRunner(
  text: TextConfig,
  sessions: GraphSessions,
  capacity: number,
): DecoderRunner {
  return sessions.keepsDataOnDevice
    ? new DeviceDecoder(text, sessions, capacity)
    : new HostDecoder(text, sessions, capacity);
}
