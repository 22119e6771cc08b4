"""The shipped model folder is whole, is what its README says, and loads with transformers alone."""

import hashlib
import json

import torch
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

from vlmrl.models.families.qwen3_vl import Qwen3VL
from vlmrl.paths import tiny_model_dir
from vlmrl.registry import find_task


def test_the_readme_names_the_weights():
    weights = (tiny_model_dir() / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in (tiny_model_dir() / "README.md").read_text()
    assert len(weights) < 2_000_000


def test_transformers_alone_answers_a_click():
    model = Qwen3VLForConditionalGeneration.from_pretrained(tiny_model_dir(), dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(tiny_model_dir())
    task = find_task("gui_grounding").create({})
    sample = task.synthetic("held_out", 1, 0)[0]
    request = task.request(sample, Qwen3VL.convention)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": request}]}]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(text=[prompt], images=list(sample.images), return_tensors="pt")
    tokens = model.generate(**inputs, max_new_tokens=16)[0, inputs["input_ids"].shape[1] :]
    answer = json.loads(processor.tokenizer.decode(tokens, skip_special_tokens=True))
    assert all(0 <= number <= 1000 for number in answer["point_2d"])
