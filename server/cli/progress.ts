import type { Progress } from '../llava/question';
import { stageWords } from '../traceView/wording';

export interface ProgressLine {
  show: (progress: Progress) => void;
  clear: () => void;
}

/** What is going on, in one line of stderr that is written over; nothing where stderr is not a terminal. */
export function progressLine(): ProgressLine {
  let shown = false;
  const write = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
  };
  return {
    show: ({ stage, fraction }) => {
      shown = true;
      const words = stageWords(stage);
      write(fraction === undefined ? words : `${words}: ${Math.round(100 * fraction)} %`);
    },
    clear: () => {
      if (shown) write('');
      shown = false;
    },
  };
}
