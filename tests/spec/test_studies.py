"""Studies: what is refused and how it is said, groups, look-up."""

import json
import time
from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.spec.loading import dump_yaml, parse_yaml, shipped
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import ResolvedStudy, resolve
from tests.conftest import WriteStudy

SMALL = "question: Which?\nmodels: [tiny-decoder]\ndatasets: [snippets]\ntechniques: [lora]\n"
GROUPS = """\
question: Which?
models: {small: [tiny-decoder, tiny-encoder-decoder], large: [tiny-decoder]}
datasets: [snippets]
techniques: {small: [full, lora], large: [ia3]}
"""


def refused(name: str, **overrides: object) -> list[str]:
    """Lines of the message that refuses a study."""
    with pytest.raises(UserError) as caught:
        resolve(name, **overrides)  # type: ignore[arg-type]
    return str(caught.value).splitlines()


def test_a_study_takes_the_papers_settings_where_it_says_nothing(write_study: WriteStudy) -> None:
    study = resolve(write_study(SMALL)).study
    assert (study.search.trials, study.search.sampler, study.search.seed) == (8, "tpe", 42)
    assert (study.training.epochs, study.training.batch, study.training.optimizer) == (5, 8, "adafactor")
    assert (study.training.warmup, study.training.weight_decay, study.training.evaluate_every) == (0.05, 0.0, 0.2)
    assert (study.test.beams, study.test.candidates) == (10, 10)
    assert study.validation.select_by == "loss"
    assert study.protocol.test_prompt == "paper"
    assert study.icl is None


def test_a_point_is_chosen_for_techniques_of_the_study(write_study: WriteStudy) -> None:
    name = write_study(SMALL + "protocol: {point: {ia3: package, lora: article}}\n")
    assert refused(name)[1:] == [
        "  protocol.point.lora: should be 'paper' or 'package'",
        "  protocol.point.ia3: is none of the study's techniques: lora",
    ]


def test_the_papers_mode_runs_its_point_alone(write_study: WriteStudy) -> None:
    name = write_study(SMALL + "mode: paper\nsearch: {trials: 5}\ntraining: {epochs: 1}\nearly_stopping: {grace: 9}\n")
    plan = Plan(resolve(name))
    assert (plan.resolved.study.trials, plan.trials, plan.rungs) == (1, 1, [])
    searching = resolve(name, settings=["mode=search", "early_stopping=null"]).study
    assert (searching.trials, searching.stopping) == (5, None)
    assert refused(name, settings=["mode=search"])[1:] == [
        "  early_stopping.grace: is 9, but a trial has 5 reports (epochs / evaluate_every)"
    ]


def test_more_trials_than_the_papers_mode_has_are_refused(write_study: WriteStudy) -> None:
    name = write_study(SMALL + "mode: paper\n")
    assert resolve(name, trials=1).study.trials == 1
    assert refused(name, trials=3) == [
        "--samples: asks for 3 trials a cell, but the study's mode is paper: the paper's point alone",
        "Search with --set mode=search",
    ]


def test_every_problem_of_a_file_is_told_at_once_with_its_key(write_study: WriteStudy) -> None:
    name = write_study("""\
        question: Which?
        models: [tiny-decoder, nameless]
        datasets: [snippets, snippets]
        techniques: [lora, unheard]
        colour: red
        search: {trials: 0, samples: 3}
        training: {epochs: .inf, batch: eight}
        validation: {em_items: some}
        icl: {examples: [0, -1]}
        early_stopping: 5
        """)
    first, *rest = refused(name)
    assert first == "studies/own.yaml: "
    assert [line.strip().split(":")[0] for line in rest if line.startswith("  ") and line[2] != " "] == [
        "datasets",
        "search.trials",
        "search.samples",
        "early_stopping",
        "training.epochs",
        "training.batch",
        "validation.em_items",
        "icl.examples.1",
        "colour",
        "models",
        "techniques",
    ]
    message = "\n".join(rest)
    assert "  colour: unknown key\n" in message
    assert "  datasets: 'snippets' stands twice\n" in message
    assert "  models: unknown 'nameless'; known: tiny-decoder, tiny-encoder-decoder, codet5p-220m, " in message
    assert "  techniques: there is no technique 'unheard'\n" in message
    assert "    Known: adalora, dora, full, ia3, lora, " in message


def test_keys_that_do_not_go_together_are_told_at_once(write_study: WriteStudy) -> None:
    name = write_study(SMALL + "training: {micro_batch: 3, evaluate_every: 6}\ntest: {beams: 4, candidates: 5}\n")
    assert refused(name)[1:] == [
        "  training.micro_batch: is 3, but must divide batch (8)",
        "  training.evaluate_every: is 6, but must not exceed epochs (5)",
        "  test.candidates: is 5, but must not exceed beams (4)",
    ]


def test_a_grace_beyond_the_last_report_is_refused(write_study: WriteStudy) -> None:
    name = write_study(SMALL + "training: {epochs: 2}\nearly_stopping: {grace: 11}\n")
    assert refused(name)[1:] == ["  early_stopping.grace: is 11, but a trial has 10 reports (epochs / evaluate_every)"]
    assert resolve(name, settings=["early_stopping.grace=10"]).study.training.reports == 10


def test_a_missing_key_is_named(write_study: WriteStudy) -> None:
    assert refused(write_study("models: [tiny-decoder]\ndatasets: [snippets]\n"))[1:] == [
        "  question: is missing",
        "  techniques: is missing",
    ]


@pytest.mark.parametrize("models", ["[]", "{}", "{small: []}", "tiny-decoder", "null"])
def test_a_study_names_models(write_study: WriteStudy, models: str) -> None:
    lines = refused(write_study(SMALL.replace("[tiny-decoder]", models)))
    assert lines[1].startswith("  models")


def test_a_groups_models_meet_its_own_techniques(write_study: WriteStudy) -> None:
    assert resolve(write_study(GROUPS)).study.pairs() == [
        ("tiny-decoder", "full"),
        ("tiny-decoder", "lora"),
        ("tiny-encoder-decoder", "full"),
        ("tiny-encoder-decoder", "lora"),
        ("tiny-decoder", "ia3"),
    ]


def test_groups_of_models_may_share_techniques(write_study: WriteStudy) -> None:
    name = write_study(GROUPS.replace("{small: [full, lora], large: [ia3]}", "[ia3, lora]"))
    assert resolve(name).study.pairs() == [
        ("tiny-decoder", "ia3"),
        ("tiny-decoder", "lora"),
        ("tiny-encoder-decoder", "ia3"),
        ("tiny-encoder-decoder", "lora"),
    ]


@pytest.mark.parametrize(
    ("models", "groups"), [("{small: [tiny-decoder]}", "small"), ("[tiny-decoder]", "none")], ids=["other", "no"]
)
def test_groups_must_agree(write_study: WriteStudy, models: str, groups: str) -> None:
    name = write_study(SMALL.replace("[tiny-decoder]", models).replace("[lora]", "{small: [lora], large: [ia3]}"))
    assert refused(name)[1:] == [f"  techniques: has the groups small, large, but those of models are: {groups}"]


def test_a_study_brings_its_own_models_and_data(write_study: WriteStudy) -> None:
    resolved = resolve(
        write_study("""\
            question: Which?
            models: [own-model]
            datasets: [own-data]
            techniques: [lora]
            catalogue:
              models:
                own-model: {title: Own, folder: m, architecture: decoder, family: llama, parameters: 7,
                            targets: {attention: [q_proj]}}
              datasets:
                own-data: {title: Own, folder: d, columns: {intent: ask, code: answer}}
            """)
    )
    assert resolved.models["own-model"].targets == {"attention": ["q_proj"]}
    assert resolved.datasets["own-data"].columns == {"intent": "ask", "code": "answer"}
    assert resolved.datasets["own-data"].files == {}


def test_a_model_of_ones_own_needs_no_more_than_a_place(write_study: WriteStudy) -> None:
    name = write_study(
        SMALL.replace("tiny-decoder", "own") + "catalogue: {models: {own: {title: Own, hub: someone/theirs}}}\n"
    )
    model = resolve(name).models["own"]
    assert (model.architecture, model.family, model.parameters, model.targets) == (None, None, None, {})
    assert (model.gated, model.qkv_layout, model.trust_remote_code, model.size) == (False, None, False, None)


@pytest.mark.parametrize("targets", ["{attention: []}", "{mlp: [fc]}"])
def test_module_lists_have_names_that_techniques_know(write_study: WriteStudy, targets: str) -> None:
    entry = f"{{title: Own, folder: m, targets: {targets}}}"
    lines = refused(write_study(SMALL + f"catalogue: {{models: {{own: {entry}}}}}\n"))
    assert lines[1].startswith("  catalogue.models.own.targets.")


@pytest.mark.parametrize("name", ["org/model", "a b", "../up", "", "a·b"])
def test_a_name_must_do_as_a_folder(write_study: WriteStudy, name: str) -> None:
    entry = "{title: Own, folder: d}"
    lines = refused(write_study(SMALL + f"catalogue: {{datasets: {{'{name}': {entry}}}}}\n"))
    assert lines[1].startswith(f"  catalogue.datasets.{name}: String should match pattern")


def test_a_place_is_a_hub_name_or_a_folder(write_study: WriteStudy) -> None:
    datasets = (
        "{both: {title: B, hub: a/b, folder: d}, neither: {title: N}, columns: {title: F, folder: d, columns: {}}}"
    )
    lines = refused(write_study(SMALL + f"catalogue: {{datasets: {datasets}}}\n"))
    assert lines[1:] == [
        "  catalogue.datasets.both: needs exactly one of hub, folder and join",
        "  catalogue.datasets.neither: needs exactly one of hub, folder and join",
        "  catalogue.datasets.columns.columns.intent: is missing",
        "  catalogue.datasets.columns.columns.code: is missing",
    ]


def test_a_path_wins_over_the_working_directory_and_that_over_the_package(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    shipped = resolve("quickstart").study.question
    write_study(SMALL)
    (tmp_path / "studies" / "quickstart.yaml").write_text(SMALL.replace("Which?", "Here?"))
    (tmp_path / "quickstart.yaml").write_text(SMALL.replace("Which?", "As a path?"))
    assert shipped != "Here?" == resolve("quickstart").study.question
    assert resolve("quickstart.yaml").study.question == "As a path?"
    assert resolve(str(tmp_path / "quickstart.yaml")).study.question == "As a path?"


def test_an_unknown_study_lists_the_known_ones(write_study: WriteStudy) -> None:
    write_study(SMALL)
    assert refused("rq9") == [
        "there is no study 'rq9'",
        "Known: examples/smollm2-conala, examples/smollm2-rq, own, quickstart, rq1, rq2, rq3, rq4. "
        "A path to a .yaml file works too.",
    ]
    assert refused("rq9.yaml") == ["rq9.yaml: no such file"]


def test_techniques_of_one_name_are_refused(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "lora.yaml").write_text(
        "title: Mine\npaper: {learning_rate: 0.1}\nsearch: {learning_rate: {choice: [0.1]}}"
    )
    lines = refused(write_study(SMALL.replace("[lora]", "[lora, ./lora.yaml]")))
    assert lines[1:] == ["  techniques: './lora.yaml' and 'lora' have the same name; rename one file"]


def test_a_broken_technique_is_told_with_the_study(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: Mine\npaper: {}\nsearch: {learning_rate: {uniform: [2, 1]}}\n")
    lines = refused(write_study(SMALL.replace("[lora]", "[mine.yaml]") + "colour: red\n"))
    assert lines[1:] == [
        "  colour: unknown key",
        "  techniques: mine.yaml: ",
        "      search.learning_rate: uniform must go from a smaller to a larger number, but is [2.0, 1.0]",
    ]


def test_a_resolved_study_reads_back_as_it_was_written(tmp_path: Path) -> None:
    resolved = resolve("quickstart", settings=["search.seed=7", "question='1e5'"])
    file = tmp_path / "study.yaml"
    file.write_text(resolved.dump(), encoding="utf-8")
    assert ResolvedStudy.load(file) == resolved
    assert resolved.study.question == "1e5"


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("training.epochs=1e300", "training.epochs: should be less than or equal to 10000"),
        ("training.epochs=true", "training.epochs: should be a number, but is true"),
        ("training.epochs='3'", "training.epochs: should be a number, but is the text '3': write it without quotes"),
        ("training.evaluate_every=1e-320", "training.evaluate_every: should be greater than or equal to 0.0001"),
        ("training.evaluate_every=0.0001", "training.evaluate_every: makes 30000 reports a trial, but at most 10000 "),
        ("training.batch=2147483648", "training.batch: should be less than or equal to 65536"),
        ("training.gradient_checkpointing=1", "training.gradient_checkpointing: should be a valid boolean"),
        ("training.seed=4294967296", "training.seed: should be less than 4294967296"),
        ("search.seed=4294967296", "search.seed: should be less than 4294967296"),
        ("data.seed=4294967296", "data.seed: should be less than 4294967296"),
        ("icl.seeds=[4294967296]", "icl.seeds.0: should be less than 4294967296"),
        ("search.trials=1" + "0" * 300, "search.trials: should be less than or equal to 10000"),
        ("test.decode_batch=1e300", "test.decode_batch: should be "),
        ("resources.gpu_memory_gb=1e308", "resources.gpu_memory_gb: should be less than or equal to 100000"),
        ("resources.gpus_per_trial=1e-9", "resources.gpus_per_trial: should be 0, or at least 0.01"),
        ("question='  '", "question: should not be blank"),
        ("protocol.point={'a/b': paper}", "protocol.point.a/b: String should match pattern"),
        ("catalogue.datasets.snippets.stop_strings=['']", "catalogue.datasets.snippets.stop_strings.0: String should "),
        ("catalogue.datasets.snippets.folder=' '", "catalogue.datasets.snippets.folder: should not be blank"),
        (
            "catalogue.datasets.snippets.columns={intent: nl, code: [cmd, nl]}",
            "catalogue.datasets.snippets.columns.code:",
        ),
        ("catalogue.datasets.snippets.title=''", "catalogue.datasets.snippets.title: should not be blank"),
        ("catalogue.datasets.snippets.max_code_tokens=1e30", "catalogue.datasets.snippets.max_code_tokens: should be"),
        ("catalogue.datasets.snippets.origin='a{99999999999999}'", "catalogue.datasets.snippets.origin: is not a reg"),
        (
            "catalogue.models.tiny-decoder.trust_remote_code=1",
            "catalogue.models.tiny-decoder.trust_remote_code: should",
        ),
        ("catalogue.models.tiny-decoder.parameters=1e300", "catalogue.models.tiny-decoder.parameters: should be "),
        (
            "catalogue.models.tiny-decoder.parameters=true",
            "catalogue.models.tiny-decoder.parameters: should be a number",
        ),
        ("catalogue.models.tiny-decoder.hub='a b/c'", "catalogue.models.tiny-decoder.hub: String should match pattern"),
        ("catalogue.models." + "m" * 220 + "={title: M, hub: a/b}", "catalogue.models.mmm"),
    ],
    ids=lambda text: text[:40],
)
def test_values_that_nothing_can_be_done_with_are_refused_by_key(
    write_study: WriteStudy, setting: str, line: str
) -> None:
    found = refused(write_study(SMALL), settings=["training.epochs=3", setting])
    assert any(text.strip().startswith(line) for text in found[1:]), found


def test_a_model_of_a_layer_to_each_weight_is_refused(write_study: WriteStudy) -> None:
    sizes = "hidden: 8, intermediate: 8, heads: 2, vocabulary: 8"
    shape = f"catalogue.models.tiny-decoder.shape={{block: llama, layers: 1000000, {sizes}}}"
    assert refused(write_study(SMALL), settings=[shape])[1:] == [
        "  catalogue.models.tiny-decoder.shape.layers: should be less than or equal to 1000"
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["search.trials=10000", f"models={[f'a/m{n}' for n in range(100)]}"], "search.trials: makes 1,000,000 trials"),
        ([f"icl.examples={[*range(300)]}", f"icl.seeds={[*range(300)]}"], "icl: makes 90,000 jobs, more than 50,000"),
        ([f"icl.examples={[-1] * 900}"], "icl.examples.0: should be greater than or equal to 0"),
        ([f"icl.examples={[-1] * 20000}"], "icl.examples: should have at most 1000 entries, but has 20000"),
        ([f"techniques={[f't{n}' for n in range(900)]}"], "techniques: there is no technique 't0'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_more_than_anyone_runs_is_refused_soon_and_in_a_short_message(
    write_study: WriteStudy, settings: list[str], line: str
) -> None:
    began = time.monotonic()
    found = refused(write_study(SMALL), settings=settings)
    assert time.monotonic() - began < 5
    assert any(text.strip().startswith(line) for text in found), found
    assert sum(map(len, found)) < 2_500


@pytest.mark.parametrize(
    "path", ["...yaml", "a·b.yaml", "a b.yaml", "x\ny.yaml", f"{'x' * 81}.yaml", ".hidden.yaml", "-lora.yaml"]
)
def test_a_technique_is_called_by_a_name(write_study: WriteStudy, tmp_path: Path, path: str) -> None:
    (tmp_path / path).write_text("title: T\npaper: {learning_rate: 0.1}\nsearch: {learning_rate: {choice: [0.1]}}\n")
    lines = refused(write_study(SMALL.replace("[lora]", json.dumps([f"./{path}"]))))
    assert len(lines) == 2 and "a name has letters, digits, '.', '_' and '-' alone" in lines[1]


@pytest.mark.parametrize("name", ["...yaml", "a\nb.yaml", "a\x1bb.yaml", f"{'x' * 121}.yaml"])
def test_a_study_is_called_as_a_folder_can_be(write_study: WriteStudy, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SMALL)
    assert any("its name will not do as that of a folder" in line for line in refused(f"./{name}"))


def test_the_longest_names_together_name_a_folder(write_study: WriteStudy, tmp_path: Path) -> None:
    long = "n" * 80
    (tmp_path / f"{long}.yaml").write_text((shipped("search_spaces") / "lora.yaml").read_text())
    catalogue = (
        f"catalogue: {{models: {{{long}: {{title: M, hub: a/b}}}}, datasets: {{{long}: {{title: D, folder: d}}}}}}\n"
    )
    text = f"question: Q\nmodels: [{long}]\ndatasets: [{long}]\ntechniques: [./{long}.yaml]\n{catalogue}"
    (cell,) = Plan(resolve(write_study(text))).cells
    (tmp_path / cell.trial_name(9_999)).mkdir()


def test_models_that_cannot_be_called_by_their_source_are_told_with_the_rest(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    models = ["a/same", "b/same", "${NOWHERE}", f"a/{'n' * 90}", "./a\x1b/b\n/"]
    lines = refused(write_study(SMALL.replace("[tiny-decoder]", json.dumps(models)) + "colour: red\n"))
    assert lines[0] == "studies/own.yaml: "
    assert lines[1] == "  colour: unknown key"
    told = [
        "models: 'b/same' would be called 'same', as another model is: give it an entry of its own name",
        "models: '${NOWHERE}': environment variable NOWHERE is not set; export NOWHERE=…",
        f"models: 'a/{'n' * 90}' would be called '{'n' * 90}', which is longer than 80 characters: give it an ent",
        r"models: './a\x1b/b\n/' is neither a hub id nor a folder",
    ]
    assert [line.strip()[: len(text)] for line, text in zip(lines[2:], told, strict=True)] == told


def test_a_resolved_study_has_all_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    content = parse_yaml(resolve("quickstart").dump())
    del content["models"]["tiny-decoder"], content["techniques"]["lora"], content["datasets"]["snippets"]
    content["points"]["ia3"] = {"r": 4}
    file.write_text(dump_yaml(content))
    with pytest.raises(UserError) as caught:
        ResolvedStudy.load(file)
    assert str(caught.value).splitlines()[1:] == [
        "  models.tiny-decoder: is missing",
        "  techniques.lora: is missing",
        "  datasets.snippets: is missing",
        "  points.ia3: has not the hyperparameters that are searched",
    ]
