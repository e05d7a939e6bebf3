"""The lines of Python in a model card that use the exported folder without this package."""

from dataclasses import dataclass

from raypeft.spec.catalogue import Architecture
from raypeft.spec.sections import Effective
from raypeft.spec.technique import Quantization

DTYPES: dict[Effective, str] = {"fp32": "torch.float32", "bf16": "torch.bfloat16", "fp16": "torch.float16"}
TEXT = "skip_special_tokens=True, clean_up_tokenization_spaces=False"


@dataclass(frozen=True)
class Snippet:
    """What the code depends on.

    Attributes:
        folder: the exported folder or its repository.
        base_model: hub id or folder; none where the folder is a whole model.
        revision: of the base model.
        architecture: decoder or encoder-decoder.
        remote_code: whether the base model is loaded by code that it brings along.
        precision: what it was tested in.
        quantization: of the base model's weights.
        cores: layout of the checkpoint's fused attention projection, where transformers reads another.
        prompt: its text, with `{intent}` where the intent goes.
        end: token that ends the assistant's turn, where the prompt is a chat with special tokens of its own.
        beams, candidates, max_new_tokens, stop_strings: of the search.
    """

    folder: str
    base_model: str | None
    revision: str | None
    architecture: Architecture
    remote_code: bool
    precision: Effective
    quantization: Quantization | None
    cores: int | None
    prompt: str
    end: int | None
    beams: int
    candidates: int
    max_new_tokens: int
    stop_strings: tuple[str, ...]

    def __str__(self) -> str:
        special = ", add_special_tokens=False" if self.end is not None else ""
        new = "output" if self._seq2seq else 'output[:, inputs["input_ids"].shape[1] :]'
        first_lines = [f"text = text.split({stop!r})[0]" for stop in self.stop_strings]
        return "\n".join(
            [
                self.loading,
                "",
                f"prompt = {self.prompt!r}",
                'intent = "reverse a list"',
                'text = prompt.replace("{intent}", intent)',
                f'inputs = tokenizer(text{special}, return_tensors="pt").to(model.device)',
                f"output = model.generate(**inputs, {self.search})",
                f"for text in tokenizer.batch_decode({new}, {TEXT}):",
                *(f"    {line}" for line in first_lines),
                "    print(text)",
            ]
        )

    @property
    def loading(self) -> str:
        """The lines that make `model` and `tokenizer`."""
        auto = "AutoModelForSeq2SeqLM" if self._seq2seq else "AutoModelForCausalLM"
        source = self.base_model or self.folder
        revision = f", revision={self.revision!r}" if self.revision and self.base_model else ""
        code = ", trust_remote_code=True" if self.remote_code and self.base_model else ""
        names = [auto, "AutoTokenizer"] + (["BitsAndBytesConfig"] if self._quantized else [])
        peft_names = ["PeftModel"] + (["prepare_model_for_kbit_training"] if self._quantized else [])
        lines = ["import torch"]
        lines += [f"from peft import {', '.join(peft_names)}"] if self.base_model else []
        lines += [f"from transformers import {', '.join(names)}", ""]
        options = f"{revision}{code}, dtype={DTYPES[self.precision]}"
        options += f", quantization_config={self._quantization_config()}" if self._quantized else ""
        lines += [
            f"tokenizer = AutoTokenizer.from_pretrained({source!r}{revision}{code})",
            f"model = {auto}.from_pretrained({source!r}{options})",
        ]
        if self._quantized:
            lines.append("model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)")
        if self.base_model:
            lines.append(f"model = PeftModel.from_pretrained(model, {self.folder!r})")
            lines += self._reordering()
        return "\n".join([*lines, "model.eval()"])

    @property
    def search(self) -> str:
        """The arguments of `generate`, the prompt left out."""
        limits = [
            f"num_beams={self.beams}",
            f"num_return_sequences={self.candidates}",
            f"max_new_tokens={self.max_new_tokens}",
            "do_sample=False",
            "repetition_penalty=1.0",
        ]
        if self.stop_strings:
            limits += [f"stop_strings={list(self.stop_strings)!r}", "tokenizer=tokenizer"]
        if self.end is not None:
            limits.append(f"eos_token_id=[{self.end}, tokenizer.eos_token_id]")
        return ", ".join(limits)

    @property
    def _seq2seq(self) -> bool:
        return self.architecture == "encoder_decoder"

    @property
    def _quantized(self) -> Quantization | None:
        return self.quantization if self.base_model else None

    def _quantization_config(self) -> str:
        if self.quantization == "8bit":
            return "BitsAndBytesConfig(load_in_8bit=True)"
        how = "bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True"
        return f"BitsAndBytesConfig(load_in_4bit=True, {how}, bnb_4bit_compute_dtype={DTYPES[self.precision]})"

    def _reordering(self) -> list[str]:
        """Code that moves the projection's rows of base model and adapter alike to where transformers reads them."""
        if self.cores is None:
            return []
        return [
            "",
            f"# The checkpoint's attention rows are laid out for {self.cores} cores, and transformers reads 4.",
            "width = model.config.n_embd",
            f"rows = torch.arange(3 * width).view({self.cores}, 3, -1).transpose(0, 1)",
            "rows = rows.reshape(3, 4, -1).transpose(0, 1).flatten()",
            "for name, weight in model.named_parameters():",
            '    if "qkv_proj" in name and weight.shape[0] == 3 * width:',
            "        weight.data = weight.data[rows]",
            "",
        ]
