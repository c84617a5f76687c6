"""The generator tells the truth, the tokenizer is what the model relies on, and packing changes nothing."""

import dataclasses
import random

import numpy as np
import pytest
import torch

from fovea_training import loose
from fovea_training.batch import AFTER_IMAGE, BEFORE_IMAGE, PATCHES, BatchSource, Plan, attention_layout
from fovea_training.canvas import CHARACTER_ID, CHARACTERS, FRAME, GRID
from fovea_training.distant import DistantScreenMaker
from fovea_training.heldout import write as write_heldout
from fovea_training.loose import LooseScreenMaker
from fovea_training.modules import Decoder, Size, attend
from fovea_training.phrasings import apart, composed, spoken
from fovea_training.questions import TOO_SMALL, Questioner, reworded
from fovea_training.screen import KINDS, ScreenMaker, Style
from fovea_training.small_text import SmallTextScreenMaker
from fovea_training.stream import CHUNK, batches
from fovea_training.tokenizer import END, character_tokens, encode, shared_tokenizer, vocabulary_size
from fovea_training.wordings import WORDINGS, as_typed
from fovea_training.words import is_held_out


def asked(count: int = 60, seed: int = 1, held_out: bool = False):
    for kind in (ScreenMaker, LooseScreenMaker):
        rng = random.Random(seed)
        maker = kind(rng, held_out)
        questioner = Questioner(rng, maker.words)
        for _ in range(count):
            screen = maker.make()
            yield screen, questioner.ask(screen)


def test_every_character_of_a_run_is_found_in_the_patch_that_the_run_names():
    for screen, _ in asked():
        for run in screen.reading_order:
            for character, place in zip(run.text, run.places):
                if place is not None:
                    patch, slot = place
                    assert screen.canvas.characters[patch // GRID, patch % GRID, slot] == CHARACTER_ID[character]


def test_patches_hold_nearly_all_characters():
    places = [place for screen, _ in asked() for run in screen.reading_order for place in run.places]
    assert sum(place is None for place in places) <= 0.002 * len(places)


def test_text_stays_on_the_screen():
    for screen, _ in asked():
        for run in screen.reading_order:
            assert run.places[-1] is not None and (run.places[-1][0] % GRID) < GRID


def test_answer_tokens_spell_the_answer_and_point_at_its_characters():
    for screen, questions in asked():
        for question in questions:
            ids, places = question.answer_tokens()
            assert ids[-1] == END and len(ids) == len(places)
            assert shared_tokenizer().decode(ids[:-1]) == " " + question.answer
            for token, place in zip(ids, places):
                if place is not None:
                    character = screen.canvas.characters[place[0] // GRID, place[0] % GRID, place[1]]
                    assert token == character_tokens()[character]


def test_quoted_characters_point_at_the_screen():
    for screen, questions in asked():
        for question in questions:
            ids, places = question.question_tokens()
            if question.about is not None:
                marked = [shared_tokenizer().id_to_token(token).replace("\u0120", " ") for token, place in zip(ids, places) if place]
                assert marked == [character for character, place in zip(question.about.text, question.about.places) if place]


@pytest.mark.parametrize("text", ["Is 'Night Mode' ticked? ASSISTANT:", "What is the title? ASSISTANT:", "caf\u00e9 \u2713", "  two spaces\n"])
def test_encoding_is_reversible(text: str):
    assert shared_tokenizer().decode(list(encode(text))) == text


def test_template_words_are_single_tokens_and_capitalised_text_is_characters():
    assert [shared_tokenizer().id_to_token(token) for token in encode(" the highlighted button ASSISTANT:")] == [
        "\u0120the", "\u0120highlighted", "\u0120button", "\u0120ASSISTANT", ":",
    ]
    assert len(encode(" Night Mode")) == len(" Night Mode")


def test_tokens_of_characters_are_distinct():
    assert len(set(character_tokens()[1:])) == len(CHARACTERS) + 1


def test_words_of_training_and_evaluation_never_meet():
    for held_out in (False, True):
        for screen, _ in asked(30, held_out=held_out):
            if screen.message:
                words = screen.message.text.strip(".!?").split()
                assert all(is_held_out(word) == held_out for word in words[:-1])


def test_loose_text_stands_where_its_labels_say():
    """Ink lies within the patches that the runs name: text is darker or lighter there than bare paper is."""
    found = total = 0
    for screen, _ in asked(40):
        frame = screen.image().astype(int).sum(2)
        for run in screen.reading_order:
            for character, place in zip(run.text, run.places):
                if place is None or character in " .,-'|:":
                    continue
                row, column = divmod(place[0], GRID)
                patch = frame[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
                total += 1
                found += int(patch.max() - patch.min() > 60)
    assert found >= 0.99 * total


def test_loose_screens_vary_in_size_and_height():
    maker = LooseScreenMaker(random.Random(2))
    offsets, scales = set(), set()
    for _ in range(60):
        canvas = maker.make().canvas
        scales.add(round(canvas.scale, 2))
        offsets.add(canvas.padding % 8)
    assert len(scales) >= 6 and len(offsets) >= 6


def test_numbers_of_a_loose_terminal_are_numbers():
    maker = LooseScreenMaker(random.Random(4))
    for _ in range(80):
        for role, piece in maker.make("terminal").terminal.items():
            if role in ("passed", "failed"):
                assert piece.text.isdigit()


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_fields_have_room_in_a_narrow_window(monkeypatch, seed: int):
    """The largest scale leaves 120 units of width, which the widest label and margin filled with these seeds: pillow refuses a box of negative width."""
    monkeypatch.setattr(loose, "SCALES", (max(loose.SCALES),))
    maker = LooseScreenMaker(random.Random(seed))
    fields = [(screen.canvas, run) for screen in (maker.make("form", zoom=1.0) for _ in range(40)) for _, run in screen.fields]
    assert any(canvas.scale > 1.5 for canvas, _ in fields)
    assert all(len(run.text) >= 2 and None not in run.places for _, run in fields)


def test_every_kind_can_be_drawn_in_every_shape():
    maker = ScreenMaker(random.Random(0))
    for kind in KINDS:
        shapes = ((1.0, FRAME), (10 / 3, FRAME), (5.0, 160))
        for zoom, height in shapes:
            screen = maker.make(kind, zoom, height)
            assert screen.image().shape == (FRAME, FRAME, 3)
            assert screen.canvas.image.size == (round(FRAME * zoom), round(height * zoom))


def test_same_seed_same_batch():
    first, second = (BatchSource(Plan(2, 96, noise=False), 9).draw() for _ in range(2))
    assert torch.equal(first.pixels, second.pixels) and torch.equal(first.ids, second.ids)


def test_heldout_set_is_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        write_heldout(tmp_path / name, 24)
    assert (tmp_path / "a/questions.json").read_bytes() == (tmp_path / "b/questions.json").read_bytes()
    assert len(list((tmp_path / "a/images").iterdir())) == len(list((tmp_path / "b/images").iterdir()))


def test_random_letters_never_use_the_word_list():
    maker = ScreenMaker(random.Random(3), True, Style(random_share=1.0))
    assert all(3 <= len(maker.words.word()) <= 7 for _ in range(50))


@torch.no_grad()
def test_a_packed_question_gives_the_logits_of_the_question_alone():
    torch.manual_seed(0)
    size = Size(tower_width=32, width=32, layers=2, heads=2, feed_forward=48)
    decoder = Decoder(size, vocabulary_size())
    for layer in decoder.layers:
        torch.nn.init.normal_(layer.self_attn.o_proj.weight, std=0.2)
    batch = BatchSource(Plan(1, 128, noise=False), 3).draw()
    image = torch.randn(1, PATCHES, size.width)
    embed = lambda ids: decoder.embed_tokens(torch.tensor([ids]))
    kept = torch.arange(PATCHES)[None]
    packed = torch.cat([embed(BEFORE_IMAGE), image, embed(AFTER_IMAGE), decoder.embed_tokens(batch.ids)], 1)
    states, _ = decoder(packed, *attention_layout(batch, kept))
    for segment in (1, 2):
        where = batch.segment[0] == segment
        alone = torch.cat([embed(BEFORE_IMAGE), image, embed(AFTER_IMAGE), decoder.embed_tokens(batch.ids[:, where])], 1)
        length = alone.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
        expected, _ = decoder(alone, torch.arange(length)[None], mask)
        count = int(where.sum())
        np.testing.assert_allclose(states[0, -128:][where], expected[0, -count:], atol=1e-4)


def test_wordings_of_the_evaluation_are_never_trained():
    spoken = lambda text: text.lower().rstrip("?.")
    trained = {spoken(text) for wordings in WORDINGS.values() for text in (*wordings.plain, *wordings.further)}
    for topic, wordings in WORDINGS.items():
        assert wordings.plain and wordings.further and wordings.unseen, topic
        assert not trained & {spoken(text) for text in wordings.unseen}, topic
        every = (*wordings.plain, *wordings.further, *wordings.unseen)
        assert len({text.count("'{}'") for text in every}) == 1 and len({text.count("{}") for text in every}) == 1, topic


def test_composed_wordings_stay_apart_from_those_of_the_evaluation():
    for topic, wordings in WORDINGS.items():
        texts = [text for group in composed(topic, wordings.unseen) for text in group]
        assert len(texts) >= 50, topic
        names = wordings.plain[0].count("'{}'")
        assert all(text.count("'{}'") == text.count("{}") == names and not set(text) & set("()|") for text in texts), topic
        assert all(apart(spoken(text), spoken(other)) == 2 for text in texts for other in wordings.unseen), topic
    assert apart("is it dark".split(), "is it very dark".split()) == 1 and apart("is it dark".split(), "is this light".split()) == 2


def test_slips_of_the_keys_leave_the_name_alone():
    rng = random.Random(1)
    for _ in range(300):
        text = as_typed(rng, "exists_button")
        assert text.count("{}") == 1


def test_a_window_on_a_larger_picture_is_read_where_it_stands():
    """All its text lies on the picture and in its patches, and nothing is asked about the text around it."""
    maker = DistantScreenMaker(random.Random(1))
    questioner = Questioner(maker.rng, maker.words)
    places, around = [], 0
    for _ in range(60):
        screen = maker.make()
        around += screen.text_around
        places += [place for run in screen.reading_order for place in run.places]
        asked_types = {question.type for question in questioner.ask(screen)}
        assert not screen.text_around or not asked_types & {"read_all", "theme", "too_small"}
    assert None not in places and 10 < around < 50


def test_data_workers_draw_what_this_process_draws():
    plan = Plan(8, 96, loose=0.5, distant=0.2, small_text=0.1, free=0.5, noise=False)
    stream = batches(plan, seed=3, workers=2)
    batch = next(stream)
    drawn = [BatchSource(dataclasses.replace(plan, images=CHUNK), 3 * 1009 + worker) for worker in range(2)]
    known = [source.draw() for source in drawn for _ in range(4)]
    for row in range(8):
        at, place = next((other, place) for other in known for place in range(CHUNK) if torch.equal(other.pixels[place], batch.pixels[row]))
        assert torch.equal(at.ids[place], batch.ids[row]) and torch.equal(at.targets[place], batch.targets[row]) and torch.equal(at.weight[place], batch.weight[row])
        assert torch.equal(at.pointer[place], batch.pointer[row]) and torch.equal(at.quoted[place], batch.quoted[row])
        for name, label in batch.labels.items():
            assert torch.equal(label[row], at.labels[name][place]) and label.dtype == at.labels[name].dtype
    stream.close()


def test_workers_that_end_are_reported_and_the_last_one_ends_the_training(capfd):
    stream = batches(Plan(4, 64, noise=False), seed=5, workers=2)
    next(stream)
    first, second = stream._processes
    for process in (first, second):
        process.terminate()
        process.join()
        if process is first:
            next(stream)
            assert "1 of 2 data workers ended" in capfd.readouterr().err
            next(stream)
            assert not capfd.readouterr().err
    with pytest.raises(RuntimeError, match="data workers ended"):
        next(stream)


def test_a_learnt_mask_has_the_gradient_of_plain_attention():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 8) for _ in range(3))
    mask = torch.randn(2, 1, 5, 5)
    ours, reference = (mask.clone().requires_grad_() for _ in range(2))
    weight = torch.randn(2, 3, 5, 8)
    (attend(query, key, value, ours) * weight).sum().backward()
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) / 8**0.5 + reference
    (torch.einsum("bhqk,bhkd->bhqd", scores.exp() / scores.exp().sum(-1, keepdim=True), value) * weight).sum().backward()
    torch.testing.assert_close(ours.grad, reference.grad)


def test_a_question_in_other_words_points_at_the_same_name():
    """The name is quoted at the place that the question says, and its characters at the same patches."""
    rng = random.Random(3)
    quoted = 0
    for screen, questions in asked(20):
        for question in questions:
            for other in (reworded(rng, question), question.worded(as_typed(rng, question.topic))):
                assert other.answer_parts == question.answer_parts and other.topic == question.topic
                if not question.name:
                    continue
                assert other.text[other.name_at : other.name_at + len(other.name)] == question.name
                if question.about is None:
                    continue
                ids, places = other.question_tokens()
                if any(place is not None for place in places):
                    quoted += 1
                    first = next(index for index, place in enumerate(places) if place is not None)
                    start = first - next(index for index, place in enumerate(question.about.places) if place is not None)
                    assert shared_tokenizer().decode(ids[start : start + len(other.name)]) == question.name
                    assert places[start : start + len(other.name)] == question.about.places
    assert quoted > 100


def test_words_as_people_type_are_further_words():
    plain, free = (BatchSource(Plan(1, 400, noise=False, free=share), 5) for share in (0.0, 1.0))
    unnamed = lambda source: [question for _ in range(5) for question in source.questioner.ask(source.maker.make()) if not question.name]
    assert all(question.text in WORDINGS[question.topic].plain for question in unnamed(plain))
    put = [question.text in WORDINGS[question.topic].plain for question in unnamed(free)]
    assert 0.05 < sum(put) / len(put) < 0.4


def test_small_text_has_nothing_to_read():
    rng = random.Random(2)
    maker = SmallTextScreenMaker(rng, ScreenMaker(rng), LooseScreenMaker(rng))
    questioner = Questioner(rng, maker.walls.words)
    for _ in range(20):
        screen = maker.make()
        assert screen.image().shape == (FRAME, FRAME, 3) and screen.canvas.image.width > 2 * FRAME
        assert not screen.canvas.characters.any() and not screen.reading_order
        answers = {question.answer for question in questioner.ask(screen)}
        assert TOO_SMALL in answers and answers <= {TOO_SMALL, "dark", "light"}


def test_positions_close_up_as_after_a_reduction_before_the_decoder():
    batch = BatchSource(Plan(1, 64, noise=False), 4).draw()
    kept = torch.tensor([[3, 40, 41, 500]])
    position, _ = attention_layout(batch, kept, closed=True)
    shared = len(BEFORE_IMAGE) + 4 + len(AFTER_IMAGE)
    assert position[0, :shared].tolist() == list(range(shared))
    assert position[0, shared] == shared
    position, _ = attention_layout(batch, kept)
    assert position[0, len(BEFORE_IMAGE) : len(BEFORE_IMAGE) + 4].tolist() == [len(BEFORE_IMAGE) + place for place in (3, 40, 41, 500)]
