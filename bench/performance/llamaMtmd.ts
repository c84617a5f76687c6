import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

import type { Lap } from './clock';

/*
 * llama.cpp's program for questions about images, `llama-mtmd-cli`, driven over its chat mode: the model is loaded and warmed up when
 * the first prompt sign comes, so that nothing of that is in a question's time.
 *
 * It is in no npm, PyPI or Debian package as a program. The sources are in the PyPI package llama-cpp-python:
 *
 *   pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36 && tar xf llama_cpp_python-0.3.36.tar.gz
 *   cd llama_cpp_python-0.3.36/vendor/llama.cpp
 *   cmake -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF \
 *     -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_UI=OFF
 *   ninja -C build llama-mtmd-cli        # the program is build/bin/llama-mtmd-cli
 */

export interface MtmdModel {
  readonly program: string;
  /** GGUF files. */
  readonly decoder: string;
  readonly tower: string;
  readonly threads: number;
  readonly answerTokens: number;
  /** Where it writes what enters the decoder for an image. */
  readonly embeddingsFile?: string;
}

/** One question: its stages, one after the other, and what was answered. */
export interface MtmdAnswer {
  /** From the picture's name until the tower begins: the file is read, decoded, scaled and padded, the prompt is tokenised. */
  readonly preparation: Lap;
  /** Tower and projector: what it reports itself as "mtmd batch encoding done". */
  readonly encode: Lap;
  /** The decoder over image and question, and the choice of the first token. */
  readonly prefill: Lap;
  /** All of these. */
  readonly firstToken: Lap;
  readonly text: string;
}

const PROMPT_SIGN = '\n> ';

/**
 * Starts the program, asks one question about one picture, and ends it: a second picture in the same chat makes it abort, because it
 * looks for the first one's embeddings at freed addresses (tools/mtmd/mtmd-cli.cpp, `ctx.mbatch`, at commit 0c1e570).
 *
 * @param question one line.
 * @throws Error where the program ends before its time, with what it said last.
 */
export async function askLlamaMtmd(model: MtmdModel, picture: string, question: string): Promise<MtmdAnswer> {
  const { program, decoder, tower, threads, answerTokens, embeddingsFile } = model;
  const child = spawn(
    program,
    [
      ...['-m', decoder, '--mmproj', tower, '--jinja', '--ctx-size', '2048', '--temp', '0'],
      ...['--threads', String(threads), '--threads-batch', String(threads)],
      ...['--predict', String(answerTokens)],
    ],
    {
      env: {
        ...process.env,
        ...(embeddingsFile === undefined ? {} : { MTMD_DEBUG_EMBEDDINGS: embeddingsFile }),
      },
    },
  );
  const output = new Output(child);
  try {
    await output.until('stdout', (text) => text.endsWith(PROMPT_SIGN));
    const start = now(child.pid!);
    const { out, err } = output;
    const said = (text: string): string => text.slice(out.length);
    const reported = (text: string): string => text.slice(err.length);
    child.stdin.write(`/image ${picture}\n`);
    await output.until('stdout', (text) => /loaded[^]*\n> $/.test(said(text)));
    child.stdin.write(`${question}\n`);
    await output.until('stderr', (text) => reported(text).includes('encoding mtmd batch'));
    const prepared = now(child.pid!);
    await output.until('stderr', (text) => reported(text).includes('encoding done'));
    const encoded = now(child.pid!);
    // The question comes back as an echo with its end of line, then an empty line, then the answer.
    const answered = (text: string): string => {
      const echo = said(text).indexOf(`${question}\n\n`);
      return echo < 0 ? '' : said(text).slice(echo + question.length + 2);
    };
    await output.until('stdout', (text) => answered(text).length > 0);
    const first = now(child.pid!);
    await output.until('stdout', (text) => answered(text).endsWith(PROMPT_SIGN));
    return {
      preparation: between(start, prepared),
      encode: between(prepared, encoded),
      prefill: between(encoded, first),
      firstToken: between(start, first),
      text: answered(output.out).slice(0, -PROMPT_SIGN.length),
    };
  } finally {
    child.stdin.end();
    if (!output.ended) await new Promise((resolve) => child.once('close', resolve));
  }
}

/** What a process has written so far, and waiting for more of it. */
class Output {
  out = '';
  err = '';
  ended = false;
  private check: () => void = () => undefined;

  constructor(private readonly child: ChildProcessWithoutNullStreams) {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
      this.check();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
      this.check();
    });
    child.once('close', () => {
      this.ended = true;
      this.check();
    });
    // A program that ended takes no more questions; that it ended is told by what waits for its output.
    child.stdin.on('error', () => undefined);
    child.once('error', (error) => {
      this.err += error.message;
      this.ended = true;
      this.check();
    });
  }

  async until(stream: 'stdout' | 'stderr', isThere: (text: string) => boolean): Promise<void> {
    const found = (): boolean => isThere(stream === 'stdout' ? this.out : this.err);
    await new Promise<void>((resolve, reject) => {
      this.check = () => {
        if (found()) resolve();
        else if (this.ended)
          reject(new Error(`${this.child.spawnfile} ended too early: ${this.err.slice(-500)}`));
      };
      this.check();
    });
  }
}

/** Milliseconds: of the clock, and of the process's threads since it started. */
function now(pid: number): Lap {
  return { wall: performance.now(), cpu: processorTime(pid) };
}

function between(before: Lap, after: Lap): Lap {
  return { wall: after.wall - before.wall, cpu: after.cpu - before.cpu };
}

/** Linux counts in hundredths of a second, whatever its own clock. */
const TICK = 10;

/** User and system time: fields 14 and 15 of proc_pid_stat(5), counted behind the name, which may contain anything. */
function processorTime(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return TICK * (Number(fields[11]) + Number(fields[12]));
}
