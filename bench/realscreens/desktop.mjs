// A desktop without a screen: Xvfb with Openbox, on which real programs are started and their windows taken.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Nothing here takes longer to open its window, even on a busy machine. */
const PATIENCE_MS = 20_000;
/** Between the window's appearance and the picture: fonts, icons and animations. */
const SETTLE_MS = 900;

/** Names of the programs that must be installed (Debian's packages have the same names, but for import: imagemagick). */
const PROGRAMS = ['Xvfb', 'openbox', 'xprop', 'xwininfo', 'xdotool', 'import'];

export class Desktop {
  /** A desktop of its own with a home folder of its own; `close()` ends everything that was started on it. */
  static async open() {
    for (const program of PROGRAMS) {
      await run('which', [program]).catch(() => {
        throw new Error(
          `"${program}" is needed. On Debian: apt install xvfb openbox x11-utils xdotool imagemagick`,
        );
      });
    }
    const home = await mkdtemp(join(tmpdir(), 'fovea-desktop-'));
    await mkdir(join(home, '.config'));
    const server = spawn('Xvfb', ['-displayfd', '1', '-screen', '0', '1400x1000x24', '-nolisten', 'tcp'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const number = await new Promise((resolve, reject) => {
      server.stdout.once('data', (data) => resolve(String(data).trim()));
      server.once('error', reject);
    });
    return new Desktop(home, server, `:${number}`);
  }

  constructor(home, server, display) {
    this.home = home;
    this.server = server;
    this.env = {
      PATH: `${process.env.PATH}:/usr/games`,
      LANG: 'C.UTF-8',
      DISPLAY: display,
      HOME: home,
      XDG_CONFIG_HOME: join(home, '.config'),
      XDG_CACHE_HOME: join(home, '.cache'),
      XDG_DATA_HOME: join(home, '.local'),
      GSETTINGS_BACKEND: 'memory',
      NO_AT_BRIDGE: '1',
    };
  }

  /** The window manager with another theme (a folder of /usr/share/themes). */
  async manage(theme) {
    if (theme === this.theme) return;
    const rc = join(this.home, 'openbox.xml');
    await writeFile(
      rc,
      `<?xml version="1.0"?><openbox_config xmlns="http://openbox.org/3.4/rc"><theme><name>${theme}</name><titleLayout>LC</titleLayout>
<font place="ActiveWindow"><name>DejaVu Sans</name><size>9</size><weight>Bold</weight></font></theme>
<placement><policy>Smart</policy><center>yes</center></placement></openbox_config>`,
    );
    const before = this.manager;
    const args = ['--replace', '--config-file', rc, '--sm-disable'];
    this.manager = spawn('openbox', args, { env: this.env, stdio: 'ignore' });
    if (before && before.exitCode === null) await new Promise((resolve) => before.once('exit', resolve));
    this.theme = theme;
    // Out of the way: a tooltip is no part of a window.
    await run('xdotool', ['mousemove', '1399', '999'], { env: this.env });
    await sleep(400);
  }

  /**
   * Starts a program and takes its newest window with frame and title bar.
   * @param {{ command: string, args: string[], theme?: string, env?: Record<string, string>, keys?: string[], settle?: number, cwd?: string, done?: string }} program
   *   `keys` are sent to the window with xdotool before the picture is taken, and not before the file `done` exists
   * @returns {Promise<Buffer>} PNG
   */
  async shoot({ command, args, theme = 'Clearlooks', env = {}, keys = [], settle = SETTLE_MS, cwd, done }) {
    await this.manage(theme);
    const child = spawn(command, args, {
      env: { ...this.env, ...env },
      cwd: cwd ?? this.home,
      stdio: 'ignore',
      detached: true,
    });
    const failed = new Promise((_, reject) => child.once('error', reject));
    try {
      const window = await Promise.race([this.newestWindow(), failed]);
      await untilExists(done);
      await sleep(settle);
      if (keys.length > 0) {
        // Real key events go to the active window; toolkits ignore those that are sent to one window.
        await run('xdotool', ['windowactivate', '--sync', window, 'key', '--delay', '80', ...keys], {
          env: this.env,
        });
        await sleep(400);
      }
      return await this.picture(await this.newestWindow());
    } finally {
      await ended(child);
      await this.untilEmpty();
    }
  }

  /** Runs a command to its end, in the home of this desktop. */
  async execute(command, args, cwd) {
    await run(command, args, { env: this.env, cwd });
  }

  async windows() {
    const { stdout } = await run('xprop', ['-root', '_NET_CLIENT_LIST'], { env: this.env });
    return stdout.match(/0x[0-9a-f]+/g) ?? [];
  }

  async newestWindow() {
    const deadline = Date.now() + PATIENCE_MS;
    while (Date.now() < deadline) {
      const window = (await this.windows()).at(-1);
      if (window) return window;
      await sleep(100);
    }
    throw new Error('No window appeared.');
  }

  async untilEmpty() {
    const deadline = Date.now() + PATIENCE_MS;
    while ((await this.windows()).length > 0) {
      if (Date.now() > deadline) throw new Error('A window stayed open.');
      await sleep(100);
    }
  }

  async picture(window) {
    const { stdout: info } = await run('xwininfo', ['-id', window], { env: this.env });
    const value = (name) => Number(new RegExp(`${name}:\\s+(-?\\d+)`).exec(info)[1]);
    const { stdout: frame } = await run(
      'xprop',
      ['-id', window, '_NET_FRAME_EXTENTS', '_GTK_FRAME_EXTENTS'],
      {
        env: this.env,
      },
    );
    const extents = (name) =>
      (new RegExp(`${name}\\(CARDINAL\\) = ([\\d, ]+)`).exec(frame)?.[1] ?? '0,0,0,0').split(',').map(Number);
    const [left, right, top, bottom] = extents('_NET_FRAME_EXTENTS');
    // A window that draws its own frame has invisible margins for its shadow.
    const own = extents('_GTK_FRAME_EXTENTS');
    const width = value('Width') + left + right - own[0] - own[1];
    const height = value('Height') + top + bottom - own[2] - own[3];
    const x = value('Absolute upper-left X') - left + own[0];
    const y = value('Absolute upper-left Y') - top + own[2];
    const geometry = `${width}x${height}+${x}+${y}`;
    const { stdout } = await run('import', ['-window', 'root', '-crop', geometry, '+repage', 'png:-'], {
      env: this.env,
      encoding: 'buffer',
      maxBuffer: 1e8,
    });
    return stdout;
  }

  async close() {
    if (this.manager) await ended(this.manager);
    await ended(this.server);
    await rm(this.home, { recursive: true, force: true });
  }
}

async function untilExists(file) {
  const deadline = Date.now() + PATIENCE_MS;
  while (file !== undefined && !existsSync(file)) {
    if (Date.now() > deadline) throw new Error(`${file} did not appear.`);
    await sleep(100);
  }
}

/** Ends a program that was started here. */
async function ended(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  signal(child, 'SIGTERM');
  const patient = await Promise.race([exit.then(() => true), sleep(3000, false)]);
  if (!patient) {
    signal(child, 'SIGKILL');
    await exit;
  }
}

/** Signals the process group where the child leads one (what it started ends with it), otherwise the child. */
function signal(child, name) {
  try {
    process.kill(-child.pid, name);
  } catch {
    child.kill(name);
  }
}
