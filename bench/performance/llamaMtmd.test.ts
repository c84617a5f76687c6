import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import { askLlamaMtmd, type MtmdModel } from './llamaMtmd';

/** A program that writes what llama-mtmd-cli does in chat mode, piece by piece, and computes for 200 ms where that encodes. */
function scripted(answer: string): { model: MtmdModel; args: () => string[] } {
  const folder = temporaryDirectory();
  const program = path.join(folder, 'program.cjs');
  const args = path.join(folder, 'args.json');
  const script = `#!${process.execPath}
require('node:fs').writeFileSync(${JSON.stringify(args)}, JSON.stringify(process.argv.slice(2)));
const say = (text) => process.stdout.write(text);
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const worked = () => process.cpuUsage().user / 1000;
const work = (milliseconds) => { for (const end = worked() + milliseconds; worked() < end;); };
(async () => {
  say('\\n Running in chat mode, available commands:\\n   /quit or /exit   exit the program\\n\\n> ');
  for await (const line of require('node:readline').createInterface({ input: process.stdin })) {
    if (line.startsWith('/image ')) { say(line + '\\n' + line.slice(7) + ' image loaded\\n\\n> '); continue; }
    say(line + '\\n');
    await wait(40);
    process.stderr.write('0.00.529.008 I encoding mtmd batch, n_chunks = 1 (done = 1, total = 3)\\n');
    await wait(10);
    work(200);
    process.stderr.write('0.00.729.008 I mtmd batch encoding done in 200 ms\\n');
    await wait(80);
    ${answer}
  }
  say('\\n\\n');
})();
`;
  writeFileSync(program, script);
  chmodSync(program, 0o755);
  return {
    model: { program, decoder: 'decoder.gguf', tower: 'tower.gguf', threads: 2, answerTokens: 3 },
    args: () => JSON.parse(readFileSync(args, 'utf8')) as string[],
  };
}

const PICTURE = '/somewhere/picture.png';
const QUESTION = 'What is the title?';

/** The processor time of a process is read as Linux has it, and a script is a program there. */
describe.runIf(process.platform === 'linux')('llama-mtmd-cli', () => {
  it('is asked once, and its stages are told apart', async () => {
    const { model, args } = scripted(
      `say('\\n'); await wait(5); say('Da'); await wait(30); say('rk\\n> ?\\n> ');`,
    );
    const { preparation, encode, prefill, firstToken, text } = await askLlamaMtmd(model, PICTURE, QUESTION);
    expect(text).toBe('Dark\n> ?');
    expect(args()).toEqual(expect.arrayContaining(['decoder.gguf', 'tower.gguf', '--predict', '3']));
    for (const { wall } of [preparation, encode, prefill]) expect(wall).toBeGreaterThan(0);
    expect(preparation.wall + encode.wall + prefill.wall).toBeCloseTo(firstToken.wall, 6);
    // Counted in hundredths of a second.
    expect(encode.cpu).toBeGreaterThanOrEqual(100);
    expect(preparation.cpu + encode.cpu + prefill.cpu).toBe(firstToken.cpu);
  });

  it('says why it ended too early', async () => {
    const { model } = scripted(`process.stderr.write('GGML_ASSERT failed'); process.exit(134);`);
    await expect(askLlamaMtmd(model, PICTURE, QUESTION)).rejects.toThrow(/GGML_ASSERT failed/);
  });

  it('says that it is not there', async () => {
    const model = { ...scripted('').model, program: '/nowhere/llama-mtmd-cli' };
    await expect(askLlamaMtmd(model, PICTURE, QUESTION)).rejects.toThrow(/ENOENT/);
  });
});
