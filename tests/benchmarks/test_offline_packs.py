"""Packs: what is cut here comes out the same there, whatever the order of the parts."""

import ast
import itertools
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
LIMIT = 5 * MIB
BIG = 7 * MIB  # of bytes that cannot be compressed: more than a part
STANDARD = {"__future__", *sys.stdlib_module_names}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def make_wheel(file, contents):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            archive.writestr(info, content)
    return file


@pytest.fixture(scope="module")
def contents():
    noise = random.Random(0).randbytes
    return {
        "engine/__init__.py": b"",
        "engine/capi/engine.so": noise(BIG),
        "engine/capi/other_engine.so": noise(64),
        "engine/after.py": b"x = 1\n" * 1000,
        "engine-1.0.dist-info/METADATA": b"Name: engine\n",
    }


@pytest.fixture(scope="module")
def packed(contents, tmp_path_factory):
    """The folder of a pack of two wheels, and the files that it should unpack to."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.offline.pack import pack

    folder = tmp_path_factory.mktemp("packs")
    small = {"small/__init__.py": b"name = 'small'\n", "small-1.data/purelib/beside.py": b"y = 2\n"}
    small["small-1.data/scripts/run"] = b"#!python\n"
    wheels = [make_wheel(folder / "small.whl", small), make_wheel(folder / "engine.whl", contents)]
    pack(wheels, folder / "both", LIMIT, drop=["*/other_engine.so"], compression=0)
    expected = {name: content for name, content in contents.items() if "other_engine" not in name}
    return folder / "both", {
        **expected,
        "small/__init__.py": small["small/__init__.py"],
        "beside.py": b"y = 2\n",
    }


def carry(pack, names, to):
    """A folder that holds the index and these parts alone."""
    to.mkdir()
    for name in ("index.json", *names):
        (to / name).write_bytes((pack / name).read_bytes())
    return to


def parts_of(pack):
    return sorted(file.name for file in pack.glob("*.xz"))


def joined_files(target):
    files = (file for file in target.rglob("*") if file.is_file() and ".joining-" not in str(file))
    return {str(file.relative_to(target)): file.read_bytes() for file in files}


def test_every_part_is_below_the_limit_and_none_is_wasted(packed):
    pack, _ = packed
    sizes = [(pack / name).stat().st_size for name in parts_of(pack)]
    assert max(sizes) <= LIMIT
    assert len(sizes) == 3  # 7 MiB, and a part may end 2 MiB below its limit of 5


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_parts_may_come_in_any_order_each_by_itself(packed, order, tmp_path):
    from benchmarks.offline.join import join

    pack, expected = packed
    names, target = parts_of(pack), tmp_path / "target"
    for step, number in enumerate(order):
        progress = join(carry(pack, [names[number]], tmp_path / f"carried-{step}"), target)
        assert progress.missing == tuple(names[n] for n in sorted(order[step + 1 :]))
    assert progress.complete
    assert joined_files(target) == expected
    assert (target / "engine/capi/engine.so").stat().st_mode & 0o100
    assert not (target / "engine/after.py").stat().st_mode & 0o100


def test_half_a_package_does_not_appear_and_whole_ones_do(packed, tmp_path):
    """A package in the target hides one of the same name elsewhere."""
    from benchmarks.offline.join import join

    pack, _ = packed
    join(carry(pack, parts_of(pack)[:1], tmp_path / "first"), tmp_path / "target")
    assert (tmp_path / "target/small/__init__.py").exists()
    assert not (tmp_path / "target/engine").exists()


def test_joining_again_changes_nothing(packed, tmp_path):
    from benchmarks.offline.join import join

    pack, expected = packed
    target = tmp_path / "target"
    for _ in range(2):
        assert join(pack, target).complete
    before = (target / "engine/capi/engine.so").stat()
    assert join(pack, target).complete
    assert (target / "engine/capi/engine.so").stat() == before
    assert joined_files(target) == expected


def test_a_join_that_was_killed_goes_on(packed, tmp_path, monkeypatch):
    from benchmarks.offline import join as joining

    pack, expected = packed

    def killed(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    for place in ("_unpack", "_place"):
        with monkeypatch.context() as patch:
            real = getattr(joining, place)
            patch.setattr(joining, place, killed)
            with pytest.raises(KeyboardInterrupt):
                joining.join(pack, tmp_path / "target")
    assert joining.join(pack, tmp_path / "target").complete
    assert joined_files(tmp_path / "target") == expected


def test_a_file_that_was_moved_before_the_state_was_kept_is_found_in_its_place(packed, tmp_path):
    from benchmarks.offline.join import join

    pack, expected = packed
    target = tmp_path / "target"
    join(pack, target)
    state = target / ".joining-both" / "state.json"
    kept = json.loads(state.read_text())
    state.write_text(json.dumps({**kept, "files": kept["files"][1:]}))
    assert join(pack, target).complete
    assert joined_files(target) == expected


@pytest.mark.parametrize("damage", [lambda part: part[:-1], lambda part: part[:-1] + b"?"])
def test_a_damaged_part_is_named_and_the_others_are_kept(packed, damage, tmp_path):
    from benchmarks.offline.errors import DamagedError
    from benchmarks.offline.join import join

    pack, expected = packed
    names = parts_of(pack)
    carried = carry(pack, names, tmp_path / "carried")
    (carried / names[1]).write_bytes(damage((pack / names[1]).read_bytes()))
    with pytest.raises(DamagedError, match=r"01\.xz.*copy it again"):
        join(carried, tmp_path / "target")
    progress = join(carry(pack, names[1:], tmp_path / "again"), tmp_path / "target")
    assert progress.complete
    assert joined_files(tmp_path / "target") == expected


def test_an_index_of_another_pack_is_refused(packed, contents, tmp_path):
    from benchmarks.offline.errors import PackIndexError
    from benchmarks.offline.join import join
    from benchmarks.offline.pack import pack

    join(packed[0], tmp_path / "target")
    other = make_wheel(tmp_path / "other.whl", {"other.py": b""})
    pack([other], tmp_path / "both", LIMIT)
    with pytest.raises(PackIndexError, match="another pack both"):
        join(tmp_path / "both", tmp_path / "target")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda index: index.update(format=9), "format 9"),
        (lambda index: index["files"][0].update(path="../elsewhere"), "leads out"),
        (lambda index: index["files"][0].update(path="/etc/passwd"), "leads out"),
        (lambda index: index["parts"][0].update(name="../00.xz"), "leads out"),
        (lambda index: index.update(name="../../x"), "leads out"),
        (lambda index: index["parts"][0]["segments"][0].update(file=99), "no file number 99"),
        (lambda index: index["parts"][0]["segments"][0].update(length=1 << 40), "outside of its file"),
        (lambda index: index["parts"][0]["segments"][0].update(offset=-1), "outside of its file"),
        (lambda index: index.pop("parts"), "not an index"),
    ],
)
def test_an_index_that_cannot_be_is_refused(packed, change, words, tmp_path):
    from benchmarks.offline.errors import PackIndexError
    from benchmarks.offline.join import join

    carried = carry(packed[0], [], tmp_path / "carried")
    index = json.loads((carried / "index.json").read_text())
    change(index)
    (carried / "index.json").write_text(json.dumps(index))
    with pytest.raises(PackIndexError, match=words):
        join(carried, tmp_path / "target")


def test_two_wheels_with_one_file_are_refused(tmp_path):
    from benchmarks.offline.errors import PackError
    from benchmarks.offline.pack import pack

    wheels = [make_wheel(tmp_path / name, {"same.py": b"1"}) for name in ("a.whl", "b.whl")]
    with pytest.raises(PackError, match=r"same\.py is in another wheel"):
        pack(wheels, tmp_path / "pack", LIMIT)
    (tmp_path / "not.whl").write_bytes(b"not a wheel")
    with pytest.raises(PackError, match="is not a wheel"):
        pack([tmp_path / "not.whl"], tmp_path / "second", LIMIT)
    with pytest.raises(PackError, match="leads out"):
        pack([make_wheel(tmp_path / "c.whl", {"../c.py": b"1"})], tmp_path / "third", LIMIT)
    with pytest.raises(PackError, match="is not empty"):
        pack(wheels, tmp_path / "pack", LIMIT)


def make_checkout(folder):
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text(".offline/\n")
    (folder / "tracked.bin").write_bytes(bytes(3 * MIB))
    return folder


def run(module, *arguments):
    command = [sys.executable, "-m", f"benchmarks.offline.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_checkout_counts_and_the_parts_must_be_ignored(contents, tmp_path):
    checkout = make_checkout(tmp_path / "checkout")
    wheel = make_wheel(tmp_path / "engine.whl", contents)
    common = [wheel, "--tree", checkout, "--compression", 0]
    refused = run("pack", *common, "--output", checkout / "parts", "--limit", 9)
    assert refused.returncode == 2
    assert "git does not ignore it" in refused.stderr
    refused = run("pack", *common, "--output", checkout / ".offline/engine", "--limit", 5)
    assert refused.returncode == 2
    assert "5 MiB can be copied, and the checkout has 3.0" in refused.stderr
    done = run("pack", *common, "--output", checkout / ".offline/engine", "--limit", 9)
    assert done.returncode == 0, done.stderr
    assert "3 commands" in done.stdout
    largest = max(file.stat().st_size for file in (checkout / ".offline/engine").iterdir())
    assert largest + 3 * MIB < 9 * MIB


def test_join_says_what_is_missing(packed, tmp_path):
    pack, _ = packed
    names, target = parts_of(pack), tmp_path / "target"
    done = run("join", carry(pack, names[1:], tmp_path / "carried"), "--target", target)
    assert done.returncode == 3
    assert f"missing {names[0]}" in done.stdout
    done = run("join", carry(pack, names[:1], tmp_path / "more"), "--target", target)
    assert (done.returncode, done.stdout) == (0, "both: 6 of 6 files are in place; complete\n")
    assert run("join", pack.parent, "--target", tmp_path / "other").returncode == 0  # a folder of packs
    refused = run("join", target, "--target", target)
    assert refused.returncode == 4
    assert "there is no index.json" in refused.stderr


@pytest.mark.parametrize(
    "module", ["__init__", "join", "index", "errors", "surroundings", "plan", "evidence", "day"]
)
def test_what_runs_before_all_is_joined_needs_nothing_but_python(module):
    imported = set()
    for node in ast.walk(
        ast.parse((ROOT / "benchmarks/offline" / f"{module}.py").read_text(encoding="utf-8"))
    ):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom):
            imported |= {node.module if node.module.startswith("benchmarks") else node.module.split(".")[0]}
    assert {name for name in imported if not name.startswith("benchmarks.offline.")} <= STANDARD
