import { readdir, stat } from 'node:fs/promises';

import { defaultCacheDirectory } from '../llava/cacheDirectory';
import { openCheckpoint } from '../llava/checkpoint/open';
import { InputError, ModelError } from '../llava/errors';
import { catalogueEntry, EMBEDDED_MODEL } from '../models/catalogue';
import { executePlan } from '../models/download';
import { parseModelId, type ModelId } from '../models/fileNames';
import { Hub } from '../models/hub';
import {
  findInstalled,
  listInstalled,
  planRemoval,
  removeInstalled,
  resolveModel,
  verifyConverted,
  verifyInstalled,
  type InstalledModel,
  type Verification,
  type VerifyOptions,
} from '../models/installed';
import { catalogueOverview, describeEntry } from '../models/overview';
import { planDownload, type DownloadPlan } from '../models/plan';
import { hubSettings, modelPlaces } from '../models/settings';
import type { ModelCatalogueRequest } from '../protocol';
import type { Command, ModelCommand } from './arguments';
import { askConsent } from './consent';
import { embeddedModelDirectory } from './embeddedModel';
import { bytes } from './format';
import { textTable } from './table';
import { downloadLine, LinePrinter } from './downloadProgress';

/** `fovea model`: what there is, downloads, checks, removals. */
export async function model(command: ModelCommand, signal: AbortSignal): Promise<void> {
  switch (command.action) {
    case 'list':
      return list(command);
    case 'show':
      return show(command);
    case 'add':
      return add(command, signal);
    case 'verify':
      return verify(command, signal);
    case 'remove':
      return remove(command, signal);
  }
}

/** A command with the folder that its `--model` means, where it has one. Never downloads. */
export async function withModelFolder(command: Command): Promise<Command> {
  switch (command.name) {
    case 'ask':
    case 'analyze':
    case 'compare':
    case 'inspect': {
      const folders = { embedded: embeddedModelDirectory(), places: modelPlaces() };
      return { ...command, model: await resolveModel(command.model, folders) };
    }
    default:
      return command;
  }
}

// ---------------------------------------------------------------------------------------------- list, show

async function list(command: ModelCommand): Promise<void> {
  const installed = await listInstalled(modelPlaces());
  const catalogue = catalogueOverview(installed, embeddedModelDirectory());
  if (command.json) {
    process.stdout.write(`${JSON.stringify({ catalogue, installed })}\n`);
    return;
  }
  const words = { embedded: 'built in', complete: 'here', partial: 'begun', absent: '' };
  const rows = catalogue.map(({ name, state, downloadBytes, memoryBytes, licence }) => [
    name,
    words[state],
    state === 'embedded' ? '' : bytes(downloadBytes),
    bytes(memoryBytes),
    licence,
  ]);
  const table = textTable(['model', '', 'download', 'memory', 'licence'], rows, 'left').split('\n');
  process.stdout.write(`${table[0]}\n`);
  for (const [index, { summary, supported }] of catalogue.entries())
    process.stdout.write(
      `${table[index + 1]}\n  ${summary}${supported ? '' : ' This version of Fovea cannot run it yet.'}\n`,
    );
  process.stdout.write(
    `\nmemory: for quick answers on the CPU; this machine has ${bytes(catalogue[0].machineMemoryBytes)}\n`,
  );
  if (installed.length > 0) process.stdout.write('\non this machine\n');
  for (const { repository, state: how, bytes: size, totalBytes, directory, unsupported: why } of installed) {
    const amount = how === 'complete' ? bytes(size) : `${bytes(size)} of ${bytes(totalBytes ?? 0)}`;
    process.stdout.write(
      `${repository}  ${how}, ${amount}${why === undefined ? '' : ', cannot be run by this version'}\n  ${directory}\n`,
    );
  }
  process.stdout.write('\nfovea model show <name> tells more, fovea model add <name> downloads.\n');
}

async function show(command: ModelCommand): Promise<void> {
  const entry = catalogueEntry(command.model);
  const installed = await listInstalled(modelPlaces());
  if (entry !== undefined) {
    const all = describeEntry(entry, installed, embeddedModelDirectory());
    process.stdout.write(command.json ? `${JSON.stringify(all)}\n` : renderFacts(all));
    return;
  }
  const id = parseModelId(command.model, command.revision);
  const here = installed.filter(({ repository }) => repository === id.repository);
  if (command.json) process.stdout.write(`${JSON.stringify(here)}\n`);
  else if (here.length === 0)
    process.stdout.write(
      `${id.repository} is not on this machine, and nothing is known about it here.\nfovea model add ${id.repository} asks ${hubSettings().endpoint.host} and shows what it is before it downloads.\n`,
    );
  for (const found of command.json ? [] : here)
    process.stdout.write(
      `${found.repository} at ${found.commit}\n  ${found.state}, ${bytes(found.bytes)}\n  ${found.directory}\n`,
    );
}

function renderFacts(entry: ModelCatalogueRequest.Entry): string {
  const supported = entry.supported ? 'yes' : 'not by this version of Fovea';
  const rows: [string, string][] = [
    ['model', entry.name],
    ['about', entry.summary],
    ...(entry.repository === undefined ? [] : ([['repository', entry.repository]] as [string, string][])),
    ['licence', entry.licence],
    ['runs', `${supported} (family ${entry.family})`],
    ['size', `about ${bytes(entry.downloadBytes)} to download`],
    ...(entry.conversionBytes === 0
      ? []
      : ([['', `about ${bytes(entry.conversionBytes)} more for the first question on the CPU`]] as [
          string,
          string,
        ][])),
    [
      'memory',
      `about ${bytes(entry.memoryBytes)} for quick answers on the CPU; this machine has ${bytes(entry.machineMemoryBytes)}`,
    ],
    ['state', entry.state],
    ...entry.directories.map((directory) => ['folder', directory] as [string, string]),
  ];
  return `${rows.map(([label, value]) => `${label.padEnd(10)}  ${value}`).join('\n')}\n`;
}

// ---------------------------------------------------------------------------------------------- add

/** The hub's name of what the user wrote. */
function modelId(command: ModelCommand): ModelId {
  const entry = catalogueEntry(command.model);
  if (entry !== undefined && entry.repository === undefined)
    throw new InputError({
      code: 'model.embedded',
      message: `${entry.name} comes with Fovea.`,
      nextStep: 'It is used when --model is not given; there is nothing to download, verify or remove.',
    });
  return parseModelId(entry?.repository ?? command.model, command.revision);
}

async function add(command: ModelCommand, signal: AbortSignal): Promise<void> {
  if (await isFolder(command.model)) return addFolder(command.model, signal);
  const settings = hubSettings();
  const hub = new Hub(settings);
  const plan = await planDownload(modelId(command), { settings, hub }, signal);
  if (plan.kind === 'present') {
    process.stderr.write(`${plan.repository} is here already: nothing was downloaded.\n`);
    process.stdout.write(`${plan.directory}\n`);
    return;
  }
  process.stderr.write(renderPlan(plan));
  if (plan.unsupported !== undefined && !command.force)
    throw new ModelError({
      ...plan.unsupported,
      nextStep: 'Nothing was downloaded. To have it all the same, repeat the command with --force.',
    });
  const question = `Download ${bytes(plan.totalBytes - plan.presentBytes)} from ${plan.host}?`;
  if (!command.yes) await askConsent(question, command.action, signal);
  const printer = new LinePrinter(process.stderr);
  try {
    const directory = await executePlan(plan, {
      settings,
      hub,
      signal,
      onProgress: (progress) => printer.print(downloadLine(progress), progress.note !== undefined),
    });
    printer.end();
    process.stderr.write(
      `Complete, and every file is what ${plan.host} describes. Use it with --model ${command.model}\n`,
    );
    process.stdout.write(`${directory}\n`);
  } finally {
    printer.end();
  }
}

/** A folder needs no adding; it is checked, so that the user knows. */
async function addFolder(folder: string, signal: AbortSignal): Promise<void> {
  const checkpoint = await openCheckpoint(folder, { signal });
  process.stderr.write(`A folder is used where it is: --model ${folder}\n`);
  process.stdout.write(`${checkpoint.directory}\n`);
}

async function isFolder(text: string): Promise<boolean> {
  return stat(text).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function renderPlan(plan: DownloadPlan): string {
  const present = plan.presentBytes > 0 ? `, ${bytes(plan.presentBytes)} of it are here` : '';
  return [
    `${plan.repository} at ${plan.commit.slice(0, 12)} from ${plan.host}`,
    `  ${plan.files.length} files, ${bytes(plan.totalBytes)}${present}`,
    `  licence: ${plan.licence ?? 'not stated'}`,
    `  into ${plan.directory}`,
    '',
  ].join('\n');
}

// ---------------------------------------------------------------------------------------------- verify, remove

async function verify(command: ModelCommand, signal: AbortSignal): Promise<void> {
  const printer = new LinePrinter(process.stderr);
  let done = 0;
  const result = await checkFiles(command, {
    signal,
    removeDamaged: command.removeDamaged,
    onBytes: (count, file) => printer.print(`${file}  ${bytes((done += count))} read`),
  }).finally(() => printer.end());
  const converted = result.converted ?? { folder: '', right: [], damaged: [] };
  if (command.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else {
    for (const name of result.right) process.stdout.write(`right    ${name}\n`);
    for (const name of result.unknown) process.stdout.write(`unknown  ${name}\n`);
    for (const name of result.damaged) process.stdout.write(`damaged  ${name}\n`);
    for (const name of converted.right) process.stdout.write(`right    ${name} (converted)\n`);
    for (const name of converted.damaged) process.stdout.write(`damaged  ${name} (converted)\n`);
    if (converted.right.length + converted.damaged.length > 0)
      process.stderr.write(
        `Converted weights lie in ${converted.folder}, which may be deleted: they are made again when they are needed.\n`,
      );
  }
  if (result.damaged.length + converted.damaged.length === 0)
    process.stderr.write(verdict(result.right.length, result.unknown.length, converted.right.length));
  if (result.damaged.length > 0)
    throw new ModelError({
      code: 'model.damaged',
      message: `Files of ${command.model} are damaged: ${result.damaged.length} of ${result.damaged.length + result.right.length + result.unknown.length}.`,
      nextStep: repairStep(command, result.origin),
    });
  if (converted.damaged.length > 0)
    throw new ModelError({
      code: 'model.converted-damaged',
      message: `Converted weights of ${command.model} are damaged: ${converted.damaged.length} of ${converted.damaged.length + converted.right.length} files.`,
      nextStep: command.removeDamaged
        ? 'They were removed. The next question makes them again, and only them.'
        : `fovea model verify ${command.model} --remove-damaged removes them; the next question makes them again.`,
    });
}

/** What it comes to where nothing is damaged. */
function verdict(right: number, unknown: number, converted: number): string {
  const checked = [
    ...(right > 0 ? [`${right} files are what the hub describes`] : []),
    ...(unknown > 0 ? [`of ${unknown} files nobody wrote down what they must be`] : []),
    ...(converted > 0 ? [`${converted} files of converted weights are as they were written`] : []),
  ].join('; ');
  return `${checked.charAt(0).toUpperCase()}${checked.slice(1)}.\n`;
}

/** Of a folder, and of the model that comes with Fovea, nobody wrote down what the files must be: what was converted from them is checked. */
async function checkFiles(
  command: ModelCommand,
  options: VerifyOptions,
): Promise<Omit<Verification, 'directory' | 'origin'> & { origin: InstalledModel['origin'] | 'folder' }> {
  const cache = defaultCacheDirectory();
  const embedded = command.model === EMBEDDED_MODEL;
  if (!embedded && !(await isFolder(command.model)))
    return verifyInstalled(modelId(command), modelPlaces(), cache, options);
  const folder = embedded ? embeddedModelDirectory() : command.model;
  const converted = await verifyConverted(folder, cache, options);
  return { origin: 'folder', right: [], damaged: [], unknown: (await readdir(folder)).sort(), converted };
}

function repairStep(
  { model: name, removeDamaged }: ModelCommand,
  origin: InstalledModel['origin'] | 'folder',
): string {
  if (origin !== 'fovea') return 'Download it again with the tool that made the Hugging Face cache.';
  if (removeDamaged) return `They were removed. fovea model add ${name} gets them again, and only them.`;
  return `fovea model verify ${name} --remove-damaged removes them; fovea model add ${name} gets them again.`;
}

async function remove(command: ModelCommand, signal: AbortSignal): Promise<void> {
  const places = modelPlaces();
  const id = modelId(command);
  const plan = await planRemoval(id, places);
  process.stderr.write(`${plan.directory}\n`);
  if (!command.yes) await askConsent(`Remove it and its ${bytes(plan.bytes)}?`, command.action, signal);
  const removed = await removeInstalled(id, places, defaultCacheDirectory());
  process.stderr.write(`Removed: ${bytes(removed.bytes)} are free again.\n`);
  const elsewhere = await findInstalled(id, places);
  if (elsewhere !== undefined)
    process.stderr.write(
      `It is also in the Hugging Face cache, which Fovea does not change: ${elsewhere.directory}\n`,
    );
}
