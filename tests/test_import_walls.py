"""Which package may import which: the walls between the packages, read from the source."""

import pytest

from import_graph import PACKAGES, between, cycles, imports

ALLOWED = {
    "m3e_runtime": set(),
    "m3e_corpora": {"m3e_runtime"},
    "m3e_serve": {"m3e_runtime"},
    "m3e_export": {"m3e_runtime"},
    "m3e_eval": {"m3e_runtime", "m3e_export"},
}
HEAVY = {"torch", "transformers", "sentence_transformers", "onnx", "onnx_ir"}


def top(target):
    return target.partition(".")[0]


def test_every_package_has_its_walls():
    assert set(PACKAGES) <= set(ALLOWED)
    assert "m3e_runtime" in PACKAGES
    assert len(list(imports("m3e_runtime"))) > 100  # the source was found and read


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_below_it(package):
    others = set(ALLOWED) - ALLOWED[package] - {package}
    upward = [each for each in imports(package) if top(each.target) in others]
    assert [f"{each.module} imports {each.target}" for each in upward] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_a_framework_before_it_is_needed(package):
    """The runtime works without them; the exporter imports graphs' packages, and torch only in functions."""
    heavy = HEAVY if package != "m3e_export" else HEAVY - {"onnx", "onnx_ir"}
    found = [each for each in imports(package) if top(each.target) in heavy]
    eager = [f"{each.module} imports {each.target}" for each in found if not (each.lazy or each.typing)]
    assert eager == []


def test_no_two_parts_of_a_package_import_each_other():
    assert cycles(between(2)) == []


def test_cycles_are_found_around_corners():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}}) == []
