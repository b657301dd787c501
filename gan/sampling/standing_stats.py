"""Standing statistics of a generator's batch norms (Brock et al. 2019, BigGAN, arXiv 1809.11096)."""

from collections.abc import Iterator

from torch import Tensor, nn

from gan.norm import has_running_statistics, retake_running_statistics
from gan.sampling.generate import GENERATION_CHUNK, draw_latents, labels_in_turn
from gan.utils.progress import say
from gan.utils.random_streams import STANDING, random_stream


def use_standing_statistics(
    generator: nn.Module, batches: int, seed: int, *, latent_dim: int, classes: int = 0, truncation: float | None = None
) -> bool:
    """Replace the running statistics of all batch norms by means over new batches of latents.

    Running means and variances of training are averages over past weights, those of an EMA generator also over other
    weights than its own. Here the generator runs on `batches` batches of 64 latents (with a conditional one, each class
    in turn) in fp32, its batch norms in training mode and all other layers in evaluation mode. A batch norm's new
    statistics are the means of its batches' means and (unbiased) variances.

    Args:
        seed: of the latents behind the statistics, which do not depend on the number of images generated.
        truncation: of the latents, see `gan.sampling.generate.latents`.

    Returns:
        False for a generator without batch norms that have running statistics, which is unchanged; a message says so.
    """
    if not has_running_statistics(generator):
        say(f"--standing-stats {batches}: this generator has no batch norm; its images are the same without it")
        return False
    device = next(generator.parameters()).device

    def arguments() -> Iterator[tuple[Tensor, ...]]:
        for batch in range(batches):
            stream = random_stream(seed, STANDING, batch)
            z = draw_latents((GENERATION_CHUNK, latent_dim), stream, truncation).to(device)
            first = batch * GENERATION_CHUNK
            labels = labels_in_turn(range(first, first + GENERATION_CHUNK), classes)
            yield (z,) if labels is None else (z, labels.to(device))

    generator.eval()
    retake_running_statistics(generator, arguments())
    return True
