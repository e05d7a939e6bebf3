"""What a forward pass keeps for the backward pass, in bytes.

The terms are the tensors that autograd saves in transformers' layers and peft's, counted for each kind of layer:
inputs of norms in fp32, inputs of what follows the feed-forward layers' activation functions, queries, keys, values and
what attention needs to differentiate the softmax, masks of dropout, inputs of the adapters' layers, and for full
fine-tuning the inputs of every linear layer. Frozen linear layers keep nothing, but 8-bit ones their inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raypeft.spec.shape import Matrix, Shape

FP32 = 4


@dataclass(frozen=True)
class Sizes:
    """Bytes of an element.

    Attributes:
        gpu: whether it is computed on a GPU.
        half: whether products are computed in half precision (autocast).
        hidden: bytes of what passes between layers.
        attended: bytes of queries, keys and values.
        eager: whether attention keeps its probabilities.
        inputs: whether frozen linear layers keep their inputs, as bitsandbytes' 8-bit products do.
    """

    gpu: bool
    half: bool
    hidden: int
    attended: int
    eager: bool
    inputs: bool = False

    @property
    def product(self) -> int:
        """Bytes of the inputs of products."""
        return 2 if self.half else FP32

    def mask(self, like: int) -> int:
        """Bytes of a dropout mask over elements of `like` bytes: a mask of booleans on a GPU only."""
        return 1 if self.gpu else like


@dataclass(frozen=True)
class Adapter:
    """What a technique adapts.

    Attributes:
        kind: class in peft, none for full fine-tuning.
        matrices: adapted linear layers.
        feedforward: names of those that IA3 scales the input of.
        rank: of its updates, zero where it has none.
        magnitudes: whether each output has one of its own (DoRA).
        dropout: whether the inputs of its layers are dropped out.
        virtual: virtual tokens before the text.
        width: of the network that computes them.
    """

    kind: str | None
    matrices: Sequence[Matrix] = ()
    feedforward: Sequence[str] = ()
    rank: int = 0
    magnitudes: bool = False
    dropout: bool = False
    virtual: int = 0
    width: int = 0

    @property
    def prefix(self) -> int:
        """Virtual tokens that stand beside the text in attention alone, as keys and values."""
        return self.virtual if self.kind == "PrefixTuningConfig" else 0

    @property
    def before(self) -> int:
        """Virtual tokens that pass through the layers before the text."""
        return self.virtual - self.prefix


def saved(shape: Shape, sizes: Sizes, adapter: Adapter, rows: int, prompt: int, code: int) -> int:
    """Bytes kept by all layers for one batch, without the output layer and the loss."""
    if shape.block != "t5":
        length = prompt + code + adapter.before
        layer = _decoder(shape, sizes, adapter.kind is None, length, length + adapter.prefix)
        return rows * (shape.layers * layer + length * _adapted(shape, sizes, adapter))
    source, own = prompt + adapter.before, code + adapter.prefix
    full = adapter.kind is None
    encoder = source * _t5(shape, sizes, full, 2) + _t5_attention(shape, source, source, source)
    decoder = code * _t5(shape, sizes, full, 3) + _t5_attention(shape, code, own, own)
    decoder += _t5_attention(shape, code, source, source)
    if adapter.kind == "PrefixTuningConfig":
        encoder = 0  # the prefix is the decoder's alone: the encoder is not differentiated
    # a third of the decoder's attention layers, keys and values of the encoder's states, have the source's length
    length = max(source, code) if encoder else code
    return rows * (shape.encoder_layers * encoder + shape.layers * decoder + length * _adapted(shape, sizes, adapter))


def _decoder(shape: Shape, sizes: Sizes, full: bool, length: int, keys: int) -> int:
    """Bytes of one layer and row."""
    h, q, i, hidden = shape.hidden, shape.width, shape.intermediate, sizes.hidden
    probabilities = shape.heads * keys
    if shape.block == "codegen":
        norm = h * (FP32 if sizes.gpu else hidden)
        attention = 3 * q * sizes.attended + probabilities * sizes.attended
        attention += probabilities * FP32 if sizes.half and (sizes.gpu or full) else 0
        # GELU is written out in five steps, of which autocast computes three in fp32 on a GPU
        feedforward = i * (14 if sizes.gpu and sizes.half else 4 * hidden)
        inputs = (2 * h + q) * sizes.product if sizes.half else (h + q) * FP32
    else:
        norm = 2 * h * (FP32 if sizes.gpu or shape.block == "llama" else hidden)
        attention = 4 * q * sizes.attended + keys * sizes.attended + 4 * shape.heads
        if sizes.eager:
            attention = 3 * q * sizes.attended + probabilities * (FP32 + (2 if sizes.half else 0))
        feedforward = (3 if shape.block == "llama" else 1) * i * hidden
        inputs = 5 * h * 2 if sizes.half else 2 * h * FP32
    trained = (norm + inputs + i * sizes.product) if full else 0
    if sizes.inputs:  # what attention and the feed-forward layers read, once where they share it
        trained = ((1 if shape.block == "codegen" else 2) * h + i) * hidden + q * sizes.attended
    return length * (norm + attention + feedforward + trained)


def _t5(shape: Shape, sizes: Sizes, full: bool, norms: int) -> int:
    """Bytes of one layer and token without attention's own."""
    h, q, i, hidden = shape.hidden, shape.width, shape.intermediate, sizes.hidden
    norm = norms * h * (FP32 + (hidden if hidden < FP32 else 0) + sizes.mask(hidden))
    feedforward = i * (hidden + sizes.mask(hidden)) * (2 if shape.gated else 1)
    trained = norms * h * (FP32 + sizes.product) + (norms - 1) * q * sizes.product + i * sizes.product
    if sizes.inputs:  # `wo` is not quantised
        return norm + feedforward + norms * h * hidden + (norms - 1) * q * hidden
    return norm + feedforward + (trained if full else 0)


def _t5_attention(shape: Shape, queries: int, keys: int, values: int) -> int:
    """Bytes of one attention: its learnt bias keeps it from the kernels that save no probabilities."""
    return FP32 * (shape.width * (queries + keys + values) + 3 * shape.heads * queries * keys)


def _adapted(shape: Shape, sizes: Sizes, adapter: Adapter) -> int:
    """Bytes that the adapters of all layers keep for a token."""
    total = 0
    for matrix in adapter.matrices:
        if adapter.kind == "IA3Config":
            scaled = matrix.inputs * FP32 if matrix.name in adapter.feedforward else matrix.outputs * sizes.hidden
        else:
            dropped = matrix.inputs * sizes.mask(FP32) if adapter.dropout else 0
            if adapter.kind == "VeraConfig":  # its projections are frozen
                scaled = dropped + (adapter.rank + matrix.outputs) * sizes.product
            else:
                scaled = dropped + (matrix.inputs + adapter.rank) * sizes.product
            if adapter.magnitudes:
                scaled += 2 * matrix.outputs * sizes.product
        total += matrix.count * scaled
    return total
