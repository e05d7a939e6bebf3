"""Methods of peft that cannot be studied, by their classes, and why."""

VIRTUAL = "the beam search does not know its kind of virtual tokens"
UNUSABLE = {
    "AdaptionPromptConfig": "it replaces the attention layers of the base, which peft does not give back",
    "CPTConfig": VIRTUAL,
    "CartridgeConfig": VIRTUAL,
    "MultitaskPromptTuningConfig": "it needs the number of a task beside each text",
    "PolyConfig": "it needs the number of a task beside each text",
    "ShadowConfig": "it keeps hidden states of its own beside those of the base, which beam search does not hand on",
    "XLoraConfig": "it mixes adapters that have been trained before",
}
