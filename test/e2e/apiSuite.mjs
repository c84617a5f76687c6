// Runs api/suite.ts inside the real extension host, with the whole `vscode` API, through VS Code's own test driver.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Milliseconds; half a minute where nothing else runs. */
const LIMIT = 600_000;

/**
 * @param {import('playwright-core').Browser} browser
 * @param {{ url: string, port: number, extension: string }} server
 * @param {string} workspace
 */
export async function runApiSuite(browser, server, workspace) {
  // The suite runs from beside the installed extension: the same files that a user gets.
  const suite = join(server.extension, 'test', 'suite.js');
  const source = fileURLToPath(new URL('./api/suite.ts', import.meta.url));
  const target = { bundle: true, platform: 'node', format: 'cjs', external: ['vscode'] };
  await build({ ...target, entryPoints: [source], outfile: suite, logLevel: 'warning' });

  const context = await browser.newContext();
  const page = await context.newPage();
  const lines = [];
  let timer;
  try {
    const exit = new Promise((resolve, reject) => {
      const late = () =>
        reject(new Error(`The suite did not end within ${LIMIT / 1000} s:\n${lines.join('\n')}`));
      timer = setTimeout(late, LIMIT);
      void page.exposeFunction('codeAutomationLog', (_level, parameters) =>
        lines.push(...parameters.map(String)),
      );
      void page.exposeFunction('codeAutomationExit', (code) => resolve(code));
    });
    const remote = (path) => `vscode-remote://127.0.0.1:${server.port}${path}`;
    const payload = [
      ['extensionDevelopmentPath', remote(server.extension)],
      ['extensionTestsPath', remote(suite)],
    ];
    await page.goto(
      `${server.url}/?folder=${encodeURIComponent(workspace)}&payload=${encodeURIComponent(JSON.stringify(payload))}`,
    );
    const code = await exit;
    for (const line of lines.filter((text) => /^ {2}(ok|FAILED)/.test(text))) console.log(`      ${line}`);
    if (code !== 0) throw new Error(`The suite failed:\n${lines.join('\n')}`);
  } finally {
    clearTimeout(timer);
    await context.close();
  }
}
