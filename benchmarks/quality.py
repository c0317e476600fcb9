"""``python -m benchmarks.quality``: what int8 costs a ranking, in m3e-eval, on M3E's shapes."""

from __future__ import annotations

import datetime
import sys
import tempfile
from pathlib import Path

from benchmarks import machine
from benchmarks.checkpoints import REHEARSAL, make_checkpoint
from benchmarks.command import make_parser
from benchmarks.questions import write_questions
from m3e_eval.evaluate import Evaluation, evaluate
from m3e_eval.report import as_text, write_files
from m3e_eval.request import EvaluationRequest
from m3e_export import ExportRequest, export

_BOUND = -0.005
_INITIALIZER_RANGE = 0.02  # of BertConfig
_SIZES = {"queries": 2000, "passages": 2400, "pairs": 2000}
_SIZES_QUICK = {"queries": 20, "passages": 60, "pairs": 60}


def main() -> int:
    """Entry point; 1 when a ranking metric of int8 is more than half a percent below PyTorch's."""
    quick = "a tiny model and few texts, to see that it works"
    parser = make_parser("quality", __doc__, quick=quick, shape="m3e-base")
    parser.add_argument("--target", nargs="+", default=["native", "cpu"], help="of m3e-export")
    options = parser.parse_args()
    shape = REHEARSAL if options.quick else options.shape
    with tempfile.TemporaryDirectory() as temporary:
        sizes = _SIZES_QUICK if options.quick else _SIZES
        found = _evaluate(Path(temporary), shape, sizes, tuple(options.target))
        print(as_text(found))
        folder = options.output / "-".join(["quality", datetime.date.today().isoformat(), shape])
        write_files(found, folder)
        _forget_place(folder / "scores.json", temporary)
    losses = [loss for row in found.rows for _, loss in found.loss(row).values()]
    print(f"{machine.describe()['processor']}; worst loss {min(losses):+.3%}")
    return int(min(losses) < _BOUND)


def _forget_place(file: Path, temporary: str) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace(f"{temporary}/", ""), encoding="utf-8")


def _evaluate(folder: Path, shape: str, sizes: dict[str, int], targets: tuple[str, ...]) -> Evaluation:
    checkpoint = make_checkpoint(folder / shape, shape, _INITIALIZER_RANGE)
    output = folder / f"{shape}-int8"
    bundle = export(ExportRequest(str(checkpoint), output, precisions=("int8",), targets=targets))
    files = write_questions(folder, **sizes)
    suites = tuple(map(str, files))
    return evaluate(EvaluationRequest(bundle.path, reference=str(checkpoint), suites=suites))


if __name__ == "__main__":
    sys.exit(main())
