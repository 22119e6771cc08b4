"""What the families differ in: media in a prompt, tokens, parts, layers; through the adapters and the engines."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.engine.groups import (
    assert_engines_agree,
    encode,
    picture,
    prompts_of_two_sizes,
    ragged_completions,
    sample,
)
from tests.media.clips import write_clip
from tests.random_models import FAMILIES, QWEN_FAMILIES
from vlmrl.config import ModelConfig
from vlmrl.engine.cache import SlidingLayer, TwoSlotCache
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.sampling import SamplingSettings
from vlmrl.engine.shared import SharedEngine
from vlmrl.errors import UserError
from vlmrl.media.videos import open_video, shuffled_in_time
from vlmrl.models.families import Part
from vlmrl.models.load import Policy, load_policy
from vlmrl.types import Video, VideoFile

CPU = torch.device("cpu")
TILED = [family for family in FAMILIES if family not in QWEN_FAMILIES]
CLIP = Video(tuple(picture(70, 60, seed) for seed in range(6)), (0.0, 0.5, 1.0, 1.5, 2.0, 2.5))


def load(folder: Path, *, trainable: bool = True) -> Policy:
    return load_policy(ModelConfig(path=str(folder)), CPU, trainable=trainable)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_what_transformers_own_call_makes(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family], trainable=False)
    for pictures in ([picture(96, 160)], [picture(96, 160), picture(130, 70, 1)], []):
        content = [*({"type": "image", "image": image} for image in pictures), {"type": "text", "text": "click it"}]
        expected = policy.family.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        prompt = encode(policy, sample(pictures))
        assert prompt.token_ids_P.tolist() == expected["input_ids"][0].tolist()
        with torch.no_grad():
            ours = policy.forward(**policy.family.extend(prompt, torch.empty(0, dtype=torch.long)))
            theirs = policy.model(**expected)
        assert torch.equal(ours.logits, theirs.logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_several_pictures_per_prompt(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family])
    several = sample([picture(96, 160), picture(130, 70, 1), picture(96, 96, 2)])
    prompts = [encode(policy, several), encode(policy, sample([picture(70, 130, 3)]))]
    assert_engines_agree(policy, prompts, ragged_completions(policy))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_without_pictures_beside_one_with(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family])
    prompts = [encode(policy, sample([])), encode(policy, sample([picture(96, 160)]))]
    assert_engines_agree(policy, prompts, ragged_completions(policy))


@pytest.mark.parametrize("family", QWEN_FAMILIES)
def test_videos(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family])
    both = sample([picture(96, 160)], videos=[CLIP, replace(CLIP, frames=CLIP.frames[:3], seconds=(0.0, 2.0, 4.0))])
    prompts = [encode(policy, sample([], videos=[CLIP])), encode(policy, both)]
    assert_engines_agree(policy, prompts, ragged_completions(policy))


@pytest.mark.parametrize("family", QWEN_FAMILIES)
def test_a_video_file_gives_the_prompt_of_its_decoded_frames(
    checkpoints: dict[str, Path], family: str, tmp_path: Path
) -> None:
    policy = load(checkpoints[family], trainable=False)
    file = VideoFile(write_clip(tmp_path / "clip.mkv", [0, 0.2, 1.1, 1.2, 2.8, 3.5, 4.0]), start=0.1, end=3.9)
    rows = [sample([], videos=[video]) for video in (file, open_video(file, "row"))]
    lazy, decoded = (encode(policy, row) for row in rows)
    assert lazy.token_ids_P.tolist() == decoded.token_ids_P.tolist()
    assert lazy.vision.keys() == decoded.vision.keys()
    assert all(torch.equal(lazy.vision[key], decoded.vision[key]) for key in lazy.vision)
    shuffled = encode(policy, shuffled_in_time(rows[0], seed=1))
    assert shuffled.token_ids_P.tolist() == lazy.token_ids_P.tolist()
    assert not torch.equal(shuffled.vision["pixel_values_videos"], lazy.vision["pixel_values_videos"])


@pytest.mark.parametrize("family", QWEN_FAMILIES)
def test_sampling_after_a_video(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family], trainable=False)
    prompts = [encode(policy, sample([], videos=[CLIP])), encode(policy, sample([picture(96, 160)]))]
    settings, seeds = SamplingSettings(temperature=1.0, max_tokens=6), [[1, 2], [3, 4]]
    shared = SharedEngine(policy, 10_000).sample(prompts, settings, seeds)
    naive = NaiveEngine(policy, 10_000).sample(prompts, settings, seeds)
    assert [[c.token_ids_T for c in group] for group in shared] == [[c.token_ids_T for c in group] for group in naive]


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_frame_times_are_written_into_the_prompt(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family], trainable=False)
    prompt = encode(policy, sample([], videos=[replace(CLIP, seconds=(0.0, 0.4, 3.0, 3.4, 60.0, 60.5))]))
    text = policy.family.tokenizer.decode(prompt.token_ids_P)
    assert [text.count(f"<{time} seconds>") for time in ("0.2", "3.2", "60.2")] == [1, 1, 1]


def test_frame_times_scale_the_temporal_positions(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen2_5_vl"], trainable=False)
    slow = replace(CLIP, seconds=tuple(2 * second for second in CLIP.seconds))
    spans = []
    for clip in (CLIP, slow):
        inputs = policy.family.collate([encode(policy, sample([], videos=[clip]))])
        positions, _ = policy.family.positions(policy.model, inputs)
        time = positions[0][inputs["mm_token_type_ids"] == 2]
        spans.append((time.max() - time.min()).item())
    assert spans[1] == 2 * spans[0] > 0


@pytest.mark.parametrize(
    ("seconds", "frames", "reason"),
    [((0.0,), 1, "two frames"), ((0.0, 1.0, 2.0), 2, "timestamps"), ((0.0, 1.0, 1.0), 3, "rise")],
)
def test_impossible_videos(seconds: tuple[float, ...], frames: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Video(CLIP.frames[:frames], seconds)


@pytest.mark.parametrize("family", TILED)
def test_videos_are_refused_where_a_family_takes_none(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family], trainable=False)
    with pytest.raises(UserError, match=r"row row-0, field videos"):
        encode(policy, sample([], videos=[CLIP]))


@pytest.mark.parametrize("family", TILED)
def test_pixel_limits_are_refused_where_tiles_are_fixed(checkpoints: dict[str, Path], family: str) -> None:
    with pytest.raises(UserError, match=r"unset model\.max_pixels"):
        load_policy(ModelConfig(path=str(checkpoints[family]), max_pixels=1000), CPU, trainable=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_belongs_to_its_part(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family], trainable=False)
    core = policy.model.model
    text = getattr(core, "text_model", None) or core.language_model
    language = {id(parameter) for parameter in text.parameters()}
    language.add(id(policy.model.get_output_embeddings().weight))
    parts = dict.fromkeys(Part, 0)
    for name, parameter in policy.model.named_parameters():
        part = policy.family.part_of(name)
        parts[part] += 1
        assert (part is Part.LANGUAGE) == (id(parameter) in language), name
    assert all(parts.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_placeholders_are_banned_and_answers_are_not(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family], trainable=False)
    prompt = prompts_of_two_sizes(policy)[0]
    assert policy.banned_V[policy.model.config.image_token_id]
    assert (prompt.token_ids_P == policy.model.config.image_token_id).any()
    token = policy.family.tokenizer.convert_tokens_to_ids
    assert not policy.banned_V[[token(name) for name in policy.family.answer_tokens]].any()
    assert not policy.banned_V[policy.stop_ids].any()


def test_a_begin_of_text_token_is_written_once(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["gemma3"], trainable=False)
    prompt = encode(policy, sample([picture(96, 160)]))
    assert policy.family.tokenizer("text")["input_ids"][0] == policy.family.tokenizer.bos_token_id
    assert (prompt.token_ids_P == policy.family.tokenizer.bos_token_id).sum() == 1


def test_branches_of_a_sliding_layer_carry_its_window_only(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["gemma3"], trainable=False)
    engine = SharedEngine(policy, 10_000, fast_attention=False)
    cache = engine.prompt_pass(prompts_of_two_sizes(policy)).cache.branch(torch.tensor([0, 0, 1]))
    window = policy.model.config.text_config.sliding_window
    lengths = {type(slot): slot.past[0].shape[-2] for slot in cache.slots}
    assert lengths[SlidingLayer] == window - 1
    assert max(lengths.values()) == cache.get_seq_length() > window


def test_unknown_kinds_of_layers_are_refused(checkpoints: dict[str, Path]) -> None:
    config = load(checkpoints["gemma3"], trainable=False).model.config.text_config
    config.layer_types = ["chunked_attention"] * 3
    with pytest.raises(UserError, match=r"chunked_attention.*engine\.kind=naive"):
        TwoSlotCache.empty(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_runs_record_can_hold_the_processors_settings(checkpoints: dict[str, Path], family: str) -> None:
    assert json.loads(json.dumps(load(checkpoints[family], trainable=False).family.settings()))["image_processor"]


def test_a_router_loss_is_refused(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen3_vl_moe"], trainable=False)
    policy.model.config.text_config.output_router_logits = True
    policy.model.save_pretrained(tmp_path)
    policy.family.processor.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="balancing loss"):
        load(tmp_path)


def test_dropout_is_refused(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["internvl"], trainable=False)
    policy.model.config.vision_config.attention_dropout = 0.1
    policy.model.save_pretrained(tmp_path)
    policy.family.processor.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"vision_config\.attention_dropout is 0\.1"):
        load(tmp_path)
