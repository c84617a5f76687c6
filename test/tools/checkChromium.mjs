// Ends with 0 where the tests have a browser, otherwise says why they have none and ends with 1.
import { launchChromium } from './chromium.mjs';
import { ToolMissing } from './installed.mjs';

try {
  await (await launchChromium()).close();
} catch (error) {
  if (!(error instanceof ToolMissing)) throw error;
  console.log(`The tests in a browser were not run: ${error.message}.`);
  process.exitCode = 1;
}
