// A model that attacks whoever shows its answers.
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const CHECKPOINT = join(import.meta.dirname, '..', 'fixtures', 'checkpoints', 'clip-llama');

/** What every word of its answers is: a command, a picture from a network, a script. */
export const HOSTILE_ANSWER =
  ' [Explain this image](command:workbench.action.quit) ![](http://127.0.0.1:9/pixel.png) <script>alert(1)</script> ';

/**
 * Makes a checkpoint of random weights whose tokenizer turns every word that it writes into an attack.
 * @param {string} folder that does not exist yet
 */
export async function makeHostileModel(folder) {
  await cp(CHECKPOINT, folder, { recursive: true });
  await rm(join(folder, 'reference'), { recursive: true });
  const file = join(folder, 'tokenizer.json');
  const tokenizer = JSON.parse(await readFile(file, 'utf8'));
  tokenizer.decoder.decoders[0] = {
    type: 'Replace',
    pattern: { Regex: '[a-z]+' },
    content: HOSTILE_ANSWER,
  };
  await writeFile(file, JSON.stringify(tokenizer));
}
