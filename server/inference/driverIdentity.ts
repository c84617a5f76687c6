import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

/**
 * What the outcome of a device test hangs on besides our own software: graphics adapters and their drivers. onnxruntime
 * does not tell which adapter it uses, so everything that may matter is hashed: a test too many costs seconds, a
 * verdict over another driver may cost right answers.
 */
export async function driverIdentity(environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  const facts = [process.platform, process.arch, os.release(), ...(await platformFacts(environment))];
  return createHash('sha256').update(facts.join('\n')).digest('hex').slice(0, 32);
}

async function platformFacts(environment: NodeJS.ProcessEnv): Promise<string[]> {
  switch (process.platform) {
    case 'linux':
      return [
        ...(await pciAdapters()),
        await text('/proc/driver/nvidia/version'),
        ...(await vulkanDrivers(environment)),
      ];
    case 'win32':
      return [await displayDrivers()];
    default:
      // On macOS drivers come with the system, whose version is in os.release().
      return [os.cpus()[0]?.model ?? ''];
  }
}

/** Vendor and device ids of the adapters that the kernel drives. */
async function pciAdapters(): Promise<string[]> {
  const root = '/sys/class/drm';
  const cards = (await names(root)).filter((name) => /^card\d+$/.test(name));
  return Promise.all(
    cards.map(async (card) => {
      const [vendor, device] = await Promise.all(
        ['vendor', 'device'].map((file) => text(path.join(root, card, 'device', file))),
      );
      return `${card} ${vendor.trim()} ${device.trim()}`;
    }),
  );
}

const VULKAN_FOLDERS = ['/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/usr/share/vulkan/icd.d'];
const LIBRARY_FOLDERS = [
  `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
  '/usr/lib64',
  '/usr/lib',
];

/** The Vulkan drivers' manifests and libraries, with sizes and times. The loader's environment variables come first. */
async function vulkanDrivers(environment: NodeJS.ProcessEnv): Promise<string[]> {
  const chosen = environment.VK_DRIVER_FILES ?? environment.VK_ICD_FILENAMES;
  const manifests =
    chosen === undefined
      ? (
          await Promise.all(
            VULKAN_FOLDERS.map(async (folder) =>
              (await names(folder)).map((name) => path.join(folder, name)),
            ),
          )
        ).flat()
      : chosen.split(path.delimiter);
  const facts: string[] = [];
  for (const manifest of manifests) {
    const content = await text(manifest);
    const library = /"library_path"\s*:\s*"([^"]+)"/.exec(content)?.[1] ?? '';
    const candidates = library.includes('/')
      ? [path.resolve(path.dirname(manifest), library)]
      : LIBRARY_FOLDERS.map((folder) => path.join(folder, library));
    facts.push(manifest, content, ...(await Promise.all(candidates.map(stamp))));
  }
  return facts;
}

/** Names and versions of the display drivers (the class of display adapters in the registry). */
async function displayDrivers(): Promise<string> {
  const key = 'HKLM\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e968-e325-11ce-bfc1-08002be10318}';
  try {
    const query = promisify(execFile)('reg', ['query', key, '/s', '/f', 'Driver', '/v'], { timeout: 5000 });
    return (await query).stdout;
  } catch {
    return '';
  }
}

async function names(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).sort();
}

async function text(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}

async function stamp(file: string): Promise<string> {
  return stat(file).then(
    ({ size, mtimeMs }) => `${file} ${size} ${mtimeMs}`,
    () => '',
  );
}
