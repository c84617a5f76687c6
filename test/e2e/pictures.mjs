// `npm run pictures`: takes the pictures of the walkthrough and the README in a real VS Code, on the sample screenshots.
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { startCodeServer } from './codeServer.mjs';
import {
  answerTo,
  askInInput,
  chooseMethod,
  EXPLAIN,
  hoverText,
  openFile,
  openWorkbench,
  pickRow,
  quickRows,
  runCommand,
  shownRun,
  tokenView,
} from './editor.mjs';
import { launchChromium } from '../tools/chromium.mjs';
import { packageExtension, project } from './session.mjs';

const pictures = join(project, 'media', 'walkthrough');
const question = 'Which buttons are there?';

/** A page whose code mentions the samples. */
const PAGE = `export const tour = [
  { title: 'Save your work', image: './screens/dialog.png' },
  { title: 'Choose what you like', image: './screens/settings.png' },
];
`;

const root = await mkdtemp(join(tmpdir(), 'fovea-pictures-'));
const workspace = join(root, 'my-app');
let server;
let browser;
try {
  await mkdir(workspace);
  await cp(join(project, 'media', 'samples'), join(workspace, 'screens'), {
    recursive: true,
    filter: (file) => !file.endsWith('.json'),
  });
  await writeFile(join(workspace, 'tour.ts'), PAGE);
  // Read ahead, the first question would look cheaper than the second, which has fewer tokens.
  const settings = { 'fovea.readAhead': false };
  server = await startCodeServer({ root, vsix: packageExtension(root), settings });
  browser = await launchChromium();
  const page = await browser.newPage({ viewport: { width: 1200, height: 760 } });
  await openWorkbench(page, server.url, workspace);

  await runCommand(page, 'Fovea: Ask About Image...');
  await quickRows(page).filter({ hasText: 'dialog.png' }).first().waitFor();
  await rest(page);
  await save(page, 'ask', { x: 300, y: 0, width: 600, height: 260 });
  await pickRow(page, 'dialog.png');
  await askInInput(page, question);
  await answerTo(page, question);
  const view = tokenView(page);
  await chooseMethod(view, 'Maximal marginal relevance');
  await view.getByRole('button', { name: 'Ask', exact: true }).click();
  await view.getByRole('table').getByText(/mmr/).first().waitFor();
  await answerTo(page, question);
  await page.keyboard.press('Control+b'); // the explorer makes room
  await view.locator('.side').evaluate((side) => side.scrollTo(0, 0));
  await rest(page);
  await save(page, 'tokens', { x: 0, y: 30, width: 1200, height: 710 });

  await runCommand(page, 'Fovea: Choose Model...');
  await quickRows(page).filter({ hasText: 'part of Fovea' }).waitFor();
  await rest(page);
  await save(page, 'model', { x: 300, y: 0, width: 600, height: 330 });
  await page.keyboard.press('Escape');

  await runCommand(page, 'View: Close All Editors');
  await openFile(page, 'tour.ts');
  const before = await shownRun(page);
  const hover = await hoverText(page, './screens/settings.png', /px/);
  await hover.getByText('Explain this image').click();
  const explanation = await answerTo(page, EXPLAIN, before);
  await runCommand(page, 'View: Close All Editors');
  await openFile(page, 'tour.ts');
  await hoverText(page, './screens/settings.png', new RegExp(explanation.slice(0, 12), 'u'));
  await page.waitForTimeout(1000);
  await save(page, 'hover', { x: 0, y: 30, width: 1100, height: 400 });
} finally {
  await browser?.close();
  await server?.stop();
  await rm(root, { recursive: true, force: true });
}

/** Animations end, and the mouse leaves no traces. */
async function rest(page) {
  await page.mouse.move(500, 600);
  await page.mouse.move(600, 700, { steps: 5 });
  await page.waitForTimeout(1500);
}

/** Few colours are enough for a user interface, and keep the package small. */
async function save(page, name, clip) {
  const picture = await page.screenshot({ clip });
  await sharp(picture)
    .png({ palette: true, colours: 128, effort: 10 })
    .toFile(join(pictures, `${name}.png`));
  console.log(join(pictures, `${name}.png`));
}
