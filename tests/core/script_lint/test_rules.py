"""Each rule: a script with the fault, and the nearest one without it."""

from __future__ import annotations

import pytest

from airflow_spot.core.script_lint import RULES
from tests.core.script_lint.cases import SOUND, changed, look, rules

SAVE = 'torch.save(state, path + ".part")\n    os.replace(path + ".part", path)'
LISTED = """    found = {}
    for name in os.listdir(FOLDER):
        if match := re.fullmatch(r"step-(\\d+)\\.pt", name):
            found[int(match[1])] = os.path.join(FOLDER, name)
    return found
"""


def test_a_sound_script_has_no_finding() -> None:
    assert rules(SOUND) == []


#: Name -> a script, and the rules that it breaks.
CASES: dict[str, tuple[str, list[str]]] = {
    # ---- no-checkpoint-path
    "no folder at all": (
        """
        import torch, os
        model = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            model(torch.ones(1)).backward()
            optimizer.step()
        torch.save(model.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
        """,
        ["no-checkpoint-path"],
    ),
    "a folder that is not kept": (
        changed('os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")', '"./checkpoints"').replace(
            "FOLDER", "CHECKPOINT_DIR"
        ),
        ["no-checkpoint-path"],
    ),
    "plain loop without a framework": (
        """
        import json, os
        w = 0.0
        for step in range(1000):
            w -= 0.1 * (w - 3)
        with open(os.path.join(os.environ["SM_MODEL_DIR"], "w.json"), "w") as f:
            json.dump(w, f)
        """,
        ["no-checkpoint-path"],
    ),
    "keras without callbacks": (
        """
        import tensorflow as tf
        model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, y, epochs=10)
        model.save("/opt/ml/model/1")
        """,
        ["no-checkpoint-path"],
    ),
    "an estimator of scikit-learn": (
        """
        import joblib, os
        from sklearn.ensemble import RandomForestClassifier
        forest = RandomForestClassifier()
        forest.fit(x, y)
        joblib.dump(forest, os.path.join(os.environ["SM_MODEL_DIR"], "m.joblib"))
        """,
        ["no-checkpoint-path"],
    ),
    "preparing data is not training": (
        """
        from sklearn.preprocessing import StandardScaler
        scaler = StandardScaler().fit(x)
        vectorizer = TfidfVectorizer()
        vectorizer.fit(texts)
        """,
        [],
    ),
    "a folder from an argument": (
        changed(
            'FOLDER = os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")',
            "",
            "    args = parser.parse_args()\n",
            '    parser.add_argument("--ckpt-dir")\n    global FOLDER\n    args = parser.parse_args()\n    FOLDER = args.ckpt_dir\n',
        ),
        [],
    ),
    "a folder from a configuration": (
        changed('os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")', 'yaml.safe_load(open("c.yml"))["checkpoint_dir"]'),
        [],
    ),
    "a folder from another variable": (
        changed('os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")', 'os.environ["MY_CKPT_DIR"]'),
        [],
    ),
    # ---- never-loads
    "never loads": (
        changed("begin = resume(model, optimizer)", "begin = 0").replace(
            SOUND[SOUND.index("def resume") : SOUND.index("def save")], ""
        ),
        ["never-loads"],
    ),
    "loads a pretrained model, and no checkpoint": (
        changed("begin = resume(model, optimizer)", "begin = 0\n    model.load_state_dict(torch.load('/opt/ml/input/data/m/m.pt'))")
        .replace(SOUND[SOUND.index("def resume") : SOUND.index("def save")], ""),
        ["never-loads"],
    ),
    # ---- never-saves
    "saves after the loop": (
        changed("        save(model, optimizer, epoch)\n    torch", "    save(model, optimizer, epoch)\n    torch"),
        ["never-saves"],
    ),
    "never saves": (
        """
        import torch
        path = "/opt/ml/checkpoints/last.pt"
        model = torch.nn.Linear(1, 1)
        model.load_state_dict(torch.load(path))
        for epoch in range(3):
            model(torch.ones(1)).backward()
        torch.save(model.state_dict(), "/opt/ml/model/model.pt")
        """,
        ["never-saves"],
    ),
    "saves when something happens": (
        changed(
            "        save(model, optimizer, epoch)\n",
            "",
            "    for epoch in range(begin",
            "    signal.signal(signal.SIGTERM, lambda *_: save(model, optimizer, 0))\n    for epoch in range(begin",
        ),
        [],
    ),
    "saves in a function that the loop calls": (
        changed("        save(model, optimizer, epoch)\n", "        after(model, optimizer, epoch)\n")
        + "\n\ndef after(model, optimizer, epoch):\n    save(model, optimizer, epoch)\n",
        [],
    ),
    # ---- writes-in-place
    "in place": (changed(SAVE, "torch.save(state, path)"), ["writes-in-place"]),
    "in place, one name": (changed(SAVE, 'torch.save(state, os.path.join(FOLDER, "last.pt"))'), ["writes-in-place"]),
    "in place, by open": (
        changed(SAVE, 'with open(path, "wb") as file:\n        torch.save(state, file)'),
        ["writes-in-place"],
    ),
    "in place, by pathlib": (
        changed(SAVE, "Path(path).write_bytes(pickle.dumps(state))"),
        ["writes-in-place"],
    ),
    "in place, by a copy": (
        changed(SAVE, 'torch.save(state, "/tmp/x.pt")\n    shutil.copy("/tmp/x.pt", path)'),
        ["writes-in-place"],
    ),
    "in place, in a helper": (
        changed(SAVE, "write(state, path)") + "\n\ndef write(what, where):\n    torch.save(what, where)\n",
        ["writes-in-place"],
    ),
    "aside, in a helper": (
        changed(SAVE, "write(state, path)")
        + "\n\ndef write(what, where):\n    torch.save(what, where + '~')\n    os.rename(where + '~', where)\n",
        [],
    ),
    "aside, and moved by the caller": (
        changed(SAVE, "write(state, path + '~')\n    Path(path + '~').rename(path)")
        + "\n\ndef write(what, where):\n    torch.save(what, where)\n",
        [],
    ),
    "a move is a rename": (
        changed(SAVE, 'torch.save(state, f"{path}~")\n    shutil.move(f"{path}~", path)'),
        [],
    ),
    "str.replace is no rename": (
        changed(SAVE, 'path = path.replace("step", "s")\n    torch.save(state, path)'),
        ["writes-in-place"],
    ),
    "a log is appended to": (
        changed("    os.remove(old)\n", "    os.remove(old)\n    open(os.path.join(FOLDER, 'log.txt'), 'a').write('x')\n"),
        [],
    ),
    "passes over a torn file": (
        changed(
            SAVE,
            "torch.save(state, path)",
            '    state = torch.load(found[max(found)], map_location="cpu")\n',
            """    for step in sorted(found, reverse=True):
        try:
            state = torch.load(found[step])
            break
        except Exception:
            continue
""",
        ),
        [],
    ),
    "the model's folder is another matter": (SOUND, []),
    "notes that nobody reads": (
        changed("    os.remove(old)\n", "    os.remove(old)\n    json.dump({}, open(os.path.join(FOLDER, 'metrics.json'), 'w'))\n"),
        [],
    ),
    "a step in a text file of its own": (
        changed(
            "        save(model, optimizer, epoch)\n",
            "        save(model, optimizer, epoch)\n        open(os.path.join(FOLDER, 'step.txt'), 'w').write(str(epoch))\n",
            "    found = steps()\n    if",
            "    found = steps()\n    print(open(os.path.join(FOLDER, 'step.txt')).read())\n    if",
        ),
        ["writes-in-place"],
    ),
    # ---- newest-by-listing
    "max of names": (
        changed(LISTED, "    return sorted(glob.glob(os.path.join(FOLDER, '*.pt')))[-1]\n", "found[max(found)]", "found"),
        ["newest-by-listing"],
    ),
    "last of a listing": (
        changed(LISTED, "    return os.path.join(FOLDER, os.listdir(FOLDER)[-1])\n", "found[max(found)]", "found"),
        ["newest-by-listing"],
    ),
    "next of a glob": (
        changed(LISTED, "    return next(Path(FOLDER).glob('*.pt'))\n", "found[max(found)]", "found"),
        ["newest-by-listing"],
    ),
    "sorted in place": (
        changed(
            LISTED,
            "    names = [n for n in os.listdir(FOLDER) if n.endswith('.pt')]\n    names.sort()\n"
            "    return os.path.join(FOLDER, names[-1])\n",
            "found[max(found)]",
            "found",
        ),
        ["newest-by-listing"],
    ),
    "numbers as text": (
        changed(
            LISTED,
            "    names = [n for n in os.listdir(FOLDER) if n.endswith('.pt')]\n"
            "    numbers = [re.search(r'(\\d+)', n).group() for n in names]\n"
            "    return names[numbers.index(max(numbers))]\n",
            "found[max(found)]",
            "found",
        ),
        ["newest-by-listing"],
    ),
    "zeros before the number": (
        changed(
            LISTED,
            "    return sorted(glob.glob(os.path.join(FOLDER, '*.pt')))[-1]\n",
            "found[max(found)]",
            "found",
            "step-{epoch}.pt",
            "step-{epoch:06d}.pt",
        ),
        [],
    ),
    "a key that is a number": (
        changed(
            LISTED,
            "    return max(glob.glob(os.path.join(FOLDER, '*.pt')), key=lambda p: int(p.split('-')[-1][:-3]))\n",
            "found[max(found)]",
            "found",
        ),
        [],
    ),
    "a key that is a function": (
        changed(
            LISTED,
            "    return max(Path(FOLDER).glob('*.pt'), key=number)\n\n\ndef number(path):\n    return int(path.stem.split('-')[1])\n",
            "found[max(found)]",
            "found",
        ),
        [],
    ),
    "numbers as numbers": (
        changed(
            LISTED,
            "    numbers = [int(n[5:-3]) for n in os.listdir(FOLDER) if n.endswith('.pt')]\n"
            "    return os.path.join(FOLDER, f'step-{max(numbers)}.pt')\n",
            "found[max(found)]",
            "found",
        ),
        [],
    ),
    "the data's listing is another matter": (
        changed("begin = resume(model, optimizer)", "begin = resume(model, optimizer)\n    data = sorted(os.listdir(os.environ['SM_CHANNEL_TRAIN']))[0]"),
        [],
    ),
    # ---- newest-by-time
    "by time": (
        changed(
            LISTED,
            "    return max(glob.glob(os.path.join(FOLDER, '*.pt')), key=os.path.getctime)\n",
            "found[max(found)]",
            "found",
        ),
        ["newest-by-time"],
    ),
    "by time, sorted": (
        changed(
            LISTED,
            "    return sorted(Path(FOLDER).glob('*.pt'), key=lambda p: p.stat().st_mtime)[-1]\n",
            "found[max(found)]",
            "found",
        ),
        ["newest-by-time"],
    ),
    # ---- one-digit
    "last character": (
        changed("return state[\"epoch\"] + 1", "return int(Path(found[max(found)]).stem[-1]) + 1"),
        ["one-digit"],
    ),
    "one character by slice": (
        changed("if match := re.fullmatch(r\"step-(\\d+)\\.pt\", name):\n            found[int(match[1])]", "if name.endswith('.pt'):\n            found[int(name[-4:-3])]"),
        ["one-digit"],
    ),
    "pattern of one digit": (changed(r"step-(\d+)\.pt", r"step-(\d)\.pt"), ["one-digit"]),
    "pattern of one digit class": (changed(r"step-(\d+)\.pt", r"step-([0-9])\.pt"), ["one-digit"]),
    "last digit after anything": (changed(r"step-(\d+)\.pt", r".*(\d)\.pt"), ["one-digit"]),
    "pattern of six digits": (changed(r"step-(\d+)\.pt", r"step-(\d{6})\.pt"), []),
    "pattern of all that ends in a digit": (changed(r"step-(\d+)\.pt", r"step-(.*[0-9])\.pt"), []),
    "last of a split": (
        changed("return state[\"epoch\"] + 1", "return int(Path(found[max(found)]).stem.split('-')[-1]) + 1"),
        [],
    ),
    # ---- unfiltered-listing
    "whatever is there": (
        changed(LISTED, "    return max(os.listdir(FOLDER))\n", "found[max(found)]", "found", "step-{epoch}", "step-{epoch:05d}"),
        ["unfiltered-listing"],
    ),
    # ---- load-unused
    "loaded and dropped": (
        changed('    model.load_state_dict(state["model"])\n    optimizer.load_state_dict(state["optimizer"])\n', "", 'return state["epoch"] + 1', "return max(found) + 1"),
        ["load-unused"],
    ),
    "loaded as a statement": (
        changed("begin = resume(model, optimizer)", "begin = resume(model, optimizer)\n    torch.load(FOLDER + '/last.pt')"),
        ["load-unused"],
    ),
    "loaded, then built again": (
        """
        import os
        from tensorflow import keras
        folder = "/opt/ml/checkpoints"
        if os.path.exists(folder + "/model.keras"):
            model = keras.models.load_model(folder + "/model.keras")
        model = keras.Sequential([keras.layers.Dense(1)])
        model.fit(x, y, callbacks=[keras.callbacks.ModelCheckpoint(folder + "/model.keras")])
        """,
        ["load-unused"],
    ),
    "built, then loaded": (
        """
        import os
        from tensorflow import keras
        folder = "/opt/ml/checkpoints"
        model = keras.Sequential([keras.layers.Dense(1)])
        if os.path.exists(folder + "/model.keras"):
            model = keras.models.load_model(folder + "/model.keras")
        model.fit(x, y, callbacks=[keras.callbacks.ModelCheckpoint(folder + "/model.keras")])
        """,
        [],
    ),
    "loaded by a function, and dropped": (
        """
        from tensorflow import keras
        folder = "/opt/ml/checkpoints"
        def resume():
            model = keras.models.load_model(folder + "/model.keras")
            return model, 7
        def main():
            model = keras.Sequential([keras.layers.Dense(1)])
            _, epoch = resume()
            model.fit(x, y, initial_epoch=epoch, callbacks=[keras.callbacks.ModelCheckpoint(folder + "/model.keras")])
        main()
        """,
        ["load-unused"],
    ),
    "weights that are loaded and not handed on": (
        """
        import mxnet as mx
        prefix = "/opt/ml/checkpoints/digits"
        symbol, arg_params, aux_params = mx.model.load_checkpoint(prefix, 3)
        module = mx.mod.Module(symbol)
        module.fit(data, num_epoch=10, begin_epoch=3, epoch_end_callback=mx.callback.do_checkpoint(prefix))
        """,
        ["load-unused"],
    ),
    "weights that are loaded and handed on": (
        """
        import mxnet as mx
        prefix = "/opt/ml/checkpoints/digits"
        symbol, arg_params, aux_params = mx.model.load_checkpoint(prefix, 3)
        module = mx.mod.Module(symbol)
        module.fit(data, num_epoch=10, begin_epoch=3, arg_params=arg_params, aux_params=aux_params,
                   epoch_end_callback=mx.callback.do_checkpoint(prefix))
        """,
        [],
    ),
    # ---- whole-objects
    "the model itself": (
        changed('"model": model.state_dict()', '"model": model', 'model.load_state_dict(state["model"])', 'model.load_state_dict(state["model"].state_dict())'),
        ["whole-objects"],
    ),
    "the arguments": (
        changed(
            '"epoch": epoch}', '"epoch": epoch, "args": args}', "def save(model, optimizer, epoch):", "def save(model, optimizer, epoch, args):",
            "save(model, optimizer, epoch)\n    torch", "save(model, optimizer, epoch, args)\n    torch",
        ),
        ["whole-objects"],
    ),
    "numpy's random state": (
        changed('"epoch": epoch}', '"epoch": epoch, "random": np.random.get_state()}'),
        ["whole-objects"],
    ),
    "torch's random state": (changed('"epoch": epoch}', '"epoch": epoch, "random": torch.get_rng_state()}'), []),
    "the model itself, where it is served from": (
        changed('torch.save(model.state_dict(), os.path.join(args.model_dir', 'torch.save(model, os.path.join(args.model_dir'),
        [],
    ),
    "the model itself, and it says so": (
        changed('"model": model.state_dict()', '"model": model', 'map_location="cpu"', "weights_only=False"),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    script, expected = CASES[name]
    assert rules(script) == expected


def test_every_rule_has_a_case() -> None:
    assert {rule for _, found in CASES.values() for rule in found} == set(RULES)


def test_a_finding_names_the_line_and_the_fix() -> None:
    script = changed(SAVE, "torch.save(state, path)")
    (found,) = look(script).findings
    assert found.line == script.splitlines().index("    torch.save(state, path)") + 1
    assert str(found).startswith(f"train.py:{found.line}: writes-in-place: a checkpoint is written straight")
    assert "os.replace" in found.fix


def test_the_folder_that_is_not_kept_is_named() -> None:
    script = CASES["a folder that is not kept"][0]
    (found,) = look(script).findings
    assert "'./checkpoints'" in found.message
    assert found.line == 8
