import * as vscode from 'vscode';
import { ReductionsRequest } from '../../server/protocol';
import { comparisonMarkdown, type ComparedRun } from '../comparison';
import { reductionSetting } from '../configuration';
import { imageForCommand } from '../images';
import { inputQuestion } from '../questionInput';
import type { FoveaLanguageClient } from '../languageClient';
import type { CommandContext } from './commands';

/** Chosen from the start: one method that acts inside the decoder and one that acts before it. */
const PICKED: readonly string[] = ['fastv', 'visionzip'];

interface SpecItem extends vscode.QuickPickItem {
  spec: string;
}

/** "Compare Reductions...": one question under several reductions, then a table of the answers and what each cost. */
export async function compareReductions(context: CommandContext, argument: unknown): Promise<void> {
  const { client, memory, tokenView, comparisons } = context;
  const image = await imageForCommand(argument, client, memory);
  if (!image) return;
  const question = await inputQuestion(image.name, memory);
  if (!question) return;
  const specs = await pickReductions(client);
  if (!specs) return;

  const images = [image];
  const runs: ComparedRun[] = [];
  for (const reduction of specs) {
    const outcome = await tokenView.ask({ images, question, reduction, fresh: true });
    if ('error' in outcome && outcome.error.kind === 'cancelled') return;
    // The user's setting may be a method at its defaults, spelled out.
    const spec = canonicalSpec({ reduction, outcome });
    if (runs.every((run) => canonicalSpec(run) !== spec)) runs.push({ reduction, outcome });
  }
  await comparisons.show(
    vscode.l10n.t('Reductions on {0}', image.name),
    comparisonMarkdown(image.name, question, runs),
  );
}

function canonicalSpec({ reduction, outcome }: ComparedRun): string {
  return 'result' in outcome ? outcome.result.reduction : reduction;
}

async function pickReductions(client: FoveaLanguageClient): Promise<string[] | undefined> {
  const methods = await client.request(ReductionsRequest.type, {});
  const setting = reductionSetting(undefined);
  const items: SpecItem[] = [
    { label: vscode.l10n.t('All tokens'), description: 'none', spec: 'none', picked: true },
    ...methods.map(({ id, name, summary, control }) => ({
      label: control ? vscode.l10n.t('{0} (control)', name) : name,
      description: id,
      detail: summary,
      spec: id,
      picked: PICKED.includes(id),
    })),
  ];
  if (items.every(({ spec }) => spec !== setting)) {
    items.splice(1, 0, {
      label: vscode.l10n.t('Your setting'),
      description: setting,
      spec: setting,
      picked: true,
    });
  }
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Compare Reductions'),
    placeHolder: vscode.l10n.t('Each chosen one answers the question, one after the other'),
    canPickMany: true,
    ignoreFocusOut: true,
    matchOnDescription: true,
  });
  return picked && picked.length > 0 ? picked.map(({ spec }) => spec) : undefined;
}
