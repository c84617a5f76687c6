import * as vscode from 'vscode';
import { ReductionsRequest, type ErrorData, type ReductionDescription } from '../../server/protocol';
import { reductionSetting } from '../configuration';
import { imageForCommand } from '../images';
import { inputQuestion } from '../questionInput';
import type { FoveaLanguageClient } from '../languageClient';
import type { Question, TokenView } from '../tokenView/tokenView';
import { COMPARED_BUDGETS, comparedSpecs, OWN_BUDGET, takesBudget } from './comparedSpecs';
import type { CommandContext } from './context';

/** Chosen from the start: one method that acts inside the decoder and one that acts before it. */
const PICKED: readonly string[] = ['fastv', 'visionzip'];

interface SpecItem extends vscode.QuickPickItem {
  spec: string;
}

/** "Compare Reductions...": one question under several reductions and budgets, then all answers with their costs side by side. */
export async function compareReductions(context: CommandContext, argument: unknown): Promise<void> {
  const { client, memory, tokenView } = context;
  const image = await imageForCommand(argument, client, memory);
  if (!image) return;
  const question = await inputQuestion(image.name, memory);
  if (!question) return;
  const specs = await pickReductions(client);
  if (!specs) return;
  const failures = await vscode.window.withProgress(
    {
      location: vscode.ProgressLocation.Notification,
      title: vscode.l10n.t('Fovea: comparing reductions'),
      cancellable: true,
    },
    (progress, token) => {
      token.onCancellationRequested(() => tokenView.cancel());
      const report = (message: string) => progress.report({ message, increment: 100 / specs.length });
      return askInTurn({ images: [image], question }, specs, tokenView, report, token);
    },
  );
  if (!failures) return;
  tokenView.showComparison();
  if (failures.length > 0) {
    const reasons = failures.map(({ spec, error }) => `${spec}: ${error.message}`).join('\n');
    const text = vscode.l10n.t('{0} of {1} reductions gave no answer.', failures.length, specs.length);
    void vscode.window.showWarningMessage(`${text} ${reasons}`);
  }
}

interface Failure {
  spec: string;
  error: ErrorData;
}

/** @returns those that failed; undefined when the user stopped it */
async function askInTurn(
  question: Question,
  specs: readonly string[],
  tokenView: TokenView,
  report: (message: string) => void,
  token: vscode.CancellationToken,
): Promise<Failure[] | undefined> {
  const failures: Failure[] = [];
  for (const [index, spec] of specs.entries()) {
    if (token.isCancellationRequested) return undefined;
    report(vscode.l10n.t('{0} ({1} of {2})', spec, index + 1, specs.length));
    const outcome = await tokenView.ask({ ...question, reduction: spec, fresh: true, reuse: false });
    if (!('error' in outcome)) continue;
    if (outcome.error.kind === 'cancelled') return undefined;
    failures.push({ spec, error: outcome.error });
  }
  return failures;
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
  if (!picked || picked.length === 0) return undefined;
  const chosen = picked.map(({ spec }) => spec);
  const budgeted = methods.filter((method) => chosen.includes(method.id) && takesBudget(method));
  const budgets = budgeted.length === 0 ? [OWN_BUDGET] : await pickBudgets(budgeted);
  return budgets && comparedSpecs(chosen, budgets, methods);
}

interface BudgetItem extends vscode.QuickPickItem {
  budget: string;
}

/** @returns the chosen ones; undefined when the user stopped there */
async function pickBudgets(methods: readonly ReductionDescription[]): Promise<string[] | undefined> {
  const label = (budget: string): string => {
    if (budget === OWN_BUDGET) return vscode.l10n.t('Each method’s own default');
    return budget === 'auto' ? vscode.l10n.t('Chosen for each picture') : budget.replace('%', ' %');
  };
  const items = COMPARED_BUDGETS.map((budget): BudgetItem => ({
    label: label(budget),
    description: budget.includes('%') ? vscode.l10n.t('of the image tokens') : budget,
    budget,
    picked: budget === OWN_BUDGET,
  }));
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Compare Reductions: Budgets'),
    placeHolder: vscode.l10n.t('How much is kept by {0}', methods.map(({ name }) => name).join(', ')),
    canPickMany: true,
    ignoreFocusOut: true,
  });
  return picked && picked.length > 0 ? picked.map(({ budget }) => budget) : undefined;
}
