"""Makes `import torchvision` work when its compiled part does not fit the installed torch.

transformers needs torchvision to build any Qwen-VL processor, and on Linux the registry's torchvision wheel is a CUDA
build: beside a CPU build of torch its import fails with "operator torchvision::nms does not exist", which transformers
reports as "Could not import module 'AutoProcessor'". vlmrl uses none of the compiled operators.
"""

import logging

import torch

logger = logging.getLogger(__name__)

_library: torch.library.Library | None = None  # the declared operators live as long as this object


def ensure_torchvision() -> None:
    """Declares torchvision's compiled operators if its own library did not. Call before transformers' processors."""
    global _library
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        logger.info(
            "torchvision %s was built for another torch than %s; vlmrl works without its compiled operators. "
            "To use them, install both from the same package index.",
            torchvision.__version__,
            torch.__version__,
        )
