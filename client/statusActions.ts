import type { StatusNotification } from '../server/protocol';

/** What the status item offers. */
export type StatusAction = 'ask' | 'view' | 'model' | 'device' | 'precision' | 'restart' | 'log' | 'clear';

/** First what mends or uses a state, then what is always of use. @param state absent: the server has not said anything yet */
export function actionsIn(state: StatusNotification.Params['state'] | undefined): readonly StatusAction[] {
  switch (state) {
    case 'failed':
      return ['model', 'device', 'precision', 'restart', 'log'];
    case 'stopped':
      return ['restart', 'log', 'device', 'model'];
    case 'loading':
    case 'working':
      return ['view', 'restart', 'log'];
    case undefined:
    case 'idle':
    case 'ready':
      return ['ask', 'view', 'model', 'device', 'precision', 'clear', 'restart', 'log'];
  }
}

/** The first sentence of an explanation, with a capital letter; the log has all of it. */
export function firstSentence(text: string | undefined): string | undefined {
  const first = text?.replace(/^(.+?[.!?])\s.*$/s, '$1');
  return first && first.charAt(0).toUpperCase() + first.slice(1);
}
