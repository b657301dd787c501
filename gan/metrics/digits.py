"""A small network trained on scikit-learn's digits: a feature extractor for the quickstart, without a download.

`python -m gan.metrics.digits OUT.pt` trains it, prints its accuracy on held-out digits, and writes the weights that are
shipped as `digits.pt` beside this file. Its scores measure how digit-like images are and compare with each other only.
"""

import hashlib
import io
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.data.loading import load_images
from gan.errors import UserError
from gan.metrics.batched_inference import BatchedExtractor
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.preprocess import for_classifier
from gan.utils.files import atomic_write
from gan.utils.random_streams import seeded_globally

WEIGHTS = Path(__file__).with_name("digits.pt")
DIGITS_SIZE = 32

_EPOCHS, _BATCH, _LEARNING_RATE = 20, 64, 2e-3
_SHIFT = 2  # pixels; largest translation of a training image
_HELD_OUT = 360  # of 1,797
_SLOPE = 0.1


class DigitsNetwork(nn.Module):
    """Three strided convolutions and two linear layers: 89,546 weights. Leaky ReLUs, so that no unit dies."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inward, outward, 3, stride=2, padding=1) for inward, outward in ((1, 16), (16, 32), (32, 64))
        )
        self.hidden = nn.Linear(64 * 4 * 4, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 64) and logits (N, 10) of grey images (N, 1, 32, 32) in [-1, 1]."""
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), _SLOPE)
        features = F.leaky_relu(self.hidden(x.flatten(1)), _SLOPE)  # (N, 64, 4, 4) -> (N, 1024) -> (N, 64)
        return features, self.output(features)


class DigitsExtractor(BatchedExtractor):
    """64 features and 10 logits of the shipped digits network. Colour images are converted to greyscale."""

    name = "digits"
    dimension = 64
    classes = 10

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the shipped weights; raise a UserError if they are missing or damaged."""
        super().__init__(options)
        content, self._network = _load_shipped(WEIGHTS)
        self._network.to(self.device)
        self._set_protocol(
            hashlib.sha256(content).hexdigest(),
            layer="hidden (64), output (10)",
            preprocess=f"grey, antialiased bilinear to {DIGITS_SIZE}",
        )

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._network(for_classifier(images, DIGITS_SIZE, channels=1))


def train_digits(images: Tensor, labels: Tensor, *, seed: int = 0) -> DigitsNetwork:
    """Train a network on images uint8 (N, C, H, W), translated by up to 2 pixels, and labels int64 (N,).

    Its features are then scaled to a mean variance of 1 on these images, and the output layer by the inverse, which
    leaves the logits unchanged: Fréchet distances are relative to a total variance of 64.
    """
    with seeded_globally(seed):
        network = DigitsNetwork()
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    steps = _EPOCHS * -(-len(images) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    x = for_classifier(images, DIGITS_SIZE, channels=1)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(x), generator=draw).split(_BATCH):
            across, down = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=draw).tolist()
            _, logits = network(torch.roll(x[chosen], (down, across), dims=(2, 3)))
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        spread = network(x)[0].var(dim=0).mean().sqrt()
        network.hidden.weight.div_(spread)
        network.hidden.bias.div_(spread)
        network.output.weight.mul_(spread)
    return network.eval()


@torch.no_grad()
def accuracy(network: DigitsNetwork, images: Tensor, labels: Tensor) -> float:
    """Fraction of images uint8 (N, C, H, W) that are classified correctly."""
    return float((network(for_classifier(images, DIGITS_SIZE, channels=1))[1].argmax(dim=1) == labels).double().mean())


def load_digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits as the program loads them: uint8 (1797, 1, 32, 32) and labels int64 (1797,)."""
    digits = load_images("digits", resolution=DIGITS_SIZE, channels=1)
    assert digits.pixels is not None and digits.labels is not None
    return digits.pixels, digits.labels


def _load_shipped(path: Path) -> tuple[bytes, DigitsNetwork]:
    try:
        content = path.read_bytes()
        with seeded_globally(0):  # keep the caller's random state
            network = DigitsNetwork()
        network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # damaged files make the unpickler raise almost anything
        raise UserError(f"{path}: the digits weights are missing or damaged; install msn-gan again") from error
    return content, network.eval().requires_grad_(False)


def main(out: Path) -> None:
    """Train on a part and print the accuracy on the rest, then train on all digits and write the weights."""
    torch.set_num_threads(1)  # the number of threads changes the order of sums and so the last bits
    images, labels = load_digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held_out, training = order[:_HELD_OUT], order[_HELD_OUT:]
    share = accuracy(train_digits(images[training], labels[training]), images[held_out], labels[held_out])
    print(f"held-out accuracy: {share:.4f} of {_HELD_OUT} digits")
    with atomic_write(out) as file:
        torch.save(train_digits(images, labels).state_dict(), file)
    print(f"{out}: trained on all {len(images)} digits, {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m gan.metrics.digits OUT.pt")
    main(Path(sys.argv[1]))
