// `npm run test:e2e`: packages the extension, installs it into a real VS Code, and uses it as a person does.
// Options: --vsix FILE (do not package), --only PATTERN (scenarios whose name matches), --no-api, --keep (leave the temporary folder)
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runApiSuite } from './apiSuite.mjs';
import { startCodeServer } from './codeServer.mjs';
import { scenarios } from './scenarios.mjs';
import { launchBrowser, packageExtension } from './session.mjs';
import { makeWorkspace } from './workspace.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const output = join(here, 'output');

const { values: options } = parseArgs({
  options: {
    vsix: { type: 'string' },
    only: { type: 'string', default: '' },
    'no-api': { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});

const root = await mkdtemp(join(tmpdir(), 'fovea-e2e-'));
const workspace = join(root, 'workspace');
const results = [];
let server;
let browser;
// Whoever stops this run stops its server too: it is a process group of its own.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => void server?.stop().finally(() => process.exit(130)));
}
try {
  await rm(output, { recursive: true, force: true });
  await mkdir(output, { recursive: true });
  await mkdir(workspace);
  await makeWorkspace(workspace);
  const vsix = options.vsix ?? packageExtension(root);
  server = await startCodeServer({ root, vsix });
  browser = await launchBrowser();

  if (!options['no-api'])
    results.push(
      await step('the API suite in the extension host', () => runApiSuite(browser, server, workspace)),
    );

  const context = await browser.newContext({
    viewport: { width: 1400, height: 900 },
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const page = await context.newPage();
  const tools = {
    page,
    url: server.url,
    workspace,
    settingsFile: join(server.user, 'User', 'settings.json'),
    screenshot,
  };
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (new RegExp(options.only).test(name)) results.push(await step(name, () => scenario(tools), page));
  }

  async function screenshot(name) {
    await page.screenshot({ path: join(output, `${name}.png`) });
  }
} finally {
  await browser?.close();
  await server?.stop();
  await cp(join(root, 'server.log'), join(output, 'server.log')).catch(() => undefined);
  await copyLogs();
  if (options.keep) console.log(`Left for inspection: ${root}`);
  else await rm(root, { recursive: true, force: true });
}

const failed = results.filter((passed) => !passed).length;
console.log(`\n${results.length - failed} of ${results.length} passed. Screenshots: test/e2e/output/`);
process.exitCode = failed === 0 && results.length > 0 ? 0 : 1;

/** Runs one part, says how it went, and leaves a picture of a failure. */
async function step(name, work, page) {
  const start = Date.now();
  try {
    await work();
    console.log(`ok      ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    console.log(
      `FAILED  ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)\n${indent(error.stack ?? String(error))}`,
    );
    await page
      ?.screenshot({ path: join(output, `FAILED ${name.replace(/[^\w -]/g, '')}.png`) })
      .catch(() => undefined);
    return false;
  }
}

function indent(text) {
  return text.replace(/^/gm, '        ');
}

/** The extension's own log, to look into a failure. */
async function copyLogs() {
  const logs = join(root, 'user', 'logs');
  await cp(logs, join(output, 'logs'), { recursive: true }).catch(() => undefined);
}
