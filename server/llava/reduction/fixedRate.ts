import { budgetTokens } from './budget';
import { defineMethod } from './method';
import { topK } from './topK';

/** Control for DyRate: the same order of importance and the same moment, but one budget for every question and no classifier. */
export const fixedRate = defineMethod(
  {
    id: 'fixedrate',
    name: 'Fixed rate (control)',
    summary: 'Drops image tokens once the answer begins, always the same share.',
    details:
      'Before the second answer token, all but "keep" of the image tokens leave the cache, in the order of the attention (mean over layers and heads) that they got from the end of ' +
      'the question, least attended first. What DyRate does not gain over this at the same mean share, its classifier does not gain.',
    places: ['step'],
    needs: [],
    control: true,
    parameters: [
      {
        name: 'keep',
        type: 'budget',
        minimum: 1,
        default: '50%',
        description:
          'How many image tokens stay; a fraction is of the image tokens that entered the decoder.',
      },
    ],
  },
  ({ keep }) => ({
    atStep: ({ importance, enteredDecoder }) => {
      const count = budgetTokens(keep, enteredDecoder);
      return count < importance.length ? topK(importance, count) : undefined;
    },
  }),
);
