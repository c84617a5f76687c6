/** The model chooser at work: rows that come late, text that is typed meanwhile, and what the user makes of them. */
import type * as vscode from 'vscode';
import {
  modelItems,
  type ModelButton,
  type ModelChoice,
  type ModelItem,
  type ModelLists,
  type OwnModel,
} from './modelItems';
import { typedHubId } from './modelText';

/** A row's meaning, with what was typed put in. */
export type MadeChoice = Exclude<ModelChoice, { kind: 'typed' }>;

/** What the user did: chose a model, or pressed a button of a row. */
export type Picked = MadeChoice | { kind: ModelButton['action']; own: OwnModel };

/** What is used of the editor's picker. */
export type ModelPicker = Pick<
  vscode.QuickPick<ModelItem>,
  | 'activeItems'
  | 'busy'
  | 'dispose'
  | 'hide'
  | 'items'
  | 'onDidAccept'
  | 'onDidChangeValue'
  | 'onDidHide'
  | 'onDidTriggerItemButton'
  | 'show'
  | 'value'
>;

/**
 * Shows the picker at once and fills it when the lists are there: they are local, but a cache folder may be large. Until then nothing can be
 * chosen, whatever keys are pressed.
 * @returns undefined where the user left it
 */
export function pickModel(picker: ModelPicker, lists: Promise<ModelLists>): Promise<Picked | undefined> {
  picker.busy = true;
  let left = false;
  return new Promise((resolve, reject) => {
    const done = (picked: Picked) => {
      resolve(picked);
      picker.hide();
    };
    lists.then(
      (loaded) => {
        if (left) return;
        const refresh = () => (picker.items = modelItems(loaded, picker.value));
        picker.onDidChangeValue(refresh);
        picker.busy = false;
        refresh();
      },
      (error: unknown) => {
        reject(error);
        picker.hide();
      },
    );
    picker.onDidAccept(() => {
      const choice = accepted(picker.activeItems[0], picker.value);
      if (choice) done(choice);
    });
    picker.onDidTriggerItemButton(({ item, button }) => {
      if (item.own) done({ kind: (button as ModelButton).action, own: item.own });
    });
    picker.onDidHide(() => {
      left = true;
      resolve(undefined);
      picker.dispose();
    });
    picker.show();
  });
}

function accepted(item: ModelItem | undefined, typed: string): MadeChoice | undefined {
  if (item?.choice?.kind !== 'typed') return item?.choice;
  const model = typedHubId(typed);
  return model === undefined ? undefined : { kind: 'download', model };
}
