"""Dense supervision of a vision tower: what is where, asked of every image token.

Fine-tuning a random vision-language model on short answers alone stays blind: the few answer tokens say too little
about the picture. So the tower and the merger first learn to name and place what each image token shows. The names and
digits are scored with the language model's own token embeddings, so that the language model can read later what the
tower writes; the linear maps in between are thrown away.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from vlmrl.training.scenes import Region, Scene

MIN_VISIBLE_SHARE = 0.15
"""An image token shows a region if it covers at least this share of the region's area."""
NO_WORD = -100
"""Label of a slot without an answer; functional.cross_entropy skips it."""
DIGITS = tuple("0123456789")
CENTRE_SLOTS = ("x tens", "x units", "y tens", "y units")
"""Digits of a region's centre in hundredths of the picture."""


class DenseSupervision(nn.Module):
    """Asks every image token whether it shows a region and, if so, for that region's attributes and centre.

    Each attribute and each digit of the centre is a slot, answered by one of the slot's words. `words` names the words
    of every attribute. S counts slots, N the image tokens of a batch, M those that show a region, D the width of the
    language model. Raises ValueError if two words of an attribute begin with the same token.
    """

    def __init__(
        self, embeddings: nn.Embedding, tokenizer: PreTrainedTokenizerBase, words: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.slots: dict[str, list[str]] = {name: list(words[name]) for name in words}
        self.slots |= {name: list(DIGITS) for name in CENTRE_SLOTS}
        self.readout = nn.Linear(embeddings.embedding_dim, len(self.slots) * embeddings.embedding_dim, bias=False)
        self.occupancy = nn.Linear(embeddings.embedding_dim, 1)
        self.first_tokens: list[Tensor] = []
        for name, answers in self.slots.items():
            ids = [tokenizer(word).input_ids[0] for word in answers]
            if len(set(ids)) < len(ids):
                raise ValueError(f"attribute {name}: two of its words begin with the same token: {answers}")
            self.first_tokens.append(torch.tensor(ids))

    def loss(self, features_ND: Tensor, labels_NS: Tensor) -> tuple[Tensor, float]:
        """Cross-entropy of occupancy plus that of every slot, and the share of slots answered right."""
        features_ND = functional.rms_norm(features_ND, features_ND.shape[-1:])
        occupied_N = (labels_NS != NO_WORD).any(1)
        occupancy_N = self.occupancy(features_ND)[:, 0]
        loss = functional.binary_cross_entropy_with_logits(occupancy_N, occupied_N.float())
        answers_MSD = self.readout(features_ND[occupied_N]).unflatten(-1, (len(self.slots), -1))
        labels_MS = labels_NS[occupied_N]
        right, asked = 0, 0
        for slot, ids_W in enumerate(self.first_tokens):
            present_M = labels_MS[:, slot] != NO_WORD
            if present_M.any():
                labels_K = labels_MS[present_M, slot]
                logits_KW = answers_MSD[present_M, slot] @ self.embeddings(ids_W).T
                loss = loss + functional.cross_entropy(logits_KW, labels_K)
                right += int((logits_KW.argmax(-1) == labels_K).sum())
                asked += len(labels_K)
        return loss, right / max(asked, 1)

    def labels(self, scenes: Iterable[Scene], token_grids: Iterable[tuple[int, int]]) -> Tensor:
        """Index of the right word per image token and slot [N, S], for the region that covers most of the token.

        `token_grids` holds each picture's rows and columns of image tokens, in the order the merger returns them.
        """
        return torch.tensor(
            [
                labels_S
                for scene, (rows, columns) in zip(scenes, token_grids, strict=True)
                for labels_S in self._scene_labels(scene, rows, columns)
            ]
        )

    def _scene_labels(self, scene: Scene, rows: int, columns: int) -> list[list[int]]:
        labels_NS = [[NO_WORD] * len(self.slots) for _ in range(rows * columns)]
        largest_overlap_N = [0.0] * (rows * columns)
        for region in scene.regions:
            box, frame = region.box, region.box.frame
            x1, x2 = box.x1 / frame.width * columns, box.x2 / frame.width * columns
            y1, y2 = box.y1 / frame.height * rows, box.y2 / frame.height * rows
            labels_S = self._region_labels(region)
            for row in range(int(y1), min(rows, int(y2) + 1)):
                for column in range(int(x1), min(columns, int(x2) + 1)):
                    overlap = (min(x2, column + 1) - max(x1, column)) * (min(y2, row + 1) - max(y1, row))
                    token = row * columns + column
                    visible = overlap >= MIN_VISIBLE_SHARE * (x2 - x1) * (y2 - y1)
                    if visible and overlap > largest_overlap_N[token]:
                        labels_NS[token], largest_overlap_N[token] = labels_S, overlap
        return labels_NS

    def _region_labels(self, region: Region) -> list[int]:
        centre, frame = region.box.center, region.box.frame
        hundredths = [round(100 * centre.x / frame.width), round(100 * centre.y / frame.height)]
        digits = "".join(f"{min(value, 99):02d}" for value in hundredths)
        answers = {**region.attributes, **dict(zip(CENTRE_SLOTS, digits, strict=True))}
        return [words.index(answers[name]) if name in answers else NO_WORD for name, words in self.slots.items()]
