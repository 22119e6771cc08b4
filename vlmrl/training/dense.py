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
CENTRE_DIGITS = 4
"""Tens and units of a region's centre in hundredths of the picture: two for x, two for y."""


class DenseSupervision(nn.Module):
    """Asks every image token whether it shows a region and, if so, for that region's attributes and centre.

    Each attribute and each digit of the centre is a slot, answered by one token of the vocabulary. S counts slots,
    N the image tokens of a batch, D the width of the language model, V its vocabulary.
    """

    def __init__(self, embeddings: nn.Embedding, tokenizer: PreTrainedTokenizerBase, attributes: Sequence[str]) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.attributes = tuple(attributes)
        self.slots = len(self.attributes) + CENTRE_DIGITS
        self.readout = nn.Linear(embeddings.embedding_dim, self.slots * embeddings.embedding_dim, bias=False)
        self.occupancy = nn.Linear(embeddings.embedding_dim, 1)
        self._tokenizer = tokenizer
        self._first_token: dict[str, int] = {}

    def loss(self, features_ND: Tensor, words_NS: Tensor) -> tuple[Tensor, float]:
        """Cross-entropy of occupancy plus that of every slot, and the share of slots answered right."""
        features_ND = functional.rms_norm(features_ND, features_ND.shape[-1:])
        occupied_N = (words_NS != NO_WORD).any(1)
        occupancy_N = self.occupancy(features_ND)[:, 0]
        loss = functional.binary_cross_entropy_with_logits(occupancy_N, occupied_N.float())
        shown_MSD = self.readout(features_ND[occupied_N]).unflatten(-1, (self.slots, -1))
        logits_MSV = shown_MSD @ self.embeddings.weight.T
        words_MS = words_NS[occupied_N]
        for slot in range(self.slots):
            if (words_MS[:, slot] != NO_WORD).any():
                loss = loss + functional.cross_entropy(logits_MSV[:, slot], words_MS[:, slot], ignore_index=NO_WORD)
        right_MS = logits_MSV.argmax(-1) == words_MS
        return loss, right_MS[words_MS != NO_WORD].float().mean().item()

    def labels(self, scenes: Iterable[Scene], token_grids: Iterable[tuple[int, int]]) -> Tensor:
        """Token id per image token and slot [N, S], of the region that covers most of the image token.

        `token_grids` holds each picture's rows and columns of image tokens, in the order the merger returns them.
        """
        return torch.tensor(
            [
                words_S
                for scene, (rows, columns) in zip(scenes, token_grids, strict=True)
                for words_S in self._scene_labels(scene, rows, columns)
            ]
        )

    def _scene_labels(self, scene: Scene, rows: int, columns: int) -> list[list[int]]:
        words_NS = [[NO_WORD] * self.slots for _ in range(rows * columns)]
        largest_overlap_N = [0.0] * (rows * columns)
        for region in scene.regions:
            box, frame = region.box, region.box.frame
            x1, x2 = box.x1 / frame.width * columns, box.x2 / frame.width * columns
            y1, y2 = box.y1 / frame.height * rows, box.y2 / frame.height * rows
            words_S = self._region_words(region)
            for row in range(int(y1), min(rows, int(y2) + 1)):
                for column in range(int(x1), min(columns, int(x2) + 1)):
                    overlap = (min(x2, column + 1) - max(x1, column)) * (min(y2, row + 1) - max(y1, row))
                    token = row * columns + column
                    visible = overlap >= MIN_VISIBLE_SHARE * (x2 - x1) * (y2 - y1)
                    if visible and overlap > largest_overlap_N[token]:
                        words_NS[token], largest_overlap_N[token] = words_S, overlap
        return words_NS

    def _region_words(self, region: Region) -> list[int]:
        names = [self._token(region.attributes, name) for name in self.attributes]
        centre, frame = region.box.center, region.box.frame
        hundredths = [round(100 * centre.x / frame.width), round(100 * centre.y / frame.height)]
        digits = "".join(f"{min(value, 99):02d}" for value in hundredths)
        return names + [self._token_of(digit) for digit in digits]

    def _token(self, attributes: Mapping[str, str], name: str) -> int:
        return self._token_of(attributes[name]) if name in attributes else NO_WORD

    def _token_of(self, word: str) -> int:
        if word not in self._first_token:
            self._first_token[word] = self._tokenizer(word).input_ids[0]
        return self._first_token[word]
