import { CancelledError, FoveaError, toErrorData } from './llava/errors';
import type { ErrorKind } from './protocol';
import { analyze } from './cli/analyze';
import { ask } from './cli/ask';
import { endQuietlyOnClosedPipe } from './cli/closedPipe';
import { compare } from './cli/compare';
import { devices } from './cli/devices';
import { inspect } from './cli/inspect';
import { model, withModelFolder } from './cli/model';
import { HELP, parseCommand, VERSION } from './cli/arguments';

/** Exit codes of the command line; documented in the README. */
const EXIT_CODES: Record<ErrorKind, number> = { input: 2, model: 3, device: 4, cancelled: 130, internal: 1 };

async function main(): Promise<number> {
  const cancellation = new AbortController();
  // The first Ctrl+C asks; the second one does not wait for the computation that is running.
  process.once('SIGINT', () => {
    cancellation.abort();
    process.once('SIGINT', () => process.exit(EXIT_CODES.cancelled));
  });
  process.once('SIGTERM', () => cancellation.abort());

  try {
    const command = await withModelFolder(parseCommand(process.argv.slice(2)));
    switch (command.name) {
      case 'help':
        process.stdout.write(HELP);
        break;
      case 'version':
        process.stdout.write(`${VERSION}\n`);
        break;
      case 'ask':
        await ask(command, cancellation.signal);
        break;
      case 'analyze':
        await analyze(command, cancellation.signal);
        break;
      case 'compare':
        await compare(command, cancellation.signal);
        break;
      case 'inspect':
        await inspect(command, cancellation.signal);
        break;
      case 'devices':
        await devices(command, cancellation.signal);
        break;
      case 'model':
        await model(command, cancellation.signal);
        break;
    }
    return 0;
  } catch (thrown) {
    const saysSo = thrown instanceof FoveaError && thrown.kind === 'cancelled';
    const error = toErrorData(cancellation.signal.aborted && !saysSo ? new CancelledError(thrown) : thrown);
    const lines = [error.message, error.why, error.nextStep].filter((line) => line !== undefined);
    process.stderr.write(`fovea: ${lines.join('\n       ')}\n`);
    if (error.kind === 'internal' && thrown instanceof Error) process.stderr.write(`${thrown.stack}\n`);
    return EXIT_CODES[error.kind];
  }
}

endQuietlyOnClosedPipe();

void main().then((code) => {
  process.exitCode = code;
});
