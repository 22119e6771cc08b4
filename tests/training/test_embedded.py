"""The embedded model's recipe: labels, masks, and a whole run of a few steps."""

from itertools import islice

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.models.families.qwen3_vl import Qwen3VL
from vlmrl.models.patches import patches_as_products
from vlmrl.models.tiny_recipe import build_model, build_processor, build_tokenizer
from vlmrl.registry import find_task
from vlmrl.training.conversations import answer_mask, encode_scenes
from vlmrl.training.dense import NO_WORD, DenseSupervision
from vlmrl.training.embedded import Recipe, Stage, main, warm_up
from vlmrl.training.scenes import Region, Scene, SceneKind, Turn

QUESTION = 'click on "Save"\nAnswer with JSON only: {"point_2d": [x, y]}'
SCENE = Scene(
    image=Image.new("RGB", (160, 96)),
    regions=(),
    turns=(Turn(QUESTION, '{"point_2d": [120, 40]}'), Turn(QUESTION, '{"point_2d": [0, 1000]}')),
)


@pytest.fixture(scope="module")
def processor():
    scenes = find_task("gui_grounding").create({}).scenes(0, Qwen3VL.convention, SceneKind.EXACT)
    turns = [turn for scene in islice(scenes, 200) for turn in scene.turns]
    return build_processor(build_tokenizer(text for turn in turns for text in (turn.request, turn.completion)))


def test_a_point_answer_is_at_most_twelve_tokens(processor):
    assert len(processor.tokenizer('{"point_2d": [1000, 1000]}<|im_end|>').input_ids) <= 12


def test_any_text_survives_the_tokenizer(processor):
    text = "Größe 12,5 % — ¿dónde? 点击\n\t{}"
    assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) == text


@pytest.mark.parametrize("size", [(128, 128), (160, 96), (96, 160), (256, 256), (320, 192), (192, 320)])
def test_every_drawn_size_reaches_the_model_at_its_logical_size(processor, size):
    grid = processor.image_processor(Image.new("RGB", size), return_tensors="pt")["image_grid_thw"]
    scale = 2 if max(size) > 160 else 1
    assert grid.tolist() == [[1, size[1] // scale // 16, size[0] // scale // 16]]


def test_only_answers_and_their_end_of_turn_are_learnt(processor):
    inputs = encode_scenes(processor, [SCENE])
    mask = answer_mask(inputs["input_ids"], processor.tokenizer)
    learnt = processor.tokenizer.decode(inputs["input_ids"][mask])
    assert learnt == "".join(f"{turn.completion}<|im_end|>" for turn in SCENE.turns)


def test_an_image_token_is_labelled_with_the_region_that_covers_most_of_it(processor):
    frame = ImageRecord(0, Size(64, 64)).frame(Unit.ORIGINAL)
    red = Region(Box(0, 0, 24, 24, frame), {"colour": " red"})
    blue = Region(Box(24, 0, 56, 16, frame), {"colour": " blue", "word": "Save"})
    scene = Scene(Image.new("RGB", (64, 64)), (red, blue), ())
    words = {"colour": [" blue", " red"], "word": ["Save"]}
    supervision = DenseSupervision(torch.nn.Embedding(512, 8), processor.tokenizer, words)

    labels = supervision.labels([scene], [(2, 2)])

    assert labels[0].tolist() == [1, NO_WORD, 1, 9, 1, 9]
    assert labels[1].tolist() == [0, 0, 6, 2, 1, 2]
    assert (labels[2:] == NO_WORD).all()


def test_the_matrix_product_equals_the_convolution(processor):
    model = build_model(processor.tokenizer, seed=0)
    patches = torch.randn(40, 3 * 2 * 16 * 16)
    convolved = model.model.visual.patch_embed(patches)
    with patches_as_products(model):
        torch.testing.assert_close(model.model.visual.patch_embed(patches), convolved, rtol=1e-5, atol=1e-5)


SHORT = Recipe(corpus_scenes=50, dense=Stage(2, 4, 1e-3), answers=Stage(2, 4, 1e-3), scattered=Stage(1, 4, 1e-3))


def test_the_recipe_repeats_and_its_folder_loads(tmp_path):
    first = warm_up(["gui_grounding"], tmp_path / "first", seed=3, recipe=SHORT)
    again = warm_up(["gui_grounding"], tmp_path / "again", seed=3, recipe=SHORT)
    other = warm_up(["gui_grounding"], tmp_path / "other", seed=4, recipe=SHORT)

    assert first["sha256"] == again["sha256"] != other["sha256"]
    Qwen3VLForConditionalGeneration.from_pretrained(tmp_path / "first")
    AutoProcessor.from_pretrained(tmp_path / "first")


def test_a_used_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="exists already"):
        warm_up(["gui_grounding"], tmp_path, seed=0, recipe=SHORT)


def test_its_command_names_what_is_wrong(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "exists already" in capsys.readouterr().err
