/** Asks the user for a question; the last ones and a few starters are one key away. */
import * as vscode from 'vscode';
import { EXPLAIN_QUESTION } from '../server/protocol';
import type { Memory } from './memory';

interface QuestionItem extends vscode.QuickPickItem {
  /** Empty for what was typed: that is read when it is accepted, because the row may be a key press behind. */
  question: string;
}

const REMOVE: vscode.QuickInputButton = {
  iconPath: new vscode.ThemeIcon('close'),
  tooltip: vscode.l10n.t('Forget this question'),
};

/**
 * @param subject what the question is about, for the title
 * @returns the question, or undefined when the user gave none
 */
export function inputQuestion(subject: string, memory: Memory): Promise<string | undefined> {
  const picker = vscode.window.createQuickPick<QuestionItem>();
  picker.title = vscode.l10n.t('Ask About {0}', subject);
  picker.placeholder = vscode.l10n.t('Type a question, or pick one');
  // It opens as the list of images closes, which gives the focus back to the editor a moment later.
  picker.ignoreFocusOut = true;
  // The typed text is a question of its own, so the list must not be cleared of what does not match it.
  const refresh = () => (picker.items = questionItems(picker.value.trim(), memory));
  refresh();

  return new Promise((resolve) => {
    picker.onDidChangeValue(refresh);
    picker.onDidTriggerItemButton(async ({ item }) => {
      await memory.forgetQuestion(item.question);
      refresh();
    });
    picker.onDidAccept(() => {
      const question = picker.activeItems[0]?.question || picker.value.trim();
      if (!question) return;
      resolve(question);
      picker.hide();
    });
    picker.onDidHide(() => {
      resolve(undefined);
      picker.dispose();
    });
    picker.show();
  });
}

/**
 * The first row is what was typed, or nothing; the others keep their places. The editor tells the active row by its place in a list that
 * is changed at every key, so that a place which meant another row a moment ago would ask another question.
 */
function questionItems(typed: string, memory: Memory): QuestionItem[] {
  const recent = memory.questions();
  const starters = [
    EXPLAIN_QUESTION,
    vscode.l10n.t('What does this screenshot say?'),
    vscode.l10n.t('Is this a light or a dark theme?'),
  ].filter((question) => !recent.includes(question));
  const isNew = typed !== '' && !recent.includes(typed) && !starters.includes(typed);
  const separator = (label: string): QuestionItem => ({
    label,
    kind: vscode.QuickPickItemKind.Separator,
    question: '',
  });
  return [
    isNew
      ? { label: typed, question: '', alwaysShow: true, iconPath: new vscode.ThemeIcon('comment') }
      : separator(''),
    separator(vscode.l10n.t('recent questions')),
    ...recent.map((question) => ({
      label: question,
      question,
      buttons: [REMOVE],
      iconPath: new vscode.ThemeIcon('history'),
    })),
    separator(vscode.l10n.t('suggestions')),
    ...starters.map((question) => ({
      label: question,
      question,
      iconPath: new vscode.ThemeIcon('lightbulb'),
    })),
  ];
}
