// What a user sees when something goes wrong or takes too long. The inference process is stopped or killed from outside, as the
// operating system does it, so that nothing here depends on how fast a machine is.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  answerTo,
  EXPLAIN,
  runCommand,
  runIs,
  shownRun,
  startExplaining,
  talk,
  tokenView,
  until,
} from './editor.mjs';
import { processesOf } from './processes.mjs';

export const failures = {
  async 'cancel: a question that does not end is cancelled, and the next one is answered'({
    page,
    extension,
    screenshot,
  }) {
    const earlier = await shownRun(page);
    await explainAnew(page, 'login.png');
    await answerTo(page, EXPLAIN, earlier); // the process that lives now is the one that will be asked
    const before = await shownRun(page);
    const pid = await stopInference(page, extension);
    await explainAnew(page, 'settings-dark.png');
    await runIs(page, 'waiting', before);
    await screenshot('40 waiting');
    await talk(page).getByRole('button', { name: 'Cancel' }).click();
    await runIs(page, 'cancelled', before);
    await screenshot('41 cancelled');
    // It could not end by itself, so it was ended.
    await until(
      () => processesOf(extension, 'inference.js'),
      (pids) => !pids.includes(pid),
      'the end of it',
    );
    const cancelled = await shownRun(page);
    await talk(page).getByRole('button', { name: 'Ask again' }).click();
    await answerTo(page, EXPLAIN, cancelled);
  },

  async 'restart: inference starts anew with the next question'({ page, extension }) {
    const [old] = await until(
      () => processesOf(extension, 'inference.js'),
      ({ length }) => length === 1,
      'one process',
    );
    await runCommand(page, 'Fovea: Restart Inference');
    await until(
      () => processesOf(extension, 'inference.js'),
      (pids) => !pids.includes(old),
      'the end of the old one',
    );
    const before = await shownRun(page);
    await explainAnew(page, 'photo.jpg');
    await answerTo(page, EXPLAIN, before);
    assert.notEqual((await processesOf(extension, 'inference.js'))[0], old);
  },

  async 'crash: the view says what happened; after three it stops, and one click starts it again'({
    page,
    extension,
    screenshot,
  }) {
    const restart = talk(page).getByRole('button', { name: 'Restart Inference' });
    for (let crash = 1; crash <= 3; crash++) {
      const before = await shownRun(page);
      const pid = await stopInference(page, extension);
      await explainAnew(page, 'vector.svg');
      await runIs(page, 'waiting', before);
      process.kill(pid, 'SIGKILL');
      await runIs(page, 'failed', before);
      await screenshot(`42 crash ${crash}`);
      if (crash < 3) {
        const failed = await shownRun(page);
        await talk(page).getByRole('button', { name: 'Try again' }).click();
        await answerTo(page, EXPLAIN, failed);
      }
    }
    const stopped = await shownRun(page);
    await talk(page).getByRole('button', { name: 'Try again' }).click();
    await runIs(page, 'failed', stopped);
    await restart.waitFor();
    await screenshot('43 stopped after three crashes');
    await restart.click();
    await until(() => answeredOnceMore(page), Boolean, 'an answer after the restart');
  },

  async 'log: all of this is in it with its causes, and no question and no answer'({ page, logs }) {
    const text = await ourLog(logs);
    for (const expected of [
      /\[info\] Model fovea-nano \(.*\) is ready on cpu after .* Weights in fp32/,
      /\[info\] A cancelled step did not end/,
      /\[info\] Inference is restarted/,
      /\[info\] The inference process ended unexpectedly\. The system killed it/,
      /\[info\] Inference is stopped/,
      /\[warning\] No answer: inference\.crashed: .* The system killed it/,
      /\[warning\] No answer: image\..*broken\.png/,
    ])
      assert.match(text, expected);
    const answer = (await talk(page).locator('.text').first().innerText()).trim();
    for (const secret of [EXPLAIN, 'Is this a light or a dark theme?', 'Is there a button?', answer])
      assert.ok(!text.includes(secret), secret);
  },
};

/** What the extension wrote into its output channel, in all windows of the session. */
async function ourLog(logs) {
  const names = await readdir(logs, { recursive: true });
  const files = names.filter((name) => name.endsWith(join('fovea.fovea', 'Fovea.log')));
  assert.ok(files.length > 0, 'there is a log');
  const texts = await Promise.all(files.map((name) => readFile(join(logs, name), 'utf8')));
  return texts.join('\n');
}

/** Tries again once, and tells whether that was answered: right after the click on "Restart Inference" it may still be refused. */
async function answeredOnceMore(page) {
  const before = await shownRun(page);
  await talk(page).getByRole('button', { name: 'Try again' }).click();
  const status = await until(
    async () => ((await shownRun(page)) > before ? talk(page).getAttribute('data-status') : ''),
    (found) => found === 'done' || found === 'failed',
    'the end of one more try',
  );
  return status === 'done';
}

/** Asks for an explanation that is not stored. */
async function explainAnew(page, image) {
  await runCommand(page, 'Fovea: Clear Answer Cache');
  await startExplaining(page, 'images', image);
}

/** Halts the process that holds the model, so that what is asked next does not end. @returns its id */
async function stopInference(page, extension) {
  const pids = await until(
    () => processesOf(extension, 'inference.js'),
    ({ length }) => length === 1,
    'one inference process',
  );
  process.kill(pids[0], 'SIGSTOP');
  await tokenView(page).locator('body').waitFor();
  return pids[0];
}
