"""The text that `vlmrl plan` prints."""

import textwrap
from collections.abc import Iterator

from vlmrl.bench.plan import GB, USED_OPERATIONS, Plan, histogram, percentile, with_pixel_limit

BAR = 40
WIDTH = 80


def plan_text(plan: Plan) -> str:
    """Prompts, memory, step and what follows from them."""
    lines = [*_prompts(plan), "", *_memory(plan), "", *_step(plan), "", *_advice(plan)]
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in lines)


def _prompts(plan: Plan) -> Iterator[str]:
    tokens, largest = plan.tokens, plan.largest
    yield (
        f"tokens per prompt over {len(tokens)} rows: median {percentile(tokens, 0.5)}, "
        f"95% {percentile(tokens, 0.95)}, longest {tokens[-1]}"
    )
    bins = histogram(tokens)
    most = max(rows for _, _, rows in bins)
    for low, high, rows in bins:
        yield f"  {low:>7} - {high:<7} {'#' * round(BAR * rows / most)} {rows}"
    pictures = ", ".join(map(str, largest.pictures)) or "none"
    yield f"  longest: row {largest.row}, pictures {pictures}, {largest.image_tokens} of its tokens are image"


def _memory(plan: Plan) -> Iterator[str]:
    memory, longest = plan.memory, plan.tokens[-1]
    yield f"memory on {plan.device.name} ({plan.device.memory / GB:.0f} GB), predicted"
    yield f"  weights                     {memory.weights / GB:9.2f} GB"
    yield f"  gradients and optimiser     {memory.gradients_and_optimizer / GB:9.2f} GB"
    activations = memory.of_pass(longest, plan.completion_tokens) - memory.held
    yield f"  pass over the longest group {activations / GB:9.2f} GB  (P {longest} + G.C {plan.completion_tokens})"


def _step(plan: Plan) -> Iterator[str]:
    rollout = plan.config.rollout
    yield (
        f"one step of {rollout.prompts_per_step} prompts, G {rollout.group_size}, C {rollout.max_completion_tokens}: "
        f"{plan.step_operations / 1e12:.3g} TFLOP at least;"
    )
    yield f"  without sharing the prompt, as trl's GRPOTrainer does it, {plan.trl_ratio:.1f} times that"
    time = plan.step_time
    if time is None:
        yield "  no time is predicted: the device has no data sheet here (vlmrl bench step measures it)"
        return
    yield (
        f"  about {time.total:.2f} s at {USED_OPERATIONS:.0%} of the device's data sheet: encode {time.encode:.2f}, "
        f"prompt {time.prompt:.2f}, decode {time.decode:.2f}, update {time.update:.2f}"
    )


def _advice(plan: Plan) -> Iterator[str]:
    if plan.max_tokens_per_pass is None:
        yield (
            "the weights with their optimiser leave no room for a pass: "
            "train adapters (model.lora.rank=16), a smaller model, or on a larger device"
        )
        return
    words = [f"engine.max_tokens_per_pass={plan.max_tokens_per_pass}"]
    if plan.max_pixels is None:
        yield "every prompt fits with its group: no pixel limit is needed"
    else:
        words.append(f"model.max_pixels={plan.max_pixels}")
        after = sorted(size.tokens for size in with_pixel_limit(plan))
        yield f"the longest prompts do not fit with their group; the limit below makes the longest {after[-1]} tokens"
    yield "suggested: " + " ".join(words)
