// `npm run realscreens [-- --only NAME...] [--raw FOLDER]`: renders real programs and pages and writes bench/data/realscreens: pictures, questions, notice.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { Desktop } from './desktop.mjs';
import { ask } from './questions.mjs';
import { charts } from './sources/charts.mjs';
import { dialogs } from './sources/dialogs.mjs';
import { takePages } from './sources/pages.mjs';
import { programs } from './sources/programs.mjs';
import { takeTerminals } from './sources/terminals.mjs';

const OUTPUT = fileURLToPath(new URL('../data/realscreens', import.meta.url));

const { values } = parseArgs({
  options: { only: { type: 'string', multiple: true }, output: { type: 'string' } },
});
const output = values.output ?? OUTPUT;
const wanted = ({ name }) => !values.only || values.only.some((part) => name.includes(part));

/** @type {{ name: string, origin: string, licence: string, facts: object, extra?: [string, string, string][], png: Buffer }[]} */
const screens = [];
const desktop = await Desktop.open();
try {
  for (const screen of [...dialogs, ...programs].filter(wanted)) {
    for (const [file, text] of Object.entries(screen.files ?? {}))
      await writeFile(join(desktop.home, file), text);
    screens.push({ ...screen, png: await desktop.shoot(screen.program) });
    console.log(screen.name);
  }
  screens.push(...(await takeTerminals(desktop, wanted)));
} finally {
  await desktop.close();
}
screens.push(...(await charts(wanted)));
screens.push(...(await takePages(wanted)));

if (!values.only) await rm(output, { recursive: true, force: true });
await mkdir(join(output, 'images'), { recursive: true });
const questions = [];
const images = [];
for (const [index, { name, origin, licence, facts, extra = [], textRects, png }] of screens.entries()) {
  const image = `images/${name}.png`;
  // 256 colours are more than most of these have; dithering would invent texture.
  const file = await sharp(png)
    .removeAlpha()
    .png({ palette: true, colours: 256, dither: 0, effort: 10 })
    .toBuffer();
  const { width, height } = await sharp(file).metadata();
  await writeFile(join(output, image), file);
  images.push({ image, width, height, origin, licence, ...(textRects ? { textRects } : {}) });
  questions.push(
    ...extra.map(([type, question, answer]) => ({ image, type, question, answer })),
    ...ask(image, facts, index),
  );
}
await writeFile(
  join(output, 'questions.json'),
  `${JSON.stringify({ words: 'real', questions, images }, undefined, 1)}\n`,
);
await writeFile(join(output, 'NOTICE.md'), notice(images));
console.log(`${images.length} images, ${questions.length} questions`);

function notice(entries) {
  return `# Where these pictures come from

Made by \`npm run realscreens\` (bench/realscreens): programs from Debian 12 and npm packages, started and rendered without a screen, showing texts that were given to them there.
The texts, questions and answers are this project's and under its MIT licence. What the pictures show of a program (its widgets, icons, fonts) is its authors'; the licences are
those of the programs. Fonts: DejaVu (Bitstream Vera licence), Liberation (OFL). Window frames: Openbox themes (GPL-2-or-later).

| picture | program | licence |
|---|---|---|
${entries.map(({ image, origin, licence }) => `| ${image.slice(7)} | ${origin} | ${licence} |`).join('\n')}
`;
}
