"""A trained classifier as the feature extractor: scores for a domain that Inception was not trained on"""

from torch import Tensor

from gan.errors import UsageError, UserError
from gan.metrics.batched_inference import BatchedExtractor
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.preprocess import for_classifier
from gan.models.classifiers import classifier_from_state
from gan.runs import checkpoint

MAX_FEATURES = 4096  # decomposing a larger covariance takes minutes, and full rank needs more images than features


class ClassifierExtractor(BatchedExtractor):
    """The penultimate features and the logits of a classifier checkpoint, chosen by `classifier:CHECKPOINT`."""

    name = "classifier"

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the checkpoint at `options.weights`.

        Raises:
            UserError: it is not a whole classifier checkpoint, or has too many features for a covariance.
        """
        if options.weights is None:
            raise UsageError("--features classifier: name a trained checkpoint, as in classifier:checkpoints/x.pt")
        super().__init__(options)
        file = checkpoint.read_checkpoint(options.weights)
        state = file.state
        self._network = classifier_from_state(state, options.weights).to(self.device).requires_grad_(False)
        self.dimension = self._network.dimension
        self.classes = len(state["classes"])
        if self.dimension > MAX_FEATURES:
            raise UserError(
                f"{options.weights}: {state['model']} has {self.dimension:,} features, too many for a covariance "
                f"({MAX_FEATURES:,} at most); use vgg7, densenet-bc or resnet18"
            )
        self._set_protocol(
            file.sha256,
            layer=f"{state['model']} penultimate ({self.dimension}), logits ({self.classes})",
            preprocess=f"antialiased bilinear to {self._network.resolution}",
        )

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._network.features(for_classifier(images, self._network.resolution, self._network.channels))
