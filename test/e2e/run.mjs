// `npm run test:e2e`: packages the extension, installs it into a real VS Code, and uses it as a person does.
// Options: --vsix FILE (do not package), --only PATTERN (scenarios whose name matches), --no-api, --keep (leave the temporary folder),
// --minutes N (begin no further scenario after so many), --where-possible (no failure where browser or editor cannot be installed)
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runApiSuite } from './apiSuite.mjs';
import { launchChromium } from '../tools/chromium.mjs';
import { ToolMissing } from '../tools/installed.mjs';
import { installCodeServer, startCodeServer } from './codeServer.mjs';
import { openWorkbench, PATIENCE, until } from './editor.mjs';
import { failures } from './failures.mjs';
import { startFakeHub } from './fakeHub.mjs';
import { models } from './models.mjs';
import { processesOf } from './processes.mjs';
import { Report } from './report.mjs';
import { scenarios } from './scenarios.mjs';
import { packageExtension, project } from './session.mjs';
import { prepareUntrusted, untrusted } from './untrusted.mjs';
import { makeWorkspace } from './workspace.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const output = join(here, 'output');

const { values: options } = parseArgs({
  options: {
    vsix: { type: 'string' },
    only: { type: 'string', default: '' },
    'no-api': { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '60' },
    'where-possible': { type: 'boolean', default: false },
  },
});

const root = await mkdtemp(join(tmpdir(), 'fovea-e2e-'));
const network = join(root, 'network.log');
const report = new Report(Number(options.minutes));
const servers = [];
let hub;
let browser;
// Whoever stops this run stops its servers too: they are process groups of their own.
let stopping;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => (stopping ??= stopEverything()));
try {
  await rm(output, { recursive: true, force: true });
  await mkdir(output, { recursive: true });
  await writeFile(network, '');
  browser = await launchChromium();
  await installCodeServer();
  const vsix = options.vsix ?? packageExtension(root);
  hub = await startFakeHub(root);

  if (!options['no-api']) {
    const workspace = await newWorkspace('api-workspace');
    const server = await newServer('api', vsix, { driver: true });
    const suite = () => runApiSuite(browser, server, workspace);
    await report.step('the API suite in the extension host', suite, async () => {});
    await server.stop();
  }
  const workspace = await newWorkspace('workspace');
  // The hub's model is random and would write as much as it may.
  const settings = { 'fovea.maxTokens': 48 };
  const trusting = () => newServer('trusting', vsix, { settings });
  await session(trusting, workspace, { ...scenarios, ...models, ...failures });

  const restricted = await newWorkspace('restricted');
  await prepareUntrusted(restricted);
  const asking = { 'security.workspace.trust.startupPrompt': 'never' };
  const careful = () => newServer('careful', vsix, { trust: true, settings: asking });
  await session(careful, restricted, untrusted);

  if (options.only === '' && report.passed > 0)
    await report.step('network: not one connection but to the hub that was asked for', checkNetwork);
  console.log('\nScreenshots: test/e2e/output/');
  process.exitCode = report.finish() ? 0 : 1;
} catch (error) {
  if (!(error instanceof ToolMissing)) throw error;
  console.log(`The tests in a real VS Code were not run: ${error.message}.`);
  process.exitCode = options['where-possible'] ? 0 : 1;
} finally {
  await browser?.close();
  for (const server of servers) await server.stop();
  await hub?.close();
  await keepLogs();
  if (options.keep) console.log(`Left for inspection: ${root}`);
  else await rm(root, { recursive: true, force: true });
}

async function stopEverything() {
  await Promise.allSettled(servers.map(({ stop }) => stop()));
  await rm(root, { recursive: true, force: true });
  process.exit(130);
}

/** Scenarios in one window, and then its end: nothing of ours may outlive it. */
async function session(startServer, workspace, all) {
  const chosen = Object.entries(all).filter(([name]) => new RegExp(options.only).test(name));
  if (report.isOver) for (const [name] of chosen) report.skip(name);
  if (report.isOver || chosen.length === 0) return;
  const server = await startServer();
  const context = await browser.newContext({
    viewport: { width: 1400, height: 900 },
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  let page;
  const newWindow = async () => {
    await page?.close();
    page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
  };
  // What fades in or slides has arrived.
  const screenshot = (name) => page.screenshot({ path: join(output, `${name}.png`), animations: 'disabled' });
  await newWindow();
  for (const [name, scenario] of chosen) {
    if (report.isOver) {
      report.skip(name);
      continue;
    }
    await report.step(
      name,
      async () =>
        scenario({
          page,
          workspace,
          hub,
          url: server.url,
          extension: server.extension,
          logs: join(server.user, 'logs'),
          settingsFile: join(server.user, 'User', 'settings.json'),
          settingsFiles: ['User', 'Machine'].map((scope) => join(server.user, scope, 'settings.json')),
          screenshot,
        }).catch(async (error) => {
          await screenshot(`FAILED ${name.replace(/[^\w -]/g, '')}`).catch(() => undefined);
          throw error;
        }),
      async () => {
        await newWindow();
        await openWorkbench(page, server.url, workspace);
      },
    );
  }
  await context.close();
  await report.step('the window is closed: no process of ours is left', async () => {
    for (const program of ['server.js', 'inference.js'])
      await until(
        () => processesOf(server.extension, program),
        ({ length }) => length === 0,
        program,
      );
  });
}

async function newWorkspace(name) {
  const folder = join(root, name);
  await mkdir(folder);
  await makeWorkspace(folder);
  return folder;
}

async function newServer(name, vsix, more = {}) {
  const folder = join(root, name);
  await mkdir(folder);
  const environment = { HF_ENDPOINT: hub.origin, NETWORK_LOG: network };
  const server = await startCodeServer({ root: folder, vsix, environment, ...more });
  servers.push({ ...server, root: folder });
  // VS Code takes NODE_OPTIONS from its extension hosts, so the programs load the spy themselves.
  const spy = join(project, 'test', 'server', 'networkSpy.mjs');
  for (const program of ['server.js', 'inference.js']) {
    const file = join(server.extension, 'dist', program);
    await writeFile(file, `require(${JSON.stringify(spy)});\n${await readFile(file, 'utf8')}`);
  }
  return server;
}

/** What the spy noted: no process reached for a network, but the server for the hub when it was told to. */
async function checkNetwork() {
  const lines = (await readFile(network, 'utf8')).trim().split('\n');
  const ours = lines.filter((line) => / (?:server|inference)\.js /.test(line));
  const watched = new Set(
    ours.filter((line) => line.endsWith('spy ready')).map((line) => line.split(' ')[1]),
  );
  assert.deepEqual([...watched].sort(), ['inference.js', 'server.js'], 'both programs were watched');
  const attempts = ours.filter((line) => !line.endsWith('spy ready'));
  const foreign = attempts.filter((line) => line.includes(' inference.js ') || !line.includes(hub.host));
  assert.deepEqual(foreign, []);
}

/** The logs of the editor and of the extension, to look into a failure. */
async function keepLogs() {
  for (const { root: folder, user } of servers) {
    const name = basename(folder);
    await cp(join(folder, 'server.log'), join(output, `${name}.log`)).catch(() => undefined);
    await cp(join(user, 'logs'), join(output, 'logs', name), { recursive: true }).catch(() => undefined);
  }
  await cp(network, join(output, 'network.log')).catch(() => undefined);
}
