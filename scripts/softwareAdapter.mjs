// `npm run software-adapter`: a Vulkan adapter in software (Mesa's lavapipe) for the tests of WebGPU, half precision included, which
// SwiftShader lacks. Debian only: takes the driver from its backports, where the stable one is too old for WebGPU, and unpacks it into the
// user's cache folder. Nothing is installed, and no rights are needed.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

const PACKAGE = 'mesa-vulkan-drivers';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

const release = Object.fromEntries(
  readFileSync('/etc/os-release', 'utf8')
    .split('\n')
    .filter((line) => line.includes('='))
    .map((line) => line.replaceAll('"', '').split('=', 2)),
);
if (release.ID !== 'debian')
  throw new Error(`This takes packages of Debian; here is ${release.PRETTY_NAME}.`);
const suite = `${release.VERSION_CODENAME}-backports`;

const target = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fovea', 'lavapipe');
const work = mkdtempSync(join(tmpdir(), 'fovea-lavapipe-'));
try {
  for (const folder of ['sources', 'lists/partial', 'cache/archives/partial', 'download'])
    mkdirSync(join(work, folder), { recursive: true });
  writeFileSync(
    join(work, 'sources', 'backports.sources'),
    `Types: deb\nURIs: http://deb.debian.org/debian\nSuites: ${suite}\nComponents: main\nSigned-By: ${KEYRING}\n`,
  );
  const apt = (...args) =>
    execFileSync(
      'apt-get',
      [
        ...['-o', 'Dir::Etc::SourceList=/dev/null', '-o', `Dir::Etc::SourceParts=${join(work, 'sources')}`],
        ...['-o', `Dir::State::Lists=${join(work, 'lists')}`, '-o', `Dir::Cache=${join(work, 'cache')}`],
        ...args,
      ],
      { cwd: join(work, 'download'), stdio: ['ignore', 'inherit', 'inherit'] },
    );
  apt('update');
  apt('download', `${PACKAGE}/${suite}`);
  rmSync(target, { recursive: true, force: true });
  for (const file of readdirSync(join(work, 'download')))
    execFileSync('dpkg-deb', ['--extract', join(work, 'download', file), target]);
} finally {
  rmSync(work, { recursive: true, force: true });
}

const libraries = join(target, 'usr', 'lib');
const driver = readdirSync(libraries, { recursive: true }).find((file) => file.endsWith('libvulkan_lvp.so'));
if (!driver) throw new Error(`${PACKAGE} of ${suite} has no lavapipe.`);
const description = join(target, 'icd.json');
writeFileSync(
  description,
  JSON.stringify({
    file_format_version: '1.0.0',
    ICD: { library_path: join(libraries, driver), api_version: '1.3.0' },
  }),
);
console.log(
  `${description}: used by npx vitest run test/webgpu; elsewhere by VK_DRIVER_FILES=${description}`,
);
