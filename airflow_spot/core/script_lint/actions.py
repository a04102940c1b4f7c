"""What a script's calls do, as far as a checkpoint is concerned: train, save, load, and in a loop or not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from airflow_spot.core.script_lint.places import CHECKPOINT, DATA, MODEL, OPTION, OUTPUT, Flags, Places
from airflow_spot.core.script_lint.program import Function, FunctionNode, Module, Program

_LOOPS = (ast.For, ast.AsyncFor, ast.While)

#: Functions and methods that write what they are given to a file.
_SAVES = {
    "save", "save_weights", "save_model", "save_pretrained", "save_parameters", "save_params", "save_file", "savez",
    "savez_compressed", "dump", "dump_model", "write_text", "write_bytes", "copy", "copy2", "copyfile", "copytree",
    "savemat", "to_pickle", "to_csv", "to_parquet", "tofile", "export_model", "save_states", "save_word2vec_format",
}  # fmt: skip
#: Those of frameworks, which see to it that what they write is whole.
_FRAMEWORK_SAVES = re.compile(
    r"(^|\.)(save_checkpoint|save_state|save_training_state|async_save|save_sharded_checkpoint|save_model_checkpoint)$"
    r"|(^|\.)(\w*Checkpoint(er|Manager|Callback|Saver|Hook|Config|Handler)?|do_checkpoint|module_checkpoint"
    r"|TrainingCheckPoint|BackupAndRestore|SaveModelCallback|MonitoredTrainingSession|\w*Estimator|RunConfig)$"
)
#: What a framework is told, and then checkpoints by itself.
_FRAMEWORK_OPTIONS = {
    "snapshot_file", "save_folder", "checkpoint_dir", "checkpoint_path", "checkpoint_folder", "dirpath", "backup_dir",
    "default_root_dir", "checkpoint_config", "save_steps", "save_strategy", "checkpoints_dir", "enable_checkpointing",
    "save_snapshot",
}  # fmt: skip
_ATOMIC_RECEIVERS = re.compile(r"(Checkpoint|Saver|CheckpointManager|Checkpointer|Accelerator|Trainer|Fabric)\(\)\.")
#: A file's own, or a framework's, whose result or effect is what was saved.
_LOADS = {
    "load_model", "load_weights", "load_checkpoint", "load_from_checkpoint", "load_state", "load_parameters",
    "load_params", "restore", "restore_or_initialize", "initialize_or_restore", "load_training_state", "load_file",
    "load_states", "get_last_checkpoint", "latest_checkpoint", "maybe_load_checkpoint", "restore_checkpoint",
    "resume_from_checkpoint", "load_latest", "restore_latest", "try_restore", "read_checkpoint", "from_checkpoint",
}  # fmt: skip
_TORCH_LOADS = {"torch.load", "paddle.load", "jax.numpy.load", "mindspore.load_checkpoint"}
_RESUME_OPTIONS = {
    "resume_from_checkpoint", "ckpt_path", "xgb_model", "init_model", "autoresume", "auto_resume", "snapshot_file",
    "resume", "resume_from", "load_path", "resume_path", "warm_start_from", "model_file", "load_checkpoint",
    "save_snapshot",
}  # fmt: skip
_LOADS_ITSELF = re.compile(
    r"torch\.distributed\.checkpoint\.\w*load\w*$|"
    r"(^|\.)(BackupAndRestore|MonitoredTrainingSession|\w*Estimator|CheckpointManager|train_and_evaluate)$"
    r"|sagemaker_xgboost_container\.checkpointing\.(train|load_checkpoint)"
)
_TRAINS = {
    "backward", "train_on_batch", "fit_generator", "partial_fit", "train_and_evaluate", "apply_gradients",
    "training_step", "fit_one_cycle", "fine_tune", "minimize", "value_and_grad", "apply_gradient", "run_epoch",
    "train_epoch", "train_one_epoch", "train_one_batch", "fit", "train_step",
}  # fmt: skip
_TRAIN_FUNCTIONS = {
    "xgboost.train", "lightgbm.train", "catboost.train", "xgb.train", "lgb.train", "mxnet.autograd.record",
    "tensorflow.GradientTape", "tf.GradientTape", "jax.grad", "jax.value_and_grad",
}  # fmt: skip
_PREPARATIONS = re.compile(
    r"Scaler|Encoder|Binarizer|Vectorizer|Imputer|Transformer|PCA|Tokenizer|Discretizer|Normalizer|Selector|KFold|TSNE"
    r"|NMF|SVD|scaler|encoder|vectoriz|imputer|pca|tokeniz|transformer|preproc|selector|^sc$|^le$|^ohe$"
)
#: The library for scripts that comes with this package.
LIBRARY = "airflow_spot.checkpoint"
_FRAMEWORKS = {
    "torch", "transformers", "trl", "accelerate", "deepspeed", "lightning", "pytorch_lightning", "composer", "keras",
    "tensorflow", "tf", "mxnet", "mx", "paddle", "xgboost", "lightgbm", "catboost", "orbax", "flax", "jax", "fastai",
    "stable_baselines3", "ignite", "sentence_transformers", "setfit", "ultralytics", "sagemaker_xgboost_container",
}  # fmt: skip
#: Where they are told a checkpoint folder, they use it.
_TRAINERS = {"train", "fit", "learn", "fine_tune"}
#: Of boto3 and s3fs.
_UPLOADS = {"put_object", "upload_file", "upload_fileobj"}
_DOWNLOADS = {"get_object", "download_file", "download_fileobj"}
#: How files are called that say that what they lie beside is whole.
_WHOLE = re.compile(r"done|complete|commit|success|finished|ready|valid", re.IGNORECASE)
_COUNTS = re.compile(r"^(i_?)?(epoch|step|iteration|iter|round|epochs_done|global_step|n_epoch|epoch_idx|epoch_num)s?$")


@dataclass(frozen=True)
class Action:
    """
    A call that saves or loads.

    :param places: what it names: empty if nobody knows.
    :param own: the script itself writes the file, rather than a framework.
    """

    module: Module
    call: ast.Call
    places: Flags
    own: bool = True
    path: ast.expr | None = None


class Actions:
    """What the program does."""

    def __init__(self, program: Program, places: Places) -> None:
        self.program = program
        self.places = places

    # ---- saving

    @cached_property
    def saves(self) -> list[Action]:
        """Every call that may write a checkpoint or a model."""
        return [found for module, call in self.program.calls if (found := self._save(module, call)) is not None]

    @cached_property
    def checkpoint_saves(self) -> list[Action]:
        """Those that write to the checkpoint folder, or leave that to a framework."""
        return [each for each in self.saves if CHECKPOINT in each.places or not each.own]

    def _save(self, module: Module, call: ast.Call) -> Action | None:
        name = module.dotted(call.func)
        last = name.rpartition(".")[2]
        if self._is_trainer(module, call):
            return Action(module, call, self.places.arguments(module, call), own=False)
        if self._is_ours(module, call, "save", "train", "Saving"):
            return Action(module, call, frozenset({CHECKPOINT}), own=False)
        if self.program.called(module, call) or self._is_class(module, call):
            return None  # what it does is in the program
        if _FRAMEWORK_SAVES.search(name):
            return Action(module, call, self.places.arguments(module, call), own=False)
        if any(each.arg in _FRAMEWORK_OPTIONS and not _is_off(each.value) for each in call.keywords):
            return Action(module, call, self.places.arguments(module, call), own=False)
        places = self.places.arguments(module, call)
        if "torch.distributed.checkpoint" in name or (last in _TRAINERS and CHECKPOINT in places):
            return Action(module, call, places, own=False)
        if _puts_into_place(name, call) and CHECKPOINT in places | self.places.of(module, _receiver(call)):
            return Action(module, call, frozenset({CHECKPOINT}))
        if (path := opened(module, call, "wx")) is not None:
            return Action(module, call, self.places.of(module, path), path=path)
        if last in _SAVES:
            if "atomic" in name.lower() or self._is_atomic(module, call):
                return Action(module, call, self.places.arguments(module, call), own=False)
            path = self._path(module, call)
            return Action(module, call, self.places.of(module, path), path=path)
        if re.search(r"(save|write|store).*(ckpt|checkpoint|snapshot|state)", last, re.IGNORECASE):
            return Action(module, call, places, own=False)
        return None

    def _path(self, module: Module, call: ast.Call) -> ast.expr | None:
        """Return what a save is written to."""
        given = [*call.args, *(each.value for each in call.keywords)]
        last = module.dotted(call.func).rpartition(".")[2]
        if last.startswith("copy"):
            given = given[1:2]
        if last in ("write_text", "write_bytes") and isinstance(call.func, ast.Attribute):
            given = [call.func.value]
        for flag in (CHECKPOINT, MODEL, OUTPUT, DATA, OPTION):
            for each in given:
                if flag in self.places.of(module, each):
                    return each
        return None

    def _is_class(self, module: Module, call: ast.Call) -> bool:
        return isinstance(call.func, ast.Name) and call.func.id in self.program.classes

    def _is_trainer(self, module: Module, call: ast.Call) -> bool:
        """Return whether it makes a trainer that saves by itself: of Transformers, Lightning, Composer."""
        last = module.dotted(call.func).rpartition(".")[2]
        bases = {last, *self._bases(last)}
        return any(each.endswith("Trainer") for each in bases) and self.program.imports(
            "transformers",
            "trl",
            "setfit",
            "sentence_transformers",
            "pytorch_lightning",
            "lightning",
            "composer",
            "adapters",
        )

    def _is_ours(self, module: Module, call: ast.Call, *names: str) -> bool:
        """Return whether it is one of these calls of our library for scripts, in a program that imports it."""
        name = module.dotted(call.func)
        if name == f"{LIBRARY}.for_keras.fit":  # `fit` alone is the name of many others
            return True
        return name.rpartition(".")[2] in names and any(
            whole.startswith(LIBRARY) for each in self.program.modules.values() for whole in each.imports.values()
        )

    def _bases(self, name: str) -> set[str]:
        return {
            module.dotted(base).rpartition(".")[2]
            for module, node in self.program.classes.get(name, ())
            for base in node.bases
        }

    def _is_atomic(self, module: Module, call: ast.Call) -> bool:
        """Return whether a framework's object saves, which writes the file that counts at the end."""
        if not isinstance(call.func, ast.Attribute):
            return False
        receiver = call.func.value
        if re.search(r"(^|\.|_)(fabric|accelerator|trainer|saver|manager)$", ast.unparse(receiver), re.IGNORECASE):
            return True
        names = [module.dotted(receiver)]
        names += [owner.dotted(value) for owner, value in self.values_of(module, receiver)]
        return any(_ATOMIC_RECEIVERS.search(f"{each}.") for each in names)

    def values_of(self, module: Module, node: ast.expr) -> list[tuple[Module, ast.expr]]:
        """Return the expressions that a name or an attribute is assigned."""
        if isinstance(node, ast.Name):
            return self.places.definitions.get(self.program.key(module, node), [])
        if isinstance(node, ast.Attribute):
            return self.places.definitions.get(("attribute", node.attr), [])
        return []

    def is_elsewhere(self, action: Action) -> bool:
        """Return whether it is left to a module that is not here, and no framework's: who knows where it writes."""
        if action.own or action.places:
            return False
        top = action.module.dotted(action.call.func).partition(".")[0]
        tops = {whole.partition(".")[0] for whole in action.module.imports.values()}
        return top in tops and top not in _FRAMEWORKS and self.program.module_named(top) is None

    # ---- loading

    @cached_property
    def loads(self) -> list[Action]:
        """Every call that may read a checkpoint."""
        return [found for module, call in self.program.calls if (found := self._load(module, call)) is not None]

    def _load(self, module: Module, call: ast.Call) -> Action | None:
        name = module.dotted(call.func)
        last = name.rpartition(".")[2]
        places = self.places.arguments(module, call)
        if _LOADS_ITSELF.search(name) or self._is_ours(module, call, "load", "latest", "train"):
            return Action(module, call, places | {CHECKPOINT}, own=False)
        if any(each.arg in _RESUME_OPTIONS and not _is_off(each.value) for each in call.keywords):
            return Action(module, call, places, own=False)
        if self.program.called(module, call):
            return None
        if (path := opened(module, call, "r")) is not None:
            found = self.places.of(module, path)
            return Action(module, call, found, path=path) if CHECKPOINT in found else None
        if last in ("read_text", "read_bytes") and isinstance(call.func, ast.Attribute):
            found = self.places.of(module, call.func.value)
            return Action(module, call, found, path=call.func.value) if CHECKPOINT in found else None
        if name in _TORCH_LOADS or last in _LOADS:
            return Action(module, call, places)
        if re.search(r"(load|restore|read|resume).*(ckpt|checkpoint|snapshot|latest|training)|^resume$", last, re.I):
            return Action(module, call, places)
        if CHECKPOINT in places and (re.search(r"load|restore|resume|read|Booster|from_pretrained", last)):
            return Action(module, call, places)
        if last in ("train", "fit") and len(call.args) > 3 and CHECKPOINT in places:
            return Action(module, call, places, own=False)
        return None

    @cached_property
    def checkpoint_loads(self) -> list[Action]:
        """Those that read a checkpoint, as far as one can tell."""
        others = {MODEL, DATA, OUTPUT}
        return [each for each in self.loads if CHECKPOINT in each.places or not each.places & others]

    @cached_property
    def passes_over_torn_files(self) -> bool:
        """Whether a load that fails is followed by one of an older file, or files are verified before."""
        for each in self.checkpoint_loads:
            around = list(self.around_all(each.module, each.call))
            guarded = any(isinstance(node, ast.Try) for node in around) and any(
                isinstance(node, _LOOPS) for node in around
            )
            if guarded:
                return True
        return self.program.imports("hashlib", "zlib") or any(
            module.dotted(call.func).rpartition(".")[2]
            in ("is_zipfile", "testzip", "is_valid", "verify", "is_complete")
            or self._marks_whole(module, call)
            for module, call in self.program.calls
        )

    def _marks_whole(self, module: Module, call: ast.Call) -> bool:
        """Return whether an empty file is put beside a checkpoint that is whole."""
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "touch":
            return False
        return CHECKPOINT in self.places.of(module, call.func.value) or bool(
            _WHOLE.search(ast.unparse(call.func.value))
        )

    def around_all(self, module: Module, node: ast.AST, depth: int = 3) -> Iterator[ast.AST]:
        """Yield what a node is in, also where its function is called."""
        yield from module.around(node)
        function = self.program.function_of(module, node)
        if function is not None and depth:
            for where, call in self.callers(function):
                yield from self.around_all(where, call, depth - 1)

    @cached_property
    def keeps_its_own(self) -> bool:
        """Whether it writes to S3 by itself while it trains, and reads from there."""
        called = [(module, call, module.dotted(call.func).rpartition(".")[2]) for module, call in self.program.calls]
        return any(name in _DOWNLOADS for _, _, name in called) and any(
            name in _UPLOADS and self.in_loop(module, call) for module, call, name in called
        )

    # ---- training

    @cached_property
    def training(self) -> tuple[Module, ast.AST] | None:
        """Where it trains; None if it does not, as far as one can tell."""
        found = None
        for module in self.program.modules.values():
            for node in module.nodes:
                if isinstance(node, ast.Call) and self._trains(module, node):
                    return module, node
                if found is None and isinstance(node, _LOOPS) and _counts(node):
                    found = module, node
        return found

    def _trains(self, module: Module, call: ast.Call) -> bool:
        name = module.dotted(call.func)
        before, _, last = name.rpartition(".")
        if name in _TRAIN_FUNCTIONS or self._is_trainer(module, call):
            return True
        if last == "fit":
            receivers = [before, *(owner.dotted(value) for owner, value in self.values_of(module, _receiver(call)))]
            return not any(_PREPARATIONS.search(each) for each in receivers)
        if last == "train":
            return (
                bool(call.args or call.keywords) and not self.program.called(module, call)
            ) or "trainer" in before.lower()
        return last in _TRAINS and not self.program.called(module, call)

    # ---- loops

    def in_loop(self, module: Module, node: ast.AST) -> bool:
        """Return whether a call may be made again and again, or when something happens."""
        return self._repeated(module, node, frozenset())

    def _repeated(self, module: Module, node: ast.AST, seen: frozenset[int]) -> bool:
        inner = node
        for around in module.around(node):
            if isinstance(around, _LOOPS) and inner in (*around.body, *around.orelse):
                return True
            if isinstance(around, ast.While):
                return True
            if isinstance(around, FunctionNode):
                break
            inner = around
        function = self.program.function_of(module, node)
        if function is None:
            return False
        if id(function) in seen:
            return True
        callers = self.callers(function)
        if (
            not callers
            or self._is_value(function)
            or function.name.startswith(("on_", "after_", "before_", "__call__"))
        ):
            return True  # who calls it, and when, is not in the program
        return any(self._repeated(where, call, seen | {id(function)}) for where, call in callers)

    def callers(self, function: Function) -> list[tuple[Module, ast.Call]]:
        """Return the calls that may enter a function."""
        return self._callers.get(id(function), [])

    @cached_property
    def _callers(self) -> dict[int, list[tuple[Module, ast.Call]]]:
        found: dict[int, list[tuple[Module, ast.Call]]] = {}
        for module, call in self.program.calls:
            for function in self.program.called(module, call):
                found.setdefault(id(function), []).append((module, call))
        return found

    def _is_value(self, function: Function) -> bool:
        """Return whether a function is handed to somebody who may call it."""
        return isinstance(function.node, ast.Lambda) or id(function) in self._handed

    @cached_property
    def _handed(self) -> set[int]:
        return {
            id(function)
            for module, call in self.program.calls
            for given in (*call.args, *(each.value for each in call.keywords))
            if isinstance(given, (ast.Name, ast.Attribute))
            for function in self.program.named(module, given)
        }


def opened(module: Module, call: ast.Call, modes: str) -> ast.expr | None:
    """Return the path of a file that is opened in one of these modes; None if it is none."""
    name = module.dotted(call.func)
    given = {each.arg: each.value for each in call.keywords}
    if name in (
        "open",
        "io.open",
        "gzip.open",
        "bz2.open",
        "lzma.open",
        "h5py.File",
        "zipfile.ZipFile",
        "tarfile.open",
    ):
        if not call.args:
            return None
        path, mode = call.args[0], call.args[1] if len(call.args) > 1 else given.get("mode")
    elif name.endswith(".open") and isinstance(call.func, ast.Attribute):
        path, mode = call.func.value, call.args[0] if call.args else given.get("mode")
        if isinstance(path, ast.Name) and path.id in module.imports:
            return None
    else:
        return None
    if mode is not None and not isinstance(mode, ast.Constant):
        return None
    text = str(mode.value) if mode is not None else "r"
    return path if any(each in text for each in modes) else None


def _puts_into_place(name: str, call: ast.Call) -> bool:
    """Return whether a call makes a file to be renamed, or renames it."""
    last = name.rpartition(".")[2]
    if last in ("NamedTemporaryFile", "mkstemp", "mkdtemp", "TemporaryDirectory", "renames") or name == "shutil.move":
        return True
    given = len(call.args) + len(call.keywords)
    return last in ("replace", "rename") and given == (2 if name.startswith("os.") else 1)


def _receiver(call: ast.Call) -> ast.expr:
    return call.func.value if isinstance(call.func, ast.Attribute) else call.func


def _is_off(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value in (None, False, "no", "")


def _counts(loop: ast.AST) -> bool:
    """Return whether a loop is over epochs, steps or rounds."""
    if isinstance(loop, (ast.For, ast.AsyncFor)):
        names = [each.id for each in ast.walk(loop.target) if isinstance(each, ast.Name)]
        return any(_COUNTS.match(name) for name in names)
    if isinstance(loop, ast.While):
        return any(
            _COUNTS.match(each.id if isinstance(each, ast.Name) else each.attr)
            for each in ast.walk(loop.test)
            if isinstance(each, (ast.Name, ast.Attribute))
        )
    return False
