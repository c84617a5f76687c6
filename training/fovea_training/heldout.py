"""The held-out evaluation set: screens of words and layouts that training never drew, with questions and true answers.

    python -m fovea_training.heldout FOLDER               2 000 questions on words of the held-out part of the list
    python -m fovea_training.heldout FOLDER --random      the same, every word made of random letters

Each question comes with a second wording (`otherWords`) that training never uses. Writes `questions.json` and `images/*.png` (the source image, as a screenshot: pad it to a square, then scale it down).
"""

import argparse
import collections.abc
import json
import pathlib
import random

from .loose import LooseScreenMaker
from .questions import Question, Questioner, reworded
from .screen import Screen, ScreenMaker, Style
from .small_text import SmallTextScreenMaker

SEED = 20_261_123
QUESTIONS = 2000
PER_SCREEN = 8


def draw(count: int = QUESTIONS, random_letters: bool = False, seed: int = SEED) -> collections.abc.Iterator[tuple[Screen, list[Question]]]:
    """The held-out screens with the questions asked about each."""
    rng = random.Random(seed + random_letters)
    maker = ScreenMaker(rng, held_out=True, style=Style(random_share=1.0 if random_letters else 0.0))
    questioner = Questioner(rng, maker.words)
    while count > 0:
        screen = maker.make()
        asked = questioner.ask(screen)
        chosen = rng.sample(asked, min(PER_SCREEN, len(asked), count))
        count -= len(chosen)
        yield screen, chosen


def draw_small_text(count: int, seed: int = SEED) -> collections.abc.Iterator[tuple[Screen, list[Question]]]:
    """Screens whose text is too small to be read, with what is asked about them."""
    rng = random.Random(seed)
    plain, loose = ScreenMaker(rng, held_out=True), LooseScreenMaker(rng, held_out=True)
    maker, questioner = SmallTextScreenMaker(rng, plain, loose), Questioner(rng, plain.words)
    while count > 0:
        screen = maker.make()
        asked = questioner.ask(screen)[:count]
        count -= len(asked)
        yield screen, asked


def in_other_words(drawn: collections.abc.Iterable[tuple[Screen, list[Question]]], seed: int = SEED) -> collections.abc.Iterator[tuple[Screen, list[Question]]]:
    """The same questions, worded as training never words them."""
    rng = random.Random(seed)
    for screen, asked in drawn:
        yield screen, [reworded(rng, question) for question in asked]


def write(folder: pathlib.Path, count: int = QUESTIONS, random_letters: bool = False, seed: int = SEED) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    questions: list[dict[str, str]] = []
    drawn = list(draw(count, random_letters, seed))
    for number, ((screen, asked), (_, other)) in enumerate(zip(drawn, in_other_words(drawn, seed))):
        name = f"images/{number:04d}.png"
        screen.canvas.image.save(folder / name)
        for question, reworded_ in zip(asked, other):
            questions.append(
                {"image": name, "kind": screen.kind, "type": question.type, "question": question.text, "otherWords": reworded_.text, "answer": question.answer}
            )
    head = {"seed": seed, "words": "random letters" if random_letters else "held-out words", "fit": "pad"}
    (folder / "questions.json").write_text(json.dumps({**head, "questions": questions}, indent=1) + "\n")
    print(f"{len(questions)} questions in {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=QUESTIONS)
    parser.add_argument("--random", action="store_true")
    options = parser.parse_args()
    write(options.folder, options.count, options.random)


if __name__ == "__main__":
    main()
