"""Peak memory of a trial, estimated from its configuration alone.

Training: weights, gradients, the optimiser's state, what the forward pass keeps (`raypeft.estimate.activations`) and
the logits with their loss. Decoding: weights, the optimiser's state, the key-value cache of all beams and the scores
over the vocabulary. Both with what the framework itself takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from raypeft.estimate.activations import FP32, Adapter, Sizes, saved
from raypeft.spec.sections import Training
from raypeft.spec.shape import Shape
from raypeft.spec.technique import Quantization

MIB, GIB = 2**20, 2**30
CUDA_CONTEXT = 512 * MIB
# On a CPU a Ray worker has some 560 MiB before a model is loaded, with bitsandbytes, which peft loads wherever it is
# installed; the rest comes with the first products and stays from the trials before.
FRAMEWORK = {"gpu": CUDA_CONTEXT, "cpu": 640 * MIB}
# What a CPU's heap keeps between blocks in use, as a share of what the trial itself takes: measured, it is a tenth to a
# half in training, which follows a beam search, and less in decoding (docs/studies.md). Torch's allocator keeps less.
HEAP = {"training": 0.3, "decoding": 0.15}
# bitsandbytes: nf4 with one 8-bit scale to 64 weights, which have one fp32 scale to 256 of them; int8.
QUANTIZED: Mapping[Quantization, float] = {"4bit": 0.5 + 1 / 64 + 4 / (64 * 256), "8bit": 1.0}
# Bytes of a logit at the highest point of the loss: log-probabilities, their gradient, the gradient of the logits.
LOSS = 3 * FP32
# Bytes of a beam's score for a word: logits, log-probabilities, their sum with the beam's score, and its copy.
SCORES = 4 * FP32
Device = Literal["gpu", "cpu"]


@dataclass(frozen=True)
class Workload:
    """How many items and tokens are handled at once.

    Attributes:
        micro: sequences a forward pass in training.
        batch: sequences to one step of the optimiser.
        decode: prompts searched together.
        beams: rows of each.
        prompt: most tokens of a prompt.
        code: most tokens of a target, and new tokens of a beam.
    """

    micro: int
    batch: int
    decode: int
    beams: int
    prompt: int
    code: int


@dataclass(frozen=True)
class Estimate:
    """Bytes by what takes them, in training and in decoding, each at its highest point."""

    training: Mapping[str, float]
    decoding: Mapping[str, float]

    @property
    def peak(self) -> float:
        """The higher of the two, in bytes."""
        return max(sum(self.training.values()), sum(self.decoding.values()))

    @property
    def largest(self) -> str:
        """What takes most at the highest point."""
        terms = max((self.training, self.decoding), key=lambda terms: sum(terms.values()))
        return max(terms, key=lambda name: terms[name])


@dataclass(frozen=True)
class Configuration:
    """What a trial's memory follows from.

    Attributes:
        shape: sizes of the model.
        parameters: its weights.
        adapter: what is trained.
        quantization: of the base's linear layers.
        training: precision, optimiser, attention and gradient checkpointing.
        device: where it runs.
    """

    shape: Shape
    parameters: int
    adapter: Adapter
    quantization: Quantization | None
    training: Training
    device: Device

    @property
    def half(self) -> bool:
        """Whether products are computed in half precision: models that overflow in fp16 take fp32 for it."""
        precision = self.training.precision
        if precision == "auto":
            return self.device == "gpu"
        return precision == "bf16" or (precision == "fp16" and self.shape.block != "t5")

    @property
    def full(self) -> bool:
        """Whether every weight is trained."""
        return self.adapter.kind is None

    @property
    def half_rest(self) -> bool:
        """Whether what is not quantised, and with it hidden states and cache, is in half precision."""
        return self.half and (self.quantization is None or self.training.quantized_rest == "half")

    @property
    def sizes(self) -> Sizes:
        """Bytes of an element in training; what quantised layers put out has the precision of their inputs."""
        size = 2 if self.half_rest else FP32
        attended = 2 if self.half and (self.device == "gpu" or size == 2) else FP32
        eager = self.training.attention == "eager" or self.shape.block == "codegen"
        return Sizes(self.device == "gpu", self.half, size, attended, eager, self.quantization == "8bit")

    def base_weights(self) -> float:
        """Bytes of the base model. Embeddings, norms, the output layer and T5's `wo` are never quantised."""
        size = 2 if self.half_rest else FP32
        if self.quantization is None:
            return self.parameters * size
        packed = self.shape.linear_weights - self._unquantised()
        return packed * QUANTIZED[self.quantization] + (self.parameters - packed) * size

    def _unquantised(self) -> int:
        """Weights of the linear layers that transformers does not quantise."""
        return sum(matrix.weights for matrix in self.shape.matrices if matrix.name == "wo")

    def unpacked(self) -> int:
        """Bytes of the largest quantised weight as it is multiplied: bitsandbytes unpacks one at a time."""
        size = 2 if self.half else FP32
        return size * max(matrix.inputs * matrix.outputs for matrix in self.shape.matrices if matrix.name != "wo")

    def trained(self) -> tuple[int, int]:
        """Weights that are trained, and the elements that Adafactor keeps of their squared gradients.

        Of a matrix it keeps a row and a column (`transformers.Adafactor`).
        """
        shape, adapter = self.shape, self.adapter
        if self.full:
            kept = sum(matrix.count * (matrix.inputs + matrix.outputs) for matrix in shape.matrices)
            return self.parameters, kept + (shape.vocabulary + shape.hidden) * (1 if shape.tied else 2)
        sizes: list[tuple[int, int]] = []
        if adapter.kind == "PrefixTuningConfig":
            sizes = [(adapter.virtual, 2 * shape.layers * shape.kv_width)]
        elif adapter.kind in ("PromptTuningConfig", "PromptEncoderConfig"):
            sizes = [(adapter.virtual * (2 if shape.encoder_layers else 1), shape.hidden)]
            sizes += [(shape.hidden, adapter.width)] * 2 + [(adapter.width, adapter.width)] if adapter.width else []
        elif adapter.kind in ("IA3Config", "VeraConfig"):
            vectors = sum(
                self._vector(matrix.name, matrix.inputs, matrix.outputs) * matrix.count for matrix in adapter.matrices
            )
            return vectors, vectors
        else:
            rank = adapter.rank
            for matrix in adapter.matrices:
                sizes += [(rank, matrix.inputs), (rank, matrix.outputs)] * matrix.count
                sizes += [(rank, 1)] * matrix.count if adapter.kind == "AdaLoraConfig" else []
                sizes += [(1, matrix.outputs)] * matrix.count if adapter.magnitudes else []
        return sum(a * b for a, b in sizes), sum(a + b for a, b in sizes)

    def copies(self) -> int:
        """Bytes of weights that are kept in another precision, to be multiplied with in the backward pass."""
        shape, kept = self.shape, self.layer_copies()
        if self.half and (self.full or not self.half_rest):
            kept += 2 * shape.vocabulary * shape.hidden
            kept += 2 * (shape.linear_weights if self.full else self._unquantised())
        return kept

    def layer_copies(self) -> int:
        """Those of them that gradient checkpointing makes anew, for one layer at a time.

        VeRA's fp32 projections, for each layer that shares them; with dropout the weights that DoRA multiplies with a
        second time (peft's `DoraLinearLayer`).
        """
        adapter, kept = self.adapter, 0
        if self.half and adapter.kind == "VeraConfig":
            kept += 2 * sum(
                adapter.rank * (matrix.inputs + matrix.outputs) * matrix.count for matrix in adapter.matrices
            )
        if adapter.magnitudes and adapter.dropout and (self.half or self.quantization is not None):
            kept += (2 if self.half else FP32) * sum(matrix.weights for matrix in adapter.matrices)
        return kept

    def _vector(self, name: str, inputs: int, outputs: int) -> int:
        if self.adapter.kind == "IA3Config":
            return inputs if name in self.adapter.feedforward else outputs
        return self.adapter.rank + outputs

    def _shared(self) -> int:
        """Weights of VeRA's random projections, which all layers share."""
        matrices = self.adapter.matrices
        if self.adapter.kind != "VeraConfig" or not matrices:
            return 0
        widest = max(matrix.inputs for matrix in matrices) + max(matrix.outputs for matrix in matrices)
        return self.adapter.rank * widest


def estimate(configuration: Configuration, workload: Workload) -> Estimate:
    """Peak memory of training and of decoding."""
    c = configuration
    trained, kept = c.trained()
    fixed = {
        "framework": float(FRAMEWORK[c.device]),
        "weights": c.base_weights(),
        "trained weights": float(FP32 * (trained + c._shared())),
        "optimiser": float(FP32 * (kept if c.training.optimizer == "adafactor" else 2 * trained)),
    }
    if c.adapter.kind == "AdaLoraConfig":
        fixed["optimiser"] += 3 * FP32 * trained  # importances of the singular values
    training, decoding = _training(c, workload, fixed, FP32 * trained), fixed | _decoding(c, workload)
    if c.device == "cpu":
        for phase, terms in (("training", training), ("decoding", decoding)):
            terms["heap"] = HEAP[phase] * (sum(terms.values()) - terms["framework"])
    return Estimate(training, decoding)


def _training(c: Configuration, work: Workload, fixed: Mapping[str, float], gradients: int) -> dict[str, float]:
    """The higher of two points: where the loss is differentiated, and where the optimiser steps."""
    shape, sizes = c.shape, c.sizes
    tokens = work.micro * (work.prompt + work.code + c.adapter.before)
    predicted = work.micro * work.code if shape.block == "t5" else tokens
    activations = float(saved(shape, sizes, c.adapter, work.micro, work.prompt, work.code) + c.layer_copies())
    if c.training.gradient_checkpointing and c.adapter.kind != "PrefixTuningConfig":
        layers = shape.layers + shape.encoder_layers
        activations = activations / layers + layers * tokens * shape.hidden * sizes.hidden
    activations += predicted * shape.hidden * FP32
    activations += c.copies() - c.layer_copies()
    kept = gradients if work.micro < work.batch else 0
    # After the loss, the backward pass unpacks weights while it still holds the activations.
    highest = max(LOSS * predicted * shape.vocabulary, c.unpacked() if c.quantization else 0)
    kept_for_loss = {"activations": activations, "logits": float(highest)}
    loss = {"gradients": float(kept)} | kept_for_loss
    matrices = [matrix.inputs * matrix.outputs for matrix in shape.matrices]
    largest = max([*matrices, shape.vocabulary * shape.hidden]) if c.full else 0
    adamw = gradients if c.training.optimizer == "adamw_torch" and c.device == "gpu" else 0
    step = {"gradients": float(gradients), "optimiser": fixed["optimiser"] + max(3 * FP32 * largest, adamw)}
    return max((dict(fixed) | loss, dict(fixed) | step), key=lambda terms: sum(terms.values()))


def _decoding(c: Configuration, work: Workload) -> dict[str, float]:
    """Cache and scores of all beams; nothing is cast automatically here."""
    shape, rows = c.shape, work.decode * work.beams
    size = 2 if c.half_rest and not c.full else FP32
    prompt = work.prompt + c.adapter.virtual
    token = 2 * shape.layers * shape.kv_width * size
    # Products of 8-bit weights need them unpacked in a backward pass only.
    scores = max(rows * shape.vocabulary * SCORES, c.unpacked() if c.quantization == "4bit" else 0)
    if shape.block == "t5":
        # keys and values of the encoder's states, and the states, for each beam
        cache = rows * (work.code * token + prompt * (token + shape.hidden * size))
        return {"cache": float(cache), "scores": float(scores)}
    length = prompt + work.code
    # keys and values of one layer, repeated for the heads that share them, or cast to fp32 (CodeGen)
    repeated = 2 * shape.width * size if shape.kv_width < shape.width else 0
    cast = shape.width * FP32 if shape.block == "codegen" and size < FP32 else 0
    return {"cache": float(rows * length * token), "scores": float(max(scores, rows * length * (repeated + cast)))}
