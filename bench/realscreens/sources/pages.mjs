// Pages in Chromium: user interfaces made of real component libraries, documentation, and VS Code.
/* global document, NodeFilter, getComputedStyle -- inside page.evaluate */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { startCodeServer } from '../../../test/e2e/codeServer.mjs';
import { launchChromium } from '../../../test/tools/chromium.mjs';

const run = promisify(execFile);

/** Pinned, so that the pictures can be made again. They are no dependencies of the project: they go into the user's cache folder. */
const PACKAGES = ['bootstrap@5.3.8', '@picocss/pico@2.1.1', '98.css@0.1.21', '7.css@0.21.1'];
/** Of Debian's package nodejs-doc. */
const NODE_DOCUMENTATION = '/usr/share/doc/nodejs/api';

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

/** Markup of each library for the same facts: what its own documentation shows. */
const LIBRARIES = {
  bootstrap: {
    origin: 'Bootstrap 5.3 in Chromium',
    licence: 'MIT',
    css: 'bootstrap/dist/css/bootstrap.min.css',
    body: ({ title, message, fields = [], boxes = [], percent, buttons = [], highlighted, theme }, width) =>
      `<html data-bs-theme="${theme}"><body class="p-2 bg-secondary-subtle"><div id="shot" class="card" style="width:${width}px">
<div class="card-header fw-bold">${escape(title)}</div><div class="card-body">${message ? `<p>${escape(message)}</p>` : ''}
${fields.map(([label, value]) => `<div class="mb-2"><label class="form-label mb-0">${escape(label)}</label><input class="form-control" value="${escape(value)}"></div>`).join('')}
${boxes.map(([text, ticked]) => `<div class="form-check"><input class="form-check-input" type="checkbox" ${ticked ? 'checked' : ''}><label class="form-check-label">${escape(text)}</label></div>`).join('')}
${percent ? `<div class="progress mb-2" style="height:22px"><div class="progress-bar" style="width:${percent}">${percent}</div></div>` : ''}
<div class="mt-2">${buttons.map((button) => `<button class="btn ${button === highlighted ? 'btn-primary' : 'btn-secondary'} me-1">${escape(button)}</button>`).join('')}</div></div></div></body></html>`,
  },
  pico: {
    origin: 'Pico CSS 2.1 in Chromium',
    licence: 'MIT',
    css: '@picocss/pico/css/pico.min.css',
    body: ({ title, message, fields = [], boxes = [], buttons = [], highlighted, theme }, width) =>
      `<html data-theme="${theme}"><body style="padding:8px"><article id="shot" style="width:${width}px;margin:0"><header><strong>${escape(title)}</strong></header>
${message ? `<p>${escape(message)}</p>` : ''}${fields.map(([label, value]) => `<label>${escape(label)}<input value="${escape(value)}"></label>`).join('')}
${boxes.map(([text, ticked]) => `<label><input type="checkbox" ${ticked ? 'checked' : ''}>${escape(text)}</label>`).join('')}
<footer>${buttons.map((button) => `<button style="width:auto;margin:0 6px 0 0" class="${button === highlighted ? '' : 'secondary outline'}">${escape(button)}</button>`).join('')}</footer></article></body></html>`,
  },
  98: {
    origin: '98.css 0.1 in Chromium',
    licence: 'MIT',
    css: '98.css/dist/98.css',
    body: (facts, width) => windowMarkup(facts, width, 'teal', ''),
  },
  7: {
    origin: '7.css 0.21 in Chromium',
    licence: 'MIT',
    css: '7.css/dist/7.css',
    body: (facts, width) => windowMarkup(facts, width, '#3a6ea5', 'active'),
  },
};

/** The window of 98.css and 7.css. */
function windowMarkup(
  { title, message, fields = [], boxes = [], percent, buttons = [] },
  width,
  desk,
  state,
) {
  return `<html><body style="background:${desk};padding:10px"><div id="shot" class="window ${state}" style="width:${width}px"><div class="title-bar"><div class="title-bar-text">${escape(title)}</div>
<div class="title-bar-controls"><button aria-label="Close"></button></div></div><div class="window-body has-space">${message ? `<p>${escape(message)}</p>` : ''}
${fields.map(([label, value], index) => `<div class="field-row-stacked"><label for="f${index}">${escape(label)}</label><input id="f${index}" type="text" value="${escape(value)}"></div>`).join('')}
${boxes.map(([text, ticked], index) => `<div class="field-row"><input type="checkbox" id="b${index}" ${ticked ? 'checked' : ''}><label for="b${index}">${escape(text)}</label></div>`).join('')}
${percent ? `<p>${percent} done</p><div role="progressbar" class="progress-indicator segmented"><div class="progress-indicator-bar" style="width:${percent}"></div></div>` : ''}
<section class="field-row" style="justify-content:flex-end">${buttons.map((button) => `<button>${escape(button)}</button>`).join('')}</section></div></div></body></html>`;
}

const COMPONENTS = [
  {
    name: 'bootstrap-dialog',
    library: 'bootstrap',
    width: 230,
    facts: {
      kind: 'a dialog',
      title: 'Sign out',
      message: 'Do you want to leave?',
      buttons: ['Leave', 'Stay'],
      highlighted: 'Leave',
      highlightColour: 'blue',
      absentButton: 'Help',
      theme: 'light',
      noProgress: true,
    },
  },
  {
    name: 'bootstrap-form',
    library: 'bootstrap',
    width: 240,
    facts: {
      kind: 'a form',
      title: 'New user',
      fields: [
        ['Name', 'Linus'],
        ['Email', 'linus@kernel.org'],
      ],
      buttons: ['Create', 'Cancel'],
      highlighted: 'Create',
      highlightColour: 'blue',
      absentButton: 'Delete',
      absentField: 'Phone',
      theme: 'light',
      noProgress: true,
      noDialog: true,
    },
  },
  {
    name: 'bootstrap-form-dark',
    library: 'bootstrap',
    width: 240,
    facts: {
      kind: 'a form',
      title: 'Database',
      fields: [
        ['Host', 'db.local'],
        ['Port', '3306'],
      ],
      buttons: ['Test', 'Save'],
      highlighted: 'Save',
      highlightColour: 'blue',
      absentButton: 'Reset',
      absentField: 'User',
      theme: 'dark',
      noProgress: true,
      noDialog: true,
    },
  },
  {
    name: 'bootstrap-settings',
    library: 'bootstrap',
    width: 200,
    facts: {
      kind: 'settings',
      title: 'Notify me',
      boxes: [
        ['By mail', true],
        ['By text', false],
        ['Weekly', true],
      ],
      buttons: ['Save'],
      highlighted: 'Save',
      highlightColour: 'blue',
      absentButton: 'Cancel',
      theme: 'light',
      noProgress: true,
    },
  },
  {
    name: 'bootstrap-progress',
    library: 'bootstrap',
    width: 240,
    facts: {
      kind: 'a progress bar',
      title: 'Uploading',
      percent: '62%',
      buttons: ['Cancel'],
      absentButton: 'Pause',
      theme: 'light',
      noDialog: true,
    },
  },
  {
    name: 'bootstrap-progress-dark',
    library: 'bootstrap',
    width: 240,
    facts: {
      kind: 'a progress bar',
      title: 'Encoding',
      percent: '35%',
      buttons: ['Stop'],
      absentButton: 'OK',
      theme: 'dark',
      noDialog: true,
    },
  },
  {
    name: 'pico-dialog',
    library: 'pico',
    width: 260,
    facts: {
      kind: 'a dialog',
      title: 'Subscribe',
      message: 'One mail a month.',
      buttons: ['Join', 'No'],
      highlighted: 'Join',
      highlightColour: 'blue',
      absentButton: 'Close',
      theme: 'light',
      noProgress: true,
    },
  },
  {
    name: 'pico-form-dark',
    library: 'pico',
    width: 260,
    facts: {
      kind: 'a form',
      title: 'Log in',
      fields: [['User', 'marie']],
      buttons: ['Log in'],
      absentButton: 'Register',
      absentField: 'Code',
      theme: 'dark',
      noProgress: true,
      noDialog: true,
    },
  },
  {
    name: 'pico-settings',
    library: 'pico',
    width: 240,
    facts: {
      kind: 'settings',
      title: 'Reader',
      boxes: [
        ['Large type', false],
        ['Serif', true],
      ],
      buttons: ['Done'],
      highlighted: 'Done',
      highlightColour: 'blue',
      absentButton: 'Back',
      theme: 'light',
      noProgress: true,
    },
  },
  {
    name: 'win98-error',
    library: '98',
    width: 190,
    facts: {
      kind: 'a dialog',
      title: 'Modem',
      message: 'No dial tone.',
      buttons: ['Retry', 'Cancel'],
      absentButton: 'Help',
      noProgress: true,
    },
  },
  {
    name: 'win98-form',
    library: '98',
    width: 190,
    facts: {
      kind: 'a form',
      title: 'Run',
      fields: [['Open', 'calc.exe']],
      buttons: ['OK', 'Cancel'],
      absentButton: 'Print',
      absentField: 'Name',
      noProgress: true,
    },
  },
  {
    name: 'win98-settings',
    library: '98',
    width: 180,
    facts: {
      kind: 'settings',
      title: 'Sounds',
      boxes: [
        ['Startup', true],
        ['Error', false],
        ['Mail', false],
      ],
      buttons: ['OK', 'Apply'],
      absentButton: 'Test',
    },
  },
  {
    name: 'win98-progress',
    library: '98',
    width: 190,
    facts: {
      kind: 'a progress bar',
      title: 'Setup',
      percent: '48%',
      buttons: ['Cancel'],
      absentButton: 'Next',
      noDialog: true,
    },
  },
  {
    name: 'win7-dialog',
    library: '7',
    width: 210,
    facts: {
      kind: 'a dialog',
      title: 'Paint',
      message: 'Save the picture?',
      buttons: ['Save', 'Discard'],
      absentButton: 'Undo',
      noProgress: true,
    },
  },
  {
    name: 'win7-form',
    library: '7',
    width: 210,
    facts: {
      kind: 'a form',
      title: 'Network',
      fields: [
        ['Address', '192.168.0.5'],
        ['Mask', '255.255.0.0'],
      ],
      buttons: ['OK'],
      absentButton: 'Repair',
      absentField: 'Gateway',
      noProgress: true,
    },
  },
];

/** Pages of Node.js's documentation as a reader sees them: a title, and small print. */
const DOCUMENTS = [
  { name: 'node-docs-path', file: 'path.html', colour: 'light' },
  { name: 'node-docs-os-dark', file: 'os.html', colour: 'dark' },
  { name: 'node-docs-timers', file: 'timers.html', colour: 'light' },
];

export async function takePages(wanted) {
  const components = COMPONENTS.filter(wanted);
  const documents = existsSync(NODE_DOCUMENTATION) ? DOCUMENTS.filter(wanted) : [];
  const editors = EDITORS.filter(wanted);
  if (components.length + documents.length + editors.length === 0) return [];
  const browser = await launchChromium();
  try {
    const screens = [];
    if (components.length > 0) {
      const packages = await installPackages();
      for (const component of components) screens.push(await takeComponent(browser, packages, component));
    }
    for (const document of documents) screens.push(await takeDocument(browser, document));
    if (editors.length > 0) screens.push(...(await takeEditors(browser, editors)));
    return screens;
  } finally {
    await browser.close();
  }
}

async function installPackages() {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fovea', 'realscreens');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{"private":true}');
  await run('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', ...PACKAGES], {
    cwd: folder,
  });
  return join(folder, 'node_modules');
}

async function takeComponent(browser, packages, { name, library, width, facts }) {
  const { css, body, origin, licence } = LIBRARIES[library];
  const page = await browser.newPage({ viewport: { width: 640, height: 640 } });
  await page.setContent(body(facts, width));
  await page.addStyleTag({ path: join(packages, css) });
  // A whole number of pixels, and a little of what lies behind.
  const box = await page.locator('#shot').boundingBox();
  const clip = {
    x: Math.floor(box.x) - 4,
    y: Math.floor(box.y) - 4,
    width: Math.ceil(box.width) + 8,
    height: Math.ceil(box.height) + 8,
  };
  const textRects = await textRectangles(page, clip);
  const png = await page.screenshot({ clip });
  await page.close();
  console.log(name);
  return { name, origin, licence, facts, png, textRects };
}

async function takeDocument(browser, { name, file, colour }) {
  const page = await browser.newPage({ viewport: { width: 1000, height: 700 }, colorScheme: colour });
  await page.goto(pathToFileURL(join(NODE_DOCUMENTATION, file)).href);
  const clip = { x: 0, y: 0, width: 1000, height: 700 };
  const textRects = await textRectangles(page, clip);
  // The answers come from the page itself.
  const title = (await page.locator('h1').first().innerText()).trim();
  const first = (await page.locator('#toc li a').first().innerText()).trim();
  const png = await page.screenshot({ clip });
  await page.close();
  console.log(name);
  return {
    name,
    origin: `Node.js documentation (${file}) in Chromium`,
    licence: 'MIT (Node.js contributors)',
    png,
    textRects,
    facts: { title, theme: colour, noProgress: true, noDialog: true, absentButton: 'Checkout' },
    extra: [['contents', 'What is the first entry of the table of contents?', first]],
  };
}

/** Where letters are: rectangles of the lines of text in pixels of the picture, [x, y, width, height]. */
async function textRectangles(page, clip) {
  return page.evaluate(({ x, y, width, height }) => {
    const rectangles = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!node.textContent.trim() || !node.parentElement.checkVisibility({ visibilityProperty: true }))
        continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      rectangles.push(...range.getClientRects());
    }
    for (const input of document.querySelectorAll('input:not([type=checkbox])')) {
      const { x: left, y: top, height: tall } = input.getBoundingClientRect();
      const style = getComputedStyle(input);
      const pen = document.createElement('canvas').getContext('2d');
      pen.font = style.font;
      const indent = parseFloat(style.paddingLeft) + parseFloat(style.borderLeftWidth);
      rectangles.push({
        x: left + indent,
        y: top + tall / 4,
        width: pen.measureText(input.value).width,
        height: tall / 2,
      });
    }
    return rectangles
      .map((r) => [r.x - x, r.y - y, r.width, r.height].map(Math.round))
      .filter(
        ([left, top, wide, tall]) =>
          wide > 0 && tall > 0 && left < width && top < height && left + wide > 0 && top + tall > 0,
      );
  }, clip);
}

/** VS Code as a user has it: whole windows, which only a larger model can read, and parts of them at their own size. */
const EDITORS = [
  {
    name: 'vscode-editor',
    theme: 'light',
    extra: [
      ['file_shown', 'Which file is open?', 'greet.ts'],
      ['exists', "Is there a 'Checkout' button?", 'no'],
    ],
  },
  {
    name: 'vscode-palette',
    theme: 'light',
    palette: '>Color',
    clip: { x: 340, y: 0, width: 600, height: 240 },
    extra: [['field_value', 'What was typed?', '>Color']],
  },
  {
    name: 'vscode-search',
    theme: 'dark',
    search: 'needle',
    clip: { x: 0, y: 30, width: 350, height: 260 },
    extra: [['field_value', "What is in the 'Search' field?", 'needle']],
  },
  {
    name: 'vscode-status',
    theme: 'dark',
    clip: { x: 900, y: 700, width: 380, height: 100 },
    extra: [['status', 'Which language is shown in the status bar?', 'TypeScript']],
  },
];

async function takeEditors(browser, editors) {
  const root = await mkdtemp(join(tmpdir(), 'fovea-realscreens-'));
  const screens = [];
  try {
    const workspace = join(root, 'shop');
    await mkdir(workspace);
    await writeFile(
      join(workspace, 'greet.ts'),
      "export function greet(name: string): string {\n  return 'Hello, ' + name;\n}\n\nconsole.log(greet('needle'));\n",
    );
    await writeFile(join(workspace, 'README.md'), '# Shop\n');
    for (const theme of new Set(editors.map((editor) => editor.theme))) {
      const own = join(root, theme);
      await mkdir(own);
      const colours = theme === 'dark' ? 'Default Dark Modern' : 'Default Light Modern';
      const server = await startCodeServer({ root: own, settings: { 'workbench.colorTheme': colours } });
      try {
        const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
        await page.goto(`${server.url}/?folder=${workspace}`);
        await page
          .locator('.explorer-folders-view .monaco-list-row')
          .filter({ hasText: 'greet.ts' })
          .dblclick({ timeout: 60_000 });
        await page.locator('.view-line').first().waitFor({ timeout: 60_000 });
        await page.getByText('TypeScript', { exact: true }).first().waitFor({ timeout: 60_000 });
        for (const editor of editors.filter((entry) => entry.theme === theme)) {
          screens.push(await takeEditor(page, editor));
          console.log(editor.name);
        }
      } finally {
        await server.stop();
      }
    }
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  return screens;
}

async function takeEditor(page, { name, theme, palette, search, clip, extra }) {
  if (palette) {
    await page.keyboard.press('F1');
    await page.locator('.quick-input-widget input').fill(palette);
  }
  if (search) {
    await page.keyboard.press('Control+Shift+F');
    await page.locator('.search-view textarea').first().fill(search);
  }
  await sleep(2500);
  const png = await page.screenshot(clip ? { clip } : {});
  if (palette) await page.keyboard.press('Escape');
  return {
    name,
    origin: 'VS Code 1.139 (code-server 4.139.1) in Chromium',
    licence: 'MIT',
    png,
    facts: { theme, noProgress: true, noDialog: true, absentButton: 'Buy' },
    extra,
  };
}
